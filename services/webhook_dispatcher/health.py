"""Endpoints that keep failing are warned about, then disabled; what happens to endpoints is announced.

Each announcement is an event on the topic `webhook.endpoint` and, for those of the business's endpoints that subscribe
to its type, a webhook; both in the transaction that changes the endpoint.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import orjson
import structlog

from libs.contracts.ids import event_id_of, instant_text, key_of, uuid7
from libs.contracts.webhook_endpoint import WebhookEndpoint
from libs.database import Database, Transaction
from libs.messaging.outbox import Outgoing, append
from services.webhook_dispatcher import changes
from services.webhook_dispatcher.domain.health import DISABLED_AFTER, WARNED_AFTER, judge
from services.webhook_dispatcher.store import health, listeners, queue
from services.webhook_dispatcher.store.queue import Owed, OwedEvent

SLICE_ROWS = 200
LISTENER_SILENT_S = 600.0
log = structlog.get_logger("webhooks")


def watch_failing(clock: Callable[[], datetime]) -> Callable[[Database], Awaitable[None]]:
    """Make the loop that warns about endpoints that keep failing and disables them in the end."""

    async def watch_failing(database: Database) -> None:
        now = clock()
        async with database.work() as tx:
            for row in await health.lock_failing(tx, now - WARNED_AFTER, SLICE_ROWS):
                place = (row["business_id"], row["id"])
                verdict = judge(row["failing_since"], row["last_failed_at"], row["warned_at"], now)
                if verdict == "warn":
                    row["version"] = await health.warn(tx, *place)
                    await _announce(tx, row, "webhook.endpoint.failing", now)
                elif verdict == "disable":
                    row |= {"status": "disabled", "disabled_reason": "failing"}
                    row["version"] = await health.disable(tx, *place)
                    await changes.spread(tx, row["id"])
                    await _announce(tx, row, "webhook.endpoint.disabled", now)

    return watch_failing


def announce_changes(clock: Callable[[], datetime]) -> Callable[[Database], Awaitable[None]]:
    """Make the loop that announces endpoints that were disabled otherwise, or enabled again."""

    async def announce_changes(database: Database) -> None:
        async with database.work() as tx:
            for row in await health.lock_unannounced(tx, SLICE_ROWS):
                row["version"] = await health.announce(tx, row["business_id"], row["id"])
                disabled = row["status"] == "disabled"
                await _announce(tx, row, f"webhook.endpoint.{'disabled' if disabled else 'enabled'}", clock())

    return announce_changes


async def end_silent_listeners(database: Database) -> None:
    """End listeners that nobody has asked for a while."""
    async with database.work() as tx:
        await listeners.delete_silent(tx, LISTENER_SILENT_S)


async def _announce(tx: Transaction, row: dict[str, Any], event_type: str, now: datetime) -> None:
    failing_since = row["failing_since"]
    event = WebhookEndpoint(
        business_id=row["business_id"],
        id=row["id"],
        version=row["version"],
        at=now,
        url=row["url"],
        status=row["status"],
        reason=row["disabled_reason"],
        failing_since=failing_since,
        disables_at=None if failing_since is None else failing_since + DISABLED_AFTER,
    )
    key, value = key_of(event.business_id, event.id), event.model_dump_json().encode()
    await append(tx, [Outgoing((event_type,), key, value, event.version)])
    await _owe(tx, event, event_type)
    log.info("webhook endpoint", endpoint_id=str(event.id), status=event.status, reason=event.reason, type=event_type)


async def _owe(tx: Transaction, event: WebhookEndpoint, event_type: str) -> None:
    """Owe the event to the other endpoints of the business that subscribe to it."""
    hearing = await health.list_hearing(tx, event.business_id, event_type)
    data = orjson.loads(event.model_dump_json())
    told = OwedEvent(
        event.business_id,
        event_id_of(event.id, event_type, event.version),
        event_type,
        event.id,
        event.version,
        None,
        health.body_of(event_type, instant_text(event.at), {"endpoint_id": data.pop("id"), **data}),
    )
    owed = [Owed(uuid7(), id_, told, parked=status == "paused") for id_, status in hearing if id_ != event.id]
    if owed:
        await queue.insert_deliveries(tx, owed, 0.0)
