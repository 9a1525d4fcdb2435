"""Look-ups that share their queries and remember answers for a moment, so that a hot route asks about once a second.

Whoever arrives while a query is under way joins the next one: a flood of unknown keys costs one query at a time on
the keys' connection, however many callers there are. Callers who wait for something unknown are bounded besides.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar
from uuid import UUID

from libs.errors import Unavailable

V = TypeVar("V")
Place = tuple[UUID, UUID]
Load = Callable[[set[Place]], Awaitable[dict[Place, V]]]

REMEMBERED_S = 1.0
REMEMBERED_MAX = 10_000
WAITERS_MAX = 32
POLL_FIRST_S = 0.02
POLL_MAX_S = 0.25


class _Round(Generic[V]):
    """What is asked for in one query, and its answer once there is one."""

    __slots__ = ("failure", "found", "places")

    def __init__(self) -> None:
        self.places: set[Place] = set()
        self.found: dict[Place, V] | None = None
        self.failure: Unavailable | None = None


class Lookup(Generic[V]):
    """Finds values by (business, id)."""

    def __init__(self, load: Load[V], wait_max_ms: int) -> None:
        self._load = load
        self._wait_max_s = wait_max_ms / 1000
        self._remembered: dict[Place, tuple[float, V]] = {}
        self._round: _Round[V] = _Round()
        self._turn = asyncio.Lock()
        self._waiters = 0
        self._generation = 0

    async def find(self, place: Place, accept: Callable[[V], bool]) -> V | None:
        """Return the value at `place` if `accept` takes it, looking again for a while where it is not there (yet).

        None at once when too many wait already. Raises Unavailable when the database does not answer.
        """
        remembered = self._remembered.get(place)
        if remembered is not None and time.monotonic() - remembered[0] < REMEMBERED_S and accept(remembered[1]):
            return remembered[1]
        value = await self._ask(place)
        if value is not None and accept(value):
            return value
        if self._waiters >= WAITERS_MAX:
            return None
        self._waiters += 1
        try:
            return await self._wait(place, accept)
        finally:
            self._waiters -= 1

    def forget(self) -> None:
        """Drop what is remembered: something has changed."""
        self._remembered.clear()
        self._generation += 1

    async def _wait(self, place: Place, accept: Callable[[V], bool]) -> V | None:
        deadline = time.monotonic() + self._wait_max_s
        pause_s = POLL_FIRST_S
        while time.monotonic() + pause_s < deadline:
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, POLL_MAX_S)
            value = await self._ask(place)
            if value is not None and accept(value):
                return value
        return None

    async def _ask(self, place: Place) -> V | None:
        mine = self._round
        mine.places.add(place)
        async with self._turn:
            if mine.found is None and mine.failure is None:
                await self._ask_all(mine)  # cancelled: whoever is next in turn asks for all
        if mine.failure is not None:
            raise mine.failure
        assert mine.found is not None
        return mine.found.get(place)

    async def _ask_all(self, mine: _Round[V]) -> None:
        if self._round is mine:
            self._round = _Round()
        generation, started = self._generation, time.monotonic()
        try:
            found = await self._load(mine.places)
        except Unavailable as error:
            mine.failure = error
            return
        mine.found = found
        if generation != self._generation:
            return
        if len(self._remembered) + len(found) > REMEMBERED_MAX:
            self._remembered.clear()
        self._remembered.update({place: (started, value) for place, value in found.items()})
