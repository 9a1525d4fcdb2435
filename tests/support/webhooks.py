"""The dispatcher for tests: short times, a local receiver, events as a consumer gets them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from libs.contracts.activity import Activity, ActivityEvent, Change
from libs.contracts.decoding import decoder_of
from libs.contracts.ids import uuid7
from libs.database import Database
from services.webhook_dispatcher import handlers, signing
from services.webhook_dispatcher.delivery import Dispatcher, Policy
from services.webhook_dispatcher.domain.addresses import AddressRules, read_networks
from services.webhook_dispatcher.lean import LeanSender
from services.webhook_dispatcher.resolver import Lookup, ask_system
from services.webhook_dispatcher.sealing import Sealer
from services.webhook_dispatcher.sender import Sender
from services.webhook_dispatcher.store import endpoints
from services.webhook_dispatcher.store.endpoints import EndpointState

MASTER_KEY = "master-key-of-the-tests"
LOCAL = AddressRules(read_networks("127.0.0.0/8,::1/128"), allow_http=True, any_port=True)
POLICY = Policy(permits_max=16, lease_s=5.0, stop_s=2.0, stuck_s=30.0, schedule_s=(0.05, 0.05, 0.05))
PATIENCE_S = 60.0
ALL_TYPES = ("activity.logged", "activity.completed", "activity.appended")


@dataclass(frozen=True)
class Setting:
    """How sending is set up for a test."""

    policy: Policy = POLICY
    rules: AddressRules = LOCAL
    timeout_s: float = 1.0
    lookup: Lookup = ask_system
    sender: Callable[[AddressRules, float, float, Lookup], Sender] = LeanSender
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))


@asynccontextmanager
async def dispatching(database: Database, setting: Setting | None = None) -> AsyncIterator[Dispatcher]:
    """Run a dispatcher."""
    setting = setting or Setting()
    sender = setting.sender(setting.rules, setting.timeout_s, setting.timeout_s, setting.lookup)
    dispatcher = Dispatcher(setting.policy, Sealer(MASTER_KEY), setting.clock)
    running = asyncio.create_task(dispatcher.run(database, sender))
    try:
        yield dispatcher
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await sender.close()


async def make_endpoint(database: Database, business_id: UUID, url: str, **fields: Any) -> tuple[UUID, str]:
    """Make an endpoint that hears everything; return its id and secret."""
    id_, secret = uuid7(), signing.generate_secret()
    values: dict[str, Any] = {
        "description": "", "event_types": ALL_TYPES, "sources": (), "activity_objects": (), "status": "active",
    }  # fmt: skip
    async with database.transaction(_Tenant(business_id)) as tx:
        await endpoints.insert_endpoint(tx, business_id, id_, EndpointState(url, **values | fields))
        sealed = Sealer(MASTER_KEY).seal(signing.key_of(secret), business_id, id_)
        await endpoints.insert_secret(tx, business_id, id_, (uuid7(), sealed))
    return id_, secret


@dataclass(frozen=True)
class _Tenant:
    business_id: UUID


def event_of(business_id: UUID, change: str = "activity.completed", **fields: Any) -> ActivityEvent:
    """Make an event of an activity that was logged now, as a consumer gets it."""
    at = datetime.now(UTC)
    values: dict[str, Any] = {
        "business_id": business_id, "activity_id": uuid7(), "version": 1, "type": "call", "type_id": uuid7(),
        "type_name": "Call", "at": at, "created_at": at, "recorded_at": at, "logged_at": at, "summary": "spoke",
    }  # fmt: skip
    written = ActivityEvent(activity=Activity(**values | fields), change=Change(type=change))
    event: ActivityEvent = decoder_of(ActivityEvent)(written.model_dump_json().encode())
    return event


async def hear(database: Database, events: Sequence[ActivityEvent], dispatcher: Dispatcher | None = None) -> None:
    """Let the handler hear events in one transaction."""
    owe = handlers.owe_deliveries(30, dispatcher or Dispatcher(POLICY, Sealer(MASTER_KEY), lambda: datetime.now(UTC)))
    async with database.work() as tx:
        await owe(tx, events)


async def deliveries_of(database: Database) -> list[dict[str, Any]]:
    """List all deliveries, oldest first."""
    async with database.work() as tx:
        return [dict(row) for row in await tx.fetch("select * from delivery order by id")]


async def attempts_of(database: Database) -> list[dict[str, Any]]:
    """List all attempts."""
    async with database.work() as tx:
        return [dict(row) for row in await tx.fetch("select * from attempt order by delivery_id, number")]


async def eventually(database: Database, holds: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    """Wait until something holds for the deliveries. Raises AssertionError after a minute."""
    deadline = datetime.now(UTC) + timedelta(seconds=PATIENCE_S)
    while not holds(rows := await deliveries_of(database)):
        assert datetime.now(UTC) < deadline, f"still not so: {rows}"
        await asyncio.sleep(0.01)
    return rows


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds. Raises AssertionError after a minute."""
    deadline = datetime.now(UTC) + timedelta(seconds=PATIENCE_S)
    while not holds():
        assert datetime.now(UTC) < deadline, "still not so"
        await asyncio.sleep(0.01)


def all_are(status: str, count: int = 1) -> Callable[[list[dict[str, Any]]], bool]:
    """Make the condition that there are `count` deliveries of that status and no others."""
    return lambda rows: [row["status"] for row in rows] == [status] * count
