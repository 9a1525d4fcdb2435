"""Forward-only migrations: numbered .sql files, each applied once, in order, in a transaction, under a lock.

Names of the service's login roles are written `{routes}`, `{worker}`, `{keys}`. `select walls('entry', …)` puts both
walls between businesses round a table: grants for the two roles, row-level security forced on the route role.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from libs.database.urls import ROLES, Urls
from libs.errors import ActivitiesError

ROOT = Path(__file__).resolve().parents[2]
LOCK_KEY = 4_713_000_001
CONNECT_S = 10
DEADLOCKS_MAX = 10
"""How often one migration is begun anew after a deadlock with the traffic beside it; PostgreSQL took all of it back."""


class MigrationChanged(ActivitiesError):
    """A migration that was applied has been edited since; write a new one instead."""


class MigrationFailed(ActivitiesError):
    """PostgreSQL does not answer, or refuses the account or a migration; nothing of that one stays."""


def folders_of(package: str) -> list[Path]:
    """List a service's migrations in the order of applying: messaging, access, HTTP conventions, its own."""
    shared = ["messaging", "service"] if package == "directory" else ["messaging", "access", "service"]
    folders = [ROOT / "libs" / part / "migrations" for part in shared]
    return [*folders, ROOT / "services" / package / "migrations"]


async def migrate(urls: Urls, folders: Sequence[Path]) -> list[str]:
    """Make the database and its roles if missing, apply what is new, return the names applied now.

    `folders` are applied in the order given; a migration's name is `<folder's parent>/<file>`.
    Raises MigrationChanged, MigrationFailed.
    """
    try:
        return await _migrate(urls, folders)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        address = urlsplit(urls.owner)
        place = f"PostgreSQL at {address.hostname}:{address.port or 5432}, database {urls.database}"
        raise MigrationFailed(f"{urls.service}: {place}: {type(error).__name__}: {error}") from error


async def _migrate(urls: Urls, folders: Sequence[Path]) -> list[str]:
    await _make_database(urls)
    connection = await asyncpg.connect(urls.owner, timeout=CONNECT_S)
    try:
        await connection.execute("select pg_advisory_lock($1)", LOCK_KEY)
        await _prepare(connection, urls)
        return [name for folder in folders for name in await _apply(connection, urls, folder)]
    finally:
        await connection.close()


async def _make_database(urls: Urls) -> None:
    server = urlunsplit(urlsplit(urls.owner)._replace(path="/postgres"))
    connection = await asyncpg.connect(server, timeout=CONNECT_S)
    try:
        await connection.execute("select pg_advisory_lock($1)", LOCK_KEY)
        for role in ROLES:
            user, password = urls.user_of(role), urls.password_of(role)
            if not await connection.fetchval("select true from pg_roles where rolname = $1", user):
                await connection.execute(f'create role "{user}" login noinherit')
            await connection.execute(
                f"""alter role "{user}" login nosuperuser nobypassrls nocreatedb nocreaterole password '{password}'"""
            )
        if not await connection.fetchval("select true from pg_database where datname = $1", urls.database):
            await connection.execute(f'create database "{urls.database}"')
    finally:
        await connection.close()


async def _prepare(connection: asyncpg.Connection[asyncpg.Record], urls: Urls) -> None:
    roles = ", ".join(f'"{urls.user_of(role)}"' for role in ROLES)
    await connection.execute(
        f"""
        revoke all on database "{urls.database}" from public;
        revoke all on schema public from public;
        grant connect on database "{urls.database}" to {roles};
        grant usage on schema public to {roles};
        grant temporary on database "{urls.database}" to "{urls.user_of("worker")}", "{urls.user_of("routes")}";
        create table if not exists migration
            (name text primary key, checksum text not null, applied_at timestamptz not null default now());
        create or replace function walls(tab regclass, routes text, worker text) returns void language plpgsql as $$
        begin
            execute format('alter table %s enable row level security, force row level security', tab);
            execute format('create policy one_business on %s to "{urls.user_of("routes")}" using '
                '(business_id = nullif(current_setting(''app.business_id'', true), '''')::uuid)', tab);
            execute format('create policy all_businesses on %s to "{urls.user_of("worker")}" using (true)', tab);
            if routes <> '' then
                execute format('grant %s on %s to "{urls.user_of("routes")}"', routes, tab);
            end if;
            if worker <> '' then
                execute format('grant %s on %s to "{urls.user_of("worker")}"', worker, tab);
            end if;
        end $$;
        revoke all on function walls(regclass, text, text) from public;
        """
    )


async def _apply(connection: asyncpg.Connection[asyncpg.Record], urls: Urls, folder: Path) -> list[str]:
    applied = []
    for path in await asyncio.to_thread(_files, folder):
        name = f"{folder.parent.name}/{path.name}"
        sql = await asyncio.to_thread(path.read_text)
        checksum = hashlib.sha256(sql.encode()).hexdigest()
        known = await connection.fetchval("select checksum from migration where name = $1", name)
        if known is None:
            try:
                await _apply_one(connection, name, _name_roles(sql, urls), checksum)
            except asyncpg.PostgresError as error:
                message = f"{urls.service}: {name} is refused, nothing of it stays: {type(error).__name__}: {error}"
                raise MigrationFailed(message) from error
            applied.append(name)
        elif known != checksum:
            raise MigrationChanged(f"{urls.service}: {name} was edited after it was applied; add a new migration")
    return applied


async def _apply_one(connection: asyncpg.Connection[asyncpg.Record], name: str, sql: str, checksum: str) -> None:
    """Apply a migration and note it; begin anew after a deadlock, which no order of locks of its own rules out."""
    for left in reversed(range(DEADLOCKS_MAX)):
        try:
            async with connection.transaction():
                await connection.execute(sql)
                await connection.execute("insert into migration (name, checksum) values ($1, $2)", name, checksum)
            return
        except asyncpg.DeadlockDetectedError:
            if not left:
                raise


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.sql"))


def _name_roles(sql: str, urls: Urls) -> str:
    for role in ROLES:
        sql = sql.replace(f"{{{role}}}", f'"{urls.user_of(role)}"')
    return sql
