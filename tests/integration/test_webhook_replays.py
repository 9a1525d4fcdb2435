"""What was sent, or missed, is sent again: one delivery, a selection, all that an endpoint missed."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import standardwebhooks

from libs.contracts.ids import uuid7
from services.webhook_dispatcher import replaying
from services.webhook_dispatcher.api import replays as routes
from services.webhook_dispatcher.replaying import Replayer
from services.webhook_dispatcher.store import endpoints
from tests.conftest import MakeDatabase
from tests.support.http import served, settle
from tests.support.replays import REPLAYS, Case, replaying_by
from tests.support.sink import Answer, Sink
from tests.support.webhooks import _Tenant, all_are, deliveries_of, dispatching, eventually

DELIVERIES = "/api/webhooks/deliveries"


@pytest.fixture
async def case(make_database: MakeDatabase) -> AsyncIterator[Case]:
    database = await make_database("webhook_dispatcher")
    async with served("webhook_dispatcher", database) as client, Sink.started() as sink:
        yield Case(database, client, await settle(database), sink)


async def test_replayed_delivery_is_sent_again_under_its_webhook_id_and_is_not_taken_for_a_duplicate(
    case: Case,
) -> None:
    async with dispatching(case.database) as dispatcher:
        _, secret = await case.make()
        await case.tell(1, dispatcher)
        [first] = await eventually(case.database, all_are("delivered"))
        replayed = await case.call("POST", f"{DELIVERIES}/{first['id']}/replay")
        assert replayed.status_code == 202, replayed.text
        again = await case.call("POST", f"{DELIVERIES}/{replayed.json()['id']}/replay")
        assert again.status_code in (202, 409)
        await case.sink.received(2)
        rows = await eventually(case.database, lambda rows: {row["status"] for row in rows} == {"delivered"})
    assert {request.headers["webhook-id"] for request in case.sink.requests} == {str(first["id"])}
    assert {request.body for request in case.sink.requests} == {case.sink.requests[0].body}
    for request in case.sink.requests:
        standardwebhooks.Webhook(secret).verify(request.body, dict(request.headers))
    shown = replayed.json()
    assert (shown["webhook_id"], shown["replay_of"]) == (str(first["id"]), str(first["id"]))
    assert {row["replay_of"] for row in rows} == {None, first["id"]}


async def test_what_is_under_way_expired_or_of_a_paused_endpoint_is_not_replayed(case: Case) -> None:
    id_, _ = await case.make()
    await case.tell()
    [row] = await deliveries_of(case.database)
    path = f"{DELIVERIES}/{row['id']}/replay"
    assert (await case.call("POST", path)).json()["code"] == "under_way"
    async with case.database.work() as tx:
        await tx.execute("update delivery set status = 'exhausted', next_at = null, event_day = current_date - 9")
    assert (await case.call("POST", path)).json()["code"] == "event_expired"
    async with case.database.work() as tx:
        await tx.execute("update delivery set event_day = current_date")
        await tx.execute("update endpoint set status = 'paused'")
    assert (await case.call("POST", path)).json()["code"] == "endpoint_not_active"
    assert (await case.call("POST", REPLAYS, {"endpoint_id": str(id_)})).json()["code"] == "endpoint_not_active"
    assert (await case.call("POST", f"{DELIVERIES}/{uuid7()}/replay")).status_code == 404
    assert (await case.call("POST", REPLAYS, {"endpoint_id": str(uuid7())})).status_code == 404


async def test_selection_is_replayed_by_range_status_and_type_with_progress(case: Case) -> None:
    async with dispatching(case.database) as dispatcher, replaying_by(case.database, dispatcher):
        id_, _ = await case.make()
        await case.tell(3, dispatcher)
        await eventually(case.database, all_are("delivered", 3))
        await asyncio.sleep(0.002)
        middle = datetime.now(UTC)
        await case.tell(4, dispatcher)
        rows = await eventually(case.database, all_are("delivered", 7))
        made = await case.replay(endpoint_id=str(id_), from_=middle.isoformat(), statuses=["delivered"])
        assert (made["total"], made["status"]) == (4, "running")
        done = await case.until(made["id"], lambda one: one["status"] == "done" and one["delivered"] == 4)
        assert (done["released"], done["left"], done["waiting"], done["failed"]) == (4, 0, 0, 0)
        later = {str(row["id"]) for row in rows[3:]}
        assert {one.headers["webhook-id"] for one in (await case.sink.received(11))[7:]} == later
        before = await case.replay(endpoint_id=str(id_), to=middle.isoformat(), statuses=["delivered"])
        assert before["total"] == 3
        other = await case.replay(endpoint_id=str(id_), statuses=["delivered"], event_types=["activity.appended"])
        assert other["total"] == 0
        await case.until(other["id"], lambda one: one["status"] == "done")
        await case.until(before["id"], lambda one: one["delivered"] == 3)
    listed = (await case.call("GET", f"{REPLAYS}?limit=2")).json()
    assert [one["id"] for one in listed["results"]] == [other["id"], before["id"]]
    assert listed["next"]


async def test_all_that_an_endpoint_missed_is_offered_when_it_is_enabled_and_replayed_once(case: Case) -> None:
    async with dispatching(case.database) as dispatcher, replaying_by(case.database, dispatcher):
        id_, _ = await case.make()
        since = datetime.now(UTC)
        case.sink.by_path["/hook"] = Answer(400)
        await case.tell(2, dispatcher)
        await eventually(case.database, all_are("exhausted", 2))
        await case.call("POST", f"/api/webhooks/endpoints/{id_}/disable")
        await case.tell(3, dispatcher)
        del case.sink.by_path["/hook"]
        sent = len(case.sink.requests)
        enabled = (await case.call("POST", f"/api/webhooks/endpoints/{id_}/enable")).json()["missed"]
        assert (enabled["count"], enabled["replay"]["path"]) == (3, REPLAYS)
        await case.tell(1, dispatcher)
        await case.sink.received(sent + 1)
        offered = await case.call(enabled["replay"]["method"], enabled["replay"]["path"], enabled["replay"]["body"])
        assert offered.json()["total"] == 3
        await case.until(offered.json()["id"], lambda one: one["delivered"] == 3)
        whole = await case.replay(endpoint_id=str(id_), missed_since=since.isoformat())
        assert whole["total"] == 2, "what was exhausted, not what has been replayed"
        await case.until(whole["id"], lambda one: one["delivered"] == 2)
        nothing = await case.replay(endpoint_id=str(id_), missed_since=since.isoformat())
        assert nothing["total"] == 0
        await case.sink.received(sent + 6)


async def test_replay_holds_little_in_hand_and_goes_after_what_is_fresh(case: Case) -> None:
    id_, _ = await case.make()
    await case.tell(300)
    async with case.database.work() as tx:
        await tx.execute("update delivery set status = 'exhausted', next_at = null")
    made = await case.replay(endpoint_id=str(id_))
    replayer = Replayer(lambda: None)
    for _ in range(3):
        await replayer.step(case.database)
    shown = (await case.call("GET", f"{REPLAYS}/{made['id']}")).json()
    assert (shown["released"], shown["waiting"]) == (replaying.IN_HAND_MAX,) * 2
    async with case.database.work() as tx:
        assert await tx.value("select array_agg(distinct rank) from delivery where status = 'pending'") == [2]
        await tx.execute("update delivery set status = 'delivered', next_at = null where status = 'pending'")
    await case.tell(1)
    async with case.database.work() as tx:
        await tx.execute("update delivery set next_at = now() - interval '3 seconds' where status = 'pending'")
    await replayer.step(case.database)
    shown = (await case.call("GET", f"{REPLAYS}/{made['id']}")).json()
    assert shown["waiting"] == replaying.IN_HAND_BEHIND_MAX


async def test_cancelled_replay_sends_no_more(case: Case) -> None:
    id_, _ = await case.make()
    await case.tell(150)
    async with case.database.work() as tx:
        await tx.execute("update delivery set status = 'exhausted', next_at = null")
        await tx.execute(
            """update delivery set status = 'missed'
                where id in (select id from delivery order by id limit 10)"""
        )
    made = await case.replay(endpoint_id=str(id_))
    replayer = Replayer(lambda: None)
    await replayer.step(case.database)
    cancelled = (await case.call("POST", f"{REPLAYS}/{made['id']}/cancel")).json()
    assert (cancelled["status"], cancelled["reason"], cancelled["waiting"]) == ("cancelled", "by its owner", 0)
    await replayer.step(case.database)
    async with case.database.work() as tx:
        counts = dict(await tx.fetch("select status, count(*) from delivery group by status"))
    assert counts == {"missed": 10, "exhausted": 140, "cancelled": 118}
    assert (await case.call("POST", f"{REPLAYS}/{made['id']}/cancel")).json()["status"] == "cancelled"


async def test_business_has_five_running_replays_at_most_and_each_names_so_many_deliveries(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    id_, _ = await case.make()
    await case.tell(3)
    async with case.database.work() as tx:
        await tx.execute("update delivery set status = 'exhausted', next_at = null")
    monkeypatch.setattr(routes, "SELECTED_MAX", 2)
    refused = await case.call("POST", REPLAYS, {"endpoint_id": str(id_)})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "from")
    monkeypatch.undo()
    for _ in range(5):
        await case.replay(endpoint_id=str(id_))
    refused = await case.call("POST", REPLAYS, {"endpoint_id": str(id_)})
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_replays")


async def test_replay_of_a_deleted_endpoint_ends(case: Case) -> None:
    id_, _ = await case.make()
    await case.tell(2)
    async with case.database.work() as tx:
        await tx.execute("update delivery set status = 'exhausted', next_at = null")
    made = await case.replay(endpoint_id=str(id_))
    async with case.database.transaction(_Tenant(case.tenant.business_id)) as tx:
        await endpoints.delete_endpoint(tx, case.tenant.business_id, id_)
    await Replayer(lambda: None).step(case.database)
    shown = (await case.call("GET", f"{REPLAYS}/{made['id']}")).json()
    assert (shown["status"], shown["reason"]) == ("cancelled", "the endpoint was deleted")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"endpoint_id": "x"}, "endpoint_id"), ({"statuses": []}, "statuses"),
        ({"statuses": ["pending"]}, "statuses.0"),
        ({"event_types": ["x"]}, "event_types.0"), ({"from": "now"}, "from"), ({"unknown": 1}, "unknown"),
        ({"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "from"),
        ({"missed_since": "2026-01-02T00:00:00Z", "statuses": ["missed"]}, "missed_since"),
    ],
)  # fmt: skip
async def test_bad_replay_is_refused_naming_the_field(case: Case, change: dict[str, Any], field: str) -> None:
    answer = await case.call("POST", REPLAYS, {"endpoint_id": str(uuid7()), **change})
    assert (answer.status_code, [error["field"] for error in answer.json()["errors"]]) == (422, [field])


async def test_replays_of_another_business_are_not_there(case: Case) -> None:
    id_, _ = await case.make()
    await case.tell()
    made = await case.replay(endpoint_id=str(id_), statuses=["delivered"])
    [row] = await deliveries_of(case.database)
    stranger = Case(case.database, case.client, await settle(case.database), case.sink)
    for method, path, body in (
        ("GET", f"{REPLAYS}/{made['id']}", None), ("POST", f"{REPLAYS}/{made['id']}/cancel", None),
        ("POST", REPLAYS, {"endpoint_id": str(id_)}), ("POST", f"{DELIVERIES}/{row['id']}/replay", None),
    ):  # fmt: skip
        assert (await stranger.call(method, path, body)).status_code == 404
    assert (await stranger.call("GET", REPLAYS)).json()["results"] == []
