"""What a fetch has to name within its session, and how long it may wait."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from io import BytesIO
from math import inf
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.protocol.fetch import FetchRequest, FetchResponse_v11

from libs.messaging.delivery import PatientConsumer
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


class Client:
    """What a client's fetcher is to sessions. Each fetch is answered by the next of `answers`, then by records."""

    def __init__(self, *answers: Callable[["Client"], None], untaken: dict[str, str] | None = None) -> None:
        self.asked: list[Any] = []
        self.due: list[float] = []
        self.closing: asyncio.Task[bool] | None = None
        self._answers = list(answers)
        self._records = untaken or {}
        self._fetch_waiters: set[asyncio.Future[None]] = set()
        self._wait_consume_future = asyncio.get_running_loop().create_future()
        self._prefetch_backoff = 0.1

    async def _proc_fetch_request(self, _assignment: object, _node: int, fetch: Any) -> bool:
        self.asked.append(fetch.prepare({FetchRequest.API_KEY: (4, 11)}))
        self.due.append(self.sessions.due_at)
        if not self._answers:
            return True
        meanwhile = self._answers.pop(0)
        self.asked[-1].RESPONSE_TYPE.decode(BytesIO(FetchResponse_v11(0, 0, 7, []).encode()))
        meanwhile(self)
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
        return False

    def _get_actions_per_node(self, _assignment: object) -> None:
        """Look what to ask for."""

    async def fetch(self, topics: Sequence[str] = ("heard",)) -> bool:
        """Ask for a partition of each topic, within sessions."""
        self.sessions = Sessions(cast(Fetcher, self))
        wanted = [(topic, [(0, 7, 1 << 18)]) for topic in topics]
        self.closing = asyncio.create_task(
            self._proc_fetch_request(object(), 1, FetchRequest(1_000, 1, 1 << 20, 0, wanted))
        )
        return await self.closing


def nothing(_: Client) -> None:
    """Change nothing."""


def taken(client: Client) -> None:
    """Records were taken, or a partition was put back."""
    client._wait_consume_future.set_result(None)


def looked(client: Client) -> None:
    """The client looked what to ask for: something was assigned, opened again, or it does so every 10 s."""
    client._get_actions_per_node(object())


def closed(client: Client) -> None:
    """The client ends its tasks; it does not pass on that this one was cancelled."""
    assert client.closing is not None
    client.closing.cancel()


@pytest.mark.parametrize(
    ("untaken", "waits_ms"), [({}, (200, 1_200)), ({"a partition": "records"}, (ASIDE_MS, ASIDE_MS))]
)
async def test_partitions_without_records_hold_up_none_whose_records_wait_to_be_taken(
    untaken: dict[str, str], waits_ms: tuple[int, int]
) -> None:
    client = Client(untaken=untaken)
    await client.fetch()
    assert waits_ms[0] <= client.asked[0].max_wait_time <= waits_ms[1]
    assert client._prefetch_backoff == TAKEN_S


@pytest.mark.parametrize("comes", [True, False])
async def test_who_waits_for_records_is_told_as_soon_as_they_came(comes: bool) -> None:
    client = Client(*([] if comes else [looked]))
    client._fetch_waiters |= {asyncio.get_running_loop().create_future() for _ in range(2)}
    one, other = client._fetch_waiters
    one.set_result(None)
    assert await client.fetch() is comes
    assert other.done() is comes


@pytest.mark.parametrize("waited_for", [True, False])
async def test_while_nothing_comes_and_nothing_changes_the_same_is_asked_again_and_held_open_longer(
    waited_for: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.monotonic", lambda: 1_000.0)
    client = Client(nothing, nothing, nothing)
    if waited_for:
        client._fetch_waiters.add(asyncio.get_running_loop().create_future())
    assert await client.fetch(("heard", "named"))
    first, *others = client.asked
    assert len(first.topics) == 2
    assert [(each.session_id, each.topics) for each in others] == [(7, [])] * 3, "in the session nothing is named again"
    assert first.max_wait_time == 1_000
    assert {each.max_wait_time for each in others} == {4_000 if waited_for else 1_000}
    assert [due_at - 1_000 for due_at in client.due] == [first.max_wait_time / 1_000] + [
        each.max_wait_time / 1_000 for each in others
    ], "an answer is due from when it was asked for"


@pytest.mark.parametrize("meanwhile", [taken, looked, closed])
async def test_whatever_may_change_what_is_wanted_ends_the_asking(meanwhile: Callable[[Client], None]) -> None:
    client = Client(nothing, meanwhile, nothing)
    assert not await client.fetch()
    assert len(client.asked) == 2
    assert client.sessions.due_at == inf, "nothing is asked"


@pytest.mark.parametrize(
    ("answered_s", "due_s", "heard_s", "silent_s"),
    [
        (4, -1, 2, 2), (4, -1, 4, 4), (9, -inf, 1, 1),  # a fetch is held open, or none is wanted: other answers count
        (9, 3, 1, 3), (9, 6, 8, 8), (1, -inf, 5, 1),
    ],
)  # fmt: skip
def test_broker_is_silent_since_it_answered_anything_and_no_fetch_was_due(
    answered_s: float, due_s: float, heard_s: float, silent_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.monotonic", lambda: 1_000.0)
    connections = {1: SimpleNamespace(_last_action=1_000 - heard_s), 2: SimpleNamespace(_last_action=1.0)}
    sessions = SimpleNamespace(answered_at=1_000 - answered_s, due_at=1_000 - due_s)
    reader = SimpleNamespace(sessions=sessions, _client=SimpleNamespace(_conns=connections))
    assert PatientConsumer.silent_s(cast(PatientConsumer, reader)) == silent_s
