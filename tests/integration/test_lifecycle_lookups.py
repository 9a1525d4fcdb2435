"""What requests need to know is read in one round trip, and is what the statements one by one find."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from uuid import UUID

import pytest

from libs.access.copy import save_businesses, save_members, save_roles
from libs.contracts.directory import Business, Member, RecordObject, Role
from libs.contracts.ids import uuid7
from libs.database import Database
from services.lifecycle import looking
from services.lifecycle.domain.presets import presets_of
from services.lifecycle.store import objects, records
from tests.support.http import Tenant, settle

pytestmark = pytest.mark.integration
MakeDatabase = Callable[[str], Awaitable[Database]]
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def role(tenant: Tenant, name: str, deleted_at: datetime | None = None) -> Role:
    return Role(
        business_id=tenant.business_id, id=uuid7(), version=1, name=name, created_at=NOW, deleted_at=deleted_at,
        member_ids=[tenant.user_id],
    )  # fmt: skip


def member(tenant: Tenant, name: str, deleted_at: datetime | None = None) -> Member:
    return Member(
        business_id=tenant.business_id, id=uuid7(), version=1, name=name, email=f"{name}@example.org", created_at=NOW,
        zone="Asia/Tokyo", role_ids=[uuid7()], deleted_at=deleted_at,
    )  # fmt: skip


def kind(tenant: Tenant, name: str, deleted_at: datetime | None = None) -> RecordObject:
    return RecordObject(
        business_id=tenant.business_id, id=uuid7(), version=1, name=name, api_name=name, created_at=NOW,
        locked_fields=["tier", "plan"], deleted_at=deleted_at,
    )  # fmt: skip


async def fill(database: Database, tenant: Tenant) -> list[UUID]:
    """Let a business have something of everything; returns the ids of its people."""
    members, roles = (
        [member(tenant, "Ada"), member(tenant, "Bo", NOW)],
        [role(tenant, "sales"), role(tenant, "old", NOW)],
    )
    settings = {"same_event": {"types": ["call"]}}
    async with database.work() as tx:
        await save_businesses(
            tx,
            [
                Business(
                    id=tenant.business_id, version=2, name="T", zone="Asia/Tokyo", settings=settings, created_at=NOW
                )
            ],
        )
        await save_members(tx, members)
        await save_roles(tx, roles)
        await records.upsert_objects(tx, [kind(tenant, "policy"), kind(tenant, "gone", NOW)])
        await objects.insert_objects(tx, presets_of(tenant.business_id, NOW))
    return [tenant.user_id, *(each.id for each in members), *(each.id for each in roles)]


async def test_one_round_trip_tells_what_several_do_and_nothing_of_another_business(
    make_database: MakeDatabase,
) -> None:
    database = await make_database("lifecycle")
    tenant, other = await settle(database), await settle(database)
    people = [*await fill(database, tenant), *await fill(database, other), uuid7()]
    async with database.transaction(tenant) as tx:
        one = await looking.look_up_one(tx, tenant.business_id, people, NOW)
        wanted = {(tenant.business_id, str(each)) for each in people}
        several = (await looking.look_up(tx, [tenant.business_id], wanted, NOW))[tenant.business_id]
    assert one == several
    assert list(one.types) == list(several.types)
    assert (one.zone, one.recognises, one.locked) == ("Asia/Tokyo", True, {"policy": frozenset({"tier", "plan"})})
    assert [each.live for each in one.members.values()].count(False) == 1
    assert sorted(each.name or "" for each in one.roles.values()) == ["old", "sales"]


async def test_a_business_that_has_no_types_yet_gets_the_presets(make_database: MakeDatabase) -> None:
    database = await make_database("lifecycle")
    tenant = await settle(database)
    for _ in range(2):
        async with database.transaction(tenant) as tx:
            one = await looking.look_up_one(tx, tenant.business_id, [tenant.user_id], NOW)
        assert one.type_of("call") is not None
        assert one.zone == "Europe/Berlin"
