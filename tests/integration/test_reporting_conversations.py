"""Conversations in reports: each counted once beside the activity made from it, however the events arrive."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from itertools import permutations
from typing import Any
from uuid import uuid4

import pytest

from libs.contracts.activity import Activity
from libs.contracts.interaction import TYPES, InteractionClosed
from libs.database import Database
from services.reporting import store
from services.reporting.domain.facts import fact_of
from services.reporting.handlers import count_activities, count_conversations
from tests.conftest import MakeDatabase
from tests.support.conversations import Heard, conversation, erased, hosts_of, lives_of, made_from
from tests.support.histories import START, event, next_version

BUSINESS = uuid4()
WAITERS = "select count(*) from pg_locks where not granted and pg_backend_pid() = any (pg_blocking_pids(pid))"
RECOUNT = """
    select business_id, to_timestamp(floor(extract(epoch from at) / 900) * 900), type, state, source, source_kind,
           direction, agent, count(*)
    from (select business_id, at, type, state, source, source_kind, direction, agent from fact where counted
          union all
          select business_id, at, type, state, source, source_kind, direction, agent from interaction_fact
          where counted) as counted
    group by 1, 2, 3, 4, 5, 6, 7, 8 order by 1, 2, 3, 4, 5, 6, 7, 8
"""
Rows = tuple[list[Any], list[Any], list[Any]]


async def hear(database: Database, heard: Sequence[Heard]) -> None:
    async with database.work() as tx:
        talks = [each for each in heard if isinstance(each, InteractionClosed)]
        states = [event(each) for each in heard if isinstance(each, Activity)]
        if talks:
            await count_conversations(tx, talks)
        if states:
            await count_activities(tx, states)


async def rows(database: Database) -> Rows:
    async with database.work() as tx:
        facts = await tx.fetch("select * from fact order by business_id, activity_id")
        talks = await tx.fetch("select * from interaction_fact order by business_id, interaction_id")
        cells = await tx.fetch("select * from rollup order by 1, 2, 3, 4, 5, 6, 7, 8")
        assert [tuple(row) for row in cells] == [tuple(row) for row in await tx.fetch(RECOUNT)]
    return [tuple(row) for row in facts], [tuple(row) for row in talks], [tuple(row) for row in cells]


async def rebuilt(database: Database, newest: Sequence[Heard]) -> Rows:
    async with database.work() as tx:
        await store.empty(tx)
    await hear(database, newest)
    return await rows(database)


def wanted_counts(newest: Sequence[Heard]) -> Counter[tuple[Any, ...]]:
    """Count from the newest states alone: the model."""
    counts: Counter[tuple[Any, ...]] = Counter()
    hosts = hosts_of(newest)
    for each in newest:
        if isinstance(each, Activity):
            fact = fact_of(each)
            if fact.counted:
                counts[fact.at, fact.type, fact.state, fact.source_kind] += 1
        elif each.interaction.interaction_id not in hosts:
            talk = each.interaction
            counts[talk.opened_at, TYPES[talk.channel], "logged", "interaction"] += 1
    return counts


async def counted(database: Database) -> Counter[tuple[Any, ...]]:
    async with database.work() as tx:
        found = await tx.fetch(
            """
            select at, type, state, source_kind from fact where counted
            union all select at, type, state, source_kind from interaction_fact where counted
            """
        )
    return Counter(tuple(row) for row in found)


@pytest.mark.parametrize(("own", "told"), [(True, True), (True, False), (False, True)])
async def test_conversation_and_its_activity_are_counted_once_in_every_order_and_again(
    make_database: MakeDatabase, own: bool, told: bool
) -> None:
    database = await make_database("reporting")
    talk = conversation(BUSINESS)
    made = made_from(talk, own=own, told=told)
    for more, total in (([], 1), ([next_version(made, deleted_at=START)], 1),
                        ([next_version(made, retracted_at=START)], 0)):  # fmt: skip
        heard: list[Heard] = [talk, made, *more, erased(talk)]
        wanted = await rebuilt(database, heard)
        assert sum(cell[-1] for cell in wanted[2]) == total
        for order in permutations(heard):
            async with database.work() as tx:
                await store.empty(tx)
            for each in order:
                await hear(database, [each, each])
            assert await rows(database) == wanted


@pytest.mark.parametrize(("own", "told"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("first", ["activity", "conversation"])
async def test_two_workers_at_once_count_conversation_and_activity_once(
    make_database: MakeDatabase, first: str, own: bool, told: bool
) -> None:
    database = await make_database("reporting")
    talk = conversation(BUSINESS)
    pair: list[Heard] = [talk, made_from(talk, own=own, told=told)]
    early, late = pair if first == "conversation" else pair[::-1]
    async with database.work() as tx:
        await tx.value("select 1")  # else what is new is committed at once
        if isinstance(early, Activity):
            await count_activities(tx, [event(early)])
        else:
            await count_conversations(tx, [early])
        later = asyncio.create_task(hear(database, [late]))
        async with asyncio.timeout(60):
            while not await tx.value(WAITERS):
                await asyncio.sleep(0.01)
        assert not later.done()
    await later
    assert [cell[-1] for cell in (await rows(database))[2]] == [1]


@pytest.mark.parametrize("seed", range(6))
async def test_any_interleaving_counts_what_a_plain_model_counts_and_what_a_rebuild_does(
    make_database: MakeDatabase, seed: int
) -> None:
    database = await make_database("reporting")
    chance = random.Random(seed)
    lives = lives_of(BUSINESS, chance, [uuid4() for _ in range(5)])
    heard = [each for life in lives for each in life for _ in range(2)]

    async def work(number: int) -> None:
        mine = heard[:]
        random.Random(seed * 10 + number).shuffle(mine)
        for start in range(0, len(mine), 7):
            await hear(database, mine[start : start + 7])

    await asyncio.gather(*(work(number) for number in range(3)))
    newest = [life[-1] for life in lives]
    built = await rows(database)
    assert await counted(database) == wanted_counts(newest)
    assert built == await rebuilt(database, newest)
