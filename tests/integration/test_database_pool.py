"""Connections are given back past the driver's own door, without a task: what its pool promises must hold still."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from libs.database import Database, pool
from libs.database.pool import QUEUES_MAX, ROUTES_MAX, WORKERS_MAX
from libs.errors import Unavailable
from tests.conftest import MakeDatabase

SLEEPING = """
    select count(*) from pg_stat_activity
     where query = 'select pg_sleep(60)' and state = 'active' and pid = any($1::int[])"""
PID = "select pg_backend_pid()"


@dataclass(frozen=True)
class Case:
    """A database of a service, and a connection beside its pools."""

    database: Database
    owner: "asyncpg.Connection[asyncpg.Record]"

    async def pid(self) -> int:
        async with self.database.work() as tx:
            found: int = await tx.value(PID)
        return found

    async def pids(self) -> set[int]:
        """Hold all connections of workers at once, and name their backends."""
        async with AsyncExitStack() as stack:
            transactions = [await stack.enter_async_context(self.database.work()) for _ in range(WORKERS_MAX)]
            return {await tx.value(PID) for tx in transactions}

    async def end(self, pid: int) -> None:
        """End a backend, and wait until it is gone."""
        await self.owner.execute("select pg_terminate_backend($1, 5000)", pid)


@pytest.fixture
async def case(make_database: MakeDatabase) -> AsyncIterator[Case]:
    database = await make_database("probe")
    owner = await asyncpg.connect(database.urls.owner)
    try:
        yield Case(database, owner)
    finally:
        await owner.close()


async def test_connection_that_was_given_back_is_the_next_one_taken_as_it_was_left_and_no_task_is_made(
    case: Case,
) -> None:
    before = await case.pid()
    made: list[object] = []

    def make(loop: asyncio.AbstractEventLoop, call: Coroutine[Any, Any, Any], **how: Any) -> "asyncio.Task[Any]":
        made.append(call)
        return asyncio.Task(call, loop=loop, **how)

    loop = asyncio.get_running_loop()
    loop.set_task_factory(make)
    try:
        for _ in range(3):
            async with case.database.work() as tx:
                assert await tx.value(PID) == before
                await tx.execute("set application_name = 'mine'")
            async with case.database.work() as tx:
                assert await tx.value("show application_name") == "mine", "nothing is reset"
    finally:
        loop.set_task_factory(None)
    assert made == [], "the driver's own way of giving it back is a task each time"


async def test_connection_is_nobodys_once_it_was_given_back(case: Case) -> None:
    async with case.database.session() as connection:
        assert await connection.fetchval("select 1") == 1
    with pytest.raises(asyncpg.InterfaceError, match="released"):
        await connection.fetchval("select 1")


async def test_pools_hold_so_many_connections_and_who_comes_then_waits_for_one(case: Case) -> None:
    async with AsyncExitStack() as stack:
        held = await stack.enter_async_context(AsyncExitStack())
        pids = {
            await (await held.enter_async_context(case.database.work())).value(PID),
            *[await (await stack.enter_async_context(case.database.work())).value(PID) for _ in range(WORKERS_MAX - 1)],
        }
        assert len(pids) == WORKERS_MAX
        assert case.database.connections() == {
            "routes": (0, ROUTES_MAX), "worker": (WORKERS_MAX, WORKERS_MAX), "keys": (0, 1), "queue": (0, QUEUES_MAX),
        }  # fmt: skip
        waiting = asyncio.create_task(case.pid())
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await held.aclose()
        assert await waiting in pids
    assert case.database.connections()["worker"] == (0, WORKERS_MAX)


async def test_who_waits_too_long_is_told_so_and_who_is_cancelled_while_waiting_takes_nothing(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(WORKERS_MAX):
            await stack.enter_async_context(case.database.work())
        cancelled = [asyncio.create_task(case.pid()) for _ in range(3)]
        await asyncio.sleep(0.1)
        for task in cancelled:
            task.cancel()
        assert {type(one) for one in await asyncio.gather(*cancelled, return_exceptions=True)} == {
            asyncio.CancelledError
        }
        monkeypatch.setattr(pool, "ACQUIRE_S", 0.1)
        with pytest.raises(Unavailable, match="TimeoutError"):
            await case.pid()
    assert len(await case.pids()) == WORKERS_MAX, "all are there again"
    assert case.database.connections()["worker"] == (0, WORKERS_MAX)


@pytest.mark.parametrize("session", [True, False])
async def test_statement_that_is_cancelled_leaves_a_connection_that_works(case: Case, session: bool) -> None:
    pids = await case.pids()

    async def sleep() -> None:
        if session:
            async with case.database.session() as connection:
                await connection.execute("select pg_sleep(60)")
        async with case.database.work() as tx:
            await tx.execute("select pg_sleep(60)")

    sleeping = [asyncio.create_task(sleep()) for _ in range(WORKERS_MAX)]
    async with asyncio.timeout(20):
        while await case.owner.fetchval(SLEEPING, list(pids)) < WORKERS_MAX:
            await asyncio.sleep(0.02)
    for _ in range(2):  # the second time while the server is told of the first
        for task in sleeping:
            task.cancel()
        await asyncio.sleep(0)
    await asyncio.gather(*sleeping, return_exceptions=True)
    assert await case.pids() == pids
    assert await case.owner.fetchval(SLEEPING, list(pids)) == 0


async def test_connection_that_broke_is_replaced_whether_it_was_held_or_not(case: Case) -> None:
    idle = await case.pid()
    await case.end(idle)
    held = idle
    async with asyncio.timeout(20):
        while held == idle:
            with suppress(Unavailable):  # the end has not been seen yet
                held = await case.pid()

    async def hold() -> None:
        async with case.database.work() as tx:
            assert await tx.value(PID) == held
            await case.end(held)
            await tx.value(PID)

    with pytest.raises(Unavailable):
        await hold()
    assert await case.pid() not in (idle, held)
    assert len(await case.pids()) == WORKERS_MAX


async def test_connection_that_has_served_its_time_is_replaced(case: Case) -> None:
    before = await case.pid()
    for holder in case.database._pools["worker"]._holders:
        holder._max_queries = 1
    assert await case.pid() == before
    assert await case.pid() != before


async def test_closing_waits_for_who_still_holds_a_connection_and_ends_who_holds_it_too_long(
    make_database: MakeDatabase, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with case.database.work() as tx:
        closing = asyncio.create_task(case.database.close())
        await asyncio.sleep(0.1)
        assert not closing.done()
        assert await tx.value("select 1") == 1, "what is under way ends as it would"
    await closing
    with pytest.raises(Unavailable, match="not open"):
        await case.pid()
    monkeypatch.setattr(pool, "CLOSE_S", 0.2)
    other = await make_database("probe")

    async def hold_on() -> None:
        async with other.work() as tx:
            await tx.value(PID)
            await other.close()
            await tx.value(PID)

    with pytest.raises(Unavailable):
        await hold_on()
    count = "select count(*) from pg_stat_activity where datname = $1"
    async with asyncio.timeout(20):
        while await case.owner.fetchval(count, other.urls.database):
            await asyncio.sleep(0.02)
