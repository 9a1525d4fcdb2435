"""A lane: one endpoint's deliveries in this worker. First in, first out; so many exchanges at once; its own pace.

open: it sends. throttled: it waits for its rate, or because the receiver said Retry-After. parked: its breaker is open;
what it is owed stays in the store, without attempts, and one probe goes out when the time is up.
"""

from collections import deque
from math import inf
from typing import Literal

from services.webhook_dispatcher.domain.pace import Breaker, Bucket, Cap, RetryBudget
from services.webhook_dispatcher.lease import KNOWN_S
from services.webhook_dispatcher.store.queue import Claimed
from services.webhook_dispatcher.store.targets import Target

AHEAD_S, AHEAD_MAX = 0.2, 1_024
"""What is claimed beyond the free exchanges: what goes out in this time at the present pace."""
RATED_AHEAD_S = 0.5
REFUSED_AHEAD = 128
OTHERS_TURN = 4
RETRIES_MIN_PER_S = 1.0
FIRST, RETRY, REPLAY = 0, 1, 2
Hold = tuple[float, Literal["retry_after", "breaker"], int]
"""For how many seconds, why, and how many times in a row the breaker opened."""


class Lane:
    """Instants are monotonic seconds. `due`: by rank, from when on the store has something for it, as far as known;
    `known_at`: when what its endpoint is like began to be read; `fed_at`: when it got the latest delivery."""

    __slots__ = (
        "_average_s", "_turn", "breaker", "bucket", "cap", "due", "fed_at", "held_until", "in_flight", "known_at",
        "listed", "queue", "retries", "target",
    )  # fmt: skip

    def __init__(self, target: Target, in_flight_max: int, now: float) -> None:
        self.target = target
        self.queue: deque[Claimed] = deque()
        self.in_flight = 0
        self.listed = False  # in the round of those that may send
        self.due = [inf, inf, inf]
        self.cap = Cap(in_flight_max)
        self.bucket: Bucket | None = None
        self.retries = RetryBudget(RETRIES_MIN_PER_S, now)
        self.breaker = Breaker(target.holds)
        self.held_until = now + target.held_s
        self.known_at = now
        self.fed_at = -inf
        self._average_s = inf
        self._turn = 0
        self.follow(target, now)

    def follow(self, target: Target, now: float) -> None:
        """Take over what its endpoint is like now; whoever changed it and let it go on has ended what held it."""
        if target.version > self.target.version and target.held_s <= 0:
            self.held_until, self.breaker = now, Breaker()
        self.target = target
        if target.rate_limit_per_s is None:
            self.bucket = None
        elif self.bucket is None or self.bucket.per_s != target.rate_limit_per_s:
            self.bucket = Bucket(target.rate_limit_per_s, now)

    def known(self, now: float) -> bool:
        """Tell whether it still counts what was read of its endpoint."""
        return now < self.known_at + KNOWN_S

    def goes_to(self, target: Target, now: float) -> bool:
        """Tell whether what was begun for this target may be sent still."""
        return self.known(now) and (self.target is target or (self.sends and self.target.url == target.url))

    @property
    def sends(self) -> bool:
        """Whether its endpoint is there to be sent to."""
        return self.target.status == "active" and not self.target.deleted

    @property
    def idle(self) -> bool:
        """Whether it holds nothing."""
        return not self.queue and not self.in_flight

    def state(self, now: float) -> Literal["open", "throttled", "parked"]:
        """Name its state."""
        if self.breaker.opened:
            return "parked"
        waits = self.held_until > now or (self.bucket is not None and self.bucket.wait_s(now) > 0)
        return "throttled" if waits else "open"

    def wait_s(self, now: float) -> float:
        """Say in how many seconds it may send; infinite: only once something comes back, or its endpoint was read."""
        if not self.known(now):
            return inf
        if not self.sends:
            return 0.0  # what is refused costs nobody anything
        if self.in_flight >= (1 if self.breaker.opened else self.cap.value):
            return inf
        held_s = self.held_until - now
        if held_s > 0:
            return held_s
        return 0.0 if self.bucket is None else self.bucket.wait_s(now)

    def take(self) -> Claimed:
        """Take the next delivery out of the queue, to be sent."""
        self.in_flight += 1
        if self.bucket is not None:
            self.bucket.take()
        return self.queue.popleft()

    def room(self, now: float) -> int:
        """Say how many deliveries it can do with."""
        if not self.sends:
            return REFUSED_AHEAD - self.in_flight - len(self.queue)
        if self.held_until > now:
            return 0
        if self.breaker.opened:
            return 1 - self.in_flight - len(self.queue)
        return self.cap.value + self._ahead() - self.in_flight - len(self.queue)

    def keeps_up(self, now: float) -> bool:
        """Tell whether nothing waits for it in the store, or it could send that too at once: then what is new need not
        queue up behind it, to be claimed."""
        return min(self.due) > now or (not self.queue and self.in_flight < self.cap.value)

    def _ahead(self) -> int:
        ahead = min(AHEAD_MAX, int(self.cap.value * AHEAD_S / self._average_s))
        return ahead if self.bucket is None else min(ahead, int(self.bucket.per_s * RATED_AHEAD_S))

    def wants(self, now: float, overall: RetryBudget) -> list[tuple[int, int]]:
        """Say what it wants of the store: (rank, how many). What is new goes first three times of four, retries keep
        within their budget.

        While more than half of what it may hold is there it wants nothing: rows are claimed many at a time.
        """
        room = self.room(now) if len(self.queue) <= self._ahead() // 2 else 0
        self._turn += 1
        wanted: list[tuple[int, int]] = []
        for rank in (RETRY, REPLAY, FIRST) if self._turn % OTHERS_TURN == 0 else (FIRST, RETRY, REPLAY):
            if room > 0 and self.due[rank] <= now:
                most = min(room, self.retries.left(now), overall.left(now)) if rank == RETRY else room
                if most > 0:
                    wanted.append((rank, most))
                    room -= most
        return wanted

    def should_have_sent(self, rank: int, now: float) -> bool:
        """Tell whether what is due of a rank should be on its way: nothing that it knows of holds it up."""
        if self.target.ordered or rank == REPLAY or not self.sends or self.breaker.opened or self.room(now) <= 0:
            return False
        return rank == FIRST or self.retries.left(now) > 0

    def learn(
        self, first: bool, result: tuple[str | None, int | None, float], wait_s: float, now: float
    ) -> Hold | None:
        """Take in an attempt: its error, status and seconds, and the receiver's Retry-After; return what holds it now.

        A hold of 0 s: nothing holds it any more.
        """
        error, status, seconds = result
        worked = error is None
        self._average_s = seconds if self._average_s == inf else 0.8 * self._average_s + 0.2 * seconds
        self._average_s = max(self._average_s, 0.001)
        overloaded = error is not None and (error.startswith("timeout") or status == 429 or error == "http_5xx")
        self.cap.learn(worked, seconds, overloaded)
        self.retries.learn(first, worked)
        opened = self.breaker.opened
        if opened and self.held_until > now:
            return None  # it was sent before the breaker opened: no probe
        open_s = self.breaker.learn(worked, now)
        if open_s is not None and open_s >= wait_s:
            return self._hold(open_s, "breaker", now)
        if wait_s > 0:
            return self._hold(wait_s, "retry_after", now)
        return (0.0, "breaker", 0) if opened and not self.breaker.opened else None

    def _hold(self, seconds: float, why: Literal["retry_after", "breaker"], now: float) -> Hold | None:
        if now + seconds <= self.held_until:
            return None
        self.held_until = now + seconds
        return seconds, why, self.breaker.opened
