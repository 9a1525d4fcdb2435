"""A migrated database for a test: copied from a template that is made once for each state of the migrations."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from libs.contracts.ids import uuid7
from libs.database import Database, Urls, migrations

ROLES_SECRET = "secret-of-the-tests"
LOCK_KEY = 4_713_000_002
_templates: dict[tuple[str, str], str] = {}
"""By server and service."""


def server_url() -> str:
    """Name the PostgreSQL server of the tests."""
    return os.environ["TEST_DATABASE_URL"]


def urls_of(package: str, name: str) -> Urls:
    """Name a database on the tests' server."""
    return Urls(package, urlunsplit(urlsplit(server_url())._replace(path=f"/{name}")), ROLES_SECRET)


@asynccontextmanager
async def fresh_database(package: str) -> AsyncIterator[Database]:
    """Give an open, migrated, empty database of a service, and drop it afterwards."""
    async with fresh_urls(package) as urls:
        database = Database(urls)
        await database.open()
        try:
            yield database
        finally:
            await database.close()


@asynccontextmanager
async def fresh_urls(package: str) -> AsyncIterator[Urls]:
    """Give the address of a migrated, empty database of a service, and drop it afterwards."""
    template = _templates.get((server_url(), package)) or await _template(package)
    urls = urls_of(package, f"test_{package}_{uuid7().hex[-12:]}")
    copied = "strategy file_copy"  # a third of the CPU of going through the log [measured]
    await _on_server(f'create database "{urls.database}" template "{template}" {copied}')
    try:
        yield urls
    finally:
        await drop_database(urls)


async def drop_database(urls: Urls) -> None:
    """Drop a test's database, also when somebody is connected to it."""
    await _on_server(f'drop database if exists "{urls.database}" with (force)')


async def _template(package: str) -> str:
    files = [path for folder in migrations.folders_of(package) for path in sorted(folder.glob("*.sql"))]
    texts = [await asyncio.to_thread(path.read_bytes) for path in files]
    runner = await asyncio.to_thread(Path(migrations.__file__).read_bytes)
    name = f"template_{package}_{hashlib.sha256(b''.join([runner, *texts])).hexdigest()[:12]}"
    connection = await asyncpg.connect(server_url())
    try:
        await connection.execute("select pg_advisory_lock($1)", LOCK_KEY)
        if not await connection.fetchval("select true from pg_database where datname = $1", name):
            making = urls_of(package, f"{name}_{uuid7().hex[-6:]}")
            await migrations.migrate(making, migrations.folders_of(package))
            await connection.execute(f'alter database "{making.database}" rename to "{name}"')
    finally:
        await connection.close()
    _templates[server_url(), package] = name
    return name


async def _on_server(sql: str) -> None:
    connection = await asyncpg.connect(server_url())
    try:
        await connection.execute("select pg_advisory_lock($1)", LOCK_KEY)
        await connection.execute(sql)
    finally:
        await connection.close()
