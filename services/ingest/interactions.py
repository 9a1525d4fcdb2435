"""The interaction as an upstream system may send it: every field, its type and its bounds (design: domain, shapes)."""

import re
from typing import Annotated, Any, Literal, Required
from uuid import UUID

from annotated_types import Len
from pydantic import AfterValidator, ConfigDict, PlainValidator, TypeAdapter, with_config
from typing_extensions import TypedDict

from services.ingest.reports import LIST_MAX, Line, Name, Occurred, Ref, Source, Text, Url, refuse

INTERACTION_MAX_BYTES = 900 << 10
ID_MAX = 200
MESSAGES_MAX = 10_000
FIRST_MESSAGE_MAX = 4_000
SOURCE_DEFAULT = "api"

_OBJECT = re.compile(r"[a-z][a-z0-9_]{0,99}")


def read_object(text: Any) -> str:
    """Read the api_name of a record object. Raises PydanticCustomError."""
    if not isinstance(text, str) or _OBJECT.fullmatch(text) is None:
        raise refuse("object_invalid", "must be a record object's api_name, such as contact")
    return text


RecordObject = Annotated[str, PlainValidator(read_object, json_schema_input_type=str)]
Identity = Annotated[Ref, Len(max_length=ID_MAX)]
Direction = Literal["inbound", "outbound"]


@with_config(ConfigDict(extra="forbid"))
class Link(TypedDict, total=False):
    """A record that the conversation was with: by id, or by the ref it has outside; it need not be known yet."""

    object: Required[RecordObject]
    record_id: UUID | None
    external_ref: Ref | None


def _name_one(link: Link) -> Link:
    named = (link.get("record_id") is not None) + (link.get("external_ref") is not None)
    if named != 1:
        raise refuse("exactly_one", f"needs exactly one of record_id and external_ref; it has {named}")
    return link


@with_config(ConfigDict(extra="forbid"))
class Transfer(TypedDict, total=False):
    """The conversation handed on, to an agent or a queue."""

    at: Required[Occurred]
    from_agent_id: UUID | None
    to_agent_id: UUID | None
    from_queue: Name | None
    to_queue: Name | None


def _has_target(transfer: Transfer) -> Transfer:
    if transfer.get("to_agent_id") is None and transfer.get("to_queue") is None:
        raise refuse("required", "needs to_agent_id or to_queue")
    return transfer


@with_config(ConfigDict(extra="forbid"))
class Message(TypedDict, total=False):
    """A message. Without text where it is a picture or a recording alone."""

    id: Required[Identity]
    direction: Required[Direction]
    author: Name | None
    text: Text | None
    media_url: Url | None
    sent_at: Required[Occurred]
    delivered_at: Occurred | None
    read_at: Occurred | None
    template: Name | None


@with_config(ConfigDict(extra="forbid"))
class Body(TypedDict, total=False):
    """A finished conversation. `interaction_id` is a UUID, or the name that `source` has for it."""

    interaction_id: Required[Identity]
    source: Source | None
    channel: Required[Literal["voice", "sms", "whatsapp", "webchat", "email"]]
    queue: Name | None
    agent_id: UUID | None
    agent: Name | None
    direction: Required[Direction]
    address: Required[Name | None]
    opened_at: Required[Occurred]
    answered_at: Occurred | None
    closed_at: Required[Occurred]
    disposition: Line | None
    links: Annotated[list[Annotated[Link, AfterValidator(_name_one)]], Len(max_length=LIST_MAX)] | None
    transfers: Annotated[list[Annotated[Transfer, AfterValidator(_has_target)]], Len(max_length=LIST_MAX)] | None
    messages: Annotated[list[Message], Len(max_length=MESSAGES_MAX)] | None


BODY: TypeAdapter[Body] = TypeAdapter(Body)
