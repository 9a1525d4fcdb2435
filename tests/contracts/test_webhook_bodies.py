"""Bodies that receivers were ever sent: what they held then they hold now, and every one of them can still be read.

A body that gets a field gets a golden file more (`….v2.json`); the old ones stay.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import orjson
import pytest

from libs.contracts.activity import Activity, ActivityEvent, Append, Change, Link, Person, SameReport
from libs.contracts.decoding import decoder_of
from services.webhook_dispatcher.domain.bodies import ThinBody, WebhookBody, body_of, thin_body_of
from services.webhook_dispatcher.domain.samples import sample_body
from services.webhook_dispatcher.domain.subscriptions import TYPES
from tests.contracts.test_golden import must_hold

GOLDEN = sorted((Path(__file__).parent / "webhooks").glob("*.json"))
AT = datetime(2026, 3, 4, 12, 30, 15, 250_000, tzinfo=UTC)


def bodies_of_now() -> dict[str, bytes]:
    """Write every body, with something in each of its fields; those about endpoints as their samples say."""
    ids = [UUID(int=(7 << 76) | (2 << 62) | number) for number in range(9)]
    ada, bob = Person(member_id=ids[1], name="Ada"), Person(name="Bob", email="bob@example.com")
    note = Append(id=ids[2], kind="note", at=AT, by=ada, text="added", fields={"n": 1}, url="https://example.com/a")
    activity = Activity(
        business_id=ids[0], activity_id=ids[3], version=7, type="call", type_id=ids[4], type_name="Call", at=AT,
        created_at=AT, recorded_at=AT, planned_at=AT, due_at=AT, occurred_at=AT, logged_at=AT, completed_at=AT,
        retracted_at=AT, duration_min=12, subject="subject", summary="summary — مرحبا", notes="notes",
        direction="outbound", location="here", actor=ada, logged_by=ada, completed_by=bob, participants=[ada, bob],
        links=[Link(object="contact", record_id=ids[5], external_ref="c-1"), Link(object="lead", all=True)],
        fields={"stage": "won"}, attachments=["https://example.com/b"], first_message="first", metadata={"k": [1]},
        source="phone", source_kind="external", source_ref="call-1", appends=[note], appends_count=1, same_as=ids[6],
        same=[SameReport(activity_id=ids[6], source="crm", source_kind="external", logged_at=AT, linked_at=AT)],
    )  # fmt: skip
    written: dict[str, bytes] = {}
    for event_type in TYPES:
        if not event_type.startswith("activity."):
            written[event_type] = sample_body(event_type, ids[0], AT, thin=False)
            continue
        event = decoder_of(ActivityEvent)(
            ActivityEvent(activity=activity, change=Change(type=event_type)).model_dump_json().encode()
        )
        written[event_type] = body_of(event, event_type)
        written[f"{event_type}.thin"] = thin_body_of(event, event_type)
    return written


def test_each_body_has_a_golden_file() -> None:
    assert {path.stem.rpartition(".v")[0] for path in GOLDEN} == bodies_of_now().keys()


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_body_holds_what_it_held_and_its_golden_bytes_can_be_read(path: Path) -> None:
    name, then = path.stem.rpartition(".v")[0], path.read_bytes()
    must_hold(orjson.loads(bodies_of_now()[name]), orjson.loads(then), name)
    if name.startswith("activity."):
        shape: Any = ThinBody if name.endswith(".thin") else WebhookBody
        must_hold(orjson.loads(msgspec.json.encode(msgspec.json.decode(then, type=shape))), orjson.loads(then), name)
