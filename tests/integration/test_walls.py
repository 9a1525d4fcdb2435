"""The two walls between businesses, in the catalogue of every service's database, and each of them alone."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from libs.contracts.ids import uuid7
from libs.database import Database

MakeDatabase = Callable[[str], Awaitable[Database]]
PACKAGES = ("directory", "ingest", "lifecycle", "timeline_projector", "reporting", "webhook_dispatcher")
A, B = UUID(int=0xA), UUID(int=0xB)

NOT_BY_BUSINESS = {
    "webhook_dispatcher": {"replay_running"},  # workers ask for what runs, whosever it is
}
KEYS_READ = {
    "business": {"business_id", "zone", "deleted_at"},
    "member": {"business_id", "id", "deleted_at", "role_ids"},
    "role": {"business_id", "id", "deleted_at", "permissions"},
    "api_key": {"business_id", "id", "kind", "hash", "scopes", "member_id", "expires_at", "revoked_at"},
}
CONSTRAINED = {
    "state": "logged",
    "outcome": "applied",
    "status": "active",
    "event_type": "webhook.endpoint.disabled",
    "privacy": "team",
    "mode": "fixed",
}
"""Words for columns that take only some."""

TABLES = """
    select c.relname as name, c.relkind = 'p' as parted, c.relispartition as part,
        c.relrowsecurity and c.relforcerowsecurity as forced,
        exists (select from pg_attribute a
                where a.attrelid = c.oid and a.attname = 'business_id' and not a.attisdropped) as of_business
    from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') order by 1"""
INDEXES = """
    select i.indexrelid::regclass::text as name, pg_get_indexdef(i.indexrelid, 1, false) as first
    from pg_index i join pg_class c on c.oid = i.indrelid and c.relnamespace = 'public'::regnamespace
    where exists (select from pg_attribute a
                  where a.attrelid = c.oid and a.attname = 'business_id' and not a.attisdropped)"""


async def connect(database: Database, role: Any = None) -> "asyncpg.Connection[asyncpg.Record]":
    connection = await asyncpg.connect(database.urls.of(role) if role else database.urls.owner)
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=str, decoder=str)
    return connection


async def of_business(database: Database) -> list[asyncpg.Record]:
    async with database.work() as tx:
        found = [table for table in await tx.fetch(TABLES) if table["of_business"]]
    assert found
    return found


@pytest.mark.parametrize("package", PACKAGES)
async def test_every_table_with_a_business_has_row_security_forced_on_routes(
    make_database: MakeDatabase, package: str
) -> None:
    database = await make_database(package)
    open_ones = [table["name"] for table in await of_business(database) if not table["forced"]]
    assert open_ones == [], "these tables have a business_id, but no forced row security: use walls(…)"
    async with database.work() as tx:
        policies = await tx.fetch("select tablename, roles::text[] as roles, qual, with_check from pg_policies")
    for table in await of_business(database):
        found = [row for row in policies if row["tablename"] == table["name"]]
        held = [row for row in found if f"{package}_routes" in row["roles"] or "public" in row["roles"]]
        assert len(held) == 1, f"{table['name']}: routes must have one policy, for another would only widen it"
        wanted = "(business_id = (NULLIF(current_setting('app.business_id'::text, true), ''::text))::uuid)"
        assert (held[0]["qual"], held[0]["with_check"]) == (wanted, None), table["name"]


@pytest.mark.parametrize("package", PACKAGES)
async def test_every_key_and_index_begins_with_the_business(make_database: MakeDatabase, package: str) -> None:
    database = await make_database(package)
    async with database.work() as tx:
        others = {row["name"] for row in await tx.fetch(INDEXES) if row["first"] != "business_id"}
    assert others == NOT_BY_BUSINESS.get(package, set())


@pytest.mark.parametrize("package", PACKAGES)
async def test_login_roles_can_do_no_more_than_they_are_given(make_database: MakeDatabase, package: str) -> None:
    database = await make_database(package)
    owner = await connect(database)
    try:
        rows = await owner.fetch(
            """select rolname, rolsuper or rolbypassrls or rolcreatedb or rolcreaterole or rolreplication as mighty,
                exists (select from pg_class where relowner = r.oid) as owning,
                exists (select from pg_auth_members where member = r.oid) as member
            from pg_roles r where rolname like $1 || '\\_%'""",
            package,
        )
        assert {row["rolname"] for row in rows} == {f"{package}_{role}" for role in ("routes", "worker", "keys")}
        assert [row["rolname"] for row in rows if row["mighty"] or row["owning"] or row["member"]] == []
        for table in await owner.fetch(TABLES):
            if not table["of_business"]:
                readable = "select has_any_column_privilege($1, $2, 'select')"
                assert not await owner.fetchval(readable, f"{package}_routes", table["name"]), table["name"]
    finally:
        await owner.close()


@pytest.mark.parametrize("package", PACKAGES)
async def test_the_role_of_keys_reads_what_look_up_needs_and_nothing_else(
    make_database: MakeDatabase, package: str
) -> None:
    database = await make_database(package)
    owner = await connect(database)
    try:
        granted = await owner.fetch(
            """select c.relname as tab, a.attname as name, privilege
            from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped,
                unnest(array['select', 'insert', 'update']) as privilege
            where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm')
                and has_column_privilege($1, c.oid, a.attnum, privilege)""",
            f"{package}_keys",
        )
    finally:
        await owner.close()
    assert {row["privilege"] for row in granted} == {"select"}
    read: dict[str, set[str]] = {}
    for row in granted:
        read.setdefault(row["tab"], set()).add(row["name"])
    assert read == KEYS_READ


@pytest.mark.parametrize("package", PACKAGES)
async def test_row_security_alone_hides_every_row_of_another_business(
    make_database: MakeDatabase, package: str
) -> None:
    database = await make_database(package)
    tables = await of_business(database)
    await fill(database, [table["name"] for table in tables if not table["part"]])
    routes = await connect(database, "routes")
    worker = await connect(database, "worker")
    seen = 0
    try:
        for table in (table["name"] for table in tables):
            query = f'select business_id from "{table}"'
            if not await routes.fetchval("select has_table_privilege($1, 'select')", table):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await routes.fetch(query)
                continue
            seen += 1
            assert await routes.fetch(query) == [], f"{table}: with no business set"
            async with routes.transaction():
                await routes.execute("select set_config('app.business_id', $1, true)", str(A))
                assert [row[0] for row in await routes.fetch(query)] == [A], f"{table}: with A set"
            assert await routes.fetch(query) == [], f"{table}: after the transaction"
            assert {row[0] for row in await worker.fetch(query)} == {A, B}, f"{table}: the worker sees all"
    finally:
        await routes.close()
        await worker.close()
    assert seen


async def test_a_route_cannot_write_into_another_business(make_database: MakeDatabase) -> None:
    database = await make_database("lifecycle")
    await fill(database, ["activity", "activity_object"])
    routes = await connect(database, "routes")
    try:
        await routes.execute("select set_config('app.business_id', $1, false)", str(A))
        assert await routes.execute("update activity set version = 2 where business_id = $1", B) == "UPDATE 0"
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await routes.execute(
                "insert into activity (business_id, activity_id, version, type_id, created_at) "
                "values ($1, $2, 1, $2, now())",
                B, uuid7(),
            )  # fmt: skip
    finally:
        await routes.close()


async def fill(database: Database, tables: list[str]) -> None:
    """Put a row of A and one of B into each table, whatever its columns are."""
    owner = await connect(database)
    try:
        await owner.execute("set session_replication_role = replica")  # no triggers: rows need not make sense
        for table in tables:
            columns = await owner.fetch(
                """select attname as name, format_type(atttypid, null) as kind from pg_attribute
                where attrelid = $1::text::regclass and attnum > 0 and not attisdropped
                    and (attnotnull and not atthasdef or attname = 'content_hash')""",
                table,
            )
            names = ", ".join(f'"{column["name"]}"' for column in columns)
            for business in (A, B):
                values = ", ".join(_literal(column["name"], column["kind"], business) for column in columns)
                await owner.execute(f'insert into "{table}" ({names}) values ({values})')
    finally:
        await owner.close()


def _literal(name: str, kind: str, business: UUID) -> str:
    if name == "business_id":
        return f"'{business}'"
    if name in CONSTRAINED:
        return f"'{CONSTRAINED[name]}'"
    texts = {
        "uuid": uuid7(), "timestamp with time zone": "2026-01-01Z", "date": "2026-01-01", "boolean": "true",
        "jsonb": "[]", "bytea": "", "text": "x",
    }  # fmt: skip
    return f"'{{}}'::{kind}" if kind.endswith("[]") else f"'{texts.get(kind, 1)}'"
