"""One attempt: refused, or signed and sent; what comes of it for the delivery and for its endpoint."""

from collections.abc import Callable, Sequence
from datetime import datetime
from random import SystemRandom
from time import monotonic

import orjson

from libs import failpoints, tracing
from libs.errors import Unavailable
from services.webhook_dispatcher import signing
from services.webhook_dispatcher.domain import schedule
from services.webhook_dispatcher.lane import Lane
from services.webhook_dispatcher.sealing import Sealer, Unsealable
from services.webhook_dispatcher.sender import WITHDRAWN, Result, Sender
from services.webhook_dispatcher.signing import Key
from services.webhook_dispatcher.store.outcomes import Finished, Held
from services.webhook_dispatcher.store.queue import Claimed
from services.webhook_dispatcher.store.targets import Target

KEYS_MAX = 10_000


class Attempts:
    """Makes attempts. `schedule_s` is for endpoints that have none of their own."""

    def __init__(self, sealer: Sealer, clock: Callable[[], datetime], schedule_s: Sequence[float]) -> None:
        self._sealer = sealer
        self._clock = clock
        self._schedule_s = schedule_s
        self._dice = SystemRandom().random
        self._keys: dict[tuple[bytes, bytes], Key] = {}

    async def make(self, lane: Lane, claim: Claimed, sender: Sender) -> tuple[Finished, Held | None]:
        """Attempt a delivery; say what came of it, and whether its endpoint is to be left alone from now on."""
        target = lane.target
        refused = refuse(target, claim)
        if refused is not None:
            return refused, None
        at, began = self._clock(), monotonic()
        try:
            failpoints.reach("webhook_dispatcher.send.before")
            result = await self._send(lane, claim, sender, at)
            failpoints.reach("webhook_dispatcher.send.after")
            failpoints.reach("webhook_dispatcher.send.reported")
        except Unavailable:
            result = Result("interrupted")
        except Unsealable:
            result = Result("secret_unreadable")
        if result.error == WITHDRAWN:  # its endpoint was changed while the connection was made
            return refuse(lane.target, claim) or Finished(claim, "pending", 0.0, None), None
        ended = monotonic()
        wait_s = 0.0
        if result.http_status in schedule.WAITING:
            wait_s = schedule.retry_after_of(result.http_status, result.headers, self._clock())
        status = result.http_status if result.error != "interrupted" else None
        schedule_s = self._schedule_s if target.schedule_s is None else target.schedule_s
        then = schedule.next_attempt(claim.attempts + 1, status, wait_s, schedule_s, self._dice())
        hold = lane.learn(claim.attempts == 0, (result.error, status, ended - began), wait_s, ended)
        finished = Finished(claim, then.status, then.delay_s, result.error, then.gone, _row(at, result))
        return finished, None if hold is None else Held(target.business_id, target.endpoint_id, *hold)

    async def _send(self, lane: Lane, claim: Claimed, sender: Sender, at: datetime) -> Result:
        assert claim.body is not None
        target = lane.target
        keys = [self._key(sealed, target) for sealed in target.secrets]
        headers = signing.headers_of(str(claim.message_id or claim.id), int(at.timestamp()), claim.body, keys)
        if target.headers:
            headers = {**target.headers, **headers}

        def wanted() -> bool:
            return lane.goes_to(target, monotonic())

        if claim.traceparent is None or not tracing.is_on():
            return await sender.send(target.url, headers, claim.body, target.timeout_s, wanted)
        with tracing.span("webhook-dispatcher", "POST webhook", "client", claim.traceparent):
            headers[tracing.HEADER] = tracing.current() or ""
            result = await sender.send(target.url, headers, claim.body, target.timeout_s, wanted)
            tracing.note(
                "POST webhook",
                activities__delivery_id=str(claim.id),
                activities__result=result.error or "delivered",
                http__response__status_code=result.http_status,
            )
        return result

    def _key(self, sealed: bytes, target: Target) -> Key:
        """Open a secret; what was opened is kept in memory. Raises Unsealable."""
        place = sealed, target.endpoint_id.bytes
        key = self._keys.get(place)
        if key is None:
            key = self._sealer.key(sealed, target.business_id, target.endpoint_id)
            if len(self._keys) >= KEYS_MAX:
                self._keys.clear()
            self._keys[place] = key
        return key


def refuse(target: Target, claim: Claimed) -> Finished | None:
    """End what is not to be sent any more: the endpoint's state of now is what counts."""
    if target.deleted:
        return Finished(claim, "cancelled", None, "endpoint_deleted")
    if target.status != "active":
        return Finished(claim, "parked", None, f"endpoint_{target.status}")
    if claim.body is None:
        return Finished(claim, "exhausted", None, "event_expired")
    return None


def _row(at: datetime, result: Result) -> dict[str, object]:
    return {
        "at": at,
        "duration_ms": result.duration_ms,
        "http_status": result.http_status,
        "address": result.address,
        "phases": orjson.dumps(result.phases),
        "headers": orjson.dumps(result.headers),
        "answer": result.answer,
    }
