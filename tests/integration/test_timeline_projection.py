"""The timeline's rows follow from the newest version of each activity, however its events arrive."""

import asyncio
import random
from collections.abc import Sequence
from itertools import permutations
from typing import Any
from uuid import uuid4

import pytest

from libs.contracts.activity import Activity, ActivityEvent, Link
from libs.database import Database
from services.timeline_projector import store
from services.timeline_projector.handlers import show_activities
from tests.conftest import MakeDatabase
from tests.support.histories import START, activity, event, history, next_version, planned, shuffled_batches

BUSINESS = uuid4()
CONTACT = uuid4()
WAITERS = "select count(*) from pg_locks where not granted and transactionid = pg_current_xact_id()::xid"
LINKS = [Link(object="contact", record_id=CONTACT)]


async def _hear(database: Database, events: Sequence[ActivityEvent]) -> None:
    async with database.work() as tx:
        await show_activities(tx, events)


async def _rows(database: Database) -> tuple[list[Any], list[Any]]:
    async with database.work() as tx:
        heads = await tx.fetch("select * from activity_head order by business_id, activity_id")
        entries = await tx.fetch("select * from entry order by business_id, object, record_id, at, activity_id")
    return [tuple(row) for row in heads], [tuple(row) for row in entries]


async def _rebuilt(database: Database, newest: Sequence[Activity]) -> tuple[list[Any], list[Any]]:
    async with database.work() as tx:
        await store.empty(tx)
    await _hear(database, [event(state, "activity.state") for state in newest])
    return await _rows(database)


async def test_every_order_of_versions_each_heard_twice_ends_in_the_same_rows(make_database: MakeDatabase) -> None:
    database = await make_database("timeline_projector")
    plan = planned(BUSINESS, due_at=START, links=LINKS)
    moved = next_version(plan, links=[Link(object="lead", record_id=uuid4())])
    done = next_version(moved, occurred_at=START, logged_at=START, links=LINKS)
    wanted = await _rebuilt(database, [done])
    for order in permutations([plan, moved, done]):
        async with database.work() as tx:
            await store.empty(tx)
        for state in order:
            await _hear(database, [event(state), event(state)])
            await _hear(database, [event(state)])
        assert await _rows(database) == wanted


async def test_completed_heard_before_created_stays_completed(make_database: MakeDatabase) -> None:
    database = await make_database("timeline_projector")
    plan = planned(BUSINESS, due_at=START, links=LINKS)
    done = next_version(plan, occurred_at=START, logged_at=START)
    await _hear(database, [event(done, "activity.completed")])
    await _hear(database, [event(plan, "activity.created")])
    heads, entries = await _rows(database)
    assert [head[2] for head in heads] == [2]
    assert [entry[-1] for entry in entries] == [False]


async def test_deleted_leaves_the_timeline_and_an_older_version_does_not_bring_it_back(
    make_database: MakeDatabase,
) -> None:
    database = await make_database("timeline_projector")
    first = activity(BUSINESS, links=LINKS)
    await _hear(database, [event(first)])
    await _hear(database, [event(next_version(first, deleted_at=START))])
    await _hear(database, [event(first)])
    heads, entries = await _rows(database)
    assert (len(heads), entries) == (1, [])
    await _hear(database, [event(next_version(next_version(first)))])
    assert len((await _rows(database))[1]) == 1


@pytest.mark.parametrize("seed", range(4))
async def test_two_workers_with_any_order_and_repeats_build_the_rows_of_a_fresh_rebuild(
    make_database: MakeDatabase, seed: int
) -> None:
    database = await make_database("timeline_projector")
    chance = random.Random(seed)
    records = [uuid4() for _ in range(5)]
    lives = [history(BUSINESS, chance, records) for _ in range(60)]
    states = [state for life in lives for state in life]

    async def work(batches: list[list[ActivityEvent]]) -> None:
        for batch in batches:
            await _hear(database, batch)

    await asyncio.gather(*(work(shuffled_batches(states, random.Random(seed * 10 + one))) for one in range(3)))
    built = await _rows(database)
    assert built == await _rebuilt(database, [life[-1] for life in lives])


async def test_second_worker_waits_for_the_first_and_sees_what_it_wrote(make_database: MakeDatabase) -> None:
    database = await make_database("timeline_projector")
    plan = planned(BUSINESS, due_at=START, links=LINKS)
    done = next_version(plan, occurred_at=START, logged_at=START, at=START)
    async with database.work() as tx:
        await tx.value("select 1")  # else what is new is committed at once
        await show_activities(tx, [event(plan)])
        later = asyncio.create_task(_hear(database, [event(done)]))
        async with asyncio.timeout(60):
            while not await tx.value(WAITERS):
                await asyncio.sleep(0.01)
        assert not later.done()
    await later
    heads, entries = await _rows(database)
    assert [head[2] for head in heads] == [2]
    assert [entry[-1] for entry in entries] == [False]
