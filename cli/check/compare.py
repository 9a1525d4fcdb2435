"""Comparing the truth with what each service has made of it. Each function returns what differs, as sentences."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from libs.contracts.activity import ActivityEvent
from services.reporting.domain.facts import Fact, fact_of
from services.timeline_projector.domain.lines import Head, head_of, links_of
from services.webhook_dispatcher.domain import expressions
from services.webhook_dispatcher.domain.bodies import body_of
from services.webhook_dispatcher.domain.subscriptions import GRACE

CHANGE_MARGIN = timedelta(seconds=60)
"""An event this close to a change of an endpoint may have been judged before or after it."""


def compare_versions(events: Mapping[UUID, ActivityEvent], versions: Mapping[UUID, int]) -> list[str]:
    """Versions run from 1 without gaps up to the current one; nothing has a history and no row."""
    found = []
    for activity_id, event in events.items():
        if versions.get(activity_id) != event.activity.version:
            found.append(f"activity {activity_id}: at version {event.activity.version}, but its history has gaps")
    found += [f"activity {stray}: has a history and no row" for stray in versions if stray not in events]
    return found


_WRITTEN = ("links", "own", "readers")
"""Columns of heads that are written otherwise than they are read."""


def compare_heads(events: Mapping[UUID, ActivityEvent], heads: Mapping[UUID, Any], full: bool) -> list[str]:
    """Each activity is held by the timeline at its current version, with the content of that version."""
    found = [f"timeline: activity {stray} is not in the truth" for stray in heads if stray not in events]
    for activity_id, event in events.items():
        row = heads.get(activity_id)
        if row is None:
            found.append(f"timeline: activity {activity_id} is missing")
        elif row["version"] != event.activity.version:
            found.append(_versions("timeline", event, row["version"]))
        elif full:
            head = head_of(event.activity)
            differing = [name for name in Head._fields if name not in _WRITTEN and row[name] != getattr(head, name)]
            if event.activity.summary is None and row["summary"] is None and "summary" in differing:
                differing.remove("summary")  # shown before notes stood in; it is again once the projection is rebuilt
            if head.interaction_id not in (None, row["interaction_id"]):
                differing.append("interaction_id")
            if _places(row["links"]) != _places(head.links):
                differing.append("links")
            found += [f"timeline: activity {activity_id}: {name} differs" for name in differing]
    return found


def compare_entries(events: Mapping[UUID, ActivityEvent], entries: Iterable[Any]) -> list[str]:
    """Each timeline has exactly the activities of its record, each once."""
    wanted = Counter(
        (activity_id, name, record_id, event.activity.at)
        for activity_id, event in events.items()
        for name, record_id in links_of(event.activity)
    )
    held = Counter((row["activity_id"], row["object"], row["record_id"], row["at"]) for row in entries)
    return [
        f"timeline of {name} {record_id}: activity {activity_id} stands there {held[activity_id, name, record_id, at]} "
        f"times at {at.isoformat()} instead of {wanted[activity_id, name, record_id, at]}"
        for activity_id, name, record_id, at in (wanted - held) | (held - wanted)
    ]


def compare_facts(events: Mapping[UUID, ActivityEvent], facts: Mapping[UUID, Any], full: bool) -> list[str]:
    """Each activity is held by reporting at its current version, with the content of that version."""
    found = [f"reports: activity {stray} is not in the truth" for stray in facts if stray not in events]
    for activity_id, event in events.items():
        row = facts.get(activity_id)
        if row is None:
            found.append(f"reports: activity {activity_id} is missing")
        elif row["version"] != event.activity.version:
            found.append(_versions("reports", event, row["version"]))
        elif full and tuple(row) != tuple(_as_held(fact_of(event.activity), row)):
            found.append(f"reports: activity {activity_id}: what is counted differs from the truth")
    return found


def _as_held(fact: Fact, row: Any) -> Fact:
    """Leave out what is only noted: the conversation that it follows from, and its end where there is none."""
    about = fact.interaction_id or row["interaction_id"]
    return fact._replace(interaction_id=about, deleted=row["deleted"] if about is None else fact.deleted)


def compare_receipts(
    identities: Mapping[UUID, Any], admissions: Mapping[UUID, Any], outcomes: Mapping[UUID, Any]
) -> list[str]:
    """Each accepted report has one answer, the one that lifecycle gave, and nothing else was admitted."""
    found = [f"receipt {stray}: was admitted but never accepted" for stray in admissions if stray not in identities]
    found += [
        f"receipt {stray}: has an outcome but was never accepted" for stray in outcomes if stray not in identities
    ]
    for receipt_id, identity in identities.items():
        admission, outcome = admissions.get(receipt_id), outcomes.get(receipt_id)
        if admission is None:
            if outcome is None or outcome["outcome"] != "set_aside":
                found.append(f"receipt {receipt_id}: accepted, but lifecycle has not answered")
        elif admission["activity_id"] != identity["activity_id"]:
            found.append(f"receipt {receipt_id}: admitted to another activity than was answered")
        elif outcome is None:
            found.append(f"receipt {receipt_id}: lifecycle answered {admission['outcome']}, ingest has not heard it")
        elif (outcome["outcome"], outcome["version"]) != (admission["outcome"], admission["version"]):
            found.append(
                f"receipt {receipt_id}: says {outcome['outcome']} {outcome['version']}, "
                f"lifecycle answered {admission['outcome']} {admission['version']}"
            )
    return found


class Endpoints:
    """The endpoints of a business with all their revisions, judged as of then."""

    def __init__(self, endpoints: Iterable[Any], revisions: Iterable[Any]) -> None:
        self.rows = {row["id"]: row for row in endpoints}
        self._revisions: dict[UUID, list[tuple[datetime, dict[str, Any]]]] = {}
        for row in revisions:
            self._revisions.setdefault(row["endpoint_id"], []).append((row["at"], orjson.loads(row["document"])))

    def must_hear(self, event: ActivityEvent, event_type: str) -> list[UUID]:
        """Name the endpoints that were active and matching when this version was recorded, and undoubtedly so."""
        return [id_ for id_ in self.rows if self._matched(id_, event, event_type)]

    def _matched(self, endpoint_id: UUID, event: ActivityEvent, event_type: str) -> bool:
        at = event.activity.recorded_at
        revisions = self._revisions.get(endpoint_id, [])
        if any(abs(changed - at) < CHANGE_MARGIN for changed, _ in revisions[1:]):
            return False
        row = self.rows[endpoint_id]
        if at < row["created_at"] - GRACE or (row["deleted_at"] and at > row["deleted_at"] - CHANGE_MARGIN):
            return False
        if abs(at - row["created_at"]) < GRACE * 2:
            return False
        document = next((document for changed, document in reversed(revisions) if changed <= at), None)
        return document is not None and document["status"] == "active" and _passes(document, event, event_type)


def _passes(document: Mapping[str, Any], event: ActivityEvent, event_type: str) -> bool:
    activity = event.activity
    wanted, records = document["activity_objects"], document.get("record_objects")
    expression = document.get("expression")
    return (
        event_type in document["event_types"]
        and (not document["sources"] or activity.source in document["sources"])
        and (not wanted or activity.type in wanted or str(activity.type_id) in wanted)
        and (not records or any(link.object in records for link in activity.links))
        and (not expression or _holds(expression, event, event_type))
    )


def _holds(expression: str, event: ActivityEvent, event_type: str) -> bool:
    try:
        return expressions.holds(expression, expressions.seen_of(body_of(event, event_type)))
    except expressions.Failed:
        return False


def compare_deliveries(endpoints: Endpoints, events: Iterable[ActivityEvent], deliveries: Iterable[Any]) -> list[str]:
    """Each logged version is owed to each endpoint that was to hear of it; nothing else is owed to anybody.

    `events` are the versions by which activities became logged or were appended to.
    """
    held = {(row["endpoint_id"], row["activity_id"], row["event_type"], row["version"]) for row in deliveries}
    logged = {(event.activity.activity_id, event.activity.version): event for event in events}
    found = []
    for (activity_id, version), event in logged.items():
        for event_type in _types(event):
            owed = (
                (endpoint_id, activity_id, event_type, version)
                for endpoint_id in endpoints.must_hear(event, event_type)
            )
            found += [f"webhooks: {_owed(each)}, but is not" for each in owed if each not in held]
    for each in sorted(held, key=str):
        event_then = logged.get((each[1], each[3]))
        if event_then is None or each[2] not in _types(event_then):
            found.append(f"webhooks: {_owed(each)}, but never was so")
    return found


def _owed(delivery: tuple[UUID, UUID, str, int]) -> str:
    endpoint_id, activity_id, event_type, version = delivery
    return f"{event_type} of {activity_id} version {version} is owed to endpoint {endpoint_id}"


def _types(event: ActivityEvent) -> tuple[str, ...]:
    if event.change.type == "activity.appended":
        return ("activity.appended",)
    return ("activity.logged",) if event.activity.completed_at is None else ("activity.logged", "activity.completed")


def _places(links: bytes) -> set[tuple[str, str]]:
    return {(name, record_id) for name, record_id in orjson.loads(links)}


def _versions(where: str, event: ActivityEvent, held: int) -> str:
    activity = event.activity
    return f"{where}: activity {activity.activity_id} is at version {held}, the truth at {activity.version}"
