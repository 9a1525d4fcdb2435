"""Request bodies. Both names of the same thing are accepted; `read` brings them under one."""

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AliasChoices, BeforeValidator, Field, TypeAdapter

from libs.contracts.activity import AppendKind, Direction
from libs.service.body import YEAR_MAX, YEAR_MIN, Body, Line, Moment, Text

LINKS_MAX = 50
MENTIONS_MAX = 100
NOTIFICATIONS_MAX = 20
FIELDS_MAX = 200
TEXT_MAX = 50_000

_moment: TypeAdapter[datetime] = TypeAdapter(Moment)


def _read_moment(value: Any) -> Any:
    if value is not None and not isinstance(value, str):
        raise ValueError("must be an instant with an offset, such as 2026-01-31T09:00:00Z")
    return None if value is None else _moment.validate_python(value)


def _read_due(value: Any) -> Any:
    if not isinstance(value, str) or len(value) != 10:
        return _read_moment(value)
    try:
        day = date.fromisoformat(value)
    except ValueError:
        raise ValueError("must be a day, such as 2026-01-31, or an instant with an offset") from None
    if not YEAR_MIN <= day.year < YEAR_MAX:
        raise ValueError(f"must lie between the years {YEAR_MIN} and {YEAR_MAX}")
    return day


When = Annotated[datetime | None, BeforeValidator(_read_moment)]
Due = Annotated[datetime | date | None, BeforeValidator(_read_due)]


class ObjectName(Body):
    """A record object inside a link: by id or by api_name."""

    id: Annotated[str, Line(255)] | None = None
    api_name: Annotated[str, Line(255)] | None = Field(None, validation_alias=AliasChoices("api_name", "name"))


class Entity(Body):
    """A record the activity is about, or all records of an object."""

    custom_object: Annotated[str, Line(255)] | ObjectName = Field(
        validation_alias=AliasChoices("custom_object", "object", "custom_object_id")
    )
    entity_id: UUID | None = Field(None, validation_alias=AliasChoices("entity_id", "record_id"))
    all: bool = False

    @property
    def object_text(self) -> str:
        """The object's id or api_name."""
        named = self.custom_object
        return named if isinstance(named, str) else named.id or named.api_name or ""


class Notification(Body):
    """A reminder asked for."""

    type: Annotated[str, Line(50)]
    time_amount: Annotated[int, Field(strict=True, ge=0, le=100_000)]
    time_unit: Literal["minutes", "hours", "days", "weeks"]


_NOTE = AliasChoices("note", "notes")
_ENTITIES = AliasChoices("associated_entities", "related_objects")
Mentions = Annotated[list[UUID], Field(max_length=MENTIONS_MAX)]
Entities = Annotated[list[Entity], Field(max_length=LINKS_MAX)]


class FieldValue(Body):
    """The value of one of the object's own fields."""

    id: Annotated[str, Line(255)]
    value: Any = None


class Said(Body):
    """What plans and logs have in common."""

    notes: Annotated[str, Text(TEXT_MAX)] | None = Field(None, validation_alias=_NOTE)
    mentions: Mentions = Field(default_factory=list)
    subject: Annotated[str, Line(500)] | None = None
    summary: Annotated[str, Text(5_000)] | None = None
    location: Annotated[str, Line(500)] | None = None
    direction: Direction | None = None
    duration_min: Annotated[int, Field(strict=True, ge=0, le=1_000_000)] | None = None
    fields: list[FieldValue] = Field(default_factory=list, max_length=FIELDS_MAX)


class RecurrenceBody(Body):
    """A recurrence: a rule of RFC 5545 as text, or with how it goes on. `zone`: the assignee's where it is left out.

    `one_open`: the next occurrence is made when the newest is logged, cancelled or deleted; `fixed`: 30 days ahead.
    """

    rule: Annotated[str, Line(500)]
    mode: Literal["one_open", "fixed"] = "one_open"
    zone: Annotated[str, Line(100)] | None = None


def _read_recurrence(value: Any) -> Any:
    return {"rule": value} if isinstance(value, str) else value


Recurrence = Annotated[RecurrenceBody | None, BeforeValidator(_read_recurrence)]
Scope = Literal["this", "following", "all"]
"""Which occurrences a change is about: this one, this and those that follow, or all that are open."""


class PlanBody(Said):
    """A schedule; for PUT and PATCH of one as well. Its type is create-only."""

    activity_object_id: UUID | None = None
    activity_object_name: Annotated[str, Line(255)] | None = None
    due_datetime: Due = None
    original_due_datetime: When = None
    employee_id: UUID | None = None
    role_id: UUID | None = None
    notify_mentioned: bool = False
    notifications: list[Notification] = Field(default_factory=list, max_length=NOTIFICATIONS_MAX)
    associated_entities: Entities = Field(default_factory=list, validation_alias=_ENTITIES)
    recurrence: Recurrence = None


class SkipBody(Body):
    """A day to leave out of a recurrence."""

    date: date


class NotesBody(Body):
    """The note of a scheduled activity, alone."""

    notes: Annotated[str, Text(TEXT_MAX)] | None = Field(validation_alias=_NOTE)


class LogBody(Said):
    """A log, directly or completing what was scheduled."""

    related_objects: Entities = Field(validation_alias=AliasChoices("related_objects", "associated_entities"))
    scheduled_activity_id: UUID | None = None
    occurred_at: When = None


class AppendBody(Body):
    """An addition to a logged activity."""

    kind: AppendKind
    text: Annotated[str, Text(TEXT_MAX)] | None = None
    fields: dict[Annotated[str, Line(255)], Any] | None = Field(None, max_length=FIELDS_MAX)
    url: Annotated[str, Line(2_000)] | None = Field(None, pattern=r"^https?://")
