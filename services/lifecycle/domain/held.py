"""An activity as lifecycle holds it, and how what several reports say about it is put together.

Each field remembers who gave it: a plan, a report's `complete`, or a `log`. What comes with the same or a higher rank
replaces it, what comes with a lower rank does not, so that every order of the same reports ends in the same activity.
All else (`completed_at`, `cancelled_at` of a logged one, `at`) is derived from what was given.
"""

from collections.abc import Mapping
from datetime import date, datetime
from functools import lru_cache
from typing import Any, Literal, NamedTuple, cast
from uuid import UUID

import msgspec

from libs.contracts import activity as contract
from libs.contracts.decoding import struct_of
from libs.contracts.report import Reason as ReasonShape
from services.lifecycle.domain.chain import GENESIS

Activity = struct_of(contract.Activity)
ActivityEvent = struct_of(contract.ActivityEvent)
Append = struct_of(contract.Append)
Assignee = struct_of(contract.Assignee)
Change = struct_of(contract.Change)
Link = struct_of(contract.Link)
Person = struct_of(contract.Person)
Reason = struct_of(ReasonShape)
SameReport = struct_of(contract.SameReport)

PLAN, COMPLETE, LOG = 1, 2, 3
HEARD = {COMPLETE: 1, LOG: 2}
"""Bits of `heard`: which reports have logged it. A request that logs it leaves nothing to be heard."""
BY_REQUEST = 4

_TOGETHER = (
    ("type", "type_id", "type_name"), ("due_at", "due_date"), ("planned_at", "created_by", "original_due_at"),
    ("occurred_at",), ("logged_at",), ("logged_by",), ("duration_min",), ("subject",), ("summary",), ("notes",),
    ("direction",), ("location",), ("assignee",), ("actor",), ("participants",), ("links",), ("fields",),
    ("attachments",), ("first_message",), ("metadata",), ("mentions",), ("notify_mentioned",), ("notifications",),
    ("privacy",),
)  # fmt: skip
SHIFT = {name: 2 * place for place, names in enumerate(_TOGETHER) for name in names}
"""Where a field's rank stands in `said`. Fields in one group are given together. New groups go to the end."""
SAYINGS_KEPT = 1_024
"""Sets of fields that were given together whose `said` is kept."""


class Held(NamedTuple):
    """An activity with what is remembered beside it: which reports have logged it, who gave each field, and the hash
    of the version that was read.
    """

    activity: contract.Activity
    heard: int = 0
    said: int = 0
    hash: bytes = GENESIS


class Subject(NamedTuple):
    """Which activity: the identity of one that may not exist yet."""

    business_id: UUID
    activity_id: UUID
    source: str = "api"
    source_kind: contract.SourceKind = "manual"
    source_ref: str | None = None
    follows_id: UUID | None = None
    series_id: UUID | None = None
    occurs_on: date | None = None


class Told(NamedTuple):
    """What a report or request says about an activity, references resolved; `content` has only fields it gives.

    `at` is when it was received, `now` when it is being recorded.
    """

    rank: int
    at: datetime
    now: datetime
    by: contract.Person | None
    content: dict[str, Any]


Linked = Mapping[tuple[str, UUID], dict[str, Any]]
"""Values of linked fields by the record they live on (object, id), there by the record's own names."""


class Decision(NamedTuple):
    """What becomes of a report or request. `types` are the events of the new version, if there is one;
    `addition` is what an append added, `linked` the values that live on records.
    """

    outcome: Literal["applied", "unchanged", "waiting", "refused"]
    held: Held | None
    types: tuple[str, ...] = ()
    why: str | None = None
    reasons: tuple[ReasonShape, ...] = ()
    addition: contract.Append | None = None
    linked: Linked = {}  # noqa: RUF012 - never written to


def unchanged(held: Held) -> Decision:
    """Decide that nothing changes."""
    return Decision("unchanged", held)


def waiting(held: Held | None, code: str, message: str) -> Decision:
    """Decide to wait for something that may still be reported."""
    return Decision("waiting", held, reasons=(Reason(field="activity_id", code=code, message=message),))


def refused(held: Held | None, *reasons: ReasonShape) -> Decision:
    """Decide to refuse, with all reasons."""
    return Decision("refused", held, reasons=reasons)


def begin(subject: Subject, told: Told, heard: int) -> Held:
    """Make version 1 from what was told; `content` must hold the type."""
    activity = Activity(
        business_id=subject.business_id,
        activity_id=subject.activity_id,
        version=1,
        at=told.now,
        created_at=told.now,
        recorded_at=told.now,
        source_kind=subject.source_kind,
        source=subject.source,
        source_ref=subject.source_ref,
        follows_id=subject.follows_id,
        series_id=subject.series_id,
        occurs_on=subject.occurs_on,
        **told.content,
    )
    _derive(activity, heard)
    return Held(activity, heard, _said_by(told.rank, tuple(told.content)))


@lru_cache(SAYINGS_KEPT)
def _said_by(rank: int, names: tuple[str, ...]) -> int:
    """Note that all these fields were given with one rank; reports of one kind give the same ones."""
    said = 0
    for name in names:
        said |= rank << SHIFT[name]
    return said


def merge(held: Held, told: Told, heard: int = 0) -> Held | None:
    """Put what was told into the next version; None when nothing changes by it."""
    activity, said = next_version(held, told.now), held.said
    for name, value in told.content.items():
        shift = SHIFT[name]
        if held.said >> shift & 3 <= told.rank:
            setattr(activity, name, value)
            said = said & ~(3 << shift) | told.rank << shift
    heard |= held.heard
    _derive(activity, heard)
    return None if _says_the_same(activity, held.activity) else held._replace(activity=activity, heard=heard, said=said)


def next_version(held: Held, now: datetime, **changes: Any) -> contract.Activity:
    """Copy the activity with the next version's number and time."""
    version = held.activity.version + 1
    copy = msgspec.structs.replace(cast(Any, held.activity), version=version, recorded_at=now, **changes)
    return cast(contract.Activity, copy)


def _derive(activity: Any, heard: int) -> None:
    """Set what follows from what was given, on an activity that nobody else has yet."""
    if activity.logged_at is not None:
        activity.cancelled_at = None
        if activity.planned_at is not None or heard & HEARD[COMPLETE]:
            activity.completed_at, activity.completed_by = activity.logged_at, activity.logged_by
        activity.at = activity.occurred_at or activity.logged_at
    else:
        activity.at = activity.due_at or activity.created_at


def _says_the_same(later: Any, earlier: contract.Activity) -> bool:
    """Compare all but version and time. `later` belongs to nobody else yet, so it may wear theirs meanwhile."""
    version, recorded_at = later.version, later.recorded_at
    later.version, later.recorded_at = earlier.version, earlier.recorded_at
    same = bool(later == earlier)
    later.version, later.recorded_at = version, recorded_at
    return same
