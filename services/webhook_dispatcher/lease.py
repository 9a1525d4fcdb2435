"""Which endpoints this worker sends to: those of its shards, while its lease lasts.

Every endpoint belongs to one of 64 shards, every shard to one worker at a time, so that an endpoint's limits are kept
exactly by one lane. Workers share the shards evenly: one that has too many lets go of some, once nothing of theirs is
being sent; one that has too few takes free ones. A worker that was killed or froze loses its shards when its lease
ends, to whoever looks next; what it had claimed is due again at once.
"""

from collections.abc import Collection
from uuid import UUID

from libs.beat import to_next
from libs.contracts.ids import uuid7
from libs.database import Transaction
from services.webhook_dispatcher.store import queue, shards
from services.webhook_dispatcher.store.shards import Standing

SHARDS = 64
LEASE_S, RENEW_S = 2.5, 1.0
MARGIN_S = 0.25
"""Our clock and the database's run alike, but an answer takes its time."""
KNOWN_S = LEASE_S - MARGIN_S
"""For so long after it was read it counts what an endpoint is like; then nothing is sent until it was read again."""


def shard_of(endpoint_id: UUID) -> int:
    """Say which shard an endpoint belongs to."""
    return endpoint_id.int % SHARDS


class Lease:
    """Instants are of the loop's clock."""

    def __init__(self, delivery_lease_s: float) -> None:
        self.worker = uuid7()
        self.others = 0
        self.leaving: frozenset[int] = frozenset()
        self._delivery_lease_s = delivery_lease_s
        self._mine: frozenset[int] = frozenset()
        self._until = 0.0

    def valid(self, now: float) -> bool:
        """Tell whether anything may be sent: nobody can have taken over what is ours."""
        return now < self._until

    def has(self, endpoint_id: UUID) -> bool:
        """Tell whether an endpoint is ours to send to."""
        shard = endpoint_id.int % SHARDS
        return shard in self._mine and shard not in self.leaving

    async def follow(self, tx: Transaction, standing: Standing, busy: Collection[int], now: float) -> float:
        """Take or let go of shards, as things stand now that the lease is renewed. `busy`: of which something is in
        hand, `now`: before it was renewed.

        Return in how many seconds to look again: at once after shards were taken, since what was seen to wait was seen
        before. What is new counts once `tx` is committed.
        """
        mine, taken = standing.mine, frozenset[int]()
        share = -(-SHARDS // (standing.others + 1))
        if len(mine) < share and standing.free:
            taken = await self._take(tx, standing, share - len(mine))
            mine |= taken
        leaving = frozenset(sorted(mine)[share:]) if standing.others else frozenset()
        if gone := leaving - set(busy):
            await shards.release(tx, self.worker, list(gone))
            mine -= gone

        def count() -> None:
            self._mine, self.leaving, self.others = mine, leaving & mine, standing.others
            self._until = now + LEASE_S - MARGIN_S

        tx.on_commit(count)
        if taken:
            return 0.0
        renew_s = to_next(RENEW_S)
        soon_s = standing.next_end_s if standing.next_end_s is not None and len(mine) < share else None
        return renew_s if soon_s is None else min(renew_s, soon_s + 0.01)

    async def _take(self, tx: Transaction, standing: Standing, most: int) -> frozenset[int]:
        taken = await shards.take(tx, self.worker, list(standing.free)[:most])
        dead = {had for shard, had in standing.free if shard in taken and had is not None}
        if dead:
            await queue.reclaim(tx, list(dead), self._delivery_lease_s)
            await shards.forget(tx, list(dead))
        return frozenset(taken)

    async def leave(self, tx: Transaction) -> None:
        """Let go of everything, so that others go on at once."""
        await shards.leave(tx, self.worker)
        self._until = 0.0
