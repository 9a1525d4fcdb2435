"""Fetch sessions (KIP-227): a fetch names the partitions that moved since the one before, not all that are heard.

A service hears up to 32 partitions of which few have something. aiokafka writes all into every request and reads all
out of every answer, which cost more than handling what came [measured]. In a session the broker remembers them, and
its answers hold only partitions with records or moved marks.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping, Sequence, Set
from io import BytesIO
from math import inf
from typing import Any

from aiokafka.consumer.fetcher import Fetcher
from aiokafka.protocol.api import RequestStruct, Response
from aiokafka.protocol.fetch import FetchRequest, FetchRequest_v11

from libs.beat import to_next
from libs.messaging.flow import Flow
from libs.messaging.records import quicken

EPOCH_MAX = 2**31 - 1
SESSION_UNKNOWN = 70
GATHER_BYTES = 512 * 1024
"""While many events come the broker answers a fetch once it has so many bytes, or after the time to gather (`Flow`)."""
TAKEN_S, ASIDE_MS = 1.0, 100
"""While records of some partitions wait to be taken, the others are not asked about for so long, and then so long at a
time: a client has one fetch under way, so one that waits for partitions without records holds up those that have some.
By default it asks after 0.1 s, less than a batch takes, and waits until something comes: 4 of 20 s [measured]."""
CALM_TIMES = 4
"""A fetch that follows one without records is held open so many times as long, if somebody waits for records: none is
in hand then that may be put back, which waits for the fetch under way. Each costs 0.75 ms of CPU [measured]."""

_Place = tuple[str, int]
_Process = Callable[[Any, int, Any], Coroutine[Any, Any, bool]]


class Session:
    """What one broker remembers of what one consumer asks for: the next offset and the most bytes, by partition."""

    def __init__(self) -> None:
        self._id = 0
        self._epoch = 0  # 0: all partitions are named, and a new session is asked for
        self._known: dict[_Place, tuple[int, int]] = {}
        self._asked: dict[_Place, tuple[int, int]] = {}
        self._unanswered = False

    def ask(self, wanted: dict[_Place, tuple[int, int]]) -> tuple[int, int, list[_Place], list[_Place]]:
        """Say what a request has to hold: the session, its epoch, the partitions to name, those to forget."""
        self._asked, self._unanswered = wanted, True
        if self._epoch == 0:
            return self._id, 0, list(wanted), []
        known = self._known
        moved = [place for place, asked in wanted.items() if known.get(place) != asked]
        return self._id, self._epoch, moved, [place for place in known if place not in wanted]

    def answered(self, error_code: int, session_id: int) -> None:
        """Note an answer. After an error, or where the broker keeps no session, the next request names all again."""
        self._unanswered = False
        if error_code or session_id == 0:
            self._id, self._epoch = 0 if error_code in (0, SESSION_UNKNOWN) else self._id, 0
            return
        self._id, self._known = session_id, self._asked
        self._epoch = 1 if self._epoch == EPOCH_MAX else self._epoch + 1

    def ended(self) -> None:
        """Note that a request is over; where no answer came nobody knows what the broker remembers."""
        if self._unanswered:
            self.begin_anew()

    def begin_anew(self) -> None:
        """Name all partitions in the next request, which ends this session."""
        self._unanswered, self._epoch = False, 0


class Sessions:
    """The sessions of one consumer, by broker. `flow` is told by the consumer what came.

    By the monotonic clock: `answered_at`, when one last answered; `due_at`, when the first fetch since was to be.
    """

    def __init__(self, fetcher: Fetcher) -> None:
        self.answered_at, self.due_at = 0.0, inf
        self.flow = Flow()
        self._sessions: dict[int, Session] = defaultdict(Session)
        self._assignment: Any = None
        self._fetcher = fetcher
        self._records: Mapping[Any, Any] = fetcher._records  # noqa: SLF001
        self._waiters: Set[asyncio.Future[None]] = fetcher._fetch_waiters  # noqa: SLF001
        self._looks = 0
        self._look: Callable[[Any], Any] = fetcher._get_actions_per_node  # noqa: SLF001
        fetcher._get_actions_per_node = self._look_anew  # noqa: SLF001
        fetcher._prefetch_backoff = TAKEN_S  # noqa: SLF001
        self._process: _Process = fetcher._proc_fetch_request  # noqa: SLF001 - there is no seam for it
        fetcher._proc_fetch_request = self._fetch  # noqa: SLF001

    async def _fetch(self, assignment: Any, node_id: int, request: FetchRequest) -> bool:
        if assignment is not self._assignment:
            self._assignment = assignment
            for each in self._sessions.values():
                each.begin_anew()
        fetch, looks = _Fetch(request, self._sessions[node_id], self._note), self._looks
        bounds = request._max_wait_ms, request._min_bytes  # noqa: SLF001
        while True:
            request._max_wait_ms, request._min_bytes = self._bounds(*bounds, calm=fetch.empty)  # noqa: SLF001
            fetch.empty = False
            self.due_at = min(self.due_at, time.monotonic() + request._max_wait_ms / 1000)  # noqa: SLF001
            try:
                has_new = await self._process(assignment, node_id, fetch)
            finally:
                fetch.session.ended()
            if not fetch.empty or self._must_look(looks):
                break
        if _is_cancelled():  # nobody waits for an answer
            self.due_at = inf
        quicken(self._records.values())
        if has_new:
            self._wake()
        return has_new

    def _look_anew(self, assignment: Any) -> Any:
        """Note that the client looks what to ask for: it does so whenever something has changed."""
        self._looks += 1
        return self._look(assignment)

    def _must_look(self, looks: int) -> bool:
        """Tell whether the client has to look what to ask for, since something may have changed after so many looks.

        While nothing has, the same is asked again from here: a task, two futures and a look at all partitions less.
        """
        moved = self._fetcher._wait_consume_future  # noqa: SLF001
        return bool(looks != self._looks or self._records or moved is None or moved.done() or _is_cancelled())

    def _bounds(self, wait_ms: int, least_bytes: int, *, calm: bool) -> tuple[int, int]:
        """Say when the broker is to answer: after so many milliseconds, or once it has so many bytes."""
        if gather_s := self.flow.gather_s():
            return int(gather_s * 1000), GATHER_BYTES
        if self._records:
            return ASIDE_MS, least_bytes
        longer = CALM_TIMES if calm and self._waiters else 1
        return int(to_next(wait_ms / 1000 * longer) * 1000), least_bytes

    def _wake(self) -> None:
        """Tell now who waits for records: the client does two rounds of the loop later, as it sees this task end."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _note(self, fetch: "_Fetch", answer: Any) -> None:
        self.answered_at, self.due_at = time.monotonic(), inf
        fetch.session.answered(answer.error_code, answer.session_id)
        fetch.empty = bool(answer.session_id) and not (answer.error_code or answer.topics)


class _Fetch:
    """A request for all that is wanted (`topics`), written as what changes in its session.

    `empty`: the last answer in the session said that there is nothing.
    """

    def __init__(self, request: FetchRequest, session: Session, note: Callable[["_Fetch", Any], None]) -> None:
        self.topics = request.topics
        self.session = session
        self.empty = False
        self._request = request
        self._note = note
        self._wanted = {
            (topic, partition): (offset, size) for topic, parts in self.topics for partition, offset, size in parts
        }

    def prepare(self, versions: Mapping[int, tuple[int, int]]) -> RequestStruct:
        """Write it in the version that knows sessions; for a broker without that as aiokafka does."""
        least, most = versions[FetchRequest.API_KEY]
        whole = self._request
        if not least <= FetchRequest_v11.API_VERSION <= most:
            return whole.prepare(versions)
        wanted = self._wanted
        session_id, epoch, named, forgotten = self.session.ask(wanted)
        topics = [
            (
                topic,
                [(partition, -1, wanted[topic, partition][0], -1, wanted[topic, partition][1]) for partition in parts],
            )
            for topic, parts in _by_topic(named)
        ]
        struct = FetchRequest_v11(
            -1, whole._max_wait_ms, whole._min_bytes, whole._max_bytes, whole._isolation_level,  # noqa: SLF001
            session_id, epoch, topics, _by_topic(forgotten), whole._rack_id,  # noqa: SLF001
        )  # fmt: skip
        struct.RESPONSE_TYPE = _Answers(self, self._note)
        return struct


class _Answers:
    """Reads the answer to one request, and has it noted."""

    def __init__(self, fetch: _Fetch, note: Callable[[_Fetch, Any], None]) -> None:
        self._fetch = fetch
        self._note = note

    def decode(self, data: BytesIO) -> Response:
        """Read an answer."""
        answer = FetchRequest_v11.RESPONSE_TYPE.decode(data)
        self._note(self._fetch, answer)
        return answer


def _is_cancelled() -> bool:
    """Tell whether this task was cancelled; the client does not pass it on."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _by_topic(places: Sequence[_Place]) -> list[tuple[str, list[int]]]:
    found: dict[str, list[int]] = defaultdict(list)
    for topic, partition in places:
        found[topic].append(partition)
    return list(found.items())
