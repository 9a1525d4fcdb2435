"""Facts and roll-ups follow from the newest version of each activity, however its events arrive."""

import asyncio
import random
from collections.abc import Sequence
from itertools import permutations
from typing import Any
from uuid import uuid4

import pytest

from libs.contracts.activity import Activity, ActivityEvent
from libs.database import Database
from services.reporting import store
from services.reporting.handlers import count_activities
from tests.conftest import MakeDatabase
from tests.support.histories import START, activity, event, history, next_version, planned, shuffled_batches

BUSINESS = uuid4()
WAITERS = "select count(*) from pg_locks where not granted and transactionid = pg_current_xact_id()::xid"
RECOUNT = """
    select business_id, to_timestamp(floor(extract(epoch from at) / 900) * 900), type, state, source, source_kind,
           direction, agent, count(*)
    from fact where counted group by 1, 2, 3, 4, 5, 6, 7, 8 order by 1, 2, 3, 4, 5, 6, 7, 8
"""


async def _hear(database: Database, events: Sequence[ActivityEvent]) -> None:
    async with database.work() as tx:
        await count_activities(tx, events)


async def _rows(database: Database) -> tuple[list[Any], list[Any]]:
    async with database.work() as tx:
        facts = await tx.fetch("select * from fact order by business_id, activity_id")
        cells = await tx.fetch("select * from rollup order by 1, 2, 3, 4, 5, 6, 7, 8")
        assert [tuple(row) for row in cells] == [tuple(row) for row in await tx.fetch(RECOUNT)]
    return [tuple(row) for row in facts], [tuple(row) for row in cells]


async def _rebuilt(database: Database, newest: Sequence[Activity]) -> tuple[list[Any], list[Any]]:
    async with database.work() as tx:
        await store.empty(tx)
    await _hear(database, [event(state, "activity.state") for state in newest])
    return await _rows(database)


async def test_every_order_of_versions_each_heard_twice_counts_the_same(make_database: MakeDatabase) -> None:
    database = await make_database("reporting")
    plan = planned(BUSINESS, due_at=START)
    done = next_version(plan, occurred_at=START, logged_at=START)
    retracted = next_version(done, retracted_at=START)
    restored = next_version(retracted, retracted_at=None, direction="inbound")
    wanted = await _rebuilt(database, [restored])
    for order in permutations([plan, done, retracted, restored]):
        async with database.work() as tx:
            await store.empty(tx)
        for state in order:
            await _hear(database, [event(state), event(state)])
            await _hear(database, [event(state)])
        assert await _rows(database) == wanted


async def test_cell_that_counts_nothing_any_more_goes(make_database: MakeDatabase) -> None:
    database = await make_database("reporting")
    first = activity(BUSINESS)
    await _hear(database, [event(first)])
    await _hear(database, [event(next_version(first, retracted_at=START))])
    facts, cells = await _rows(database)
    assert (len(facts), cells) == (1, [])


@pytest.mark.parametrize("seed", range(4))
async def test_several_writers_with_any_order_and_repeats_count_as_a_recount_of_facts_does(
    make_database: MakeDatabase, seed: int
) -> None:
    database = await make_database("reporting")
    chance = random.Random(seed)
    records = [uuid4() for _ in range(5)]
    lives = [history(BUSINESS, chance, records) for _ in range(60)]
    states = [state for life in lives for state in life]

    async def work(batches: list[list[ActivityEvent]]) -> None:
        for batch in batches:
            await _hear(database, batch)

    await asyncio.gather(*(work(shuffled_batches(states, random.Random(seed * 10 + one))) for one in range(3)))
    assert await _rows(database) == await _rebuilt(database, [life[-1] for life in lives])


@pytest.mark.parametrize("known", [False, True])
async def test_two_writers_of_one_activity_never_both_see_it_uncounted(
    make_database: MakeDatabase, known: bool
) -> None:
    database = await make_database("reporting")
    plan = planned(BUSINESS, due_at=START)
    moved = next_version(plan, source="pbx")
    done = next_version(moved, occurred_at=START, logged_at=START)
    if known:
        await _hear(database, [event(plan)])
    async with database.work() as tx:
        await tx.value("select 1")  # else what is new is committed at once
        await count_activities(tx, [event(moved)])
        later = asyncio.create_task(_hear(database, [event(done)]))
        async with asyncio.timeout(60):
            while not await tx.value(WAITERS):
                await asyncio.sleep(0.01)
        assert not later.done()
    await later
    _, cells = await _rows(database)
    assert [(cell[3], cell[-1]) for cell in cells] == [("completed", 1)]
