"""An endpoint that was made later, or subscribed to less, is told what others of its business were told."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest
import standardwebhooks

from libs.contracts.activity import Link
from libs.contracts.ids import uuid7
from services.webhook_dispatcher import handlers
from services.webhook_dispatcher.domain.bodies import body_of, thin_body_of, thinned
from tests.conftest import MakeDatabase
from tests.support.http import served, settle
from tests.support.replays import REPLAYS, Case, replaying_by
from tests.support.sink import Sink
from tests.support.webhooks import deliveries_of, dispatching, event_of, eventually, hear, make_endpoint


@pytest.fixture
async def case(make_database: MakeDatabase) -> AsyncIterator[Case]:
    database = await make_database("webhook_dispatcher")
    async with served("webhook_dispatcher", database) as client, Sink.started() as sink:
        yield Case(database, client, await settle(database), sink)


async def make(case: Case, path: str, **fields: Any) -> tuple[UUID, str]:
    return await make_endpoint(case.database, case.tenant.business_id, case.sink.url(path), **fields)


async def fill(case: Case, id_: UUID, **body: Any) -> dict[str, Any]:
    """Backfill an endpoint and wait until that has ended."""
    made = await case.replay(endpoint_id=str(id_), backfill=True, **body)
    return await case.until(made["id"], lambda one: one["status"] == "done" and not one["waiting"])


def heard_by(case: Case, path: str) -> list[Any]:
    return [orjson.loads(one.body)["data"] for one in case.sink.requests if one.path == path]


async def test_endpoint_made_later_is_told_once_what_others_were_told_before(case: Case) -> None:
    async with dispatching(case.database) as dispatcher, replaying_by(case.database, dispatcher):
        await make(case, "/first")
        async with case.database.work() as tx:
            await tx.execute("update endpoint set created_at = now() - interval '1 hour'")
        recorded = datetime.now(UTC) - timedelta(minutes=1)
        events = [event_of(case.tenant.business_id, summary=f"call {n}", recorded_at=recorded) for n in range(3)]
        await hear(case.database, events, dispatcher)
        await case.sink.received(3)
        later, secret = await make(case, "/later")
        await hear(case.database, events, dispatcher)
        assert heard_by(case, "/later") == [], "what happens again, such as a rebuild, tells it nothing old"
        done = await fill(case, later)
        assert (done["total"], done["released"], done["passed"], done["delivered"]) == (3, 3, 0, 3)
        told = [one for one in case.sink.requests if one.path == "/later"]
        for one in told:
            standardwebhooks.Webhook(secret).verify(one.body, dict(one.headers))
        assert len({one.headers["webhook-id"] for one in case.sink.requests}) == 6, "each is a delivery of its own"
        assert {one.body for one in told} == {one.body for one in case.sink.requests if one.path == "/first"}
        assert (await deliveries_of(case.database))[-1]["rank"] == 2
        again = await fill(case, later)
        assert (again["total"], again["released"], again["passed"], again["left"]) == (3, 0, 3, 0)
        await hear(case.database, events, dispatcher)
        await eventually(case.database, lambda rows: {row["status"] for row in rows} == {"delivered"})
    assert len(case.sink.requests) == 6


async def test_filter_and_types_of_the_endpoint_and_the_span_decide_what_it_is_told(case: Case) -> None:
    business, contact = case.tenant.business_id, Link(object="contact", record_id=uuid7())
    async with dispatching(case.database) as dispatcher, replaying_by(case.database, dispatcher):
        await make(case, "/first")
        crm = event_of(business, source="crm", links=[contact], subject="a")
        phone = event_of(business, source="phone", type="visit", subject="b")
        note = event_of(business, "activity.appended", source="crm", subject="c", version=2)
        plan = event_of(business, source="crm", completed_at=datetime.now(UTC), subject="d", fields={"stage": "won"})
        await hear(case.database, [crm, phone, note, plan], dispatcher)
        await case.sink.received(5)
        wanted: dict[str, tuple[dict[str, Any], list[str]]] = {
            "/source": ({"sources": ("crm",)}, ["a", "c", "d", "d"]),
            "/object": ({"activity_objects": ("visit",)}, ["b"]),
            "/record": ({"record_objects": ("contact",)}, ["a"]),
            "/type": ({"event_types": ("activity.logged",)}, ["a", "b", "d"]),
            "/said": ({"expression": "data.fields.stage == 'won'"}, ["d", "d"]),
        }
        for path, (fields, subjects) in wanted.items():
            done = await fill(case, (await make(case, path, **fields))[0])
            assert sorted(one["subject"] for one in heard_by(case, path)) == subjects, path
            assert done["released"] == len(subjects)
        some, _ = await make(case, "/some")
        hour = timedelta(hours=1)
        none = await fill(case, some, to=(datetime.now(UTC) - hour).isoformat())
        assert none["total"] == 0
        done = await fill(case, some, from_=(datetime.now(UTC) - hour).isoformat(), event_types=["activity.appended"])
        assert [one["subject"] for one in heard_by(case, "/some")] == ["c"]
        assert done["event_types"] == ["activity.appended"]


async def test_thin_bodies_are_made_of_full_ones_and_full_ones_never_of_thin(case: Case) -> None:
    async with dispatching(case.database) as dispatcher, replaying_by(case.database, dispatcher):
        first, _ = await make(case, "/thin", body_form="thin")
        await hear(case.database, [event_of(case.tenant.business_id)], dispatcher)
        full, _ = await make(case, "/full")
        cannot = await fill(case, full)
        assert (cannot["released"], cannot["expired"]) == (0, 1)
        await hear(case.database, [event_of(case.tenant.business_id)], dispatcher)
        other, _ = await make(case, "/other", body_form="thin")
        done = await fill(case, other)
        assert (done["total"], done["released"], done["passed"]) == (3, 2, 1), "one was told to both of the others"
        await eventually(case.database, lambda rows: {row["status"] for row in rows} == {"delivered"})
    assert sorted(map(str, heard_by(case, "/other"))) == sorted(map(str, heard_by(case, "/thin")))
    assert first != other


def test_thinned_body_is_what_is_told_thin() -> None:
    event = event_of(uuid7(), completed_at=datetime.now(UTC), occurred_at=datetime.now(UTC), notes="secret")
    assert thinned(body_of(event, "activity.completed")) == thin_body_of(event, "activity.completed")


async def test_texts_that_were_erased_are_told_to_nobody_later(case: Case) -> None:
    async with dispatching(case.database) as dispatcher, replaying_by(case.database, dispatcher):
        await make(case, "/first")
        event = event_of(case.tenant.business_id, subject="secret", notes="secret")
        await hear(case.database, [event], dispatcher)
        await case.sink.received(1)
        gone = event_of(
            case.tenant.business_id, "activity.erased", activity_id=event.activity.activity_id, version=2,
            erased_at=datetime.now(UTC),
        )  # fmt: skip
        async with case.database.work() as tx:
            await handlers.forget_texts(tx, [gone])
        await fill(case, (await make(case, "/later"))[0])
    [told] = [one.body for one in case.sink.requests if one.path == "/later"]
    assert b"secret" not in told


async def test_nothing_of_another_business_and_nothing_about_itself_is_told(case: Case) -> None:
    async with dispatching(case.database) as dispatcher, replaying_by(case.database, dispatcher):
        stranger = uuid7()
        await make_endpoint(case.database, stranger, case.sink.url("/stranger"))
        await hear(case.database, [event_of(stranger)], dispatcher)
        await case.sink.received(1)
        assert (await fill(case, (await make(case, "/ours"))[0]))["total"] == 0
    assert heard_by(case, "/ours") == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"statuses": ["missed"]}, "backfill"), ({"missed_since": "2026-01-02T00:00:00Z"}, "backfill"),
        ({"backfill": 2}, "backfill"), ({"event_types": ["webhook.endpoint.failing"]}, "event_types"),
    ],
)  # fmt: skip
async def test_backfill_that_says_too_much_or_nothing_is_refused(
    case: Case, change: dict[str, Any], field: str
) -> None:
    id_, _ = await make(case, "/hook", event_types=("activity.logged",))
    answer = await case.call("POST", REPLAYS, {"endpoint_id": str(id_), "backfill": True} | change)
    assert (answer.status_code, [error["field"] for error in answer.json()["errors"]]) == (422, [field])
