"""What is owed gets sent: claimed with a lease, sent, and what came of it noted.

A delivery's way: one statement inserts it already leased to this worker (handlers.py), and its commit hands it over to
its endpoint's lane, to be sent at once. What a lane has no room for is inserted pending; so is what is tried again.
Lanes claim that when it is due, many rows per statement (lanes.py). Outcomes are noted some at a time (finish.py). This
worker sends what belongs to its shards, while its lease lasts (lease.py); it looks into the store once a second
(watch.py). The fence (`lease_no`) keeps a worker that froze from changing anything when it wakes up.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from math import inf
from time import monotonic
from uuid import UUID

from libs.database import Database
from libs.errors import Unavailable
from services.webhook_dispatcher import changes, metrics, partitions
from services.webhook_dispatcher.attempt import Attempts
from services.webhook_dispatcher.audiences import Audiences
from services.webhook_dispatcher.finish import Finisher
from services.webhook_dispatcher.lane import FIRST, RETRY, Lane
from services.webhook_dispatcher.lanes import Lanes
from services.webhook_dispatcher.lease import Lease, shard_of
from services.webhook_dispatcher.sealing import Sealer
from services.webhook_dispatcher.sender import Sender
from services.webhook_dispatcher.store import outcomes, queue, targets
from services.webhook_dispatcher.store.outcomes import Finished
from services.webhook_dispatcher.store.queue import Claimed, Wanted
from services.webhook_dispatcher.store.targets import Target
from services.webhook_dispatcher.watch import Watch

ROWS_MAX = 256
"""Claimed in one statement."""
BACKSTOP_S, CLOCKS_S = 1.0, 0.005
QUEUED_SHARE = 0.25
"""Of a lease, how long a delivery may wait in its lane; the rest is for the exchange."""
HELD_UP_S = 0.05
"""Something is due and has no room: retries beyond their budget, most likely."""
TROUBLE_FIRST_S, TROUBLE_MAX_S = 0.1, 2.0


@dataclass(frozen=True, slots=True)
class Policy:
    """The dispatcher's bounds: see the settings of the same names."""

    permits_max: int
    lease_s: float
    stop_s: float
    stuck_s: float
    schedule_s: tuple[float, ...]
    lane_max: int = 16


class Dispatcher:
    """Sends what is due, for the life of the process."""

    def __init__(self, policy: Policy, sealer: Sealer, clock: Callable[[], datetime]) -> None:
        self.audiences = Audiences()
        self._policy = policy
        self._attempts = Attempts(sealer, clock, policy.schedule_s)
        self._lanes = Lanes(policy.permits_max, policy.lane_max)
        self._lease = Lease(policy.lease_s)
        self._finisher = Finisher(self._noted)
        self._woken = asyncio.Event()  # a lane may have room, or something to claim
        self._asked = asyncio.Event()  # the store has something that nobody told the lanes of
        self._emptied = asyncio.Event()
        self._in_hand: dict[tuple[UUID, int], Claimed] = {}
        self._sending: Callable[[Lane, Claimed], object] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._wake_at = inf
        self._watch = Watch(self._lanes, self._lease, self._busy, self._give_back)

    @property
    def lease_s(self) -> float:
        """How long a delivery's lease lasts."""
        return self._policy.lease_s

    @property
    def worker(self) -> UUID:
        """Who has the leases."""
        return self._lease.worker

    def meet(self, known: Iterable[Target], read_at: float) -> None:
        """Take in what endpoints are like, as it began to be read at `read_at`."""
        if self._sending is not None:
            self._lanes.follow((one for one in known if self._lease.has(one.endpoint_id)), monotonic(), read_at)

    def changed(self, endpoint_id: UUID) -> None:
        """Begin nothing more to an endpoint before it was read again: it was changed."""
        self._lanes.changed(endpoint_id, monotonic())
        self._asked.set()

    def knows(self, endpoint_ids: Collection[UUID]) -> bool:
        """Tell whether those of these endpoints that are this worker's are known well enough to be sent to."""
        now, lanes = monotonic(), ((self._lanes.find(each), each) for each in endpoint_ids)
        return all(lane.known(now) if lane else not self._lease.has(each) for lane, each in lanes)

    def fitting(self, endpoint_ids: Sequence[UUID]) -> list[bool]:
        """Say for each of these endpoints in turn whether this worker could send to it now."""
        now = monotonic()
        if self._sending is None or not self._lease.valid(now):
            return [False] * len(endpoint_ids)
        return self._lanes.fitting(endpoint_ids, now)

    def take_over(self, claims: Sequence[Claimed], pending: Iterable[UUID]) -> None:
        """Send what has just been inserted with a lease of ours; more was inserted `pending` for these endpoints."""
        now = monotonic()
        until = now + self._policy.lease_s * QUEUED_SHARE
        for endpoint_id in pending:
            lane = self._lanes.find(endpoint_id)
            if lane is not None:
                lane.due[FIRST] = min(lane.due[FIRST], now)
                self._woken.set()
        self._put([claim._replace(until=until) for claim in claims], now)
        self._pump()

    def wake(self) -> None:
        """Look into the store at once: something is due that did not come by events."""
        self._asked.set()

    def problems(self) -> list[str]:
        """Say whether the dispatcher is stuck: permits are free and what is due is not sent."""
        return self._watch.problems(self._policy.stuck_s)

    async def run(self, database: Database, sender: Sender) -> None:
        """Deliver what is due until cancelled; then finish what is in hand up to the deadline, hand the rest back."""
        await partitions.make_ahead(database)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._finisher.run(database))
                hearing = tasks.create_task(changes.hear(database, self.worker, self.changed))
                looking = tasks.create_task(self._look_again_and_again(database))
                self._sending = lambda lane, claim: tasks.create_task(self._deliver(lane, claim, sender))
                try:
                    await self._claim_due(database)
                except asyncio.CancelledError:
                    self._sending = None
                    await self._drain()
                    looking.cancel()
                    hearing.cancel()
                    raise
        finally:
            self._sending = None
            if self._timer is not None:
                self._timer.cancel()
            await self._let_go(database)

    async def _look_again_and_again(self, database: Database) -> None:
        trouble_s = TROUBLE_FIRST_S
        while True:
            try:
                wait_s = await self._watch.look(database)
            except Unavailable:
                wait_s, trouble_s = trouble_s, min(trouble_s * 2, BACKSTOP_S)
            else:
                trouble_s = TROUBLE_FIRST_S
                self._woken.set()
                self._pump()
            await _wait(self._asked, wait_s)
            self._asked.clear()

    async def _claim_due(self, database: Database) -> None:
        trouble_s = TROUBLE_FIRST_S
        while True:
            self._woken.clear()
            now = monotonic()
            wanted = self._lanes.wants(now, ROWS_MAX) if self._lease.valid(now) else []
            if not wanted:
                due_s = self._lanes.next_due(now) - now
                await _wait(self._woken, min(due_s, BACKSTOP_S) if due_s > 0 else HELD_UP_S)
                continue
            try:
                await self._claim(database, wanted)
            except Unavailable:
                await asyncio.sleep(trouble_s)
                trouble_s = min(trouble_s * 2, TROUBLE_MAX_S)
            else:
                trouble_s = TROUBLE_FIRST_S

    async def _claim(self, database: Database, wanted: Sequence[Wanted]) -> None:
        places, began = {one.endpoint_id: one.business_id for one in wanted}, monotonic()
        until = began + self._policy.lease_s * QUEUED_SHARE
        async with database.work(plan_anew=True) as tx:
            with tx.alone():
                known = await targets.list_targets(tx, [(business, id_) for id_, business in places.items()])
                claims = await queue.claim(tx, wanted, self._policy.lease_s, self.worker)
        now = monotonic()
        self._lanes.follow((one for one in known if self._lanes.find(one.endpoint_id)), now, began)
        self._lanes.claimed(wanted, claims)
        self._put([one._replace(until=until) for one in claims], now)
        self._pump()

    def _put(self, claims: Sequence[Claimed], now: float) -> None:
        ours = [claim for claim in claims if self._lanes.find(claim.endpoint_id) is not None]
        for claim in claims:
            self._in_hand[claim.id, claim.lease_no] = claim
        self._lanes.in_hand = len(self._in_hand)
        self._lanes.put(ours, now)
        if len(ours) < len(claims):
            kept = {claim.id for claim in ours}
            for claim in claims:
                if claim.id not in kept:
                    self._give_back(claim)

    def _pump(self) -> None:
        """Send what may be sent now; come back when a lane that waits for its time may go on."""
        now = monotonic()
        if self._sending is None or not self._lease.valid(now):
            return
        while (taken := self._lanes.next(now)) is not None:
            self._sending(*taken)
        wake_at = self._lanes.wake_at()
        if wake_at < self._wake_at or self._wake_at <= now:
            if self._timer is not None:
                self._timer.cancel()
            self._wake_at = wake_at
            if wake_at < inf:
                self._timer = asyncio.get_running_loop().call_later(wake_at - now, self._pump)

    async def _deliver(self, lane: Lane, claim: Claimed, sender: Sender) -> None:
        """Send one delivery and put down what came of it."""
        now = monotonic()
        if claim.until < now or not self._lease.valid(now) or not lane.known(now):  # it froze, or this was changed
            finished, held = Finished(claim, "pending", 0.0, None), None
        else:
            finished, held = await self._attempts.make(lane, claim, sender)
        now = monotonic()
        self._lanes.release(lane, now)
        if finished.gone:
            lane.target = lane.target._replace(status="disabled")
        if finished.attempt is not None:
            self._lanes.retries.learn(claim.attempts == 0, finished.error is None)
        self._finisher.add(finished, held if self._lease.valid(now) else None)
        self._lanes.unnoted = self._finisher.waiting
        if held is not None and held.seconds > 0:
            for left in self._lanes.empty(lane):
                self._give_back(left)
        self._pump()

    def _busy(self) -> set[int]:
        return {shard_of(claim.endpoint_id) for claim in self._in_hand.values()}

    def _give_back(self, claim: Claimed) -> None:
        self._finisher.add(Finished(claim, "pending", 0.0, None))

    def _noted(self, batch: Sequence[Finished]) -> None:
        """Take in that outcomes are in the store."""
        now = monotonic()
        for one in batch:
            claim = one.claimed
            self._in_hand.pop((claim.id, claim.lease_no), None)
            lane = self._lanes.find(claim.endpoint_id)
            if lane is None:
                continue
            if one.delay_s is not None:
                rank = max(claim.rank, RETRY) if one.attempt is not None else claim.rank
                lane.due[rank] = min(lane.due[rank], now + one.delay_s + CLOCKS_S)
            if lane.target.ordered:  # one that waited for this one may go on
                lane.due[FIRST] = min(lane.due[FIRST], now)
        self._lanes.in_hand = len(self._in_hand)
        self._lanes.unnoted = self._finisher.waiting
        metrics.IN_FLIGHT.set(self._lanes.in_flight)
        if not self._in_hand:
            self._emptied.set()
        self._woken.set()
        self._pump()

    async def _drain(self) -> None:
        """Give back what is not being sent, wait for what is, up to the deadline."""
        for lane in self._lanes:
            for claim in self._lanes.empty(lane):
                self._give_back(claim)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._policy.stop_s):
                while self._in_hand:
                    self._emptied.clear()
                    await self._emptied.wait()

    async def _let_go(self, database: Database) -> None:
        """Note what is known and hand the rest back, so that another worker goes on at once."""
        try:
            await self._finisher.note_all(database)
            async with database.work() as tx:
                if self._in_hand:
                    await outcomes.hand_back(tx, list(self._in_hand.values()))
                await self._lease.leave(tx)
        except Unavailable:
            pass  # leases run out by themselves
        self._in_hand.clear()
        self._lanes.clear()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
