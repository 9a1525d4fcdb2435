"""Who is told what: event types, filters, and from when on."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args
from uuid import UUID

from libs.contracts.activity import ActivityEvent
from libs.errors import Rejected
from services.webhook_dispatcher.domain import bodies, expressions

ActivityEventType = Literal["activity.logged", "activity.completed", "activity.appended"]
EventType = Literal[
    "activity.logged", "activity.completed", "activity.appended",
    "webhook.endpoint.failing", "webhook.endpoint.disabled", "webhook.endpoint.enabled",
]  # fmt: skip
TYPES: tuple[str, ...] = get_args(EventType)
GRACE = timedelta(seconds=5)
"""A version recorded this long before an endpoint was made is still told to it: clocks differ, requests overlap."""


@dataclass(frozen=True, slots=True)
class Subscriber:
    """What decides whether an endpoint is told, and what it takes to do so; an empty filter lets everything through.

    `secrets` are sealed. One that is paused (not `active`) is owed its deliveries and gets them later; what a
    `disabled` one misses is kept, so that it may be replayed.
    """

    business_id: UUID
    endpoint_id: UUID
    created_at: datetime
    event_types: frozenset[str]
    sources: frozenset[str]
    activity_objects: frozenset[str]
    record_objects: frozenset[str] = frozenset()
    expression: str = ""
    thin: bool = False
    url: str = ""
    secrets: tuple[bytes, ...] = ()
    active: bool = False
    disabled: bool = False


def types_of(event: ActivityEvent) -> tuple[ActivityEventType, ...]:
    """Name the webhook event types that follow from an event. Raises Rejected for an activity that is not logged.

    A scheduled activity alone never fires anything (domain notes, rules of the life).
    """
    change, activity = event.change.type, event.activity
    if change not in ("activity.completed", "activity.appended"):
        return ()
    if activity.logged_at is None:
        raise Rejected(
            f"{change} of activity {activity.activity_id} version {activity.version} has no logged_at: "
            "an activity that did not happen is told to nobody"
        )
    if change == "activity.appended":
        return ("activity.appended",)
    return ("activity.logged",) if activity.completed_at is None else ("activity.logged", "activity.completed")


def matches(subscriber: Subscriber, event: ActivityEvent, event_type: str) -> bool:
    """Tell whether an endpoint is to hear of this version, its expression apart."""
    activity = event.activity
    return (
        event_type in subscriber.event_types
        and activity.recorded_at >= subscriber.created_at - GRACE
        and (not subscriber.sources or activity.source in subscriber.sources)
        and (not subscriber.activity_objects or _is_of(activity.type, activity.type_id, subscriber.activity_objects))
        and (not subscriber.record_objects or any(link.object in subscriber.record_objects for link in activity.links))
    )


Failures = dict[tuple[UUID, UUID], tuple[int, str]]
"""By (business, endpoint): how often an expression had no answer, and why the last time."""


def who_hears(
    subscribers: Sequence[Subscriber], event: ActivityEvent, event_type: str, failures: Failures
) -> list[Subscriber]:
    """List the endpoints that are to hear of this version. Expressions that have no answer for it go to `failures`."""
    matching = [one for one in subscribers if matches(one, event, event_type)]
    if not any(one.expression for one in matching):
        return matching
    seen = expressions.seen_of(bodies.body_of(event, event_type))
    return [one for one in matching if not one.expression or _holds(one, seen, failures)]


def _holds(subscriber: Subscriber, seen: expressions.Seen, failures: Failures) -> bool:
    try:
        return expressions.holds(subscriber.expression, seen)
    except expressions.Failed as failed:
        key = (subscriber.business_id, subscriber.endpoint_id)
        failures[key] = (failures.get(key, (0, ""))[0] + 1, str(failed))
        return False


def _is_of(type_name: str, type_id: UUID, wanted: frozenset[str]) -> bool:
    return type_name in wanted or str(type_id) in wanted


def is_too_old(recorded_at: datetime, now: datetime, kept_days: int) -> bool:
    """Tell whether a version was recorded before the oldest day whose events are kept."""
    return recorded_at < now - timedelta(days=kept_days)


def subscribers_by_business(subscribers: Sequence[Subscriber]) -> dict[UUID, list[Subscriber]]:
    """Group endpoints by their business."""
    grouped: dict[UUID, list[Subscriber]] = {}
    for subscriber in subscribers:
        grouped.setdefault(subscriber.business_id, []).append(subscriber)
    return grouped
