"""Flow: while many events come, it pays to wait a moment and take more of them at once.

Each batch has a price whatever is in it: a fetch, a transaction, a commit, a request to the broker. Where events come
one by one nobody waits.
"""

import time
from math import exp

SPAN_S, WAVES_S = 0.1, 1.0
"""How far back is looked: behind a busy service events come in waves, each of one of its batches, some 0.3 s apart."""
MANY_PER_S, MOST_PER_S = 400.0, 1_100.0
"""Over so many a second it pays, seen over about `SPAN_S`, and over about `WAVES_S`; below both nobody waits."""
GATHER_MANY_S, GATHER_MOST_S = 0.015, 0.1
"""How long to gather then: longer where so many come that what it saves is what they wait for."""


class Flow:
    """How many events came of late, by averages that forget what is older."""

    def __init__(self) -> None:
        self._lately = self._in_waves = 0.0
        self._at = 0.0

    def note(self, count: int) -> None:
        """Note that so many came now."""
        lately, in_waves = self._left()
        self._lately, self._in_waves, self._at = lately + count, in_waves + count, time.monotonic()

    def gather_s(self) -> float:
        """Tell for how long it pays to wait for more."""
        lately, in_waves = self._left()
        if in_waves > MOST_PER_S * WAVES_S:
            return GATHER_MOST_S
        return GATHER_MANY_S if lately > MANY_PER_S * SPAN_S else 0.0

    def _left(self) -> tuple[float, float]:
        gone_s = time.monotonic() - self._at
        return self._lately * exp(-gone_s / SPAN_S), self._in_waves * exp(-gone_s / WAVES_S)
