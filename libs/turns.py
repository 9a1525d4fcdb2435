"""Taking turns: work on many things is cut into slices, so that whoever else waits for the event loop goes on between.

In one process all services and all requests share it. Of all who work on many things one has its slice in each round of
the loop: a request waits for one of them, not for all, each time that it waits for anything.
"""

import asyncio
from collections import deque
from weakref import WeakKeyDictionary

SLICE = 50
"""So many things are worked on in one go, some 1 ms."""


class _Line:
    """Those who wait for their slice on one loop."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._moves = False

    async def wait(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait for a round of the loop that nobody else has a slice in."""
        turn = loop.create_future()
        self._waiting.append(turn)
        if not self._moves:
            self._moves = True
            loop.call_soon(self._move, loop)
        await turn

    def _move(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # it may have been cancelled
                turn.set_result(None)
                loop.call_soon(self._move, loop)
                return
        self._moves = False


_lines: "WeakKeyDictionary[asyncio.AbstractEventLoop, _Line]" = WeakKeyDictionary()


async def take_turn() -> None:
    """Let others have their turn, and wait for the next slice."""
    loop = asyncio.get_running_loop()
    line = _lines.get(loop)
    if line is None:
        line = _lines[loop] = _Line()
    await line.wait(loop)


async def give_way(number: int) -> None:
    """Take a turn after every 50th thing; `number` is the place of this one, from 0."""
    if number % SLICE == SLICE - 1:
        await take_turn()
