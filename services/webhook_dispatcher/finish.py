"""Outcomes on their way to the store: up to 256 in one statement, gathered for 20 ms."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog

from libs.database import Database, Transaction
from libs.errors import Unavailable
from services.webhook_dispatcher import metrics
from services.webhook_dispatcher.store import outcomes
from services.webhook_dispatcher.store.outcomes import Finished, Held

ROWS_MAX, GATHER_S = 256, 0.02
TROUBLE_FIRST_S, TROUBLE_MAX_S = 0.1, 2.0

log = structlog.get_logger("webhooks")


class Finisher:
    """`noted` is told of outcomes once they are in the store."""

    def __init__(self, noted: Callable[[Sequence[Finished]], None]) -> None:
        self._noted = noted
        self._there = asyncio.Event()
        self._finished: list[Finished] = []
        self._held: list[Held] = []

    @property
    def waiting(self) -> int:
        """How many outcomes are not noted yet."""
        return len(self._finished)

    def add(self, finished: Finished, held: Held | None = None) -> None:
        """Take an outcome, and what it means for its endpoint."""
        self._finished.append(finished)
        if held is not None:
            self._held.append(held)
        self._there.set()

    async def run(self, database: Database) -> None:
        """Note outcomes until cancelled."""
        trouble_s = TROUBLE_FIRST_S
        while True:
            await self._there.wait()
            if len(self._finished) < ROWS_MAX:
                await asyncio.sleep(GATHER_S)
            try:
                await self._note(database)
            except Unavailable:
                await asyncio.sleep(trouble_s)
                trouble_s = min(trouble_s * 2, TROUBLE_MAX_S)
            else:
                trouble_s = TROUBLE_FIRST_S

    async def note_all(self, database: Database) -> None:
        """Note everything that is there. Raises Unavailable."""
        while self._finished:
            await self._note(database)

    async def _note(self, database: Database) -> None:
        batch, held = self._finished[:ROWS_MAX], self._held[:]
        count = len(batch)
        async with database.work(plan_anew=True) as tx:
            if not held and all(one.status != "parked" for one in batch):
                with tx.alone():
                    noted = await outcomes.finish(tx, batch)
            else:
                batch = await _without_resumed(tx, batch)
                noted = await outcomes.finish(tx, batch)
                await outcomes.save_holds(tx, held)
        del self._finished[:count], self._held[: len(held)]
        if not self._finished:
            self._there.clear()
        metrics.STALE.inc(count - noted)
        self._noted(batch)
        _tell(batch)


async def _without_resumed(tx: Transaction, batch: list[Finished]) -> list[Finished]:
    """What was refused because its endpoint was paused is due again where that has gone on since: nobody else would
    resume it."""
    parked = [one.claimed for one in batch if one.status == "parked"]
    active = await outcomes.lock_active(tx, parked) if parked else set()
    return [
        replace(one, status="pending", delay_s=0.0, error=None)
        if one.status == "parked" and one.claimed.endpoint_id in active
        else one
        for one in batch
    ]


def _tell(batch: Sequence[Finished]) -> None:
    results = Counter(one.error or "delivered" for one in batch if one.attempt is not None)
    for result, count in results.items():
        metrics.ATTEMPTS.labels(result).inc(count)
    for one in batch:
        if one.attempt is not None:
            metrics.ATTEMPT_SECONDS.observe(one.attempt["duration_ms"] / 1000)
            if one.error is not None:
                log.info(
                    "webhook not taken", delivery_id=str(one.claimed.id), endpoint_id=str(one.claimed.endpoint_id),
                    attempt=one.claimed.attempts + 1, result=one.error, http_status=one.attempt["http_status"],
                    duration_ms=one.attempt["duration_ms"], then=one.status,
                )  # fmt: skip
    if results:
        log.info("webhooks attempted", **results)
