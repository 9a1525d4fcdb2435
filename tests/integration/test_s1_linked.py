"""Linked fields show what their records say now: planned activities at once, logged ones as it was then."""

from datetime import UTC, datetime
from typing import Any

import pytest

from libs.contracts.activity import Link
from libs.contracts.directory import Record
from libs.contracts.ids import activity_id_of, uuid7
from libs.contracts.record import RecordChanged, RecordRequested
from services.lifecycle import handlers
from tests.integration.test_lifecycle_reports import admit, answers, report
from tests.integration.test_lifecycle_routes import World, world
from tests.integration.test_s1_fields import about, add, refusal, requests, value, values
from tests.support.accounts import Accounts, save_person

__all__ = ("world",)

WHEN = datetime(2026, 5, 4, tzinfo=UTC)


async def record_says(world: World, version: int, erased: bool = False, **fields: Any) -> None:
    """Let the record be heard of as it is at a version."""
    given = {key: fields.pop(key) for key in ("status", "owner_id", "visible_role_ids", "merged_into") if key in fields}
    record = Record(
        business_id=world.tenant.business_id, id=given.pop("id", world.contact), version=version, object="contact",
        name="Grace", fields=fields, created_at=WHEN, updated_at=WHEN, erased_at=WHEN if erased else None, **given,
    )  # fmt: skip
    async with world.database.work() as tx:
        await handlers.copy_records(tx, [record])


async def done(world: World, asked: RecordRequested, version: int) -> None:
    """Let it be heard that the record did what it was asked for, by a version."""
    changed = RecordChanged(
        business_id=asked.business_id, object=asked.object, record_id=asked.record_id, version=version, changed_at=WHEN,
        request_id=asked.request_id, activity_id=asked.activity_id,
    )  # fmt: skip
    async with world.database.work() as tx:
        await handlers.follow_changes(tx, [changed])


async def shown(world: World, identity: str) -> dict[str, Any]:
    return values(await world.call("GET", f"/scheduled-activity/{identity}"))


@pytest.fixture
async def linked(world: World) -> World:
    await add(world, "activity_custom_field", "contact_budget")
    return world


async def plan(world: World, *given: dict[str, Any]) -> str:
    return str((await world.schedule(associated_entities=about(world), fields=list(given)))["id"])


async def asked_rows(world: World) -> int:
    async with world.database.work() as tx:
        return int(await tx.value("select count(*) from asked_value"))


async def test_a_planned_activity_shows_what_its_record_says_now_in_every_answer(linked: World) -> None:
    mine, other = await plan(linked, value("contact_budget", 10)), await plan(linked)
    assert await shown(linked, other) == {"contact_budget": "10.00"}, "asked by another activity, not yet done"
    [asked] = await requests(linked)
    await done(linked, asked, 2)
    assert await shown(linked, mine) == {"contact_budget": "10.00"}, "the copy of the record is behind"
    await record_says(linked, 2, budget="10.00")
    assert (await asked_rows(linked), await shown(linked, mine)) == (0, {"contact_budget": "10.00"})
    await record_says(linked, 3, budget=99.5, other="x")
    for answer in (
        await linked.call("GET", f"/scheduled-activity/{mine}"),
        await linked.call("PATCH", f"/scheduled-activity/{mine}", {"note": "n"}),
        await linked.call("PUT", f"/scheduled-activity/{other}", {"associated_entities": about(linked)}),
    ):
        assert values(answer) == {"contact_budget": "99.50"}
    for method, path in (("GET", ""), ("POST", "/search")):
        listed = (await linked.call(method, f"/scheduled-activity{path}", {} if path else None)).json()["results"]
        assert [each["fields"][0]["value"] for each in listed] == ["99.50", "99.50"]
    assert len(await requests(linked)) == 1, "showing and leaving it asks for nothing"
    await record_says(linked, 4, budget="much")
    assert await shown(linked, mine) == {}, "what the field does not take stays on the record"


async def test_what_was_written_is_shown_at_once_and_a_refusal_shows_the_record_again(linked: World) -> None:
    await record_says(linked, 2, budget="5.00")
    identity = await plan(linked, value("contact_budget", 6))
    path = f"/scheduled-activity/{identity}"
    await record_says(linked, 3, budget="7.00")
    assert await shown(linked, identity) == {"contact_budget": "6.00"}, "asked for and not answered"
    taken = await linked.call("PATCH", path, {"fields": [value("contact_budget", None)]})
    assert values(taken) == {}
    assert values(await linked.call("PATCH", path, {"fields": [value("contact_budget", 6)]})) == {
        "contact_budget": "6.00"
    }
    async with linked.database.work() as tx:
        await handlers.note_refusals(tx, [refusal(each) for each in await requests(linked)])
    assert (await asked_rows(linked), await shown(linked, identity)) == (0, {"contact_budget": "7.00"})
    history = (await linked.call("GET", f"{path}/history")).json()["results"]
    assert history[-1]["why"] == "the contact did not take budget: it was erased"


async def test_a_value_that_the_record_lost_elsewhere_can_be_asked_for_again(linked: World) -> None:
    identity = await plan(linked, value("contact_budget", 6))
    path = f"/scheduled-activity/{identity}"
    await done(linked, (await requests(linked))[0], 2)
    await record_says(linked, 3, budget="7.00")
    for etag in ('"2"', '"2"'):
        again = await linked.call("PATCH", path, {"fields": [value("contact_budget", 6)]})
        assert (values(again), again.headers["etag"]) == ({"contact_budget": "6.00"}, etag), (
            "the second changes nothing"
        )
    assert [each.fields for each in await requests(linked)] == [{"budget": "6.00"}] * 2


async def test_what_is_logged_keeps_what_the_record_said_then(linked: World) -> None:
    await add(linked, "activity_custom_field", "needed", is_required=True)
    await add(linked, "text", "own")
    planned = await plan(linked, value("contact_budget", 1), value("own", "x"))
    await done(linked, (await requests(linked))[0], 2)
    await record_says(linked, 2, budget="5.00")
    said = {"contact_budget": "5.00", "needed": "5.00"}
    finished = await linked.log(scheduled_activity_id=planned)
    assert values(finished) == said | {"own": "x"}
    direct = await linked.log(related_objects=about(linked))
    assert values(direct) == said, "what is required is on the record"
    await record_says(linked, 3, budget="7.00")
    for answer in (finished, direct):
        assert values(await linked.call("GET", f"/logged/{answer.json()['id']}")) == values(answer)
    assert await shown(linked, planned) == said | {"own": "x"}
    undone = await linked.call("POST", f"/logged/{planned}/undo", {})
    assert {each["name"]: each["value"] for each in undone.json()["scheduled"]["fields"]} == {
        "contact_budget": "7.00", "needed": "7.00", "own": "x",
    }  # fmt: skip
    assert len(await requests(linked)) == 1, "what was read is not written back"


async def test_what_a_report_completes_keeps_what_the_record_said_then(linked: World) -> None:
    business_id, links = linked.tenant.business_id, [Link(object="contact", record_id=linked.contact)]
    identity = str(activity_id_of(business_id, "crm", "r"))
    await admit(linked.database, report(business_id, "schedule", "r", type="call", links=links))
    for version, said in ((2, "5.00"), (3, "7.00")):
        await record_says(linked, version, budget=said)
        assert await shown(linked, identity) == {"contact_budget": "5.00"}
        await admit(linked.database, report(business_id, "complete", "r"))
    assert values(await linked.call("GET", f"/logged/{identity}")) == {"contact_budget": "5.00"}
    assert await requests(linked) == []


async def test_a_form_is_evaluated_with_what_its_record_says(linked: World) -> None:
    await add(linked, "activity_custom_field", "needed", is_required=True)
    await record_says(linked, 2, budget="5.00")
    body: dict[str, Any] = {"fields": []}
    alone = (await linked.call("POST", "/call/evaluate", body)).json()
    assert [each["field"] for each in alone["problems"]] == ["fields.needed"]
    with_record = await linked.call("POST", "/call/evaluate", body | {"related_objects": about(linked)})
    assert with_record.json()["problems"] == []


async def test_operations_of_one_bulk_see_what_those_before_asked_for(linked: World) -> None:
    await record_says(linked, 2, budget="5.00")
    identity = await plan(linked)
    change = {"fields": [value("contact_budget", 8)]}
    done_together = await linked.call(
        "POST", "/bulk",
        {"operations": [
            {"action": "change", "id": identity, "body": change},
            {"action": "log", "object": "call", "body": {"related_objects": about(linked)}},
        ]},
    )  # fmt: skip
    logged = done_together.json()["results"][1]["id"]
    assert values(await linked.call("GET", f"/logged/{logged}")) == {"contact_budget": "8.00"}


async def test_a_record_not_heard_of_since_leaves_what_the_activity_says_until_it_is_sent_again(linked: World) -> None:
    await record_says(linked, 2, budget="5.00")
    async with linked.database.work() as tx:
        await tx.execute("update record set fields = null")
    identity = await plan(linked, value("contact_budget", 1))
    async with linked.database.work() as tx:
        await tx.execute("delete from asked_value")
    assert await shown(linked, identity) == {"contact_budget": "1.00"}
    await record_says(linked, 2, budget="5.00")
    assert await shown(linked, identity) == {"contact_budget": "5.00"}


async def test_an_erasure_takes_what_was_copied_and_asked_for(linked: World) -> None:
    await record_says(linked, 2, budget="5.00")
    await plan(linked, value("contact_budget", 6))
    await record_says(linked, 3, erased=True)
    async with linked.database.work() as tx:
        assert await tx.value("select fields from record where id = $1", linked.contact) == b"{}"
    assert await asked_rows(linked) == 0


async def test_a_member_is_not_shown_what_a_record_for_others_says(linked: World) -> None:
    bob = await save_person(linked.database, linked.tenant.business_id, "Bob", role_ids=[uuid7()])
    await record_says(linked, 2, budget="5.00", visible_role_ids=[uuid7()])
    identity = str(activity_id_of(linked.tenant.business_id, "crm", "b"))
    links = [Link(object="contact", record_id=linked.contact)]
    given = {"type": "call", "assignee": str(bob.id), "links": links}
    await admit(linked.database, report(linked.tenant.business_id, "schedule", "b", **given))
    path = f"/scheduled-activity/{identity}"
    assert values(await linked.call("GET", path, X_USER_ID=str(bob.id))) == {}


async def test_owner_and_status_are_shown_as_the_field_has_them(linked: World) -> None:
    for name, kind in (("status", "text"), ("owner_id", "team_selector")):
        place = {"custom_object": "contact", "name": name}
        await add(linked, "activity_custom_field", f"f_{name}", custom_object_field=place, custom_field_type=kind)
    ada = linked.tenant.user_id
    await record_says(linked, 2, status="Active", owner_id=ada)
    assert await shown(linked, await plan(linked)) == {
        "f_status": "Active", "f_owner_id": {"id": str(ada), "name": "Ada"},
    }  # fmt: skip


async def test_s2_shows_it_too_and_what_it_read_can_be_sent_back(linked: World) -> None:
    ada = await save_person(linked.database, linked.tenant.business_id, "Ada", member_id=linked.tenant.user_id)
    account = uuid7()
    async with linked.database.work() as tx:
        record = Record(
            business_id=linked.tenant.business_id, id=account, version=1, object="account", name="Acme",
            fields={"size": "12"}, created_at=WHEN, updated_at=WHEN,
        )  # fmt: skip
        await handlers.copy_records(tx, [record])
    place = {"custom_object": "account", "name": "size"}
    await add(linked, "activity_custom_field", "size", custom_object_field=place, custom_field_type="text")
    s2 = Accounts(linked.http, linked.database, linked.tenant, account, ada)
    made = await s2.create(metadata={"ours": 1})
    assert made["metadata"] == {"ours": 1, "size": "12"}
    assert (await s2.get(made)).json()["data"]["metadata"] == made["metadata"]
    for metadata in (made["metadata"], {"ours": 2}):
        back = (await s2.call("PUT", f"/{made['id']}", {"metadata": metadata})).json()["data"]
        assert back["metadata"] == metadata | {"size": "12"}
    assert await requests(linked) == []
    written = (await s2.call("PUT", f"/{made['id']}", {"metadata": {"size": "13"}})).json()["data"]
    assert written["metadata"] == {"size": "13"}
    assert [each.fields for each in await requests(linked)] == [{"size": "13"}]
    listed = (await s2.call("GET", "", params={"accountId": str(account)})).json()["data"]
    assert listed[0]["metadata"] == {"size": "13"}


async def test_a_report_need_not_say_what_its_record_holds(linked: World) -> None:
    await add(linked, "activity_custom_field", "needed", is_required=True)
    business_id, links = linked.tenant.business_id, [Link(object="contact", record_id=linked.contact)]
    early = report(business_id, "log", "early", type="call", links=links)
    await admit(linked.database, early)
    await record_says(linked, 2, budget="5.00")
    await admit(linked.database, report(business_id, "log", "bare", type="call"))
    await admit(linked.database, report(business_id, "log", "own", type="call", links=links))
    for ref in ("planned", "late"):
        parts = [
            report(business_id, "schedule", ref, type="call", links=links),
            report(business_id, "complete", ref, type="call"),
        ]
        for part in parts if ref == "planned" else reversed(parts):
            await admit(linked.database, part)
    said = [(each.outcome, [reason.field for reason in each.reasons]) for each in await answers(linked.database)]
    assert said == [
        ("refused", ["fields.needed"]), ("refused", ["fields.needed"]), ("applied", []), ("applied", []),
        ("applied", []), ("waiting", ["fields.needed"]), ("applied", []), ("applied", []),
    ]  # fmt: skip
    for ref in ("planned", "late"):
        shown = await linked.call("GET", f"/logged/{activity_id_of(business_id, 'crm', ref)}")
        assert (shown.json()["state"], values(shown)) == ("completed", {"contact_budget": "5.00", "needed": "5.00"})
    assert await requests(linked) == []


async def test_a_report_sees_what_one_before_it_in_the_same_batch_asked_for(linked: World) -> None:
    await add(linked, "activity_custom_field", "needed", is_required=True)
    business_id, links = linked.tenant.business_id, [Link(object="contact", record_id=linked.contact)]
    plan = report(business_id, "schedule", "a", type="call", links=links, fields={"needed": 8})
    await admit(linked.database, plan, report(business_id, "complete", "a"))
    assert [each.outcome for each in await answers(linked.database)] == ["applied", "applied"]
