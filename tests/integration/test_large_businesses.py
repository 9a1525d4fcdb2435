"""What a statement reads does not depend on how many rows a business has, nor on whether the planner counted them."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from libs.access.members import list_members, list_roles
from libs.access.sight import Sight
from libs.contracts.activity import Link
from libs.contracts.directory import Record
from libs.contracts.ids import activity_id_of, preset_id_of, uuid7
from libs.database import Database, Transaction
from services.ingest.domain import Arrival
from services.ingest.store import reports as receipts
from services.lifecycle import handlers as lifecycle
from services.lifecycle.domain.plans import Filter, Page
from services.lifecycle.store import (
    accounts,
    activities,
    admissions,
    living,
    plans,
    privacy,
    recognition,
    records,
    series,
)
from services.lifecycle.store.admissions import Admission
from services.reporting import handlers as reporting
from services.reporting.store import volume
from services.timeline_projector import handlers as timeline
from services.timeline_projector.store import entries, wide
from services.timeline_projector.store import records as known
from tests.conftest import MakeDatabase
from tests.integration.test_lifecycle_reports import admit, report
from tests.support.conversations import about, conversation, made_from
from tests.support.crowds import ROWS, count_rows, crowd, read_so_far
from tests.support.histories import activity, event, planned
from tests.support.http import Tenant, served, settle

WHEN = datetime(2030, 1, 1, tzinfo=UTC)
FEW, READ_MAX = 10, ROWS // 5
Fill = Callable[[Database, Tenant], Awaitable[list[UUID]]]
Asks = dict[str, Callable[[Transaction], Awaitable[Any]]]


async def read(database: Database, tenant: Tenant | None, asks: Asks) -> dict[str, dict[str, int]]:
    """Ask, as a route or (without a tenant) as a worker, and tell who reads how much of what, where it is too much."""
    found = {}
    for name, ask in asks.items():
        async with database.work() if tenant is None else database.transaction(tenant) as tx:
            before = await read_so_far(tx)
            await ask(tx)
            after = await read_so_far(tx)
        much = {table: number for table, rows in after.items() if (number := rows - before.get(table, 0)) > READ_MAX}
        if much:
            found[name] = much
    return found


async def grown(
    database: Database, fill: Fill, begin: Callable[[Database], Awaitable[Tenant]] = settle
) -> tuple[Tenant, list[UUID]]:
    """Make a business that has grown since all businesses were counted; returns it with what was made before."""
    other, tenant = await begin(database), await begin(database)
    await fill(database, other)
    await crowd(database, other.business_id)
    await count_rows(database)
    ids = await fill(database, tenant)
    await crowd(database, tenant.business_id)
    return tenant, ids


def record(tenant: Tenant, **more: Any) -> Record:
    given = {"object": "contact", "name": "Grace", "created_at": WHEN, "updated_at": WHEN}
    return Record(business_id=tenant.business_id, id=uuid7(), version=1, **given | more)


async def fill_lifecycle(database: Database, tenant: Tenant) -> list[UUID]:
    people = [record(tenant) for _ in range(FEW)]
    account = record(tenant, object="account")
    async with database.work() as tx:
        await lifecycle.copy_records(tx, [*people, account, record(tenant, merged_into=people[0].id)])
        await living.save_asked(
            tx, [living.Asked(tenant.business_id, each.id, "budget", uuid7(), b"5") for each in people]
        )
    links = [Link(object="contact", record_id=people[0].id), Link(object="account", record_id=account.id)]
    plan = {"type": "call", "due_at": WHEN, "assignee": str(tenant.user_id), "links": links}
    logs = [report(tenant.business_id, "log", f"l{n}", type="call", links=links) for n in range(FEW)]
    await admit(database, *(report(tenant.business_id, "schedule", f"p{n}", **plan) for n in range(FEW)), *logs)
    waiting = [report(tenant.business_id, "cancel", f"w{n}") for n in range(FEW)]
    await admit(database, *waiting)
    async with served("lifecycle", database) as http:
        body = {"activity_object_name": "call", "due_datetime": "2030-03-18T09:00:00Z", "recurrence": "FREQ=WEEKLY"}
        made = await http.post("/api/activities/scheduled-activity", json=body, headers=tenant.headers)
        assert made.status_code == 201, made.text
    series_id = UUID(made.json()["series_id"])
    activities, reports = [each.activity_id for each in logs], [each.receipt_id for each in waiting]
    return [*(each.id for each in people), account.id, series_id, *activities, *reports]


async def test_lifecycle_reads_what_it_is_asked_for(make_database: MakeDatabase) -> None:
    database = await make_database("lifecycle")
    tenant, ids = await grown(database, fill_lifecycle)
    business, people, (account, series_id) = tenant.business_id, ids[:FEW], ids[FEW : FEW + 2]
    logged, waiting = ids[FEW + 2 : 2 * FEW + 2], ids[2 * FEW + 2 :]
    awaited = [activity_id_of(business, "crm", f"w{n}") for n in range(FEW)]
    done = [Admission(business, *each, "refused", None, None) for each in zip(waiting, awaited, strict=True)]
    reasons = dict.fromkeys(waiting, b"[]")
    page = Page(50)
    mine = Filter(assigned=True, member_ids=(uuid7(),), search="nothing")
    both: Asks = {
        "list_records": lambda tx: records.list_records(tx, business, people, [uuid7()]),
        "list_marks": lambda tx: records.list_marks(tx, business, people, [uuid7()]),
        "list_one": lambda tx: records.list_one(tx, business, people[0]),
        "list_guarded": lambda tx: records.list_guarded(tx, business, people, [uuid7()]),
        "is_guarded": lambda tx: records.is_guarded(tx, business, people, [uuid7()]),
        "list_living": lambda tx: living.list_living(tx, business, people, [uuid7()]),
        "list_members": lambda tx: list_members(tx, [(business, str(uuid7())) for _ in range(FEW)]),
        "list_roles": lambda tx: list_roles(tx, [(business, uuid7()) for _ in range(FEW)]),
        "list_hidden": lambda tx: privacy.list_hidden(tx, business, logged, tenant.user_id),
        "list_merged": lambda tx: recognition.list_merged(tx, business, people),
        "lock_free": lambda tx: recognition.lock_free(tx, business, logged),
        "list_receipts": lambda tx: recognition.list_receipts(tx, business, logged, WHEN - timedelta(days=9999)),
        "save_reasons": lambda tx: recognition.save_reasons(tx, business, reasons),
        "lock_series": lambda tx: series.lock_series(tx, [(business, series_id)]),
        "list_planned": lambda tx: plans.list_planned(tx, business, mine, WHEN, page),
        "list_linked": lambda tx: accounts.list_linked(tx, business, accounts.Wanted((account, uuid7())), page),
        "count_linked": lambda tx: accounts.count_linked(tx, business, accounts.Wanted((account, uuid7()))),
        "list_examples": lambda tx: series.list_examples(tx, [(business, each, 1) for each in logged]),
        "find_activity": lambda tx: activities.find_activity(tx, business, logged[0]),
        "note_seen": lambda tx: admissions.note_seen(tx, [(business, each) for each in logged]),
    }
    assert await read(database, tenant, both) == {}
    assert await read(database, None, both) == {}
    few = Filter(type_id=preset_id_of(business, "activity_object", "email"))
    assert await read(database, tenant, {"by type": lambda tx: plans.list_planned(tx, business, few, WHEN, page)}) == {}
    await count_rows(database)
    async with database.work() as tx:
        await tx.execute("delete from asked_value where business_id = $1 and record_id <> all ($2)", business, people)
        await tx.execute(
            "update asked_value set done_id = record_id, done_version = 1 where business_id = $1", business
        )
    assert await read(database, None, {"forget_done": lambda tx: living.forget_done(tx, [business])}) == {}
    async with database.work() as tx:
        assert await tx.value("select count(*) from asked_value where business_id = $1", business) == 0
    answered: Asks = {"finish_admissions": lambda tx: admissions.finish_admissions(tx, done)}
    assert await read(database, tenant, answered) == {}


async def fill_timeline(database: Database, tenant: Tenant) -> list[UUID]:
    business_id, people = tenant.business_id, [record(tenant) for _ in range(FEW)]
    people.append(record(tenant, merged_into=people[0].id))
    ids = [each.id for each in people]
    talks = [conversation(business_id, links=about(ids[0])) for _ in range(FEW)]
    made = [made_from(each, links=about(ids[0])) for each in talks[: FEW // 2]]
    states = [activity(business_id, links=about(each), privacy="team") for each in ids]
    soon = [planned(business_id, due_at=WHEN, links=about(ids[0]))]
    async with database.work() as tx:
        await timeline.know_records(tx, people)
        await timeline.show_conversations(tx, talks)
        await timeline.show_activities(tx, [event(each) for each in (*states, *made, *soon)])
    return ids


async def test_timelines_read_what_they_show(make_database: MakeDatabase) -> None:
    database = await make_database("timeline_projector")
    tenant, ids = await grown(database, fill_timeline)
    business, place = tenant.business_id, (tenant.business_id, "contact", ids[0])
    sights = {"whole": None, "narrow": Sight(tenant.user_id, (), "all", "my", (), guarded=True, private=True)}
    asks: Asks = {
        "list_lines": lambda tx: entries.list_lines(tx, place, None, None, 50),
        "list_upcoming": lambda tx: entries.list_upcoming(tx, place, None, 50),
        "count_lines": lambda tx: entries.count_lines(tx, business, "contact", ids),
        "find_versions": lambda tx: known.find_versions(tx, business, ids),
    }
    for name, sight in sights.items():
        past, upcoming = wide.Wanted(False, None, 50), wide.Wanted(True, None, 50, dated_first=True)
        asks |= {
            f"past, {name}": lambda tx, sight=sight, wanted=past: wide.list_lines(tx, place, sight, wanted),
            f"upcoming, {name}": lambda tx, sight=sight, wanted=upcoming: wide.list_lines(tx, place, sight, wanted),
            f"badges, {name}": lambda tx, sight=sight: wide.count_lines(tx, (business, "contact"), ids, sight),
        }  # type: ignore[dict-item]
    assert await read(database, tenant, asks) == {}


async def fill_reporting(database: Database, tenant: Tenant) -> list[UUID]:
    states = [activity(tenant.business_id) for _ in range(FEW)]
    async with database.work() as tx:
        await reporting.count_activities(tx, [event(each) for each in states])
        await reporting.count_conversations(tx, [conversation(tenant.business_id) for _ in range(FEW)])
    return [each.activity_id for each in states]


async def test_reporting_finds_versions_one_by_one(make_database: MakeDatabase) -> None:
    database = await make_database("reporting")
    tenant, ids = await grown(database, fill_reporting)
    asks: Asks = {"find_versions": lambda tx: volume.find_versions(tx, tenant.business_id, ids)}
    assert await read(database, tenant, asks) == {}


async def fill_ingest(database: Database, tenant: Tenant) -> list[UUID]:
    lines = [{"source": "phone", "source_ref": f"r{n}", "action": "log", "type": "call"} for n in range(FEW)]
    async with served("ingest", database) as http:
        made = [await http.post("/ingest/activities", json=each, headers=tenant.headers) for each in lines]
    return [UUID(each.json()["receipt_id"]) for each in made]


async def test_ingest_looks_up_the_reports_that_came_again(make_database: MakeDatabase) -> None:
    database = await make_database("ingest")
    tenant, ids = await grown(database, fill_ingest)
    arrival = Arrival(tenant.business_id, WHEN)
    asks: Asks = {"list_known": lambda tx: receipts.list_known(tx, arrival, ids)}
    assert await read(database, tenant, asks) == {}
