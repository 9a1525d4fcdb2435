"""The topics: what travels on each, how it is keyed, how long it is kept."""

from dataclasses import dataclass

from libs.contracts.activity import ActivityEvent
from libs.contracts.activity_object import ActivityObject
from libs.contracts.directory import ApiKey, Business, Member, Record, RecordObject, Role
from libs.contracts.event import Event
from libs.contracts.interaction import InteractionClosed
from libs.contracts.record import RecordChanged, RecordRefused, RecordRequested
from libs.contracts.report import ReportAnswered, ReportReceived
from libs.contracts.webhook_endpoint import WebhookEndpoint


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic. `kept_days` is None where it is compacted: then the latest state of each key is kept for good."""

    name: str
    model: type[Event]
    types: tuple[str, ...]
    kept_days: int | None


CHANGED_TYPES = tuple(
    f"activity.{word}"
    for word in ("updated", "rescheduled", "reassigned", "cancelled", "restored", "deleted", "erased", "state")
)

ENDPOINT_TYPES = tuple(f"webhook.endpoint.{word}" for word in ("failing", "disabled", "enabled"))

TOPICS: tuple[Topic, ...] = (
    Topic("activity.received", ReportReceived, ("activity.received",), 14),
    Topic("activity.answered", ReportAnswered, ("activity.answered",), 14),
    Topic("activity.created", ActivityEvent, ("activity.created",), 30),
    Topic("activity.completed", ActivityEvent, ("activity.completed",), 30),
    Topic("activity.changed", ActivityEvent, CHANGED_TYPES, 30),
    Topic("activity.appended", ActivityEvent, ("activity.appended",), 30),
    Topic("interaction.closed", InteractionClosed, ("interaction.closed",), 30),
    Topic("record.requested", RecordRequested, ("record.requested",), 30),
    Topic("record.changed", RecordChanged, ("record.changed",), 30),
    Topic("record.refused", RecordRefused, ("record.refused",), 30),
    Topic("activity.object", ActivityObject, ("activity.object",), None),
    Topic("directory.business", Business, ("directory.business",), None),
    Topic("directory.member", Member, ("directory.member",), None),
    Topic("directory.role", Role, ("directory.role",), None),
    Topic("directory.api_key", ApiKey, ("directory.api_key",), None),
    Topic("directory.object", RecordObject, ("directory.object",), None),
    Topic("directory.record", Record, ("directory.record",), None),
    Topic("webhook.endpoint", WebhookEndpoint, ENDPOINT_TYPES, 30),
)

BY_NAME = {topic.name: topic for topic in TOPICS}
BY_TYPE = {event_type: topic for topic in TOPICS for event_type in topic.types}

ACTIVITY_TOPICS = ("activity.created", "activity.completed", "activity.changed", "activity.appended")
ACCESS_TOPICS = ("directory.business", "directory.member", "directory.role", "directory.api_key")

DEAD_LETTER_KEPT_DAYS = 90


def dead_letter_topic(service: str) -> str:
    """Name the topic where `service` (with underscores) sets records aside."""
    return f"{service}.dead_letter"
