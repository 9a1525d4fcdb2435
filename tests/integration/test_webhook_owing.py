"""What is owed, to whom, by which worker: leases, repeated events, endpoints that changed, planned activities."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from libs import failpoints
from libs.contracts.ids import uuid7
from libs.database import Database
from libs.errors import Rejected
from services.webhook_dispatcher.store import outcomes, queue, shards
from services.webhook_dispatcher.store.outcomes import Finished
from services.webhook_dispatcher.store.queue import Claimed, Wanted
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
    endpoint_id, _ = await make_endpoint(database, BUSINESS, "http://127.0.0.1:9/")
    await hear(database, [event_of(BUSINESS) for _ in range(40)])
    wanted = [Wanted(BUSINESS, endpoint_id, 0, 4, False)]
    async with database.work() as one, database.work() as other:
        first = await queue.claim(one, wanted, 60.0, None)
        second = await queue.claim(other, wanted, 60.0, None)
    assert len(first) == len(second) == 4  # no more than wanted
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
    policy = replace(POLICY, stuck_s=1.5)
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
        _, [waiting] = await shards.look(tx, uuid7(), 0.0)
        [claim] = await queue.claim(tx, [Wanted(*waiting[:3], 10, False)], lease_s, None)
    return claim


async def _finish(database: Database, claim: Claimed, status: str) -> int:
    attempt = {
        "at": datetime.now(UTC), "duration_ms": 1, "http_status": 200, "address": None, "phases": b"{}",
        "headers": b"{}", "answer": b"",
    }  # fmt: skip
    async with database.work() as tx:
        return await outcomes.finish(tx, [Finished(claim, status, None, None, attempt=attempt)])
