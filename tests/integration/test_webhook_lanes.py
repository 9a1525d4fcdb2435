"""Lanes at work: order, rates, breakers, several workers, and workers that die or freeze."""

import asyncio
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest

from libs.contracts.ids import uuid7
from libs.database import Database
from services.webhook_dispatcher import lease
from services.webhook_dispatcher.delivery import Dispatcher
from tests.conftest import MakeDatabase
from tests.support.sink import Answer, Request, Sink
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
ROOT = Path(__file__).parents[2]


@pytest.fixture
async def database(make_database: MakeDatabase) -> Database:
    return await make_database("webhook_dispatcher")


async def change(database: Database, endpoint_id: UUID, **fields: Any) -> None:
    async with database.work() as tx:
        for name, value in fields.items():
            await tx.execute(f"update endpoint set {name} = $2 where id = $1", endpoint_id, value)


def versions_of(requests: list[Request]) -> list[tuple[str, int]]:
    bodies = [orjson.loads(one.body)["data"] for one in requests]
    return [(one["activity_id"], one["version"]) for one in bodies]


@asynccontextmanager
async def worker(database: Database) -> AsyncIterator[subprocess.Popen[bytes]]:
    """Run a dispatcher in a process of its own."""
    command = [sys.executable, "-m", "tests.support.worker", database.urls.owner]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == b"sending\n"
        yield process
    finally:
        process.kill()
        await asyncio.to_thread(process.communicate)


async def shards_of(database: Database) -> Counter[UUID | None]:
    async with database.work() as tx:
        return Counter(row[0] for row in await tx.fetch("select worker from shard"))


async def shared(database: Database, *dispatchers: Dispatcher) -> None:
    """Wait until the shards are shared out evenly among these."""
    even = {one.worker: lease.SHARDS // len(dispatchers) for one in dispatchers}
    async with asyncio.timeout(60):
        while await shards_of(database) != even:
            await asyncio.sleep(0.02)


async def test_ordered_endpoint_gets_an_activitys_versions_one_after_another(database: Database) -> None:
    first, other = uuid7(), uuid7()
    async with Sink.started() as sink, dispatching(database) as dispatcher:
        sink.script = [Answer(500), Answer(200, delay_s=0.1), Answer(500)]
        id_, _ = await make_endpoint(database, BUSINESS, sink.url())
        await change(database, id_, ordered=True)
        for version in (1, 2, 3):
            await hear(database, [event_of(BUSINESS, activity_id=first, version=version)], dispatcher)
        await hear(database, [event_of(BUSINESS, activity_id=other)], dispatcher)
        await eventually(database, all_are("delivered", 4))
    seen = versions_of(sink.requests)
    mine = [version for activity, version in seen if activity == str(first)]
    assert mine == sorted(mine)
    assert set(mine) == {1, 2, 3}
    assert len(seen) == 6


async def test_one_that_does_not_arrive_holds_the_later_ones_up_only_so_long(database: Database) -> None:
    activity = uuid7()
    patient = replace(POLICY, schedule_s=(3600.0,))
    async with Sink.started() as sink, dispatching(database, Setting(patient)) as dispatcher:
        sink.script = [Answer(500)]
        id_, _ = await make_endpoint(database, BUSINESS, sink.url())
        await change(database, id_, ordered=True, skip_after_s=3600.0)
        for version in (1, 2):
            await hear(database, [event_of(BUSINESS, activity_id=activity, version=version)], dispatcher)
        await eventually(database, lambda rows: rows[0]["attempts"] == 1)
        await hear(database, [event_of(BUSINESS)], dispatcher)
        await eventually(database, lambda rows: rows[2]["status"] == "delivered")
        assert [row["attempts"] for row in await deliveries_of(database)] == [1, 0, 1]
        await change(database, id_, skip_after_s=0.0)
        await eventually(database, lambda rows: rows[1]["status"] == "delivered")
    assert [version for _, version in versions_of(sink.requests)] == [1, 1, 2]


async def test_endpoint_gets_no_more_a_second_than_its_rate(database: Database) -> None:
    async with Sink.started() as sink, dispatching(database) as dispatcher:
        limited, _ = await make_endpoint(database, BUSINESS, sink.url("/limited"))
        await make_endpoint(database, BUSINESS, sink.url("/free"))
        await change(database, limited, rate_limit_per_s=20.0)
        await hear(database, [event_of(BUSINESS) for _ in range(20)], dispatcher)
        await eventually(database, all_are("delivered", 40))
    at = [one.at for one in sink.requests if one.path == "/limited"]
    assert at[-1] - at[0] >= 18 / 20
    assert all(late - early >= 0.9 for early, late in zip(at, at[19:], strict=False))


async def test_schedule_timeout_and_headers_of_the_endpoint_itself_are_kept_to(database: Database) -> None:
    async with Sink.started() as sink, dispatching(database, Setting(timeout_s=20.0)) as dispatcher:
        sink.by_path["/hang"] = Answer(hang=True)
        id_, _ = await make_endpoint(database, BUSINESS, sink.url("/hang"))
        await change(database, id_, schedule_s=[], timeout_s=1.0, headers=b'{"x-team":"blue"}')
        await hear(database, [event_of(BUSINESS)], dispatcher)
        [row] = await eventually(database, all_are("exhausted"))
    assert (row["attempts"], row["last_error"]) == (1, "timeout:answer")
    assert sink.requests[0].headers["x-team"] == "blue"


async def test_endpoint_that_fails_is_parked_and_what_it_is_owed_keeps_its_attempts(database: Database) -> None:
    async with Sink.started() as sink, dispatching(database) as dispatcher:
        sink.by_path["/hook"] = Answer(500)
        await make_endpoint(database, BUSINESS, sink.url())
        await hear(database, [event_of(BUSINESS) for _ in range(30)], dispatcher)
        async with asyncio.timeout(60):
            while True:
                async with database.work() as tx:
                    row = await tx.find("select held_for, holds, held_until > now() as held from endpoint")
                if row is not None and row["holds"]:
                    break
                await asyncio.sleep(0.02)
        await hear(database, [event_of(BUSINESS)], dispatcher)
        assert tuple(row) == ("breaker", 1, True)
        assert dispatcher.problems() == []
    rows = await deliveries_of(database)
    assert rows[-1]["attempts"] == 0
    assert sum(row["attempts"] for row in rows) == len(sink.requests) < 30
    assert {row["status"] for row in rows} == {"pending"}


async def test_parked_endpoint_gets_one_probe_and_goes_on_when_that_arrives(database: Database) -> None:
    async with Sink.started() as sink:
        sink.by_path["/hook"] = Answer(200, delay_s=0.2)
        id_, _ = await make_endpoint(database, BUSINESS, sink.url())
        await hear(database, [event_of(BUSINESS) for _ in range(5)])
        async with database.work() as tx:
            await tx.execute(
                "update endpoint set holds = 3, held_for = 'breaker', held_until = now() where id = $1", id_
            )
        async with dispatching(database):
            await eventually(database, all_are("delivered", 5))
            async with asyncio.timeout(60):
                while True:
                    async with database.work() as tx:
                        if await tx.value("select holds = 0 and held_until is null from endpoint"):
                            break
                    await asyncio.sleep(0.02)
    assert sink.requests[1].at - sink.requests[0].at >= 0.19  # nothing beside the probe


async def test_workers_share_the_endpoints_and_each_has_one_lane(database: Database) -> None:
    async with Sink.started() as sink, dispatching(database) as one, dispatching(database) as other:
        await shared(database, one, other)
        for number in range(8):
            await make_endpoint(database, BUSINESS, sink.url(f"/{number}"))
        await hear(database, [event_of(BUSINESS) for _ in range(5)], one)
        await hear(database, [event_of(BUSINESS) for _ in range(5)], other)
        await eventually(database, all_are("delivered", 80))
    assert len({one_.headers["webhook-id"] for one_ in sink.requests}) == len(sink.requests) == 80
    assert {row["attempts"] for row in await deliveries_of(database)} == {1}


async def test_worker_that_stops_hands_its_shards_over_at_once(database: Database) -> None:
    async with dispatching(database) as staying:
        async with dispatching(database) as leaving:
            await shared(database, staying, leaving)
        assert await shards_of(database) == {staying.worker: 32, None: 32}
        await shared(database, staying)


async def test_killed_worker_is_taken_over_within_its_lease(database: Database) -> None:
    async with Sink.started() as sink:
        sink.by_path["/hook"] = Answer(hang=True)
        await make_endpoint(database, BUSINESS, sink.url())
        await hear(database, [event_of(BUSINESS) for _ in range(3)])
        async with worker(database) as process:
            await sink.received(2)
            process.kill()
        sink.by_path["/hook"] = Answer(200)
        async with dispatching(database, Setting(replace(POLICY, lease_s=3600.0))):
            rows = await eventually(database, all_are("delivered", 3))
    assert sorted(row["lease_no"] for row in rows) == [1, 3, 3]  # claimed, taken away, claimed again


async def test_frozen_worker_that_wakes_up_changes_nothing(database: Database) -> None:
    async with Sink.started() as sink:
        sink.by_path["/hook"] = Answer(500, delay_s=1.0)
        await make_endpoint(database, BUSINESS, sink.url())
        await hear(database, [event_of(BUSINESS) for _ in range(6)])
        async with worker(database) as process:
            await sink.received(2)
            process.send_signal(signal.SIGSTOP)
            sink.by_path["/hook"] = Answer(200)
            async with dispatching(database) as taking_over:
                await eventually(database, all_are("delivered", 6))
                before, attempts = await deliveries_of(database), await attempts_of(database)
                process.send_signal(signal.SIGCONT)
                async with asyncio.timeout(60):  # it is there again and has its share
                    while len(await shards_of(database)) < 2:
                        await asyncio.sleep(0.02)
                await until(lambda: not taking_over.problems())
                assert await deliveries_of(database) == before
                assert await attempts_of(database) == attempts
    assert {row["attempts"] for row in before} == {1}
    assert len(sink.requests) == 8
