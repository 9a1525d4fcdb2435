"""What a write of a few activities costs does not depend on how many the business has."""

from collections.abc import Awaitable, Callable
from uuid import UUID

import asyncpg
import pytest

from libs.contracts.ids import preset_id_of, uuid7
from libs.database import Database, Transaction
from libs.service.clock import now
from services.lifecycle import recording
from services.lifecycle.domain import life
from services.lifecycle.domain.held import PLAN, Subject, Told
from services.lifecycle.recording import Entry
from services.lifecycle.store import activities, admissions
from tests.support.http import Tenant, settle

pytestmark = pytest.mark.integration
MakeDatabase = Callable[[str], Awaitable[Database]]
OTHERS, FEW = 3_000, 20


async def crowd(database: Database, business_id: UUID) -> None:
    """Let a business have thousands of activities, so bare that only their rows are there, and reports that wait."""
    async with database.work() as tx:
        await tx.execute(
            """
            insert into activity (business_id, activity_id, version, type_id, created_at, planned_at)
            select $1, gen_random_uuid(), 1, $1, now(), now() from generate_series(1, $2)
            """,
            business_id, OTHERS,
        )  # fmt: skip
        await tx.execute(
            """
            insert into waiting (business_id, activity_id, receipt_id, seen_version, received_at, document)
            select $1, gen_random_uuid(), gen_random_uuid(), 0, now(), '' from generate_series(1, $2)
            """,
            business_id, OTHERS,
        )  # fmt: skip


async def analyze(database: Database) -> None:
    owner = await asyncpg.connect(database.urls.owner)
    for table in ("activity", "history", "waiting"):
        await owner.execute(f"analyze {table}")
    await owner.close()


async def plan_few(tx: Transaction, tenant: Tenant) -> list[tuple[UUID, UUID]]:
    kind_id = preset_id_of(tenant.business_id, "activity_object", "call")
    content = {"type": "call", "type_id": kind_id, "type_name": "Call"}
    decisions = [
        life.plan(None, Subject(tenant.business_id, uuid7()), Told(PLAN, now(), now(), None, dict(content)))
        for _ in range(FEW)
    ]
    await recording.record(tx, [Entry(each) for each in decisions])
    return [(tenant.business_id, each.held.activity.activity_id) for each in decisions if each.held is not None]


async def fetched(tx: Transaction) -> dict[str, int]:
    """Count the rows that this transaction has taken from the tables so far."""
    rows = await tx.fetch(
        """
        select relname, seq_tup_read + idx_tup_fetch from pg_stat_xact_user_tables
        where relname in ('activity', 'history', 'waiting')
        """
    )
    return {row[0]: row[1] for row in rows}


async def test_a_write_reads_only_what_it_is_about_in_a_business_that_grew_since_it_was_counted(
    make_database: MakeDatabase,
) -> None:
    database = await make_database("lifecycle")
    tenant, other = await settle(database), await settle(database)
    await crowd(database, other.business_id)
    await analyze(database)
    async with database.transaction(tenant) as tx:
        keys = await plan_few(tx, tenant)
    await crowd(database, tenant.business_id)
    async with database.transaction(tenant) as tx:
        held, awaited = await activities.lock_awaited(tx, keys)
        assert awaited == set()
        assert await admissions.list_waiting(tx, keys) == {}
        cancelled = [life.cancel(held[key], now(), now()) for key in keys]
        await recording.record(tx, [Entry(each) for each in cancelled])
        read = await fetched(tx)
    assert len(held) == FEW
    assert all(count <= 10 * FEW for count in read.values()), read
    async with database.transaction(tenant) as tx:
        after = await activities.lock_activities(tx, keys)
    assert {each.activity.version for each in after.values()} == {2}
