"""Notices when the event loop stands still: blocked by work that does not wait, or the whole process frozen."""

import asyncio
import time

from libs.beat import to_next
from libs.service import metrics

LOOK_S = 1.0
STOOD_S = 2.5
"""A loop that stood still for so long has kept every caller waiting; the longest piece of ordinary work is 0.2 s. Of
what begins just after a look up to 1.2 s are not seen."""
SAID_S = 15.0
"""For how long after it that is a problem of health."""


class Watchdog:
    """Measures how late the loop wakes it up."""

    def __init__(self) -> None:
        self._stood_s = 0.0
        self._at = -SAID_S

    def problems(self) -> list[str]:
        """Say whether the loop stood still a while ago."""
        ago_s = time.monotonic() - self._at
        if ago_s > SAID_S:
            return []
        return [f"process: the event loop stood still for {self._stood_s:.0f} s, {ago_s:.0f} s ago"]

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            due = time.monotonic() + to_next(LOOK_S)
            await asyncio.sleep(due - time.monotonic())
            late_s = time.monotonic() - due
            metrics.LOOP_LATE.observe(max(0.0, late_s))
            if late_s > STOOD_S:
                self._stood_s, self._at = late_s, time.monotonic()
