"""What a list of activities shows, and where one of its pages begins."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from libs.access.sight import Sight


@dataclass(frozen=True, slots=True)
class Filter:
    """Which scheduled activities to list. Instants are inclusive below and exclusive above.

    `sight`: what the caller sees; None: everything. `reader_id`: from whom some are hidden; None: from nobody.
    `assigned`: only what is assigned to one of `member_ids` or `role_ids`, also where both are empty.
    """

    search: str | None = None
    due_from: datetime | None = None
    due_before: datetime | None = None
    assigned: bool = False
    member_ids: tuple[UUID, ...] = ()
    role_ids: tuple[UUID, ...] = ()
    completed: bool | None = None
    overdue: bool | None = None
    type_id: UUID | None = None
    ordering: str = "due_datetime"
    sight: Sight | None = None
    reader_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class LoggedFilter:
    """Which logged activities of one object to list. Instants are inclusive below and exclusive above."""

    type_id: UUID
    logged_from: datetime | None = None
    logged_before: datetime | None = None
    completed: bool | None = None
    retracted: bool | None = None
    ordering: str = "-logged_at"
    sight: Sight | None = None
    reader_id: UUID | None = None


class Place(NamedTuple):
    """A row of a list, by what orders it (None: undated); a page begins after it, or ends before it (`backward`)."""

    backward: bool
    key: datetime | None
    activity_id: UUID


class Page(NamedTuple):
    """A page: so many rows, at a place, or after so many others."""

    size: int
    skip: int = 0
    place: Place | None = None


class Count(NamedTuple):
    """How many rows a list has. Beyond what is looked at for it, the number is an estimate."""

    number: int
    is_estimate: bool = False


def schedule_of(now: datetime, delay_min: int) -> datetime:
    """Return when something is due that is to be done `delay_min` minutes from now."""
    return now + timedelta(minutes=delay_min)
