"""A relay that runs for as long as a test needs it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from libs.database import Database
from libs.messaging.broker import BrokerSettings
from libs.messaging.relay import Relay


@asynccontextmanager
async def relaying(database: Database, broker: BrokerSettings) -> AsyncIterator[Relay]:
    relay = Relay(database, broker)
    task = asyncio.create_task(relay.run())
    try:
        yield relay
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
