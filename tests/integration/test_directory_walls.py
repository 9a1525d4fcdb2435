"""The statements of directory keep to their business even under a role that sees all businesses."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from uuid import UUID

from libs.contracts.ids import uuid7
from libs.database import Database
from services.directory.store import businesses, keys, members, records
from services.directory.store.records import NewRecord, Place
from tests.support.http import Tenant, settle

AT = datetime(2026, 1, 1, tzinfo=UTC)
NEWEST = (datetime.max.replace(tzinfo=UTC), UUID(int=(1 << 128) - 1))


async def test_statements_find_nothing_of_another_business(make_database: Callable[[str], Awaitable[Database]]) -> None:
    database = await make_database("directory")
    one: Tenant = await settle(database)
    other = (await settle(database)).business_id
    async with database.work() as tx:
        record = NewRecord(uuid7(), "ref", "Canary", None, None, b"{}")
        await records.save_records(tx, Place(one.business_id, "contact"), [record], AT, replace=True)
        await businesses.insert_objects(tx, one.business_id, [(uuid7(), "contact", "Contact", [])], AT)
        role_id = await tx.value("select id from role where business_id = $1", one.business_id)
        place = Place(other, "contact")
        assert await records.find_record(tx, place, record.id) is None
        assert await records.lock_record(tx, place, record.id) is None
        assert await records.list_records(tx, place, (None, False), NEWEST, 10) == []
        assert await businesses.find_object(tx, other, "contact") is None
        assert await members.find_member(tx, other, one.user_id) is None
        assert await members.find_member_by_email(tx, other, f"ada@{one.business_id}.example") is None
        assert await members.lock_members(tx, other, [one.user_id]) == []
        assert await members.list_member_ids(tx, other, [one.user_id]) == set()
        assert await members.find_role(tx, other, role_id) is None
        assert await members.lock_roles(tx, other, [role_id]) == set()
        assert await members.add_to_roles(tx, other, [role_id], uuid7()) == []
        assert await members.take_from_roles(tx, other, [role_id], one.user_id) == []
        assert await members.add_role_to_members(tx, other, [one.user_id], uuid7()) == []
        assert await keys.find_key(tx, other, one.key.id) is None
        assert await keys.revoke_key(tx, other, one.key.id, AT) is None
        own = {row["business_id"] for row in await members.list_members(tx, other, NEWEST, 10)}
        own |= {row["business_id"] for row in await members.list_roles(tx, other, NEWEST, 10)}
        own |= {row["business_id"] for row in await keys.list_keys(tx, other, NEWEST, 10)}
        assert own == {other}


async def test_business_column_comes_first_everywhere(make_database: Callable[[str], Awaitable[Database]]) -> None:
    database = await make_database("directory")
    async with database.work() as tx:
        rows = await tx.fetch(
            """
            select c.relname, i.indexrelid::regclass::text as name, a.attname
            from pg_index i
            join pg_class c on c.oid = i.indrelid and c.relnamespace = 'public'::regnamespace
            join pg_attribute b on b.attrelid = c.oid and b.attname = 'business_id'
            join pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[0]
            """
        )
        assert rows
        assert [row["name"] for row in rows if row["attname"] != "business_id"] == []
