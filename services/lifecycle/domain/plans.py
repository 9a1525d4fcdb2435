"""What a list of scheduled activities shows."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from libs.access.sight import Sight


@dataclass(frozen=True, slots=True)
class Filter:
    """Which scheduled activities to list. Instants are inclusive below and exclusive above.

    `sight`: what the caller sees; None: everything.
    """

    search: str | None = None
    due_from: datetime | None = None
    due_before: datetime | None = None
    member_ids: tuple[UUID, ...] = ()
    role_ids: tuple[UUID, ...] = ()
    completed: bool | None = None
    overdue: bool | None = None
    type_id: UUID | None = None
    ordering: str = "due_datetime"
    sight: Sight | None = None


def schedule_of(now: datetime, delay_min: int) -> datetime:
    """Return when something is due that is to be done `delay_min` minutes from now."""
    return now + timedelta(minutes=delay_min)
