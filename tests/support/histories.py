"""Activities and their versions for tests of projections: any events, in any order, any number of times."""

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from libs.contracts.activity import Activity, ActivityEvent, Assignee, Change, Link, Person
from libs.contracts.ids import preset_id_of, uuid7

START = datetime(2026, 3, 1, tzinfo=UTC)
TYPES = ("call", "email", "meeting")


def activity(business_id: UUID, **more: Any) -> Activity:
    """Make an activity at version 1: logged directly unless `more` says otherwise."""
    name = more.pop("type", "call")
    at = more.get("at") or more.get("occurred_at") or more.get("due_at") or START
    fields: dict[str, Any] = {
        "business_id": business_id, "activity_id": uuid7(), "version": 1, "type": name,
        "type_id": preset_id_of(business_id, "activity_object", name), "type_name": name.title(),
        "at": at, "created_at": START, "recorded_at": START, "occurred_at": at, "logged_at": at,
        "source": "crm", "source_kind": "external",
    }  # fmt: skip
    return Activity(**fields | more)


def planned(business_id: UUID, **more: Any) -> Activity:
    """Make a scheduled activity at version 1; undated unless `more` names `due_at`."""
    at = more.get("due_at") or START
    given = {"planned_at": START, "occurred_at": None, "logged_at": None, "at": at}
    return activity(business_id, **given | more)


def event(state: Activity, kind: str = "activity.updated") -> ActivityEvent:
    """Tell of an activity's state."""
    return ActivityEvent(activity=state, change=Change(type=kind))


def next_version(state: Activity, **more: Any) -> Activity:
    """Make the next version of an activity; a planned one that is logged is completed."""
    if state.planned_at is not None and more.get("logged_at") is not None:
        more.setdefault("completed_at", more["logged_at"])
    return Activity(**state.model_dump() | {"version": state.version + 1} | more)


def history(business_id: UUID, chance: random.Random, records: list[UUID]) -> list[Activity]:
    """Make up the life of one activity: planned or logged, moved, relinked, cancelled, retracted, deleted, restored."""
    due = START + timedelta(minutes=chance.randrange(60 * 24 * 40))
    links = _links(chance, records)
    first = planned if chance.random() < 0.6 else activity
    more: dict[str, Any] = {"links": links, "type": chance.choice(TYPES), "source": chance.choice(["crm", "pbx"])}
    if chance.random() < 0.9:
        more |= {"due_at": due} if first is planned else {"occurred_at": due, "logged_at": due, "at": due}
    if chance.random() < 0.5:
        more |= {"direction": chance.choice(["inbound", "outbound"]), "actor": Person(name=chance.choice("ABC"))}
    elif chance.random() < 0.5:
        more["assignee"] = Assignee(member_id=chance.choice(records))
    versions = [first(business_id, **more)]
    for _ in range(chance.randrange(4)):
        versions.append(_later(versions[-1], chance, records))
    return versions


def _later(state: Activity, chance: random.Random, records: list[UUID]) -> Activity:
    if state.deleted_at is not None:
        return next_version(state, deleted_at=None)
    moment = START + timedelta(minutes=chance.randrange(60 * 24 * 40))
    if chance.random() < 0.15:
        return next_version(state, deleted_at=moment)
    if state.logged_at is not None:
        return next_version(state, **{} if chance.random() < 0.5 else {"retracted_at": moment})
    if chance.random() < 0.3:
        return next_version(state, links=_links(chance, records))
    if chance.random() < 0.2:
        return next_version(state, cancelled_at=None if state.cancelled_at else moment)
    if chance.random() < 0.3:
        return next_version(state, due_at=moment, at=moment)
    return next_version(state, occurred_at=moment, logged_at=moment, at=moment, cancelled_at=None)


def _links(chance: random.Random, records: list[UUID]) -> list[Link]:
    links = [Link(object="contact", record_id=record_id) for record_id in chance.sample(records, k=chance.randrange(3))]
    if chance.random() < 0.2:
        links.append(Link(object=chance.choice(["contact", "lead"]), all=True))
    return links


def shuffled_batches(states: Iterable[Activity], chance: random.Random, size: int = 7) -> list[list[ActivityEvent]]:
    """Tell of every state twice, in any order, in batches."""
    events = [event(state) for state in states for _ in range(2)]
    chance.shuffle(events)
    return [events[start : start + size] for start in range(0, len(events), size)]
