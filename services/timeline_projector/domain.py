"""What of an activity is shown, and on whose timelines. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from libs.contracts.activity import Activity, ActivityEvent, Times, newest_of, state_of
from libs.contracts.agent import agent_of
from libs.contracts.ids import record_id_of

EVERY = UUID(int=0)
"""Stands for all records of an object."""

ActivityKey = tuple[UUID, UUID]
"""Business and activity."""


class Head(NamedTuple):
    """What is stored of an activity, in the order of its columns."""

    business_id: UUID
    activity_id: UUID
    version: int
    at: datetime
    upcoming: bool
    links: bytes
    type: str
    type_id: UUID
    type_name: str
    subject: str | None
    summary: str | None
    source: str
    source_kind: str
    direction: str | None
    agent: str | None
    created_at: datetime
    planned_at: datetime | None
    due_at: datetime | None
    occurred_at: datetime | None
    logged_at: datetime | None
    completed_at: datetime | None
    cancelled_at: datetime | None
    retracted_at: datetime | None
    deleted_at: datetime | None


class Placed(NamedTuple):
    """Where an activity was shown before: the columns of its head that its entries follow from."""

    at: datetime
    upcoming: bool
    links: bytes


class Entry(NamedTuple):
    """A line of a timeline, in the order of its columns."""

    business_id: UUID
    object: str
    record_id: UUID
    at: datetime
    activity_id: UUID
    upcoming: bool


def newest_heads(events: Sequence[ActivityEvent]) -> dict[ActivityKey, Head]:
    """Make the head of each activity from its highest version."""
    return {key: head_of(activity) for key, activity in newest_of(events).items()}


def head_of(activity: Activity) -> Head:
    """Take from an activity what is stored of it."""
    return Head(
        activity.business_id,
        activity.activity_id,
        activity.version,
        activity.at,
        activity.logged_at is None and activity.cancelled_at is None,
        orjson.dumps(links_of(activity)),
        activity.type,
        activity.type_id,
        activity.type_name,
        activity.subject,
        activity.summary,
        activity.source,
        activity.source_kind,
        activity.direction,
        agent_of(activity),
        activity.created_at,
        activity.planned_at,
        activity.due_at,
        activity.occurred_at,
        activity.logged_at,
        activity.completed_at,
        activity.cancelled_at,
        activity.retracted_at,
        activity.deleted_at,
    )


def links_of(activity: Activity) -> list[tuple[str, UUID]]:
    """Name the places where it is shown, each once: none when deleted; all records of an object cover each of them."""
    if activity.deleted_at is not None:
        return []
    whole = {link.object for link in activity.links if link.all}
    places: dict[tuple[str, UUID], None] = {}
    for link in activity.links:
        record_id = EVERY if link.object in whole else link.record_id
        if record_id is None and link.external_ref is not None:
            record_id = record_id_of(activity.business_id, link.object, link.external_ref)
        if record_id is not None:
            places[link.object, record_id] = None
    return list(places)


def moves(
    heads: Mapping[ActivityKey, Head], earlier: Mapping[ActivityKey, Placed | None]
) -> tuple[list[Entry], list[Entry]]:
    """Tell which entries go and which come, for the activities that got newer (None: was never seen)."""
    gone: list[Entry] = []
    come: list[Entry] = []
    for key, placed in earlier.items():
        head = heads[key]
        now = _entries(key, head)
        if placed is None:
            come += now
            continue
        before = _entries(key, placed)
        gone += [entry for entry in before if entry not in now]
        come += [entry for entry in now if entry not in before]
    return gone, come


def _entries(key: ActivityKey, shown: Head | Placed) -> list[Entry]:
    if shown.links == b"[]":
        return []
    business_id, activity_id = key
    return [
        Entry(business_id, name, UUID(record_id), shown.at, activity_id, shown.upcoming)
        for name, record_id in orjson.loads(shown.links)
    ]


def line_of(row: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Write a line of a timeline as it is answered; its state follows from its times and `now`."""
    times = Times.model_construct(**{name: row[name] for name in Times.model_fields})
    return {
        "kind": "activity",
        "id": str(row["activity_id"]),
        "activity_id": str(row["activity_id"]),
        "interaction_id": None,
        "state": state_of(times, now),
        **{name: row[name] for name in _ANSWERED},
    }


_ANSWERED = (
    "type", "type_name", "icon", "colour", "at", "subject", "summary", "source", "source_kind", "direction", "agent",
    "version", "created_at", "due_at", "occurred_at", "logged_at", "completed_at", "cancelled_at", "retracted_at",
)  # fmt: skip
