"""A business of the bench: its endpoints, its events, what it is owed."""

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from bench.webhooks.ground import LOOK_S, MASTER_KEY, Ground
from cli.place import Trouble
from libs.contracts import activity as contract
from libs.contracts.decoding import decoder_of, struct_of
from libs.contracts.ids import key_of, uuid7
from libs.database import Database
from libs.messaging.publisher import Publisher
from services.webhook_dispatcher import signing
from services.webhook_dispatcher.domain.bodies import body_of
from services.webhook_dispatcher.sealing import Sealer
from services.webhook_dispatcher.store import endpoints, queue
from services.webhook_dispatcher.store.endpoints import EndpointState
from services.webhook_dispatcher.store.queue import Owed, OwedEvent

NOTES = "Spoke about the renewal, the open claim and the documents still missing; call back next week."
SLICE = 1_000
_decode = decoder_of(contract.ActivityEvent)


@dataclass(frozen=True)
class Tenant:
    """A business as the store wants it."""

    business_id: UUID


async def make_endpoints(ground: Ground, database: Database, tenant: Tenant, paths: Sequence[str]) -> list[UUID]:
    """Make an endpoint for each of these paths of the sink; it hears everything."""
    sealer, made = Sealer(MASTER_KEY), []
    for path in paths:
        id_, key = uuid7(), secrets.token_bytes(signing.SECRET_BYTES)
        state = EndpointState(ground.url(path), "", ("activity.logged",), (), (), "active")
        async with database.transaction(tenant) as tx:
            await endpoints.insert_endpoint(tx, tenant.business_id, id_, state)
            sealed = sealer.seal(key, tenant.business_id, id_)
            await endpoints.insert_secret(tx, tenant.business_id, id_, (uuid7(), sealed))
        made.append(id_)
    return made


async def retire(database: Database) -> None:
    """Have no endpoint left and nothing owed."""
    async with database.work() as tx:
        await tx.execute("update endpoint set status = 'disabled', deleted_at = now() where deleted_at is null")
        await tx.execute("update delivery set status = 'cancelled', next_at = null where status = 'pending'")


def make_row(business_id: UUID, number: int) -> dict[str, Any]:
    """Make an outbox row of an activity that was logged now; about 600 bytes of webhook come of it."""
    at, activity_id = datetime.now(UTC), uuid7()
    activity = struct_of(contract.Activity)(
        business_id=business_id, activity_id=activity_id, version=1, type="call", type_id=uuid7(), type_name="Call",
        at=at, created_at=at, recorded_at=at, occurred_at=at, logged_at=at, subject="Renewal call", notes=NOTES,
        source="bench", source_ref=f"webhooks-{number}",
    )  # fmt: skip
    event = struct_of(contract.ActivityEvent)(
        activity=activity, change=struct_of(contract.Change)(type="activity.completed")
    )
    value = msgspec.json.encode(event, enc_hook=lambda shape: shape.model_dump())
    row = dict.fromkeys(("topic", "event_id", "header_names", "header_values"))
    key = key_of(business_id, activity_id)
    return row | {
        "id": number, "types": "activity.completed", "key": key, "value": value, "version": 1, "of": str(activity_id),
    }  # fmt: skip


async def publish(ground: Ground, rows: Sequence[dict[str, Any]]) -> None:
    """Put events on their topic, as lifecycle's relay does, 500 at a time."""
    publisher = Publisher("lifecycle", ground.broker)
    for start in range(0, len(rows), 500):
        await publisher.publish(rows[start : start + 500])
    await publisher.close()


async def owe(database: Database, tenant: Tenant, endpoint_ids: Sequence[UUID], count: int) -> None:
    """Owe so many deliveries, to these endpoints in turn, all at once."""
    async with database.work() as tx:
        for start in range(0, count, SLICE):
            owed = [
                _owed(make_row(tenant.business_id, n), endpoint_ids[n % len(endpoint_ids)], tenant)
                for n in range(start, min(start + SLICE, count))
            ]
            await queue.insert_deliveries(tx, owed, 0.0)


def _owed(row: Mapping[str, Any], endpoint_id: UUID, tenant: Tenant) -> Owed:
    event: Any = _decode(row["value"])
    activity = event.activity
    told = OwedEvent(
        tenant.business_id, uuid7(), "activity.logged", activity.activity_id, 1, activity.logged_at,
        body_of(event, "activity.logged"),
    )  # fmt: skip
    return Owed(uuid7(), endpoint_id, told)


async def all_noted(database: Database, within_s: float) -> None:
    """Wait until nothing is pending any more. Raises Trouble."""
    deadline = time.monotonic() + within_s
    while True:
        async with database.work() as tx:
            if not await tx.value("select exists (select from delivery where status = 'pending')"):
                return
        if time.monotonic() > deadline:
            raise Trouble(f"deliveries are pending still after {within_s:g} s")
        await asyncio.sleep(LOOK_S)
