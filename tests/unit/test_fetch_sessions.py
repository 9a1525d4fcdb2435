"""What a fetch has to name within its session, and how long it may wait."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.protocol.fetch import FetchRequest

from libs.messaging.fetching import ASIDE_MS, SESSION_UNKNOWN, TAKEN_S, Session, Sessions

ONE, OTHER, THIRD = ("happened", 0), ("happened", 1), ("named", 0)
SIZE = 1_000


def granted(wanted: dict[tuple[str, int], tuple[int, int]]) -> Session:
    session = Session()
    assert session.ask(wanted) == (0, 0, list(wanted), [])
    session.answered(0, 7)
    return session


def test_only_partitions_that_moved_are_named() -> None:
    session = granted({ONE: (5, SIZE), OTHER: (0, SIZE)})
    assert session.ask({ONE: (6, SIZE), OTHER: (0, SIZE)}) == (7, 1, [ONE], [])
    session.answered(0, 7)
    assert session.ask({ONE: (6, SIZE), OTHER: (0, SIZE)}) == (7, 2, [], [])


def test_partition_that_is_held_back_is_forgotten_and_named_when_it_is_wanted_again() -> None:
    session = granted({ONE: (5, SIZE), OTHER: (0, SIZE)})
    assert session.ask({ONE: (5, SIZE)}) == (7, 1, [], [OTHER])
    session.answered(0, 7)
    assert session.ask({ONE: (5, SIZE), OTHER: (0, SIZE), THIRD: (1, SIZE)}) == (7, 2, [OTHER, THIRD], [])


def test_request_without_an_answer_ends_the_session() -> None:
    session = granted({ONE: (5, SIZE)})
    session.ask({ONE: (6, SIZE)})
    session.ended()
    assert session.ask({ONE: (6, SIZE)}) == (7, 0, [ONE], [])


def test_answered_request_that_is_over_leaves_the_session_open() -> None:
    session = granted({ONE: (5, SIZE)})
    session.ended()
    assert session.ask({ONE: (6, SIZE)}) == (7, 1, [ONE], [])


def test_session_that_the_broker_does_not_know_is_not_named_again() -> None:
    session = granted({ONE: (5, SIZE)})
    session.ask({ONE: (5, SIZE)})
    session.answered(SESSION_UNKNOWN, 0)
    assert session.ask({ONE: (5, SIZE)}) == (0, 0, [ONE], [])


def test_broker_that_keeps_no_session_is_told_all_each_time() -> None:
    session = Session()
    for _ in range(2):
        assert session.ask({ONE: (5, SIZE)}) == (0, 0, [ONE], [])
        session.answered(0, 0)


@pytest.mark.parametrize(
    ("untaken", "waits_ms"), [({}, (200, 1_200)), ({"a partition": "records"}, (ASIDE_MS, ASIDE_MS))]
)
async def test_partitions_without_records_hold_up_none_whose_records_wait_to_be_taken(
    untaken: dict[str, str], waits_ms: tuple[int, int]
) -> None:
    asked: list[Any] = []

    async def process(_assignment: object, _node: int, fetch: Any) -> bool:
        asked.append(fetch.prepare({FetchRequest.API_KEY: (4, 11)}))
        return False

    fetcher = SimpleNamespace(
        _records=untaken, _proc_fetch_request=process, _prefetch_backoff=0.1, _fetch_waiters=set()
    )
    Sessions(cast(Fetcher, fetcher))
    await fetcher._proc_fetch_request(object(), 1, FetchRequest(1_000, 1, 1 << 20, 0, [("heard", [(0, 7, 1 << 18)])]))
    assert waits_ms[0] <= asked[0].max_wait_time <= waits_ms[1]
    assert fetcher._prefetch_backoff == TAKEN_S


@pytest.mark.parametrize("comes", [True, False])
async def test_who_waits_for_records_is_told_as_soon_as_they_came(comes: bool) -> None:
    waiters = [asyncio.get_running_loop().create_future() for _ in range(2)]
    waiters[0].set_result(None)

    async def process(_assignment: object, _node: int, _fetch: Any) -> bool:
        return comes

    fetcher = SimpleNamespace(
        _records={}, _proc_fetch_request=process, _prefetch_backoff=0.1, _fetch_waiters=set(waiters)
    )
    Sessions(cast(Fetcher, fetcher))
    assert await fetcher._proc_fetch_request(object(), 1, FetchRequest(1_000, 1, 1 << 20, 0, [])) is comes
    assert waiters[1].done() is comes
