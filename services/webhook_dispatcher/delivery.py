"""What is owed gets sent: claimed with a lease, sent, and what came of it noted.

A delivery's way: the consumer's transaction inserts it already leased to this worker, and its commit hands it over to
be sent at once (latency: one commit). Beyond the free permits it is inserted pending; so is what is tried again. Those
are claimed when they are due, a batch per statement. Outcomes are noted some at a time, one statement for all. A permit
is held until the outcome is noted, so that a database that is away bounds what is in hand. A worker that died or froze
loses its lease; the fence (`lease_no`) keeps it from changing anything when it wakes up.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from random import SystemRandom
from uuid import UUID

import orjson
import structlog

from libs import failpoints, tracing
from libs.database import Database
from libs.errors import Unavailable
from services.webhook_dispatcher import metrics, partitions, signing
from services.webhook_dispatcher.domain import schedule
from services.webhook_dispatcher.lanes import Lanes
from services.webhook_dispatcher.sealing import Sealer, Unsealable
from services.webhook_dispatcher.sender import Result, Sender
from services.webhook_dispatcher.store import queue
from services.webhook_dispatcher.store.queue import Claimed, Finished

BACKSTOP_S, WAIT_MIN_S = 2.0, 0.005
FINISH_MAX, FINISH_GATHER_S = 256, 0.01
TROUBLE_FIRST_S, TROUBLE_MAX_S = 0.1, 2.0

log = structlog.get_logger("webhooks")


@dataclass(frozen=True, slots=True)
class Policy:
    """The dispatcher's bounds: see the settings of the same names."""

    permits_max: int
    lease_s: float
    stop_s: float
    stuck_s: float
    schedule_s: tuple[float, ...]


class Dispatcher:
    """Sends what is due, for the life of the process."""

    def __init__(self, policy: Policy, sealer: Sealer, clock: Callable[[], datetime]) -> None:
        self._policy = policy
        self._sealer = sealer
        self._clock = clock
        self._dice = SystemRandom().random
        self._lanes = Lanes(policy.permits_max)
        self._woken = asyncio.Event()
        self._ended = asyncio.Event()
        self._noted = asyncio.Event()
        self._in_hand: dict[tuple[object, int], Claimed] = {}
        self._finished: list[Finished] = []
        self._sending: Callable[[Claimed], object] | None = None
        self._overdue_s = 0.0
        self._turned_at: float | None = None

    @property
    def lease_s(self) -> float:
        """How long a lease lasts."""
        return self._policy.lease_s

    def fitting(self, endpoint_ids: Sequence[UUID]) -> list[bool]:
        """Say for each of these endpoints in turn whether this worker could send to it now."""
        if self._sending is None:
            return [False] * len(endpoint_ids)
        return self._lanes.fitting(endpoint_ids, asyncio.get_running_loop().time())

    def take_over(self, claims: Sequence[Claimed], more: bool) -> None:
        """Send what has just been inserted with a lease of ours; `more` was inserted pending: look for it at once.

        No permit was kept for these: at most one batch of the consumer goes beyond the bound.
        """
        for claim in claims:
            self._take(claim)
        if more:
            self._woken.set()

    def _take(self, claim: Claimed) -> None:
        self._lanes.take(claim.endpoint_id)
        self._in_hand[claim.id, claim.lease_no] = claim
        if self._sending is not None:
            self._sending(claim)

    def problems(self) -> list[str]:
        """Say whether the dispatcher is stuck: permits are free and what is due is not sent."""
        if self._turned_at is None:
            return []
        silent_s = asyncio.get_running_loop().time() - self._turned_at
        if silent_s > self._policy.stuck_s:
            return [f"the dispatcher has not looked at its deliveries for {silent_s:.0f} s"]
        if self._overdue_s > self._policy.stuck_s and self._lanes.free:
            return [f"the oldest delivery is {self._overdue_s:.0f} s late although {self._lanes.free} permits are free"]
        return []

    async def run(self, database: Database, sender: Sender) -> None:
        """Deliver what is due until cancelled; then finish what is in hand up to the deadline, hand the rest back."""
        await partitions.make_ahead(database)
        try:
            async with asyncio.TaskGroup() as sending:
                sending.create_task(self._note_outcomes(database))
                self._sending = lambda claim: sending.create_task(self._deliver(claim, sender))
                try:
                    await self._deliver_due(database)
                except asyncio.CancelledError:
                    self._sending = None
                    await self._drain()
                    raise
        finally:
            self._sending = None
            await self._let_go(database)

    async def _deliver_due(self, database: Database) -> None:
        trouble_s = TROUBLE_FIRST_S
        while True:
            self._woken.clear()
            try:
                claims, wait_s = await self._claim(database)
            except Unavailable:
                claims, wait_s = [], trouble_s
                trouble_s = min(trouble_s * 2, TROUBLE_MAX_S)
            else:
                trouble_s = TROUBLE_FIRST_S
                self._turned_at = asyncio.get_running_loop().time()
            for claim in claims:
                self._take(claim)
            metrics.IN_FLIGHT.set(self._lanes.used)
            if wait_s > 0:
                await self._wait(wait_s)

    async def _claim(self, database: Database) -> tuple[list[Claimed], float]:
        """Claim what is due; return it and how long to wait for more."""
        now = asyncio.get_running_loop().time()
        room = self._lanes.room(now)
        if room.rows_max <= 0:
            return [], BACKSTOP_S  # an outcome that is noted wakes us
        earliest_s: float | None = 0.0
        async with database.work() as tx:
            await queue.plan_anew(tx)
            claims = await queue.claim_due(tx, room, self._policy.lease_s)
            if len(claims) < room.rows_max:
                earliest_s = await queue.find_earliest(tx, room.excluded)
        self._overdue_s = max(0.0, -earliest_s) if earliest_s is not None else 0.0
        metrics.OVERDUE.set(self._overdue_s)
        if len(claims) == room.rows_max or (claims and earliest_s is not None and earliest_s <= 0):
            return claims, 0.0  # there is more: other endpoints, or more permits
        until_s = BACKSTOP_S if earliest_s is None else min(max(earliest_s, WAIT_MIN_S), BACKSTOP_S)
        unpaused = self._lanes.first_unpaused()
        return claims, until_s if unpaused is None else min(until_s, max(unpaused - now, WAIT_MIN_S))

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _deliver(self, claim: Claimed, sender: Sender) -> None:
        """Send one delivery and put down what came of it."""
        self._finished.append(self._refuse(claim) or await self._attempt(claim, sender))
        self._ended.set()

    def _refuse(self, claim: Claimed) -> Finished | None:
        """End what is not to be sent any more: the endpoint's state of now is what counts."""
        if claim.deleted:
            return Finished(claim, "cancelled", None, "endpoint_deleted")
        if claim.endpoint_status != "active":
            return Finished(claim, "parked", None, f"endpoint_{claim.endpoint_status}")
        if claim.body is None:
            return Finished(claim, "exhausted", None, "event_expired")
        return None

    async def _attempt(self, claim: Claimed, sender: Sender) -> Finished:
        at = self._clock()
        try:
            failpoints.reach("webhook_dispatcher.send.before")
            result = await self._send(claim, sender, at)
            failpoints.reach("webhook_dispatcher.send.after")
            failpoints.reach("webhook_dispatcher.send.reported")
        except Unavailable:
            result = Result("interrupted")
        except Unsealable:
            result = Result("secret_unreadable")
        wait_s = schedule.retry_after_of(result.http_status, result.headers, self._clock())
        number = claim.attempts + 1
        status = result.http_status if result.error != "interrupted" else None
        then = schedule.next_attempt(number, status, wait_s, self._policy.schedule_s, self._dice())
        if then.pause_s:
            self._lanes.pause(claim.endpoint_id, asyncio.get_running_loop().time() + then.pause_s)
        metrics.ATTEMPTS.labels(result.error or "delivered").inc()
        metrics.ATTEMPT_SECONDS.observe(result.duration_ms / 1000)
        log.info(
            "webhook attempted", delivery_id=str(claim.id), endpoint_id=str(claim.endpoint_id), attempt=number,
            result=result.error or "delivered", http_status=result.http_status, duration_ms=result.duration_ms,
        )  # fmt: skip
        return Finished(claim, then.status, then.delay_s, result.error, then.gone, _attempt_row(at, result))

    async def _send(self, claim: Claimed, sender: Sender, at: datetime) -> Result:
        assert claim.body is not None
        keys = [self._sealer.open(sealed, claim.business_id, claim.endpoint_id) for sealed in claim.secrets]
        headers = signing.headers_of(str(claim.message_id or claim.id), int(at.timestamp()), claim.body, keys)
        if claim.traceparent is None or not tracing.is_on():
            return await sender.send(claim.url, headers, claim.body)
        with tracing.span("webhook-dispatcher", "POST webhook", "client", claim.traceparent):
            result = await sender.send(claim.url, headers | {tracing.HEADER: tracing.current() or ""}, claim.body)
            tracing.note(
                "POST webhook",
                activities__delivery_id=str(claim.id),
                activities__result=result.error or "delivered",
                http__response__status_code=result.http_status,
            )
        return result

    async def _note_outcomes(self, database: Database) -> None:
        """Note outcomes some at a time: one statement for up to 256, gathered for 10 ms."""
        trouble_s = TROUBLE_FIRST_S
        while True:
            await self._ended.wait()
            if len(self._finished) < FINISH_MAX:
                await asyncio.sleep(FINISH_GATHER_S)
            try:
                await self._note(database)
            except Unavailable:
                await asyncio.sleep(trouble_s)
                trouble_s = min(trouble_s * 2, TROUBLE_MAX_S)
            else:
                trouble_s = TROUBLE_FIRST_S

    async def _note(self, database: Database) -> None:
        batch = self._finished[:FINISH_MAX]
        async with database.work() as tx:
            await queue.plan_anew(tx)
            noted = await queue.finish(tx, batch)
        metrics.STALE.inc(len(batch) - noted)
        starved = self._lanes.free == 0 or bool(self._lanes.excluded(asyncio.get_running_loop().time()))
        for one in batch:
            self._lanes.release(one.claimed.endpoint_id)
            del self._in_hand[one.claimed.id, one.claimed.lease_no]
        metrics.IN_FLIGHT.set(self._lanes.used)
        del self._finished[: len(batch)]
        if not self._finished:
            self._ended.clear()
        self._noted.set()
        if starved or any(one.status == "pending" for one in batch):
            self._woken.set()

    async def _drain(self) -> None:
        """Wait for what is in hand, up to the deadline."""
        try:
            async with asyncio.timeout(self._policy.stop_s):
                while self._in_hand:
                    self._noted.clear()
                    await self._noted.wait()
        except TimeoutError:
            return

    async def _let_go(self, database: Database) -> None:
        """Note what is known and hand the rest back, so that another worker goes on at once."""
        try:
            while self._finished:
                await self._note(database)
            if self._in_hand:
                async with database.work() as tx:
                    await queue.hand_back(tx, list(self._in_hand.values()))
        except Unavailable:
            log.warning("leases left to run out", deliveries=len(self._in_hand))
        for claim in self._in_hand.values():
            self._lanes.release(claim.endpoint_id)
        self._in_hand.clear()
        self._finished.clear()


def _attempt_row(at: datetime, result: Result) -> dict[str, object]:
    return {
        "at": at,
        "duration_ms": result.duration_ms,
        "http_status": result.http_status,
        "address": result.address,
        "phases": orjson.dumps(dict(result.phases)),
        "headers": orjson.dumps(dict(result.headers)),
        "answer": result.answer,
    }
