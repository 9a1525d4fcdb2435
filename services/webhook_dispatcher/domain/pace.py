"""How fast an endpoint is sent to: exchanges at once, a rate, retries beside first attempts, and a breaker.

Instants are of a monotonic clock in seconds and come in as arguments.
"""

from collections import deque

IN_FLIGHT_MIN = 2
FAST_S = 1.0
"""An answer within this time lets the endpoint have one exchange more."""
RETRY_SHARE = 0.2
"""Retries beside first attempts (design: policies, retry storm). One that works costs nothing and earns half of one
more, so that what piled up goes out on a ramp once the receiver is well again."""
RETRY_BONUS = 0.5
RETRIES_KEPT_MAX = 1_000.0
WINDOW_S = 60.0
FAILED_SHARE, ATTEMPTS_MIN, WINDOW_MAX = 0.75, 8, 100
OPEN_FIRST_S, OPEN_MAX_S = 5.0, 300.0


class Cap:
    """How many exchanges may be open: from 2 to a bound, one more for each fast success, half after trouble."""

    __slots__ = ("_limit", "value")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.value = min(IN_FLIGHT_MIN, limit)

    def learn(self, worked: bool, seconds: float, overloaded: bool) -> None:
        """Take in an exchange; `overloaded`: it timed out, or was answered 429 or 5xx."""
        if overloaded:
            self.value = max(min(IN_FLIGHT_MIN, self._limit), self.value // 2)
        elif worked and seconds <= FAST_S:
            self.value = min(self._limit, self.value + 1)


class Bucket:
    """A rate: so many a second, at most a second's worth at once. It begins with one, so that moving gains nothing."""

    __slots__ = ("_at", "_tokens", "per_s")

    def __init__(self, per_s: float, now: float) -> None:
        self.per_s = per_s
        self._tokens, self._at = 1.0, now

    def wait_s(self, now: float) -> float:
        """Say in how many seconds one may be sent; 0: now."""
        self._tokens = min(max(1.0, self.per_s), self._tokens + (now - self._at) * self.per_s)
        self._at = now
        return 0.0 if self._tokens >= 1 - 1e-9 else (1 - self._tokens) / self.per_s

    def take(self) -> None:
        """Note that one is sent."""
        self._tokens -= 1


class RetryBudget:
    """How many retries may be sent: a fifth of first attempts, and `min_per_s` where there are few of those."""

    __slots__ = ("_at", "_min_per_s", "_tokens")

    def __init__(self, min_per_s: float, now: float) -> None:
        self._min_per_s = min_per_s
        self._tokens, self._at = 10 * min_per_s, now

    def left(self, now: float) -> int:
        """Say how many may be sent now."""
        if self._tokens < 10 * self._min_per_s:
            self._tokens = min(10 * self._min_per_s, self._tokens + (now - self._at) * self._min_per_s)
        self._at = now
        return max(0, int(self._tokens))

    def spend(self, retries: int) -> None:
        """Note that retries will be sent."""
        self._tokens -= retries

    def learn(self, first: bool, worked: bool) -> None:
        """Take in an attempt."""
        earned = RETRY_SHARE if first else 1 + RETRY_BONUS if worked else 0.0
        self._tokens = min(RETRIES_KEPT_MAX, self._tokens + earned)


class Breaker:
    """Opens when most of the last attempts failed; half open it lets one through, whose outcome closes or opens it.

    The window holds the last 100 attempts of the last 60 s; it opens at 75 % failed of at least 8. It stays open for
    5 s the first time and twice as long each further time in a row, up to 5 min.
    """

    __slots__ = ("_failed", "_window", "opened")

    def __init__(self, opened: int = 0) -> None:
        self._window: deque[tuple[float, bool]] = deque()
        self._failed = 0
        self.opened = opened  # how many times in a row; 0: closed

    def learn(self, worked: bool, now: float) -> float | None:
        """Take in an attempt; return for how long nothing is to be sent if that opens it."""
        if self.opened:
            if worked:
                self.opened = 0
                self._window.clear()
                self._failed = 0
                return None
            return self._open()
        self._window.append((now, worked))
        self._failed += not worked
        while len(self._window) > WINDOW_MAX or self._window[0][0] < now - WINDOW_S:
            self._failed -= not self._window.popleft()[1]
        if len(self._window) >= ATTEMPTS_MIN and self._failed >= FAILED_SHARE * len(self._window):
            return self._open()
        return None

    def _open(self) -> float:
        self._window.clear()
        self._failed = 0
        self.opened += 1
        return float(min(OPEN_FIRST_S * 2 ** min(self.opened - 1, 10), OPEN_MAX_S))
