"""What of an activity is shown, and on whose timelines."""

import html
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from libs.contracts.activity import Activity, Link, Times, links_shown, own_of, readers_of, state_of, team_of
from libs.contracts.agent import agent_of
from libs.contracts.ids import quick, record_id_of

EVERY = UUID(int=0)
"""Stands for all records of an object."""

ActivityKey = tuple[UUID, UUID]
"""Business and activity."""

InteractionKey = tuple[UUID, UUID]
"""Business and interaction."""

EXCERPT_MAX = 200
"""Characters of a note that stand in for a summary."""
_TAG = re.compile(r"<[^>]*>")


READ = (
    "business_id", "activity_id", "version", "at", "type", "type_id", "type_name", "subject", "summary", "source",
    "source_kind", "direction", "created_at", "planned_at", "due_at", "occurred_at", "logged_at", "completed_at",
    "cancelled_at", "retracted_at", "deleted_at", "interaction_id", "assignee", "actor", "created_by", "logged_by",
    "participants", "links", "privacy", "same", "same_as", "notes",
)  # fmt: skip
"""What `head_of` reads of an activity."""


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
    interaction_id: UUID | None
    assignee_member_id: UUID | None
    assignee_role_id: UUID | None
    same: str | None
    team_of: UUID | None
    own: str
    readers: str | None


class Placed(NamedTuple):
    """Where an activity is shown: what its entries follow from. `links`: [[object, record id], …] as JSON."""

    at: datetime
    upcoming: bool
    links: bytes
    interaction_id: UUID | None = None


class Entry(NamedTuple):
    """A line of a timeline, in the order of its columns."""

    business_id: UUID
    object: str
    record_id: UUID
    at: datetime
    activity_id: UUID
    upcoming: bool


def summary_of(activity: Activity) -> str | None:
    """Say in short what an activity says: its summary, or the beginning of its note where it has no subject either."""
    if activity.summary is not None or activity.subject is not None or not activity.notes:
        return activity.summary
    plain = " ".join(html.unescape(_TAG.sub(" ", activity.notes)).split())
    return (plain if len(plain) <= EXCERPT_MAX else f"{plain[: EXCERPT_MAX - 1]}…") or None


def head_of(activity: Activity) -> Head:
    """Take from an activity what is stored of it; the texts of one that not everybody may see stay where it is."""
    public = activity.privacy == "public"
    return Head(
        activity.business_id,
        activity.activity_id,
        activity.version,
        activity.at,
        activity.logged_at is None and activity.cancelled_at is None,
        orjson.dumps(links_of(activity), default=str),
        activity.type,
        activity.type_id,
        activity.type_name,
        activity.subject if public else None,
        summary_of(activity) if public else None,
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
        activity.interaction_id,
        activity.assignee.member_id if activity.assignee is not None else None,
        activity.assignee.role_id if activity.assignee is not None else None,
        _same_of(activity),
        team_of(activity),
        f"{{{','.join(map(str, own_of(activity)))}}}",
        None if (readers := readers_of(activity)) is None else f"{{{','.join(map(str, readers))}}}",
    )


def links_of(activity: Activity) -> list[tuple[str, UUID]]:
    """Name the places where it is shown: none when deleted, or when another one stands for the event it tells of."""
    return [] if activity.deleted_at is not None else places_of(activity.business_id, links_shown(activity))


def _same_of(activity: Activity) -> str | None:
    """Write down which other reports tell of the event that it stands for."""
    if not activity.same or activity.same_as is not None:
        return None
    told = [{name: getattr(other, name) for name in _SAME} for other in activity.same]
    return orjson.dumps(told, default=str, option=orjson.OPT_UTC_Z).decode()


def places_of(business_id: UUID, links: Sequence[Link]) -> list[tuple[str, UUID]]:
    """Name the places that links lead to, each once; all records of an object cover each of them."""
    whole = {link.object for link in links if link.all}
    places: dict[tuple[str, UUID], None] = {}
    for link in links:
        record_id = EVERY if link.object in whole else link.record_id
        if record_id is None and link.external_ref is not None:
            record_id = record_id_of(business_id, link.object, link.external_ref)
        if record_id is not None:
            places[link.object, record_id] = None
    return list(places)


def moves(
    shown: Mapping[ActivityKey, Head | Placed], earlier: Mapping[ActivityKey, Placed | None]
) -> tuple[list[Entry], list[Entry]]:
    """Tell which entries go and which come, for the activities that are shown otherwise (None: was never seen)."""
    gone: list[Entry] = []
    come: list[Entry] = []
    for key, placed in earlier.items():
        now = _entries(key, shown[key])
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
        Entry(business_id, name, quick(record_id), shown.at, activity_id, shown.upcoming)
        for name, record_id in orjson.loads(shown.links)
    ]


def line_of(row: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Write a line of a timeline as it is answered; its state follows from its times and `now`.

    A conversation that became an activity is that activity's line, with its `interaction_id`. `same`: the other reports
    of the same event.
    """
    if row["version"] == 0 or row["deleted_at"] is not None:
        return _line_of_conversation(row)
    times = Times.model_construct(**{name: row[name] for name in Times.model_fields})
    return {
        "kind": "activity",
        "id": str(row["activity_id"]),
        "activity_id": str(row["activity_id"]),
        "interaction_id": None if row["interaction_id"] is None else str(row["interaction_id"]),
        "state": state_of(times, now),
        **{name: row[name] for name in _ANSWERED},
        "merged_from": row.get("merged_from"),
        "same": [] if row["same"] is None else orjson.loads(row["same"]),
    }


def _line_of_conversation(row: Mapping[str, Any]) -> dict[str, Any]:
    """Write the line of a conversation that is no activity: logged, from its beginning on, by its first message."""
    return {
        **dict.fromkeys(_ANSWERED),
        "kind": "interaction",
        "id": str(row["interaction_id"]),
        "activity_id": None,
        "interaction_id": str(row["interaction_id"]),
        "state": "logged",
        "type": row["talk_type"],
        "type_name": row["type_name"] or row["talk_type"].title(),
        "icon": row["icon"],
        "colour": row["colour"],
        "at": row["opened_at"],
        "summary": row["first_message"],
        "source": row["talk_source"],
        "source_kind": "interaction",
        "direction": row["talk_direction"],
        "agent": row["talk_agent"],
        "version": row["talk_version"],
        "created_at": row["closed_at"],
        "occurred_at": row["opened_at"],
        "logged_at": row["closed_at"],
        "merged_from": row.get("merged_from"),
        "same": [],
    }


_SAME = (
    "activity_id", "source", "source_kind", "logged_at", "occurred_at", "linked_at", "linked_by", "agreed", "gap_s",
    "differs",
)  # fmt: skip
_ANSWERED = (
    "type", "type_name", "icon", "colour", "at", "subject", "summary", "source", "source_kind", "direction", "agent",
    "version", "created_at", "due_at", "occurred_at", "logged_at", "completed_at", "cancelled_at", "retracted_at",
)  # fmt: skip
