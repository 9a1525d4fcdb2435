"""The history as a chain: made alike by the code, by the database and by the migration, and every break is named."""

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from libs.contracts.ids import uuid7
from libs.database import Database, migrations
from services.lifecycle.domain.chain import GENESIS, Skeleton, content_hash_of, hash_of
from tests.integration.test_lifecycle_reports import admit, report
from tests.support.databases import drop_database, urls_of
from tests.support.http import settle

MakeDatabase = Callable[[str], Awaitable[Database]]
CHAIN = """select business_id, activity_id, version, type, recorded_at, by_member, salt, document, hash from history
           order by business_id, activity_id, version"""

OLD = """insert into history (business_id, activity_id, version, type, recorded_at, document)
         select $1, $2, n, 'activity.updated', '2026-03-01 09:00:00.123456Z'::timestamptz + n * interval '1 s',
                convert_to(case n when 2 then '{"change":{"by":{"member_id":"00000000-0000-0000-0000-000000000005"}}}'
                           else '{"change":{"by":null}}' end, 'UTF8') from generate_series(1, 3) n"""


@pytest.fixture
async def database(make_database: MakeDatabase) -> Database:
    return await make_database("lifecycle")


def assert_chained(rows: list[Any]) -> None:
    previous = GENESIS
    for row in rows:
        if row["version"] == 1:
            previous = GENESIS
        skeleton = Skeleton(*list(row.values())[:6])
        assert row["hash"] == hash_of(previous, skeleton, content_hash_of(row["salt"], row["document"]))
        previous = row["hash"]


async def test_versions_of_one_batch_and_of_later_ones_hang_together(database: Database) -> None:
    tenant = await settle(database)
    business = tenant.business_id
    for ref in ("a", "b"):
        await admit(
            database,
            report(business, "schedule", ref, type="call", subject="plan"),
            report(business, "log", ref, type="call", actor=str(tenant.user_id)),
        )
        await admit(database, report(business, "append", ref, text="more"))
    async with database.work() as tx:
        rows = await tx.fetch(CHAIN)
    assert [row["version"] for row in rows] == [1, 2, 3, 1, 2, 3]
    assert len({row["salt"] for row in rows}) == 6
    assert {row["by_member"] for row in rows if row["version"] == 2} == {tenant.user_id}
    assert_chained(rows)


async def test_a_version_that_comes_without_its_place_gets_it_from_the_database(database: Database) -> None:
    tenant = await settle(database)
    await admit(database, report(tenant.business_id, "log", "a", type="call", actor=str(tenant.user_id)))
    async with database.work() as tx:
        await tx.execute(
            """insert into history (business_id, activity_id, version, type, recorded_at, document)
            select business_id, activity_id, 2, 'activity.appended', now(), document from history"""
        )
        rows = await tx.fetch(CHAIN)
    assert [(row["version"], row["by_member"]) for row in rows] == [(1, tenant.user_id), (2, tenant.user_id)]
    assert_chained(rows)


async def test_versions_older_than_the_chain_are_put_into_it_by_the_migration(tmp_path: Path) -> None:
    older = tmp_path / "lifecycle" / "migrations"
    older.mkdir(parents=True)
    *shared, ours = migrations.folders_of("lifecycle")
    shutil.copy(ours / "0001_activities.sql", older)
    urls = urls_of("lifecycle", f"test_lifecycle_{uuid7().hex[-12:]}")
    await migrations.migrate(urls, [*shared, older])
    connection = await asyncpg.connect(urls.owner)
    try:
        for activity in (uuid7(), uuid7()):
            await connection.execute(OLD, uuid7(), activity)
        assert "lifecycle/0002_chain_and_erasure.sql" in await migrations.migrate(urls, [*shared, ours])
        rows = await connection.fetch(CHAIN)
    finally:
        await connection.close()
        await drop_database(urls)
    assert [(row["version"], row["by_member"]) for row in rows] == 2 * [(1, None), (2, UUID(int=5)), (3, None)]
    assert_chained(rows)
