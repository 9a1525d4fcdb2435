"""What the sample of a webhook says: as a real one, about nobody; `metadata.test` tells it apart."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from libs.contracts.activity import Activity, ActivityEvent, Append, Change, Link, Person
from libs.contracts.decoding import decoder_of
from libs.contracts.ids import instant_text
from services.webhook_dispatcher.domain.bodies import body_of, thin_body_of

SAMPLE_ID = UUID("00000000-0000-7000-8000-000000000001")


def sample_body(event_type: str, business_id: UUID, now: datetime, *, thin: bool) -> bytes:
    """Write a body of an event type as receivers get it."""
    if event_type.startswith("webhook.endpoint."):
        data: dict[str, Any] = {
            "endpoint_id": SAMPLE_ID, "business_id": business_id, "version": 1, "at": instant_text(now),
            "url": "https://example.com/hook", "status": event_type.rpartition(".")[2].replace("enabled", "active"),
            "reason": None, "failing_since": None, "disables_at": None,
        }  # fmt: skip
        return msgspec.json.encode({"type": event_type, "timestamp": instant_text(now), "data": data})
    note = Append(id=SAMPLE_ID, kind="note", at=now, by=Person(name="Test"), text="A sample note.")
    appended = event_type == "activity.appended"
    activity = Activity(
        business_id=business_id, activity_id=SAMPLE_ID, version=2 if appended else 1, type="call", type_id=SAMPLE_ID,
        type_name="Call", at=now, created_at=now, recorded_at=now, occurred_at=now, logged_at=now,
        completed_at=now if event_type == "activity.completed" else None, duration_min=12, subject="A sample",
        summary="This is a test of your endpoint.", direction="outbound", actor=Person(name="Test"), source="test",
        source_kind="external", links=[Link(object="contact", record_id=SAMPLE_ID)], metadata={"test": True},
        appends=[note] if appended else [], appends_count=int(appended),
    )  # fmt: skip
    change = "activity.appended" if appended else "activity.completed"
    event = decoder_of(ActivityEvent)(
        ActivityEvent(activity=activity, change=Change(type=change)).model_dump_json().encode()
    )
    return (thin_body_of if thin else body_of)(event, event_type)
