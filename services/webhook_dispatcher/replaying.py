"""Replays that run: a slice at a time, never more in hand than a budget, little while fresh deliveries wait."""

import asyncio
from collections.abc import Callable
from uuid import UUID

from libs.beat import to_next
from libs.database import Database, Transaction
from libs.errors import Unavailable
from services.webhook_dispatcher import backfill
from services.webhook_dispatcher.store import replays, told
from services.webhook_dispatcher.store.replays import Row, Selection

IN_HAND_MAX, IN_HAND_BEHIND_MAX = 128, 8
STEP_S, IDLE_S = 0.05, 15.0


class Replayer:
    """Releases what replays selected; `wake` tells the dispatcher that something is due."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self.wake = wake
        self._asked = asyncio.Event()

    def hurry(self) -> None:
        """Look at once: there is a new replay."""
        self._asked.set()

    async def run(self, database: Database) -> None:
        """Take every running replay on, a slice each in turn, for the life of the process."""
        while True:
            self._asked.clear()
            try:
                running = await self.step(database)
            except Unavailable:
                running = False
            try:
                async with asyncio.timeout(STEP_S if running else to_next(IDLE_S)):
                    await self._asked.wait()
            except TimeoutError:
                continue

    async def step(self, database: Database) -> bool:
        """Take every running replay on by one slice; return whether there are any."""
        async with database.work() as tx:
            with tx.alone():
                running = await replays.list_running(tx)
        for business_id, id_ in running:
            async with database.work() as tx:
                if await _release_slice(tx, business_id, id_):
                    tx.on_commit(self.wake)
        return bool(running)


async def _release_slice(tx: Transaction, business_id: UUID, id_: UUID) -> int:
    row = await replays.lock_step(tx, business_id, id_)
    if row is None:
        return 0
    if not row["there"]:
        await replays.end_replay(tx, business_id, id_, "cancelled", "the endpoint was deleted")
        return 0
    room = (IN_HAND_BEHIND_MAX if row["behind"] else IN_HAND_MAX) - row["in_hand"]
    rest, goes_on = _rest_of(row), room > 0 and row["endpoint_status"] == "active"
    if row["backfill"]:
        told_before = await told.list_told(tx, business_id, rest, max(room, 1))
        if told_before and goes_on:
            counts = await backfill.release(tx, (business_id, id_), rest.endpoint_id, told_before)
            await replays.advance(tx, (business_id, id_), told_before[-1].id, counts)
            return counts[0]
        some = bool(told_before)
    else:
        chosen = await replays.list_chosen(tx, business_id, rest, max(room, 1))
        if chosen and goes_on:
            return await _release(tx, (business_id, id_), chosen)
        some = bool(chosen)
    if not some:
        await replays.end_replay(tx, business_id, id_, "done")
    return 0


async def _release(tx: Transaction, replay: tuple[UUID, UUID], chosen: list[Row]) -> int:
    kept = [one for one in chosen if one["kept"]]
    missed = [one["id"] for one in kept if one["status"] == "missed"]
    if missed:
        await replays.release_missed(tx, *replay, missed)
    again = [one["id"] for one in kept if one["status"] != "missed"]
    if again:
        await replays.insert_copies(tx, *replay, again)
    await replays.advance(tx, replay, chosen[-1]["id"], (len(kept), len(chosen) - len(kept), 0))
    return len(kept)


def _rest_of(row: Row) -> Selection:
    return Selection(
        row["endpoint_id"], row["after_id"], row["end_id"], row["statuses"], row["event_types"], row["only_missed"]
    )
