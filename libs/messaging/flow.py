"""Flow: while many events come, it pays to wait a moment and take more of them at once.

Each batch has a price whatever is in it: a fetch, a transaction, a commit, a request to the broker. Where events come
one by one nobody waits.
"""

import time
from math import exp

SPAN_S = 0.1
MANY_PER_S, MOST_PER_S = 400.0, 1_500.0
"""Over so many a second, seen over about `SPAN_S`; below it what comes is to be handled at once."""
GATHER_MANY_S, GATHER_MOST_S = 0.015, 0.05
"""How long to gather then: more of a time where so many come that what it saves is what they wait for."""


class Flow:
    """How many events came of late, by an average that forgets what is older than `SPAN_S`."""

    def __init__(self) -> None:
        self._events = 0.0
        self._at = 0.0

    def note(self, count: int) -> None:
        """Note that so many came now."""
        self._events, self._at = self._left() + count, time.monotonic()

    def gather_s(self) -> float:
        """Tell for how long it pays to wait for more."""
        left = self._left()
        if left <= MANY_PER_S * SPAN_S:
            return 0.0
        return GATHER_MANY_S if left <= MOST_PER_S * SPAN_S else GATHER_MOST_S

    def _left(self) -> float:
        return self._events * exp((self._at - time.monotonic()) / SPAN_S)
