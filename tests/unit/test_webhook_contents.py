"""What is told to whom, signed and sealed."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
import standardwebhooks

from libs.contracts.activity import Activity, ActivityEvent, Append, Change, Link, Person
from libs.contracts.decoding import decoder_of
from libs.contracts.ids import uuid7
from libs.errors import Rejected
from services.webhook_dispatcher import signing
from services.webhook_dispatcher.domain.bodies import BODY_MAX_BYTES, body_of
from services.webhook_dispatcher.domain.expressions import holds, seen_of
from services.webhook_dispatcher.domain.subscriptions import Subscriber, is_too_old, matches, types_of
from services.webhook_dispatcher.sealing import Sealer, Unsealable

AT = datetime(2026, 3, 4, 12, tzinfo=UTC)


def event_of(change: str = "activity.completed", **fields: Any) -> ActivityEvent:
    """Make an event as a consumer gets it: through its JSON."""
    activity = Activity(
        **{
            "business_id": uuid7(), "activity_id": uuid7(), "version": 1, "type": "call", "type_id": uuid7(),
            "type_name": "Call", "at": AT, "created_at": AT, "recorded_at": AT, "logged_at": AT, "source": "crm",
            "links": [Link(object="contact", record_id=uuid7())], "summary": "spoke — مرحبا 🙂",
        } | fields
    )  # fmt: skip
    written = ActivityEvent(activity=activity, change=Change(type=change))
    event: ActivityEvent = decoder_of(ActivityEvent)(written.model_dump_json().encode())
    return event


def subscriber_of(event: ActivityEvent, **fields: Any) -> Subscriber:
    values: dict[str, Any] = {
        "business_id": event.activity.business_id, "endpoint_id": uuid7(), "created_at": AT,
        "event_types": frozenset({"activity.logged"}), "sources": frozenset(), "activity_objects": frozenset(),
    }  # fmt: skip
    return Subscriber(**values | fields)


def test_direct_log_is_told_as_logged_only() -> None:
    assert types_of(event_of()) == ("activity.logged",)


def test_completed_plan_is_told_as_logged_and_as_completed() -> None:
    assert types_of(event_of(planned_at=AT, completed_at=AT)) == ("activity.logged", "activity.completed")


def test_append_is_told_as_appended() -> None:
    assert types_of(event_of("activity.appended", planned_at=AT)) == ("activity.appended",)


@pytest.mark.parametrize("change", ["activity.created", "activity.updated", "activity.state", "activity.cancelled"])
def test_other_changes_are_told_to_nobody(change: str) -> None:
    assert types_of(event_of(change)) == ()


@pytest.mark.parametrize("change", ["activity.completed", "activity.appended"])
def test_planned_activity_on_a_heard_topic_is_refused(change: str) -> None:
    with pytest.raises(Rejected, match="logged_at"):
        types_of(event_of(change, logged_at=None, planned_at=AT))


def test_filters_let_through_what_they_name() -> None:
    event = event_of()
    assert matches(subscriber_of(event), event, "activity.logged")
    assert not matches(subscriber_of(event), event, "activity.completed")
    assert matches(subscriber_of(event, sources=frozenset({"crm", "x"})), event, "activity.logged")
    assert not matches(subscriber_of(event, sources=frozenset({"x"})), event, "activity.logged")
    assert matches(subscriber_of(event, activity_objects=frozenset({"call"})), event, "activity.logged")
    by_id = frozenset({str(event.activity.type_id)})
    assert matches(subscriber_of(event, activity_objects=by_id), event, "activity.logged")
    assert not matches(subscriber_of(event, activity_objects=frozenset({"email"})), event, "activity.logged")


def test_versions_from_before_the_endpoint_are_not_told_but_for_five_seconds() -> None:
    event = event_of()
    assert matches(subscriber_of(event, created_at=AT + timedelta(seconds=5)), event, "activity.logged")
    assert not matches(subscriber_of(event, created_at=AT + timedelta(seconds=5.001)), event, "activity.logged")
    assert is_too_old(AT, AT + timedelta(days=30, seconds=1), 30)
    assert not is_too_old(AT, AT + timedelta(days=30), 30)


def test_body_is_a_model_of_its_own_and_always_the_same_bytes() -> None:
    event = event_of(planned_at=AT, completed_at=AT)
    body = body_of(event, "activity.completed")
    assert body == body_of(event, "activity.completed")
    document = orjson.loads(body)
    assert set(document) == {"type", "timestamp", "data"}
    assert (document["type"], document["timestamp"]) == ("activity.completed", "2026-03-04T12:00:00Z")
    data = document["data"]
    assert data["activity_id"] == data["logged_activity_id"] == data["scheduled_activity_id"]
    assert data["summary"] == "spoke — مرحبا 🙂"
    assert data["links"][0]["object"] == "contact"
    assert "why" not in data
    assert orjson.loads(body_of(event_of(), "activity.logged"))["data"]["scheduled_activity_id"] is None


@pytest.mark.parametrize("change", ["activity.completed", "activity.appended"])
def test_of_a_private_activity_the_fact_is_told_and_nothing_that_it_says(change: str) -> None:
    canary, ada = "Zanzibar4711", uuid7()
    texts = dict.fromkeys(("subject", "summary", "notes", "location", "first_message"), canary)
    append = Append(id=uuid7(), kind="note", at=AT, by=Person(name=canary), text=canary, fields={"a": canary})
    people = {"actor": Person(member_id=ada, name="Ada"), "participants": [Person(name=canary, email=canary)]}
    said = {
        "fields": {"a": canary}, "metadata": {canary: canary}, "attachments": [canary], "appends": [append],
        "appends_count": 1, **texts, **people,
    }  # fmt: skip
    for privacy in ("private", "team"):
        event = event_of(change, privacy=privacy, **said)
        body = body_of(event, types_of(event)[0])
        assert canary.encode() not in body
        data = orjson.loads(body)["data"]
        assert (data["privacy"], data["type"], data["actor"]["member_id"]) == (privacy, "call", str(ada))
        assert data["links"][0]["record_id"] == str(event.activity.links[0].record_id)
        assert not holds(f'data.summary == "{canary}"', seen_of(body))
        assert not holds('data.privacy == "public"', seen_of(body))
    public = body_of(event_of(change, **said), "activity.logged")
    assert canary.encode() in public
    assert holds('data.privacy == "public"', seen_of(public))


def test_append_carries_what_was_appended() -> None:
    appends = [Append(id=uuid7(), kind="note", at=AT + timedelta(minutes=n), text=f"note {n}") for n in (2, 1)]
    event = event_of("activity.appended", appends=appends, appends_count=2)
    assert orjson.loads(body_of(event, "activity.appended"))["data"]["append"]["text"] == "note 2"


def test_body_beyond_the_bound_is_cut_and_says_so() -> None:
    body = body_of(event_of(notes="é" * 200_000, summary="x" * 100_000), "activity.logged")
    assert len(body) <= BODY_MAX_BYTES
    data = orjson.loads(body)["data"]
    assert (data["truncated"], data["notes"], data["url"][:23]) == (True, None, "/api/activities/logged/")


def test_signature_is_verified_by_the_independent_package_under_each_live_secret() -> None:
    old, new, other = (signing.generate_secret() for _ in range(3))
    body, message_id = body_of(event_of(), "activity.logged"), str(uuid7())
    timestamp = int(datetime.now(UTC).timestamp())
    headers = signing.headers_of(message_id, timestamp, body, [signing.key_of(new), signing.key_of(old)])
    for secret in (old, new):
        assert standardwebhooks.Webhook(secret).verify(body, headers) == orjson.loads(body)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(other).verify(body, headers)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(new).verify(body + b" ", headers)


@pytest.mark.parametrize(
    ("secret", "message", "wanted"),
    [
        (
            "whsec_plJ3nmyCDGBKInavdOK15jsl",
            ("msg_loFOjxBNrRLzqYUf", 1731705121, b'{"event_type":"ping","data":{"success":true}}'),
            "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
        ),
        (
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
    ],
)
def test_secret_signs_as_svix_does(secret: str, message: tuple[str, int, bytes], wanted: str) -> None:
    """The first vector is that of Svix's manual, the second that of the tests of all its libraries."""
    assert signing.sign(*message, [signing.key_of(secret)]) == wanted


def test_private_key_signs_as_the_reference_library_does() -> None:
    """The vector is that of the reference library in Go."""
    key = signing.private_key_of(signing.key_of("VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk="))
    wanted = "v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag=="
    assert signing.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', [key]) == wanted


def test_secret_opens_only_for_its_own_endpoint_under_its_own_master_key() -> None:
    sealer, business_id, endpoint_id = Sealer("a master key of tests"), uuid7(), uuid7()
    sealed = sealer.seal(b"very secret", business_id, endpoint_id)
    assert b"very secret" not in sealed
    assert sealer.open(sealed, business_id, endpoint_id) == b"very secret"
    for wrong in ((business_id, uuid7()), (uuid7(), endpoint_id)):
        with pytest.raises(Unsealable):
            sealer.open(sealed, *wrong)
    with pytest.raises(Unsealable):
        Sealer("another master key").open(sealed, business_id, endpoint_id)
    with pytest.raises(ValueError, match="WEBHOOK_MASTER_KEY"):
        Sealer("short")
