"""What is owed is delivered: signed, once, again where it failed, and to nobody else."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson
import pytest
import standardwebhooks

from libs import failpoints
from libs.contracts.ids import uuid7
from libs.database import Database
from libs.errors import Rejected
from services.webhook_dispatcher.store import queue
from services.webhook_dispatcher.store.queue import Claimed, Finished, Room
from tests.conftest import MakeDatabase
from tests.support.sink import Answer, Sink
from tests.support.webhooks import (
    POLICY,
    Setting,
    all_are,
    attempts_of,
    deliveries_of,
    dispatching,
    event_of,
    eventually,
    hear,
    make_endpoint,
    until,
)  # fmt: skip

BUSINESS = uuid7()


@pytest.fixture
async def database(make_database: MakeDatabase) -> Database:
    return await make_database("webhook_dispatcher")


async def test_logged_activity_arrives_signed_with_the_stored_bytes(database: Database) -> None:
    async with Sink.started() as sink, dispatching(database) as dispatcher:
        _, secret = await make_endpoint(database, BUSINESS, sink.url())
        event = event_of(BUSINESS, summary="مرحبا 🙂")
        await hear(database, [event], dispatcher)
        [request] = await sink.received(1)
        [delivery] = await eventually(database, all_are("delivered"))
    document = standardwebhooks.Webhook(secret).verify(request.body, dict(request.headers))
    assert document["type"] == "activity.logged"
    assert document["data"]["activity_id"] == str(event.activity.activity_id)
    assert document["data"]["scheduled_activity_id"] is None
    assert request.headers["webhook-id"] == str(delivery["id"])
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept-encoding"] == "identity"
    assert "cookie" not in request.headers
    async with database.work() as tx:
        assert await tx.value("select body from event") == request.body
    [attempt] = await attempts_of(database)
    assert (attempt["number"], attempt["result"], attempt["http_status"]) == (1, "delivered", 200)
    assert attempt["address"] == "127.0.0.1"
    assert {"connect", "answer", "total"} <= set(orjson.loads(attempt["phases"]))


async def test_completed_plan_is_delivered_as_logged_and_as_completed(database: Database) -> None:
    async with Sink.started() as sink, dispatching(database) as dispatcher:
        await make_endpoint(database, BUSINESS, sink.url())
        await hear(database, [event_of(BUSINESS, planned_at=datetime.now(UTC))], dispatcher)
        requests = await sink.received(2)
        await eventually(database, all_are("delivered", 2))
    assert sorted(orjson.loads(one.body)["type"] for one in requests) == ["activity.completed", "activity.logged"]


async def test_failed_attempt_is_repeated_with_the_same_id_and_body(database: Database) -> None:
    async with Sink.started() as sink, dispatching(database) as dispatcher:
        sink.script = [Answer(500, body=b"down"), Answer(close=True), Answer(204)]
        endpoint_id, _ = await make_endpoint(database, BUSINESS, sink.url())
        await hear(database, [event_of(BUSINESS)], dispatcher)
        requests = await sink.received(3)
        [delivery] = await eventually(database, all_are("delivered"))
    assert len({(one.headers["webhook-id"], one.body) for one in requests}) == 1
    assert delivery["attempts"] == 3
    assert [one["result"] for one in await attempts_of(database)] == ["http_5xx", "reset", "delivered"]
    assert (await attempts_of(database))[0]["answer"] == b"down"
    async with database.work() as tx:
        assert await tx.value("select failing_since from endpoint where id = $1", endpoint_id) is None


async def test_delivery_is_exhausted_after_the_last_attempt(database: Database) -> None:
    async with Sink.started() as sink, dispatching(database) as dispatcher:
        sink.by_path["/hook"] = Answer(400)
        await make_endpoint(database, BUSINESS, sink.url())
        await hear(database, [event_of(BUSINESS)], dispatcher)
        [delivery] = await eventually(database, all_are("exhausted"))
        async with database.work() as tx:
            assert await tx.value("select failing_since is not null from endpoint")
    assert (delivery["attempts"], len(sink.requests), delivery["last_error"]) == (4, 4, "http_4xx")


async def test_410_disables_the_endpoint_at_once(database: Database) -> None:
    async with Sink.started() as sink, dispatching(database) as dispatcher:
        sink.by_path["/hook"] = Answer(410)
        await make_endpoint(database, BUSINESS, sink.url())
        await hear(database, [event_of(BUSINESS)], dispatcher)
        await eventually(database, all_are("exhausted"))
        await hear(database, [event_of(BUSINESS)], dispatcher)
        async with database.work() as tx:
            row = await tx.find("select status, disabled_reason from endpoint")
    assert row is not None
    assert tuple(row) == ("disabled", "gone")
    assert len(sink.requests) == len(await deliveries_of(database)) == 1


async def test_retry_after_is_respected_for_the_whole_endpoint(database: Database) -> None:
    async with Sink.started() as sink, dispatching(database) as dispatcher:
        sink.script = [Answer(429, {"Retry-After": "1"})]
        await make_endpoint(database, BUSINESS, sink.url())
        await hear(database, [event_of(BUSINESS)], dispatcher)
        await eventually(database, lambda rows: rows[0]["attempts"] == 1)
        await hear(database, [event_of(BUSINESS)], dispatcher)
        await eventually(database, all_are("delivered", 2))
    first, *others = [one.at for one in sink.requests]
    assert len(others) == 2
    assert min(others) - first >= 0.99


async def test_redirect_is_a_failure_and_is_not_followed(database: Database) -> None:
    async with Sink.started() as sink, Sink.started() as other, dispatching(database) as dispatcher:
        statuses = (301, 302, 303, 307)
        sink.script = [Answer(status, {"Location": other.url()}) for status in statuses]
        await make_endpoint(database, BUSINESS, sink.url())
        await hear(database, [event_of(BUSINESS)], dispatcher)
        await eventually(database, all_are("exhausted"))
    assert [one["result"] for one in await attempts_of(database)] == ["redirect"] * 4
    assert (len(sink.requests), other.connections) == (4, 0)


async def test_blocked_address_is_never_connected_to(database: Database) -> None:
    flips = iter([["127.0.0.1"], ["127.0.0.1", "10.0.0.1"], ["10.0.0.1"], [], ["127.0.0.1"] * 17])
    rules = replace(Setting().rules, allowed_networks=())

    async def lookup(host: str, port: int) -> list[str]:
        return next(flips)

    async with Sink.started() as sink:
        for host in ("127.0.0.1", "[::1]", "127.1", "localhost", "rebind.example"):
            await make_endpoint(database, BUSINESS, f"http://{host}:{sink.port}/hook")
        async with dispatching(database, Setting(rules=rules, lookup=lookup)) as dispatcher:
            await hear(database, [event_of(BUSINESS)], dispatcher)
            await eventually(database, all_are("exhausted", 5))
        assert sink.connections == 0
    assert {one["result"] for one in await attempts_of(database)} == {"blocked_address"}


async def test_name_that_resolves_to_an_allowed_and_a_blocked_address_is_blocked(database: Database) -> None:
    answers = [["127.0.0.1", "10.0.0.1"], ["127.0.0.1"]]

    async def lookup(host: str, port: int) -> list[str]:
        return answers.pop(0)

    async with Sink.started() as sink, dispatching(database, Setting(lookup=lookup)) as dispatcher:
        await make_endpoint(database, BUSINESS, f"http://hooks.example.com:{sink.port}/hook")
        await hear(database, [event_of(BUSINESS)], dispatcher)
        await eventually(database, all_are("delivered"))
        assert sink.requests[0].headers["host"] == f"hooks.example.com:{sink.port}"
    assert [one["result"] for one in await attempts_of(database)] == ["blocked_address", "delivered"]


async def test_proxies_of_the_environment_are_not_used(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Sink.started() as sink, Sink.started() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url(""))
        monkeypatch.setenv("HTTP_PROXY", proxy.url(""))
        async with dispatching(database) as dispatcher:
            await make_endpoint(database, BUSINESS, sink.url())
            await hear(database, [event_of(BUSINESS)], dispatcher)
            await eventually(database, all_are("delivered"))
        assert proxy.connections == 0


async def test_failures_have_their_class(database: Database) -> None:
    async def lookup(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    async def speak_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 this is not TLS\r\n")
        await writer.drain()
        writer.close()

    plain = await asyncio.start_server(speak_first, "127.0.0.1", 0)
    async with Sink.started() as sink, plain:
        sink.by_path["/garbage"] = Answer(200, {"content-length": "x"})
        async with Sink.started() as gone:
            refused = gone.url()
        urls = {
            refused: "refused", "http://nowhere.example.com/": "dns", sink.url("/garbage"): "protocol",
            f"https://127.0.0.1:{plain.sockets[0].getsockname()[1]}/": "tls",
        }  # fmt: skip
        ids = {(await make_endpoint(database, BUSINESS, url))[0]: result for url, result in urls.items()}
        policy = replace(POLICY, schedule_s=())
        async with dispatching(database, Setting(policy=policy, lookup=lookup)) as dispatcher:
            await hear(database, [event_of(BUSINESS)], dispatcher)
            await eventually(database, all_are("exhausted", 4))
    assert {one["endpoint_id"]: one["result"] for one in await attempts_of(database)} == ids


async def test_receiver_that_hangs_times_out_and_the_others_go_on(database: Database) -> None:
    policy = replace(POLICY, schedule_s=())
    async with Sink.started() as sink, dispatching(database, Setting(policy=policy, timeout_s=1.5)) as dispatcher:
        sink.by_path["/hang"] = Answer(hang=True)
        sink.by_path["/drip"] = Answer(drip_s=0.2)
        slow = {(await make_endpoint(database, BUSINESS, sink.url(path)))[0] for path in ("/hang", "/drip")}
        healthy = uuid7()
        await make_endpoint(database, healthy, sink.url("/good"))
        await hear(database, [event_of(BUSINESS) for _ in range(20)], dispatcher)
        await hear(database, [event_of(healthy) for _ in range(50)], dispatcher)
        await sink.until(lambda all_: sum(one.path == "/good" for one in all_) == 50, 1.4)
        rows = await eventually(database, lambda rows: sum(row["status"] == "exhausted" for row in rows) >= 8)
    assert {row["endpoint_id"] for row in rows if row["status"] == "exhausted"} <= slow
    assert {row["last_error"] for row in rows if row["status"] == "exhausted"} == {"timeout:answer"}


async def test_endless_answer_is_cut_and_the_status_counts(database: Database) -> None:
    async with Sink.started() as sink, dispatching(database) as dispatcher:
        sink.by_path["/hook"] = Answer(200, {"content-encoding": "gzip"}, body=b"\x1f\x8b" + b"x" * 5_000_000)
        await make_endpoint(database, BUSINESS, sink.url())
        await hear(database, [event_of(BUSINESS)], dispatcher)
        await eventually(database, all_are("delivered"))
    assert len((await attempts_of(database))[0]["answer"]) == 16 << 10


async def test_outcome_of_a_lost_lease_changes_nothing(database: Database) -> None:
    await make_endpoint(database, BUSINESS, "http://127.0.0.1:9/")
    await hear(database, [event_of(BUSINESS)])
    stale = await _claim(database, lease_s=0.0)
    current = await _claim(database, lease_s=60.0)
    assert (stale.id, stale.lease_no + 1) == (current.id, current.lease_no)
    assert await _finish(database, stale, "exhausted") == 0
    assert [row["status"] for row in await deliveries_of(database)] == ["pending"]
    assert await attempts_of(database) == []
    assert await _finish(database, current, "delivered") == 1
    assert await _finish(database, current, "exhausted") == 0
    assert [row["status"] for row in await deliveries_of(database)] == ["delivered"]


async def test_claimed_delivery_is_not_claimed_again_within_its_lease(database: Database) -> None:
    await make_endpoint(database, BUSINESS, "http://127.0.0.1:9/")
    await hear(database, [event_of(BUSINESS) for _ in range(40)])
    room = Room(30, 4, {}, [])
    async with database.work() as one, database.work() as other:
        first = await queue.claim_due(one, room, 60.0)
        second = await queue.claim_due(other, room, 60.0)
    assert len(first) == 4  # no more for one endpoint
    assert not {claim.id for claim in first} & {claim.id for claim in second}


async def test_event_heard_twice_is_delivered_once(database: Database) -> None:
    async with Sink.started() as sink, dispatching(database) as dispatcher:
        await make_endpoint(database, BUSINESS, sink.url())
        event = event_of(BUSINESS)
        await hear(database, [event, event], dispatcher)
        await eventually(database, all_are("delivered"))
        await asyncio.gather(*(hear(database, [event], dispatcher) for _ in range(3)))
        await hear(database, [event_of(BUSINESS)], dispatcher)
        await eventually(database, all_are("delivered", 2))
    assert len(sink.requests) == 2


async def test_endpoint_made_later_gets_nothing_old(database: Database) -> None:
    recorded = datetime.now(UTC) - timedelta(seconds=6)
    old = [event_of(BUSINESS, recorded_at=recorded), event_of(BUSINESS, recorded_at=recorded - timedelta(days=40))]
    await make_endpoint(database, BUSINESS, "http://127.0.0.1:9/")
    await hear(database, old)
    assert await deliveries_of(database) == []
    async with database.work() as tx:
        assert await tx.value("select count(*) from event") == 0
    await hear(database, [event_of(BUSINESS)])
    assert len(await deliveries_of(database)) == 1


async def test_business_without_endpoints_and_foreign_business_get_nothing(database: Database) -> None:
    await make_endpoint(database, uuid7(), "http://127.0.0.1:9/")
    await hear(database, [event_of(BUSINESS)])
    assert await deliveries_of(database) == []


async def test_planned_activity_is_refused_by_the_handler(database: Database) -> None:
    await make_endpoint(database, BUSINESS, "http://127.0.0.1:9/")
    with pytest.raises(Rejected, match="logged_at"):
        await hear(database, [event_of(BUSINESS, logged_at=None, planned_at=datetime.now(UTC))])
    assert await deliveries_of(database) == []


@pytest.mark.parametrize(
    ("event_type", "logged_at"), [("activity.logged", None), ("activity.created", datetime.now(UTC))]
)
async def test_row_forced_in_for_a_planned_activity_is_refused_by_the_database(
    database: Database, event_type: str, logged_at: datetime | None
) -> None:
    endpoint_id, _ = await make_endpoint(database, BUSINESS, "http://127.0.0.1:9/")
    for statement in (
        """insert into delivery (business_id, id, endpoint_id, event_id, event_type, activity_id, version, logged_at)
           values ($1, $2, $3, $3, $4, $3, 1, $5)""",
        """insert into event (business_id, id, activity_id, event_type, version, logged_at, body)
           values ($1, $2, $3, $4, 1, $5, '{}')""",
    ):
        with pytest.raises(Exception, match=r"null value in column \"logged_at\"|only_of_logged"):
            async with database.work() as tx:
                await tx.execute(statement, BUSINESS, uuid7(), endpoint_id, event_type, logged_at)


async def test_deleted_paused_and_disabled_endpoints_get_nothing_and_the_current_url_is_in_force(
    database: Database,
) -> None:
    async with Sink.started() as sink:
        names = ("deleted", "paused", "disabled", "moved")
        ids = {name: (await make_endpoint(database, BUSINESS, sink.url(f"/{name}")))[0] for name in names}
        await hear(database, [event_of(BUSINESS)])
        async with database.work() as tx:
            await tx.execute("update endpoint set deleted_at = now() where id = $1", ids["deleted"])
            for status in ("paused", "disabled"):
                await tx.execute("update endpoint set status = $2 where id = $1", ids[status], status)
            await tx.execute("update endpoint set url = $2 where id = $1", ids["moved"], sink.url("/here"))
        async with dispatching(database):
            rows = await eventually(database, lambda rows: all(row["status"] != "pending" for row in rows))
    by_id = {row["endpoint_id"]: row["status"] for row in rows}
    assert [by_id[ids[name]] for name in names] == ["cancelled", "parked", "parked", "delivered"]
    assert [one.path for one in sink.requests] == ["/here"]


async def test_stop_drains_what_is_being_sent_and_hands_the_rest_back(database: Database) -> None:
    async with Sink.started() as sink:
        sink.by_path |= {"/slow": Answer(delay_s=0.3), "/hang": Answer(hang=True)}
        slow, _ = await make_endpoint(database, BUSINESS, sink.url("/slow"))
        await make_endpoint(database, BUSINESS, sink.url("/hang"))
        policy = replace(POLICY, stop_s=0.6)
        async with dispatching(database, Setting(policy=policy, timeout_s=20.0)) as dispatcher:
            await hear(database, [event_of(BUSINESS)], dispatcher)
            await sink.received(2)
        rows = await deliveries_of(database)
        async with database.work() as tx:
            due = await tx.value("select count(*) from delivery where status = 'pending' and next_at <= now()")
    assert {row["endpoint_id"] == slow: row["status"] for row in rows} == {True: "delivered", False: "pending"}
    assert due == 1


@pytest.mark.parametrize("place", ["before", "after", "reported"])
async def test_failure_around_the_send_loses_nothing_and_repeats_with_the_same_id(
    database: Database, place: str
) -> None:
    async with Sink.started() as sink, dispatching(database) as dispatcher:
        await make_endpoint(database, BUSINESS, sink.url())
        failpoints.arm(f"webhook_dispatcher.send.{place}=error@1")
        try:
            await hear(database, [event_of(BUSINESS)], dispatcher)
            [delivery] = await eventually(database, all_are("delivered"))
        finally:
            failpoints.arm("")
    assert delivery["attempts"] == 2
    assert len(sink.requests) == (1 if place == "before" else 2)
    assert len({(one.headers["webhook-id"], one.body) for one in sink.requests}) == 1


async def test_dispatcher_says_so_when_it_is_stuck(database: Database) -> None:
    await make_endpoint(database, BUSINESS, "http://127.0.0.1:9/")
    await hear(database, [event_of(BUSINESS)])
    policy = replace(POLICY, stuck_s=0.2)
    async with database.work() as blocking:
        await blocking.execute("select 1 from delivery for update")  # claims pass over what is locked
        async with dispatching(database, Setting(policy=policy)) as dispatcher:
            await until(lambda: bool(dispatcher.problems()))
            assert "late although 16 permits are free" in dispatcher.problems()[0]
            await blocking.execute("rollback")
            await eventually(database, lambda rows: rows[0]["attempts"] > 0)
            await until(lambda: not dispatcher.problems())
        await blocking.execute("begin")


async def test_days_are_made_ahead_and_dropped(database: Database) -> None:
    async with database.work() as tx:
        await tx.execute("select make_day(current_date - 31)")
        await tx.execute("select make_day(current_date + 9)")
        assert await tx.value("select drop_days_before(current_date - 30)") == 2
        assert await tx.value("select to_regclass('event_' || to_char(current_date + 9, 'YYYYMMDD')) is not null")
        assert await tx.value("select to_regclass('event_' || to_char(current_date - 31, 'YYYYMMDD')) is null")


async def _claim(database: Database, lease_s: float) -> Claimed:
    async with database.work() as tx:
        [claim] = await queue.claim_due(tx, Room(10, 10, {}, []), lease_s)
    return claim


async def _finish(database: Database, claim: Claimed, status: str) -> int:
    attempt = {
        "at": datetime.now(UTC), "duration_ms": 1, "http_status": 200, "address": None, "phases": b"{}",
        "headers": b"{}", "answer": b"",
    }  # fmt: skip
    async with database.work() as tx:
        return await queue.finish(tx, [Finished(claim, status, None, None, attempt=attempt)])
