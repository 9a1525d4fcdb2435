"""A service that its database refuses: said aloud, and tried again until somebody has mended it."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import httpx
import pytest
from pydantic import SecretStr

from libs.database import Database, migrations
from libs.service.process import Process
from services.lifecycle import app as lifecycle
from services.lifecycle.settings import Settings as LifecycleSettings
from services.reporting import app
from services.reporting.settings import Settings
from tests.support.system import ROOT, eventually

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
    await eventually(says_why, 60, "it says what is missing")
    await owner.execute("alter table away rename to access_copy")
    await eventually(started, 60, "it has started")
    await starting
    await service.stop()
    await client.aclose()
    await owner.close()


@pytest.mark.parametrize(("others", "members"), [(0, 2), (1, 1)])
async def test_lifecycle_is_two_consumers_in_a_process_of_its_own_and_one_beside_others(
    make_database: MakeDatabase, others: int, members: int
) -> None:
    database = await make_database("lifecycle")
    url, broker = SecretStr(NOWHERE), "127.0.0.1:1"
    service = lifecycle.create(LifecycleSettings(database_url=url, kafka_bootstrap_servers=broker))
    service.use(Database(database.urls))
    beside = [app.create(Settings(database_url=url, kafka_bootstrap_servers=broker)) for _ in range(others)]
    Process([service, *beside])
    await service.start()
    try:
        assert sum(problem.startswith("lifecycle: Kafka:") for problem in service.problems()) == members
    finally:
        await service.stop()


async def test_migrating_where_it_cannot_be_says_why_in_a_sentence(
    make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", NOWHERE)
    command = [sys.executable, "-m", "services", "migrate", "reporting"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert done.stderr.startswith(
        "error: reporting: PostgreSQL at 127.0.0.1:1, database activities_reporting: Connection"
    )
    database = await make_database("reporting")
    folder = tmp_path / "reporting" / "migrations"
    folder.mkdir(parents=True)
    (folder / "0099_wrong.sql").write_text("create table half (); select nothing from nowhere")
    refused = "reporting: reporting/0099_wrong.sql is refused, nothing of it stays: UndefinedTableError"
    with pytest.raises(migrations.MigrationFailed, match=refused):
        await migrations.migrate(database.urls, [folder])
    async with database.work() as tx:
        assert await tx.value("select to_regclass('half')") is None


async def test_migration_that_loses_a_deadlock_with_the_traffic_beside_it_is_begun_anew(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    folder = tmp_path / "beside" / "migrations"
    folder.mkdir(parents=True)
    (folder / "0001_index.sql").write_text(
        "create index fresh on visit (at); select pg_advisory_xact_lock(77); drop index former"
    )
    urls = (await make_database("reporting")).urls
    owner, traffic = await asyncpg.connect(urls.owner), await asyncpg.connect(urls.owner)
    await owner.execute("create table visit (at int); create index former on visit (at); insert into visit values (1)")

    async def waiting(kind: str) -> bool:
        asked = "select true from pg_locks where not granted and mode = $1 and database = $2 limit 1"
        return bool(await owner.fetchval(asked, kind, database))

    database = await owner.fetchval("select oid from pg_database where datname = current_database()")
    await owner.execute("select pg_advisory_lock(77)")
    async with traffic.transaction():
        await traffic.execute("select from visit for update")
        migrating = asyncio.create_task(migrations.migrate(urls, [folder]))
        await eventually(lambda: waiting("ExclusiveLock"), 10, "the migration has its index and stands still")
        changing = asyncio.create_task(traffic.execute("update visit set at = 2"))
        await eventually(lambda: waiting("RowExclusiveLock"), 10, "the traffic waits for the migration")
        await owner.execute("select pg_advisory_unlock(77)")  # and now the migration would wait for the traffic
        await changing
    assert await migrating == ["beside/0001_index.sql"]
    assert await owner.fetchval("select array_agg(indexname::text) from pg_indexes where tablename = 'visit'") == [
        "fresh"
    ]
    await traffic.close()
    await owner.close()
