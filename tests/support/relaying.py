"""A relay in a process of its own, to be frozen: `python -m tests.support.relaying` with what it needs in variables."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from libs.database import Database, Urls
from libs.messaging.broker import BrokerSettings
from libs.messaging.relay import Relay


@asynccontextmanager
async def relay_process(database: Database, broker: BrokerSettings) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a relay of the database in another process; killed at the end."""
    urls = database.urls
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.relaying",
        env=os.environ | {
            "RELAY_SERVICE": urls.service, "RELAY_DATABASE": urls.owner, "RELAY_SECRET": urls.roles_secret,
            "RELAY_KAFKA": broker.bootstrap_servers, "RELAY_STUCK_S": str(broker.stuck_s),
        },
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


async def _run() -> None:
    asked = {name: os.environ[f"RELAY_{name}"] for name in ("SERVICE", "DATABASE", "SECRET", "KAFKA", "STUCK_S")}
    database = Database(Urls(asked["SERVICE"], asked["DATABASE"], asked["SECRET"]))
    await database.open()
    await Relay(database, BrokerSettings(asked["KAFKA"], stuck_s=float(asked["STUCK_S"]))).run()


if __name__ == "__main__":
    asyncio.run(_run())
