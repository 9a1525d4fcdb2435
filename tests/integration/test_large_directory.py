"""What directory reads of a business that has grown: the rows it is asked for, whatever the planner has counted."""

from uuid import UUID

from libs.access import keys
from libs.contracts.ids import uuid7
from libs.database import Database
from services.directory.store import members, merges
from services.directory.store import records as held
from tests.conftest import MakeDatabase
from tests.integration.test_large_businesses import FEW, WHEN, Asks, grown, read
from tests.support.http import OPERATOR_KEY, Tenant, served


async def begin_directory(database: Database) -> Tenant:
    async with served("directory", database) as http:
        body, operator = {"name": "One", "zone": "UTC"}, {"X-API-KEY": OPERATOR_KEY.text}
        made = (await http.post("/api/directory/businesses", json=body, headers=operator)).json()
    return Tenant(UUID(made["id"]), UUID(made["user_id"]), keys.Key(uuid7(), made["api_key"], b""))


async def fill_directory(database: Database, tenant: Tenant) -> list[UUID]:
    ids, key = [], {"X-API-KEY": tenant.key.text}
    async with served("directory", database) as http:
        for path, body in (
            *(("records/contact", {"name": f"c{n}", "external_ref": f"c{n}"}) for n in range(FEW)),
            *(("members", {"name": f"m{n}", "email": f"m{n}@example.org"}) for n in range(FEW)),
            *(("roles", {"name": f"r{n}", "member_ids": [str(tenant.user_id)]}) for n in range(FEW)),
        ):
            made = await http.post(f"/api/directory/{path}", json=body, headers=key)
            assert made.status_code == 201, made.text
            ids.append(UUID(made.json()["id"]))
        merged = {"record_id": str(ids[1])}
        await http.post(f"/api/directory/records/contact/{ids[0]}/merge", json=merged, headers=key)
    return ids


async def test_directory_reads_the_records_members_and_roles_it_is_asked_for(make_database: MakeDatabase) -> None:
    database = await make_database("directory")
    tenant, ids = await grown(database, fill_directory, begin_directory)
    business, people, staff, roles = tenant.business_id, ids[:FEW], ids[FEW : 2 * FEW], ids[2 * FEW :]
    place, seen = held.Place(business, "contact"), held.Place(business, "contact", (roles[0],))
    new = [held.NewRecord(each, None, "Ada", None, None, b"{}") for each in people]
    asks: Asks = {
        "lock_existing": lambda tx: held.lock_existing(tx, business, people),
        "save_records": lambda tx: held.save_records(tx, place, new, WHEN, replace=True),
        "list_ids": lambda tx: held.list_ids(tx, place, people),
        "list_ids seen": lambda tx: held.list_ids(tx, seen, people),
        "find_record": lambda tx: held.find_record(tx, seen, people[0]),
        "list_erased": lambda tx: held.list_erased(tx, business, people),
        "list_records": lambda tx: held.list_records(tx, place, (None, False), (WHEN, people[0]), 50),
        "list_one_person": lambda tx: merges.list_one_person(tx, business, people[0]),
        "point_to": lambda tx: merges.point_to(tx, business, people, people[0], WHEN),
        "erase_records": lambda tx: held.erase_records(tx, business, people, WHEN),
        "list_member_ids": lambda tx: members.list_member_ids(tx, business, staff),
        "list_role_ids": lambda tx: members.list_role_ids(tx, business, roles),
    }
    assert [await read(database, each, asks) for each in (tenant, None)] == [{}, {}]
