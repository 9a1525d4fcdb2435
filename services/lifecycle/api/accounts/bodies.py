"""Request bodies of S2, in its own words."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from libs.contracts.ids import uuid_of
from libs.service.body import Line, Text
from services.lifecycle.api.bodies import TEXT_MAX, When

PARTICIPANTS_MAX = 100
ATTACHMENTS_MAX = 100
URL_MAX = 2_000
METADATA_KEYS_MAX = 200
COMMENT_MAX = 10_000
MENTIONS_MAX = 100


def read_id(value: Any) -> UUID:
    """Read an id in either form: a UUID, or the ULID of the same 128 bits. Raises ValueError."""
    if isinstance(value, UUID):
        return value
    try:
        if not isinstance(value, str) or len(value) not in (26, 36):
            raise ValueError
        return uuid_of(value) if len(value) == 26 else UUID(value)
    except ValueError:
        raise ValueError("must be a ULID or a UUID") from None


def _check_url(text: str) -> str:
    if not text.startswith(("https://", "http://")):
        raise ValueError("must begin with https:// or http://")
    return text


def _once(urls: list[str]) -> list[str]:
    return list(dict.fromkeys(urls))


Id = Annotated[UUID, BeforeValidator(read_id, json_schema_input_type=str)]
Url = Annotated[str, Line(URL_MAX), AfterValidator(_check_url)]
Word = Annotated[str, Line(255)]


class CamelBody(BaseModel):
    """A request body of S2: its names are written as S2 writes them, unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)


class Participant(CamelBody):
    """Somebody who takes part: a member by id, or a name with or without a mail address."""

    id: Id | None = None
    name: Word | None = None
    email: Word | None = None


class ActivityBody(CamelBody):
    """What is given of an activity: POST needs four fields of it, PUT changes those that are named."""

    account_id: Id | None = None
    activity_timestamp: When = None
    duration: Annotated[int, Field(strict=True, ge=0, le=1_000_000)] | None = None
    location: Annotated[str, Line(500)] | None = None
    type: Word | None = None
    status: Word | None = None
    participants: Annotated[list[Word | Participant], Field(max_length=PARTICIPANTS_MAX)] | None = None
    attachment_urls: Annotated[list[Url], Field(max_length=ATTACHMENTS_MAX), AfterValidator(_once)] | None = None
    title: Annotated[str, Line(500)] | None = None
    description: Annotated[str, Text(TEXT_MAX)] | None = None
    metadata: Annotated[dict[str, Any], Field(max_length=METADATA_KEYS_MAX)] | None = None
    privacy: Literal["PUBLIC", "PRIVATE", "TEAM"] | None = None


class ReopenBody(CamelBody):
    """Why it is undone, and for when it is planned again; absent: for when it was planned, else when it happened."""

    text: Annotated[str, Text(TEXT_MAX)] | None = None
    activity_timestamp: When = None


class CommentBody(CamelBody):
    """A comment; each member in `mentions` is told of it."""

    text: Annotated[str, Text(COMMENT_MAX), Field(min_length=1)]
    mentions: Annotated[list[Id], Field(max_length=MENTIONS_MAX)] = Field(default_factory=list)
