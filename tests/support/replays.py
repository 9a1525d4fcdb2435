"""A served dispatcher that replays for a business."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx

from libs.database import Database
from services.webhook_dispatcher.delivery import Dispatcher
from services.webhook_dispatcher.replaying import Replayer
from tests.support.http import Tenant
from tests.support.sink import Sink
from tests.support.webhooks import event_of, hear, make_endpoint

REPLAYS = "/api/webhooks/replays"


@dataclass(frozen=True)
class Case:
    """A served dispatcher, a business that calls it, a receiver."""

    database: Database
    client: httpx.AsyncClient
    tenant: Tenant
    sink: Sink

    async def call(self, method: str, path: str, json: Any = None) -> httpx.Response:
        return await self.client.request(method, path, json=json, headers=self.tenant.headers)

    async def make(self, **fields: Any) -> tuple[UUID, str]:
        return await make_endpoint(self.database, self.tenant.business_id, self.sink.url(), **fields)

    async def tell(self, count: int = 1, dispatcher: Dispatcher | None = None) -> None:
        await hear(self.database, [event_of(self.tenant.business_id) for _ in range(count)], dispatcher)

    async def replay(self, **body: Any) -> dict[str, Any]:
        answer = await self.call("POST", REPLAYS, {name.rstrip("_"): value for name, value in body.items()})
        assert answer.status_code == 202, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def until(self, id_: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = datetime.now(UTC) + timedelta(seconds=60)
        while not holds(shown := (await self.call("GET", f"{REPLAYS}/{id_}")).json()):
            assert datetime.now(UTC) < deadline, shown
            await asyncio.sleep(0.02)
        return dict(shown)


@asynccontextmanager
async def replaying_by(database: Database, dispatcher: Dispatcher | None = None) -> AsyncIterator[None]:
    """Take replays on while a test looks."""
    replayer = Replayer(dispatcher.wake if dispatcher else lambda: None)

    async def run() -> None:
        while True:
            await replayer.step(database)
            await asyncio.sleep(0.02)

    running = asyncio.create_task(run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
