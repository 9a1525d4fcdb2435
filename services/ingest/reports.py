"""The report as an upstream system may send it: every field, its type and its bounds (design: domain, ingest).

Typed dictionaries rather than models: what is checked keeps only the fields that were sent, and costs half.
"""

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, Required
from uuid import UUID

from annotated_types import Ge, Le, Len
from pydantic import AfterValidator, ConfigDict, PlainValidator, Strict, StringConstraints, TypeAdapter, with_config
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

REPORT_MAX_BYTES = 256 << 10
SOURCE_MAX = 100
REF_MAX = 255
NAME_MAX = 255
LINE_MAX = 500
SUMMARY_MAX = 4_000
TEXT_MAX = 50_000
URL_MAX = 2_000
LIST_MAX = 100
KEYS_MAX = 200
DURATION_MAX_MIN = 366 * 24 * 60
YEAR_MIN, YEAR_MAX = 1970, 2200
URL_SCHEMES = ("http", "https", "mailto")

ONE_LINE = r"^[^\x00-\x1f\x7f]*$"
LINES = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"

_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PERSON_KEYS = ("member_id", "role_id", "email", "name")


def read_instant(text: Any) -> datetime:
    """Read an RFC 3339 instant with an offset into UTC. Raises PydanticCustomError."""
    if not isinstance(text, str) or _INSTANT.fullmatch(text) is None:
        raise refuse("instant_invalid", "must be an RFC 3339 instant with an offset, such as 2026-01-31T09:00:00Z")
    try:
        instant = datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise refuse("instant_invalid", f"is not an instant that exists: {error}") from None
    _check_year(instant.year)
    return instant


def read_due(text: Any) -> datetime | date:
    """Read an instant, or a date that stands for the end of that day. Raises PydanticCustomError."""
    if not isinstance(text, str) or _DATE.fullmatch(text) is None:
        return read_instant(text)
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise refuse("date_invalid", f"is not a date that exists: {error}") from None
    _check_year(day.year)
    return day


def read_person(value: Any) -> str:
    """Read who somebody is: text as it is, or the first of `member_id`, `role_id`, `email`, `name` that is given."""
    if isinstance(value, dict):
        unknown = [key for key in value if key not in _PERSON_KEYS]
        if unknown:
            raise refuse("unknown_field", f"has {unknown[0][:100]!r}; it may have {', '.join(_PERSON_KEYS)}")
        value = next((value[key] for key in _PERSON_KEYS if value.get(key) is not None), None)
    if not isinstance(value, str) or not 1 <= len(value) <= NAME_MAX or not _one_line(value):
        raise refuse(
            "person_invalid",
            f"must be an id, e-mail address or name of 1 to {NAME_MAX} characters, or an object with it",
        )
    return value


def read_url(value: Any) -> str:
    """Read an address or a file's name; a scheme other than http, https and mailto is refused."""
    if not isinstance(value, str) or not 1 <= len(value) <= URL_MAX or not _one_line(value):
        raise refuse("url_invalid", f"must be one line of 1 to {URL_MAX} characters")
    scheme = _SCHEME.match(value.strip())
    if scheme is not None and scheme[1].lower() not in URL_SCHEMES:
        raise refuse("url_invalid", f"has the scheme {scheme[1][:100]!r}; taken are {', '.join(URL_SCHEMES)}")
    return value


def _one_line(text: str) -> bool:
    return _CONTROL.search(text) is None


def _check_year(year: int) -> None:
    if not YEAR_MIN <= year <= YEAR_MAX:
        raise refuse("out_of_range", f"must lie between the years {YEAR_MIN} and {YEAR_MAX}")


def refuse(code: str, message: str) -> PydanticCustomError:
    """Make the error that says what is wrong with a field."""
    return PydanticCustomError(code, "{message}", {"message": message})


Source = Annotated[str, StringConstraints(min_length=1, max_length=SOURCE_MAX, pattern=ONE_LINE)]
Ref = Annotated[str, StringConstraints(min_length=1, max_length=REF_MAX, pattern=ONE_LINE)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=NAME_MAX, pattern=ONE_LINE)]
Line = Annotated[str, StringConstraints(max_length=LINE_MAX, pattern=ONE_LINE)]
Summary = Annotated[str, StringConstraints(max_length=SUMMARY_MAX, pattern=LINES)]
Text = Annotated[str, StringConstraints(max_length=TEXT_MAX, pattern=LINES)]
Occurred = Annotated[datetime, PlainValidator(read_instant, json_schema_input_type=str)]
Due = Annotated[datetime | date, PlainValidator(read_due, json_schema_input_type=str)]
Who = Annotated[str, PlainValidator(read_person, json_schema_input_type=str | dict[str, str])]
Url = Annotated[str, PlainValidator(read_url, json_schema_input_type=str)]
Document = Annotated[dict[Name, Any], Len(max_length=KEYS_MAX)]


@with_config(ConfigDict(extra="forbid"))
class Link(TypedDict, total=False):
    """A record the activity is about: by id, by the ref it has outside, or all records of the object."""

    object: Required[Name]
    record_id: UUID | None
    external_ref: Ref | None
    all: Annotated[bool, Strict()] | None


def _name_one(link: Link) -> Link:
    named = (link.get("record_id") is not None) + (link.get("external_ref") is not None) + (link.get("all") is True)
    if named != 1:
        raise refuse("exactly_one", f"needs exactly one of record_id, external_ref and all: true; it has {named}")
    return link


@with_config(ConfigDict(extra="forbid"))
class Body(TypedDict, total=False):
    """A report. `source_ref` names the report, `activity_ref` the activity it is about, if that has another name."""

    source: Required[Source]
    source_ref: Required[Ref]
    action: Required[Literal["schedule", "log", "complete", "cancel", "append"]]
    activity_id: UUID | None
    activity_ref: Ref | None
    type: Name | None
    due_at: Due | None
    occurred_at: Occurred | None
    duration_min: Annotated[int, Strict(), Ge(0), Le(DURATION_MAX_MIN)] | None
    subject: Line | None
    summary: Summary | None
    notes: Text | None
    direction: Literal["inbound", "outbound"] | None
    location: Line | None
    assignee: Who | None
    actor: Who | None
    participants: Annotated[list[Who], Len(max_length=LIST_MAX)] | None
    links: Annotated[list[Annotated[Link, AfterValidator(_name_one)]], Len(max_length=LIST_MAX)] | None
    fields: Document | None
    attachments: Annotated[list[Url], Len(max_length=LIST_MAX)] | None
    first_message: Text | None
    metadata: Document | None
    kind: Literal["note", "attachment", "correction", "retraction"] | None
    text: Text | None
    url: Url | None


BODY: TypeAdapter[Body] = TypeAdapter(Body)
