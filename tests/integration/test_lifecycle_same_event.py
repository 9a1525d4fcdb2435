"""Two reports of one event against a real database: linked, told of, undone, in any order and by any number at once."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import orjson
import pytest

from libs.access.copy import save_businesses
from libs.contracts.activity import Activity, Link
from libs.contracts.directory import Business, Record
from libs.contracts.ids import activity_id_of, receipt_id_of, uuid7
from libs.contracts.report import ReportReceived
from libs.database import Database
from services.lifecycle import erasing, handlers, rechecks, verify
from services.lifecycle.store import recognition as store
from services.reporting import handlers as reporting
from services.timeline_projector import handlers as timeline
from tests.integration.test_lifecycle_reports import admit, answers, decode, events, report
from tests.integration.test_lifecycle_routes import World, save_record
from tests.support.http import Tenant, served, settle
from tests.support.system import eventually

MakeDatabase = Callable[[str], Awaitable[Database]]
AT = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
ALL: dict[str, Any] = {}


@pytest.fixture
async def world(make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setenv("REFERENCE_WAIT_MAX_MS", "100")
    database = await make_database("lifecycle")
    tenant, contact = await settle(database), uuid7()
    await save_record(database, tenant, contact)
    await wish(database, tenant, ALL)
    async with served("lifecycle", database) as http:
        yield World(http, database, tenant, contact)


async def wish(database: Database, tenant: Tenant, wanted: dict[str, Any] | None) -> None:
    """Let the business want events recognised, or (None) not."""
    settings = {} if wanted is None else {"same_event": wanted}
    known = Business(
        id=tenant.business_id, version=int(datetime.now(UTC).timestamp() * 1e6), name="Test", zone="UTC",
        settings=settings, created_at=AT,
    )  # fmt: skip
    async with database.work() as tx:
        await save_businesses(tx, [known])


def call(world: World, source: str, ref: str = "a", **more: Any) -> ReportReceived:
    """A report of a call with the contact; `after_s` seconds after it began, by another source maybe."""
    after_s, action = more.pop("after_s", 0), more.pop("action", "log")
    given = {"type": "call", "links": [Link(object="contact", record_id=world.contact)]} if action == "log" else {}
    if action == "log":
        given["occurred_at"] = AT + timedelta(seconds=after_s)
    made = report(world.tenant.business_id, action, ref, **given | more)
    made.report.source = source
    made.receipt_id = receipt_id_of(made.business_id, source, made.report.source_ref)
    made.activity_id = activity_id_of(made.business_id, source, ref)
    return decode(msgspec.json.encode(made))


async def current(world: World) -> dict[UUID, Activity]:
    """The newest state of each activity, by its events."""
    return {event.activity.activity_id: event.activity for _, event in await events(world.database)}


async def receipts(world: World) -> dict[UUID, tuple[str, int | None, list[str]]]:
    """What each activity's newest answer says."""
    return {
        each.activity_id: (each.outcome, each.version, [reason.code for reason in each.reasons])
        for each in await answers(world.database)
    }


def linked(found: dict[UUID, Activity]) -> set[frozenset[UUID]]:
    return {frozenset([key, *(each.activity_id for each in one.same)]) for key, one in found.items()}


async def test_the_second_report_of_a_call_is_linked_to_the_first_and_both_say_so(world: World) -> None:
    phone, crm = call(world, "phone"), call(world, "crm", after_s=60, direction="outbound")
    await admit(world.database, phone)
    await admit(world.database, crm)
    found = await current(world)
    one, other = found[phone.activity_id], found[crm.activity_id]
    assert (other.version, other.same_as, one.version, one.same_as) == (1, phone.activity_id, 2, None)
    (said,) = one.same
    assert (said.activity_id, said.source, said.agreed, said.gap_s) == (
        crm.activity_id, "crm", ["records", "type", "time"], 60,
    )  # fmt: skip
    assert said.differs == ["occurred_at", "direction"]
    assert await receipts(world) == {
        phone.activity_id: ("applied", 1, ["same_event"]), crm.activity_id: ("applied", 1, ["same_event"]),
    }  # fmt: skip
    history = (await world.call("GET", f"/logged/{phone.activity_id}/history")).json()["results"]
    assert history[-1]["why"] == f"tells of the same event as {crm.activity_id}"
    assert history[-1]["changes"]["same"]["after"][0]["source"] == "crm"
    assert [each async for each in verify.verify(world.database, world.tenant.business_id)] == []
    shown = (await world.call("GET", f"/logged/{phone.activity_id}")).json()
    assert shown["same_as"] is None
    assert shown["same"][0]["differences"][1] == {"field": "direction", "here": None, "there": "outbound"}


async def test_every_order_and_every_batch_ends_the_same(world: World) -> None:
    ends = []
    for number, order in enumerate(itertools.permutations(("phone", "crm", "mail"))):
        reports = [call(world, name, f"n{number}", after_s=number * 4_000 + len(name)) for name in order]
        if number % 2:
            await admit(world.database, *reports)
        else:
            for each in reports:
                await admit(world.database, each)
        found = await current(world)
        ids = {each.report.source: each.activity_id for each in reports}
        names = {key: name for name, key in ids.items()}
        ends.append({name: names.get(found[ids[name]].same_as or uuid7()) for name in sorted(ids)})
    assert ends == [{"crm": None, "mail": "crm", "phone": "crm"}] * 6


async def test_reports_that_come_at_once_are_recognised_too(world: World) -> None:
    reports = [call(world, source, f"r{n}", after_s=n * 1_000) for n in range(6) for source in ("phone", "crm", "mail")]
    await asyncio.gather(*(admit(world.database, each) for each in reports))
    for _ in range(5):
        await rechecks.look_again(world.database)
    found = await current(world)
    assert sorted(map(len, linked(found))) == [3] * 6
    assert sum(each.same_as is None for each in found.values()) == 6
    assert [each async for each in verify.verify(world.database, world.tenant.business_id)] == []


async def test_of_two_that_come_at_once_the_second_waits_for_the_first(world: World) -> None:
    await admit(world.database, call(world, "mail", after_s=90_000))  # nobody has to wait for the types any more
    async with world.database.work() as tx:
        await handlers.admit_activities(tx, [call(world, "phone")])
        second = asyncio.create_task(admit(world.database, call(world, "crm")))

        async def waits() -> bool:
            async with world.database.work() as looking:
                asked = "select exists (select from pg_locks where locktype = 'advisory' and not granted)"
                return bool(await looking.value(asked))

        await eventually(waits, 60, "the second report waits for the slot of its contact")
    await second
    assert sorted(map(len, linked(await current(world)))) == [1, 2]


async def test_where_another_one_has_the_first_report_in_hand_it_is_looked_at_again(world: World) -> None:
    phone, crm = call(world, "phone"), call(world, "crm")
    await admit(world.database, phone)
    async with world.database.work() as tx:
        await store.lock_free(tx, world.tenant.business_id, [phone.activity_id])
        await admit(world.database, crm)
        await rechecks.look_again(world.database)
        assert len(linked(await current(world))) == 2
    await rechecks.look_again(world.database)
    assert len(linked(await current(world))) == 1
    assert (await receipts(world))[crm.activity_id] == ("applied", 1, ["same_event"])


async def test_nothing_is_recognised_where_nobody_wants_it_and_what_is_linked_stays(world: World) -> None:
    await admit(world.database, call(world, "phone"), call(world, "crm"))
    await wish(world.database, world.tenant, None)
    await admit(world.database, call(world, "mail"))
    await admit(world.database, call(world, "crm", action="append", kind="note", text="more"))
    found = await current(world)
    assert sorted(map(len, linked(found))) == [1, 2]
    async with world.database.work() as tx:
        assert await tx.value("select count(*) from recognisable") == 2
    await admit(world.database, call(world, "phone", action="append", kind="retraction"))
    assert all(each.same == [] for each in (await current(world)).values()), "what is retracted stands for nothing"


async def test_it_is_taken_back_by_hand_and_not_recognised_again(world: World) -> None:
    phone, crm = call(world, "phone"), call(world, "crm")
    await admit(world.database, phone, crm)
    path = f"/logged/{crm.activity_id}/same-event"
    first, again = [await world.call("DELETE", path) for _ in range(2)]
    assert (first.status_code, first.json()["same"], again.json()) == (200, [], first.json())
    found = await current(world)
    assert {one.same_as for one in found.values()} == {None}
    assert {codes[2] == [] for codes in (await receipts(world)).values()} == {True}
    history = (await world.call("GET", f"/logged/{phone.activity_id}/history")).json()["results"]
    assert (history[-1]["why"], history[-1]["by"]["name"]) == ("somebody said that it is not the same event", "Ada")
    await admit(world.database, call(world, "mail"))
    assert frozenset([phone.activity_id, crm.activity_id]) not in {
        group & {phone.activity_id, crm.activity_id} for group in linked(await current(world))
    }


async def test_two_are_linked_by_hand_that_were_not_recognised(world: World) -> None:
    phone, crm = call(world, "phone"), call(world, "crm", after_s=50_000, type="meeting", links=[])
    await admit(world.database, phone, crm)
    path = f"/logged/{crm.activity_id}/same-event/{phone.activity_id}"
    first, again = [await world.call("PUT", path) for _ in range(2)]
    assert first.status_code == 200, first.text
    assert (again.json(), first.json()["same_as"]) == (first.json(), str(phone.activity_id))
    (said,) = first.json()["same"]
    assert (said["linked_by"], said["agreed"]) == (str(world.tenant.user_id), [])
    stale = await world.call("DELETE", path.rpartition("/")[0], if_match='"1"')
    assert stale.status_code == 412
    itself = await world.call("PUT", f"/logged/{crm.activity_id}/same-event/{crm.activity_id}")
    assert (itself.status_code, itself.json()["code"]) == (409, "same_activity")
    assert (await world.call("PUT", f"/logged/{crm.activity_id}/same-event/{uuid7()}")).status_code == 404
    assert (await world.call("DELETE", path.rpartition("/")[0])).status_code == 200
    assert (await world.call("PUT", path)).json()["same_as"] == str(phone.activity_id)


async def test_what_people_log_is_recognised_and_an_undo_lets_the_other_one_stand(world: World) -> None:
    phone = call(world, "phone")
    await admit(world.database, phone)
    entity = {"custom_object": "contact", "entity_id": str(world.contact)}
    made = await world.log(related_objects=[entity], occurred_at="2026-05-04T09:31:00Z")
    assert made.json()["same_as"] == str(phone.activity_id)
    listed = await world.call("POST", "/call/responses", {})
    assert [each["id"] for each in listed.json()["results"]] == [str(phone.activity_id)]
    assert (await world.call("GET", "/call")).json()["n_submissions"] == 1
    undone = await world.call("POST", f"/logged/{phone.activity_id}/undo", {"reopen": False})
    assert undone.status_code == 201, undone.text
    found = await current(world)
    assert found[UUID(made.json()["id"])].same_as is None
    assert all(each.same == [] for each in found.values())
    assert (await receipts(world))[phone.activity_id] == ("applied", 1, [])
    assert (await world.call("GET", "/call")).json()["n_submissions"] == 2


async def test_a_planned_activity_that_is_completed_is_recognised(world: World) -> None:
    entity = {"custom_object": "contact", "entity_id": str(world.contact)}
    plan = await world.schedule(associated_entities=[entity])
    await admit(world.database, call(world, "phone"))
    body = {"related_objects": [], "scheduled_activity_id": plan["id"], "occurred_at": "2026-05-04T09:30:00Z"}
    done = await world.call("POST", "/call/log-activity", body)
    assert done.status_code == 201, done.text
    assert done.json()["same_as"] is None, "what was planned stands before what was not"
    assert [each["source"] for each in done.json()["same"]] == ["phone"]


async def test_records_that_were_merged_are_the_same_record(world: World) -> None:
    other = uuid7()
    merged = Record(
        business_id=world.tenant.business_id, id=other, version=2, object="contact", name="Grace", created_at=AT,
        updated_at=AT, merged_into=world.contact,
    )  # fmt: skip
    async with world.database.work() as tx:
        await handlers.copy_records(tx, [merged])
    await admit(world.database, call(world, "phone"))
    await admit(world.database, call(world, "crm", links=[Link(object="contact", record_id=other)]))
    assert len(linked(await current(world))) == 1


async def test_one_conversation_is_one_event_where_the_setting_says_so(world: World) -> None:
    await wish(world.database, world.tenant, {"agree": ["conversation"], "conversation_key": "call_sid"})
    said = {"metadata": {"call_sid": "CA1"}, "links": []}
    await admit(world.database, call(world, "phone", **said))
    await admit(world.database, call(world, "crm", after_s=20_000, type="meeting", **said))
    await admit(world.database, call(world, "mail"), call(world, "pbx", **said | {"metadata": {"call_sid": "CA2"}}))
    assert sorted(map(len, linked(await current(world)))) == [1, 1, 2]


async def test_three_linked_by_hand_are_one_event_and_whoever_is_taken_out_leaves_it(world: World) -> None:
    reports = [call(world, source, after_s=n * 9_000) for n, source in enumerate(("phone", "crm", "mail"))]
    await admit(world.database, *reports)
    one, two, three = (each.activity_id for each in reports)
    for path in (f"{one}/same-event/{two}", f"{three}/same-event/{two}"):
        assert (await world.call("PUT", f"/logged/{path}")).status_code == 200
    assert linked(await current(world)) == {frozenset([one, two, three])}
    await world.call("DELETE", f"/logged/{two}/same-event")
    assert linked(await current(world)) == {frozenset([one]), frozenset([two]), frozenset([three])}
    again = await asyncio.gather(*(world.call("PUT", f"/logged/{two}/same-event/{each}") for each in (one, three)))
    assert {each.status_code for each in again} <= {200, 503}


async def test_an_erasure_leaves_links_and_no_text(world: World) -> None:
    phone, crm = call(world, "phone", summary="canary"), call(world, "crm", summary="canary two")
    await wish(world.database, world.tenant, {"sources": ["phone", "crm"]})
    await admit(world.database, phone, crm)
    await wish(world.database, world.tenant, {"sources": ["mail", "crm", "phone"]})
    await erase(world)
    found = await current(world)
    assert all(each.erased_at is not None for each in found.values())
    assert len(linked(found)) == 1
    await admit(world.database, call(world, "mail", received_at=datetime.now(UTC) + timedelta(minutes=1)))
    assert sorted(map(len, linked(await current(world)))) == [1, 2]
    async with world.database.work() as tx:
        for table in ("recognisable", "same_verdict", "recheck", "admission", "activity"):
            rows = await tx.fetch(f"select to_jsonb(t) from {table} t")
            assert b"canary" not in b"".join(bytes(row[0]) for row in rows)
    assert [each async for each in verify.verify(world.database, world.tenant.business_id)] == []


async def erase(world: World) -> None:
    erased = Record(
        business_id=world.tenant.business_id, id=world.contact, version=3, object="contact", name="", created_at=AT,
        updated_at=AT, erased_at=datetime.now(UTC),
    )  # fmt: skip
    async with world.database.work() as tx:
        await handlers.copy_records(tx, [erased])
    await erasing.go_on(world.database)


async def test_timelines_show_it_once_with_its_sources_and_reports_count_one(
    world: World, make_database: MakeDatabase
) -> None:
    account = uuid7()
    links = [Link(object="contact", record_id=world.contact), Link(object="account", record_id=account)]
    phone, crm = call(world, "phone", summary="by phone"), call(world, "crm", after_s=30, links=links)
    await admit(world.database, phone)
    await admit(world.database, crm)
    places = {
        "timeline_projector": await make_database("timeline_projector"),
        "reporting": await make_database("reporting"),
    }

    async def follow() -> dict[str, Any]:
        told = [event for _, event in await events(world.database)]
        async with places["timeline_projector"].work() as tx:
            await timeline.show_activities(tx, told[::-1])
            entries = await tx.fetch(
                "select object, activity_id, same from entry join activity_head using (business_id, activity_id)"
            )
        async with places["reporting"].work() as tx:
            await reporting.count_activities(tx, told)
            total = await tx.value("select coalesce(sum(count), 0)::int from rollup")
        return {"lines": {(row[0], row[1]): orjson.loads(row[2] or "[]") for row in entries}, "total": total}

    shown = await follow()
    assert set(shown["lines"]) == {("contact", phone.activity_id), ("account", phone.activity_id)}
    assert shown["lines"]["contact", phone.activity_id][0]["source"] == "crm"
    assert shown["total"] == 1
    await world.call("DELETE", f"/logged/{phone.activity_id}/same-event")
    shown = await follow()
    assert set(shown["lines"]) == {
        ("contact", phone.activity_id), ("contact", crm.activity_id), ("account", crm.activity_id),
    }  # fmt: skip
    assert shown["total"] == 2


async def test_what_was_logged_before_is_searched_when_somebody_asks(world: World) -> None:
    await wish(world.database, world.tenant, None)
    await admit(world.database, call(world, "phone"))
    await admit(world.database, call(world, "crm", after_s=60))
    span = {"logged_from": "2026-01-01T00:00:00Z", "logged_before": "2100-01-01T00:00:00Z"}
    path = "/logged/same-event/search"
    early = await world.call("POST", path, span)
    assert (early.status_code, early.json()["code"]) == (409, "not_set")
    await wish(world.database, world.tenant, ALL)
    nothing = await world.call("POST", path, span | {"logged_before": "2026-01-02T00:00:00Z"})
    assert nothing.json() == {"activities": 0, "left": 0}
    asked = await world.call("POST", path, span)
    assert (asked.status_code, asked.json()) == (202, {"activities": 2, "left": 2})
    assert len(linked(await current(world))) == 2, "not yet"
    await rechecks.look_again(world.database)
    assert (await world.call("GET", path)).json() == {"left": 0}
    found = await current(world)
    assert len(linked(found)) == 1
    assert sum(each.same_as is None for each in found.values()) == 1
    backwards = await world.call("POST", path, dict.fromkeys(span, span["logged_from"]))
    assert backwards.status_code == 400
