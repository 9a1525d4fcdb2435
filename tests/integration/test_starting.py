"""A service that its database refuses: said aloud, and tried again until somebody has mended it."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import httpx
from pydantic import SecretStr

from libs.database import Database
from libs.service.process import Process
from services.reporting import app
from services.reporting.settings import Settings
from tests.support.system import eventually

NOWHERE = "postgresql://nobody@127.0.0.1:1/none"
MakeDatabase = Callable[[str], Awaitable[Database]]


async def test_service_whose_migrations_are_missing_says_so_and_starts_when_they_are_there(
    make_database: MakeDatabase,
) -> None:
    database = await make_database("reporting")
    owner = await asyncpg.connect(database.urls.owner)
    await owner.execute("alter table access_copy rename to away")
    service = app.create(Settings(database_url=SecretStr(NOWHERE), kafka_bootstrap_servers="127.0.0.1:1"))
    service.use(Database(database.urls))
    process = Process([service])
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app=process), base_url="http://here")

    async def says_why() -> bool:
        told = (await client.get("/healthz/reporting")).json()["problems"]
        return bool(told) and told[0].startswith("not started yet: UndefinedTableError")

    async def started() -> bool:
        return not any(
            "not started yet" in each for each in (await client.get("/healthz/reporting")).json()["problems"]
        )

    starting = asyncio.create_task(process._start(service))
    await eventually(says_why, 10, "it says what is missing")
    await owner.execute("alter table away rename to access_copy")
    await eventually(started, 10, "it has started")
    await starting
    await service.stop()
    await client.aclose()
    await owner.close()
