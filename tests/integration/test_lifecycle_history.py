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
from services.lifecycle import verify
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


async def two_histories(database: Database) -> UUID:
    """Give activity a three versions, b one; return the business."""
    tenant = await settle(database)
    business = tenant.business_id
    await admit(
        database,
        report(business, "schedule", "a", type="call", actor=str(tenant.user_id)),
        report(business, "log", "a", type="call", summary="it went well"),
        report(business, "append", "a", text="more"),
        report(business, "log", "b", type="call", summary="another"),
    )
    return business


async def tamper(database: Database, sql: str, *arguments: object) -> None:
    connection = await asyncpg.connect(database.urls.owner)
    try:
        await connection.execute("set session_replication_role = replica")  # as a superuser can: no triggers
        await connection.execute(sql, *arguments)
    finally:
        await connection.close()


async def breaks(database: Database, business_id: UUID | None = None) -> list[tuple[UUID, int, str]]:
    return [(each.activity_id, each.version, each.why) async for each in verify.verify(database, business_id)]


TAMPERINGS = {
    "document": ("update history set document = document || ' ' where version = 2", "differs"),
    "salt": ("update history set salt = uuid_send(gen_random_uuid()) where version = 2", "differs"),
    "member": ("update history set by_member = gen_random_uuid() where version = 2", "differs"),
    "time": ("update history set recorded_at = recorded_at - interval '1 microsecond' where version = 2", "differs"),
    "type": ("update history set type = 'activity.updated' where version = 2", "differs"),
    "hash": ("update history set hash = sha256('') where version = 2", "differs"),
    "document with a hash that fits it": (
        """update history h set document = '{}',
               hash = chain_hash(p.hash, h.business_id, h.activity_id, h.version, h.type, h.recorded_at, h.by_member,
                                 sha256(h.salt || '{}'))
           from history p where p.activity_id = h.activity_id and p.version = 1 and h.version = 2""",
        "differs",
    ),
    "two versions swapped": (
        """update history set version = version + 100 where version > 1;
           update history set version = case version when 102 then 3 else 2 end where version > 100""",
        "differs",
    ),
    "moved to another activity": (
        "update history set activity_id = gen_random_uuid() where version = 1", "differs",
    ),
    "made to look erased": (
        "update history set document = null, salt = null, content_hash = sha256('') where version = 2", "differs",
    ),
    "first version removed": ("delete from history where version = 1", "missing"),
    "version removed": ("delete from history where version = 2", "missing"),
    "last version removed": ("delete from history where version = 3", "does not have it"),
    "whole history removed": ("delete from history", "does not have it"),
    "older version made the current one": ("update activity set version = 2 where version = 3", "is newer"),
    "activity removed": ("delete from activity where version = 3", "no such activity"),
}  # fmt: skip


@pytest.mark.parametrize("kind", TAMPERINGS)
async def test_verify_names_what_a_superuser_has_tampered_with(database: Database, kind: str) -> None:
    sql, why = TAMPERINGS[kind]
    business = await two_histories(database)
    assert await breaks(database) == []
    await tamper(database, sql)
    found = await breaks(database, business)
    assert found
    assert any(why in each for _, _, each in found), found
    assert await breaks(database, uuid7()) == [], "another business has no break"


async def test_verify_goes_on_over_slices_and_while_others_write(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "SLICE", 2)
    business = await two_histories(database)
    looked_at: list[int] = []
    found = []
    async for each in verify.verify(database, None, looked_at.append):
        found.append(each)
        await admit(database, report(business, "append", "b", text="meanwhile"))
    assert (found, looked_at) == ([], [2, 4, 4])
    await tamper(database, "update history set salt = uuid_send(gen_random_uuid()) where version = 3")
    assert [version for _, version, _ in await breaks(database)] == [3]
