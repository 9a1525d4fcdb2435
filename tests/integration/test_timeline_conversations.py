"""Conversations on timelines: each shown once beside the activity made from it, however the events arrive."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import permutations
from typing import Any
from uuid import UUID, uuid4

import pytest

from libs.contracts.activity import Activity, Link
from libs.contracts.ids import activity_id_of_interaction
from libs.contracts.interaction import InteractionClosed
from libs.database import Database
from services.timeline_projector import store
from services.timeline_projector.handlers import show_activities, show_conversations
from tests.conftest import MakeDatabase
from tests.support.conversations import Heard, about, conversation, erased, hosts_of, lives_of, made_from
from tests.support.histories import START, event, next_version

BUSINESS = uuid4()
CONTACT, OTHER = uuid4(), uuid4()
WAITERS = "select count(*) from pg_locks where not granted and pg_backend_pid() = any (pg_blocking_pids(pid))"
TABLES = ("activity_head", "entry", "interaction", "message")
Rows = dict[str, list[Any]]


async def hear(database: Database, heard: Sequence[Heard]) -> None:
    async with database.work() as tx:
        states = [event(each) for each in heard if isinstance(each, Activity)]
        talks = [each for each in heard if isinstance(each, InteractionClosed)]
        if talks:
            await show_conversations(tx, talks)
        if states:
            await show_activities(tx, states)


async def rows(database: Database) -> Rows:
    async with database.work() as tx:
        found = {name: await tx.fetch(f"select * from {name}") for name in TABLES}
    return {name: sorted((tuple(row) for row in rows), key=repr) for name, rows in found.items()}


async def rebuilt(database: Database, newest: Sequence[Heard]) -> Rows:
    async with database.work() as tx:
        await store.empty(tx)
    await hear(database, newest)
    return await rows(database)


def lines(found: Rows) -> list[tuple[Any, ...]]:
    """Where lines stand: object, record, moment, id."""
    return [entry[1:5] for entry in found["entry"]]


Case = Callable[[], tuple[list[Heard], int]]


def _follows() -> tuple[list[Heard], int]:
    talk = conversation(BUSINESS, links=about(CONTACT))
    return [talk, made_from(talk, links=about(CONTACT))], 1


def _follows_untold() -> tuple[list[Heard], int]:
    talk = conversation(BUSINESS, links=about(CONTACT))
    return [talk, made_from(talk, told=False, links=about(CONTACT))], 1


def _names_it() -> tuple[list[Heard], int]:
    talk = conversation(BUSINESS, links=about(CONTACT))
    return [talk, made_from(talk, own=False, links=about(CONTACT))], 1


def _links_are_united() -> tuple[list[Heard], int]:
    talk = conversation(BUSINESS, links=about(CONTACT, OTHER))
    return [talk, made_from(talk, own=False, links=about(CONTACT, name="lead"))], 3


def _all_covers_one() -> tuple[list[Heard], int]:
    talk = conversation(BUSINESS, links=[Link(object="contact", all=True)])
    return [talk, made_from(talk, links=about(CONTACT))], 1


def _deleted() -> tuple[list[Heard], int]:
    talk = conversation(BUSINESS, links=about(CONTACT))
    first = made_from(talk, links=about(CONTACT, OTHER))
    return [talk, first, next_version(first, deleted_at=START)], 1


def _two_of_one() -> tuple[list[Heard], int]:
    talk = conversation(BUSINESS, links=about(CONTACT))
    return [talk, made_from(talk, own=False, links=about(CONTACT)), made_from(talk, links=about(CONTACT))], 2


def _erased() -> tuple[list[Heard], int]:
    talk = conversation(BUSINESS, links=about(CONTACT))
    return [talk, erased(talk), made_from(talk, links=about(CONTACT))], 1


@pytest.mark.parametrize(
    "case",
    [_follows, _follows_untold, _names_it, _links_are_united, _all_covers_one, _deleted, _two_of_one, _erased],
)
async def test_conversation_and_its_activity_are_shown_once_in_every_order_and_again(
    make_database: MakeDatabase, case: Case
) -> None:
    database = await make_database("timeline_projector")
    heard, count = case()
    wanted = await rebuilt(database, heard)
    assert len(lines(wanted)) == count
    for order in permutations(heard):
        async with database.work() as tx:
            await store.empty(tx)
        for each in order:
            await hear(database, [each])
        assert await rows(database) == wanted
        for each in order:
            await hear(database, [each, each])
        assert await rows(database) == wanted


@pytest.mark.parametrize(("own", "told"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("first", ["activity", "conversation"])
async def test_two_workers_at_once_show_conversation_and_activity_once(
    make_database: MakeDatabase, first: str, own: bool, told: bool
) -> None:
    database = await make_database("timeline_projector")
    talk = conversation(BUSINESS, links=about(CONTACT))
    pair: list[Heard] = [talk, made_from(talk, own=own, told=told, links=about(CONTACT))]
    early, late = pair if first == "conversation" else pair[::-1]
    async with database.work() as tx:
        await tx.value("select 1")  # else what is new is committed at once
        if isinstance(early, Activity):
            await show_activities(tx, [event(early)])
        else:
            await show_conversations(tx, [early])
        later = asyncio.create_task(hear(database, [late]))
        await until_waiting(lambda: tx.value(WAITERS))
        assert not later.done()
    await later
    assert lines(await rows(database)) == [("contact", CONTACT, START, pair[1].activity_id)]  # type: ignore[union-attr]


async def until_waiting(count: Callable[[], Awaitable[int]]) -> None:
    async with asyncio.timeout(60):
        while not await count():
            await asyncio.sleep(0.01)


def wanted_lines(newest: Iterable[Heard]) -> Counter[tuple[Any, ...]]:
    """Work out from the newest states alone what stands where: the model."""
    talks = {each.interaction.interaction_id: each for each in newest if isinstance(each, InteractionClosed)}
    living = [each for each in newest if isinstance(each, Activity) and each.deleted_at is None]
    hosts = hosts_of(newest)
    found: Counter[tuple[Any, ...]] = Counter()
    for state in living:
        links = list(state.links)
        for interaction_id, host in hosts.items():
            if host is state:
                links += talks[interaction_id].interaction.links
        found.update((*each, state.at, state.activity_id) for each in places(links))
    for interaction_id, talk in talks.items():
        if interaction_id not in hosts:
            own, at = activity_id_of_interaction(interaction_id), talk.interaction.opened_at
            found.update((*each, at, own) for each in places(talk.interaction.links))
    return found


def places(links: Iterable[Link]) -> set[tuple[str, UUID]]:
    found = list(links)
    whole = {link.object for link in found if link.all}
    one = {(link.object, link.record_id) for link in found if link.record_id and link.object not in whole}
    return one | {(name, UUID(int=0)) for name in whole}


@pytest.mark.parametrize("seed", range(6))
async def test_any_interleaving_ends_where_a_plain_model_says_and_in_the_rows_of_a_rebuild(
    make_database: MakeDatabase, seed: int
) -> None:
    database = await make_database("timeline_projector")
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
    assert Counter(lines(built)) == wanted_lines(newest)
    assert built == await rebuilt(database, newest)
