"""S1: lines that no other file names: shapes of answers, bounds, who may, what is refused, what is gone."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from libs.access.copy import save_members, save_roles
from libs.access.levels import ADMIN_OBJECTS, EVERYTHING, PERMISSIONS
from libs.contracts.activity import Link
from libs.contracts.directory import Member, Role
from libs.contracts.ids import uuid7
from libs.database import Database
from services.lifecycle import waits as waiting_reports
from tests.integration.test_lifecycle_reports import admit, answers, events, report
from tests.integration.test_lifecycle_routes import World, save_record
from tests.integration.test_s1_fields import add, value
from tests.integration.test_s1_objects import codes, make
from tests.support.accounts import PATH, save_person
from tests.support.accounts import save_record as copy_record
from tests.support.databases import fresh_database
from tests.support.http import served, settle

PLANS = "/scheduled-activity"
Running = tuple[httpx.AsyncClient, Database]


@pytest.fixture(scope="module")
async def running() -> AsyncIterator[Running]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REFERENCE_WAIT_MAX_MS", "100")
        async with fresh_database("lifecycle") as database, served("lifecycle", database) as http:
            yield http, database


@pytest.fixture
async def world(running: Running) -> World:
    http, database = running
    tenant, contact = await settle(database), uuid7()
    await save_record(database, tenant, contact)
    return World(http, database, tenant, contact)


async def member(world: World, *, version: int = 1, identity: UUID | None = None, **given: Any) -> str:
    """Let a member be known; `allowed`: the member's one role allows that and nothing else."""
    member_id, business_id, when = identity or uuid7(), world.tenant.business_id, datetime.now(UTC)
    allowed: dict[str, str] | None = given.pop("allowed", None)
    role = Role(
        business_id=business_id, id=uuid7(), version=1, name="r", created_at=when, member_ids=[member_id],
        permissions=dict.fromkeys(PERMISSIONS, "none") | (allowed or {}),
    )  # fmt: skip
    roles = [role] if allowed is not None else []
    known = Member(
        business_id=business_id, id=member_id, version=version, email=f"{member_id}@x.example", created_at=when,
        role_ids=[each.id for each in roles], **{"name": "Bo"} | given,
    )  # fmt: skip
    async with world.database.work() as tx:
        await save_roles(tx, roles) if roles else None
        await save_members(tx, [known])
    return str(member_id)


async def crew(world: World, version: int = 1, identity: UUID | None = None, **given: Any) -> UUID:
    role = Role(
        business_id=world.tenant.business_id, id=identity or uuid7(), version=version, name="crew",
        created_at=datetime.now(UTC), **given,
    )  # fmt: skip
    async with world.database.work() as tx:
        await save_roles(tx, [role])
    return role.id


@pytest.mark.parametrize(("api_name", "status"), [("x", 400), ("xy", 201), ("x" * 255, 201), ("x" * 256, 400)])
async def test_an_api_name_has_2_to_255_characters(world: World, api_name: str, status: int) -> None:
    assert (await world.call("POST", "", {"name": "n", "api_name": api_name})).status_code == status


async def test_a_submission_redirects_triggers_a_webhook_or_does_nothing(world: World) -> None:
    for action, needed in (("redirect", "redirect_url"), ("trigger_webhook", "webhook_url")):
        body = {"name": "Form", "submission_action": action}
        assert codes(await world.call("POST", "", body)) == {(needed, "required")}
        assert (await make(world, **body | {needed: "https://x.example/there"}))["submission_action"] == action
    for nothing in ("none", None):
        assert (await make(world, submission_action=nothing))["submission_action"] is None
    assert (await world.call("POST", "", {"name": "Form", "submission_action": "dance"})).status_code == 400


async def test_rules_are_written_with_the_object_as_well(world: World) -> None:
    await make(world)
    for name in ("a", "b"):
        await add(world, "integer", name, on="inspection")
    rule = {
        "match": "any",
        "conditions": [{"field_id": "a", "operator": "equals", "value": 1}],
        "target_field_ids": ["b"],
    }
    changed = await world.call("PATCH", "/inspection", {"visibility_rules": [rule]})
    assert (
        changed.json()["rules"]
        == changed.json()["visibility_rules"]
        == (await world.call("GET", "/inspection/rules")).json()
    )
    assert codes(await world.log("inspection", fields=[value("b", 1)])) == {("fields.b", "hidden")}
    wrong = await world.call("PATCH", "/inspection", {"visibility_rules": [rule | {"target_field_ids": ["a"]}]})
    assert {code for _, code in codes(wrong)} == {"cycle"}


async def test_loggable_are_those_that_the_caller_may_log(world: World) -> None:
    stranger, able = await member(world, allowed={}), await member(world, allowed={"logged.log": "my"})
    await make(world, loggable_sharing_settings={"shared_with": "selected", "member_ids": [str(world.tenant.user_id)]})
    found = [
        [each["api_name"] for each in (await world.call("GET", "/loggable", X_USER_ID=user)).json()["results"]]
        for user in (str(world.tenant.user_id), able, stranger)
    ]
    assert (len(found[0]), len(found[1]), found[2]) == (14, 13, [])
    assert set(found[0]) - set(found[1]) == {"inspection"}


async def test_objects_fields_options_and_rules_are_changed_by_administrators_alone(world: World) -> None:
    field = await add(world, "dropdown", "outcome")
    ordinary = await member(world, allowed=EVERYTHING | {ADMIN_OBJECTS: "none"})
    admin = await member(world, allowed={ADMIN_OBJECTS: "all"})
    path = f"/call/fields/{field['id']}"
    for method, where, body in (
        ("POST", "", {"name": "X"}), ("PUT", "/call", {"name": "X"}), ("PATCH", "/call", {"name": "X"}),
        ("POST", "/call/duplicate", {}), ("PUT", "/call/rules", []), ("POST", f"{path}/options", {"name": "x"}),
        ("POST", "/call/fields", {"display_name": "Y", "field_type": "text"}),
        ("PATCH", path, {"is_required": True}), ("PUT", path, {"display_name": "Z", "field_type": "dropdown"}),
        ("POST", f"{path}/options/red/replace", {"option_id": "blue"}), ("DELETE", f"{path}/options/x", None),
        ("DELETE", path, None), ("DELETE", "/call", None),
    ):  # fmt: skip
        refused = await world.call(method, where, body, X_USER_ID=ordinary)
        assert (refused.status_code, refused.json()["code"]) == (403, "not_permitted"), (method, where, refused.text)
        allowed = await world.call(method, where, body, X_USER_ID=admin)
        assert allowed.is_success or allowed.status_code in (400, 404), (method, where, allowed.text)
    for where in ("", "/call", "/call/fields", "/call/rules"):
        assert (await world.call("GET", where, X_USER_ID=ordinary)).status_code == 200


async def test_keys_come_in_either_header_paths_have_no_slash_at_the_end_and_pages_their_envelope(world: World) -> None:
    headers = {name: text for name, text in world.tenant.headers.items() if name != "X-API-KEY"}
    key = world.tenant.key.text
    for more, status in (
        ({"Authorization": f"Bearer {key}"}, 200), ({"X-API-KEY": key}, 200), ({}, 401),
        ({"X-API-KEY": key, "Authorization": f"Bearer {key}"}, 400),
    ):  # fmt: skip
        assert (await world.http.get("/api/activities", headers=headers | more)).status_code == status
    for path in ("/", "/call/", f"{PLANS}/", "/call/fields/"):
        missing = await world.call("GET", path)
        assert (missing.status_code, missing.json()["code"] != "") == (404, True)
    for path in ("", PLANS, "/loggable"):
        page = (await world.call("GET", path)).json()
        assert page.keys() >= {"count", "next", "previous", "results", "errors"}
    for number in range(90):
        await make(world, name=f"Type {number}")
    first = (await world.call("GET", "")).json()
    assert (first["count"], len(first["results"]), first["previous"]) == (103, 100, None)
    assert len((await world.call("GET", first["next"].removeprefix("/api/activities"))).json()["results"]) == 3


async def test_a_scheduled_answer_has_all_that_was_said_and_all_that_s1_adds(world: World) -> None:
    said: dict[str, Any] = {
        "due_datetime": "2030-06-01T10:00:00Z", "original_due_datetime": "2030-05-01T10:00:00Z", "note": "n",
        "mentions": [str(world.tenant.user_id)], "notify_mentioned": True,
        "notifications": [{"type": "email", "time_amount": 1, "time_unit": "days"}],
    }  # fmt: skip
    links = [{"custom_object": "contact", "entity_id": str(world.contact)}]
    shown = await world.schedule(**said, associated_entities=links)
    assert {name: shown[name] for name in said} == said
    assert shown["activity_object"] | {"id": None} == {
        "id": None, "name": "Call", "api_name": "call", "icon": "phone", "colour": "#2563eb",
        "association_mode": "all_objects_associated",
    }  # fmt: skip
    assert (shown["employee"], shown["role"]) == ({"id": str(world.tenant.user_id), "name": "Ada"}, None)
    assert (shown["completed_at"], shown["logged_activity_id"]) == (None, None)
    assert shown["access"] == {"view": True, "edit": True, "remove": True}
    [link] = shown["associated_entities"]
    assert (link["custom_object"]["api_name"], link["entity_id"]) == ("contact", str(world.contact))
    assert datetime.fromisoformat(shown["created"]) <= datetime.now(UTC)
    await world.log(scheduled_activity_id=shown["id"])
    after = (await world.call("GET", f"{PLANS}/{shown['id']}")).json()
    assert (after["logged_activity_id"], after["completed_at"] is not None) == (shown["id"], True)
    assert after["access"] == {"view": True, "edit": False, "remove": False}


async def test_a_logged_answer_has_all_that_s1_names(world: World) -> None:
    made = await add(world, "integer", "score")
    shown = (await world.log(fields=[value("score", 3)], notes="said", mentions=[str(world.tenant.user_id)])).json()
    assert shown.keys() >= {
        "id", "notes", "activity_object", "associated_entities", "logged_at", "logged_by", "completed_at",
        "completed_by", "scheduled_activity_id", "mentions", "fields", "appends",
    }  # fmt: skip
    assert shown["activity_object"].keys() >= {"id", "name", "api_name", "association_mode"}
    assert shown["fields"] == [{
        "id": made["id"], "name": "score", "display_name": "Score", "field_type": "integer", "custom_field_type": None,
        "value": 3,
    }]  # fmt: skip
    assert (shown["notes"], shown["mentions"]) == ("said", [str(world.tenant.user_id)])
    assert shown["logged_by"] == {"id": str(world.tenant.user_id), "name": "Ada"}


async def test_without_a_due_it_is_upcoming_last_in_the_list_and_never_overdue(world: World) -> None:
    undated = await world.schedule(due_datetime=None)
    late = await world.schedule(due_datetime="2020-01-01T00:00:00Z")
    assert (undated["state"], undated["due_datetime"], undated["original_due_datetime"]) == ("scheduled", None, None)
    for query, expected in (
        ("", [late, undated]),
        ("?overdue=true", [late]),
        ("?ordering=-due_datetime", [late, undated]),
    ):
        found = (await world.call("GET", f"{PLANS}{query}")).json()["results"]
        assert [each["id"] for each in found] == [each["id"] for each in expected], query


async def test_it_is_for_a_member_or_a_role_and_for_the_caller_where_nobody_is_named(world: World) -> None:
    role, me = str(await crew(world)), str(world.tenant.user_id)
    both = await world.call("POST", PLANS, {"activity_object_name": "call", "employee_id": me, "role_id": role})
    assert codes(both) == {("role_id", "exclusive")}
    assert (await world.schedule())["employee"]["id"] == me
    to_role = await world.schedule(role_id=role)
    assert (to_role["role"], to_role["employee"]) == ({"id": role, "name": "crew"}, None)


async def test_rule_7_a_day_is_overdue_when_it_has_ended_where_its_assignee_is(world: World) -> None:
    east, west = await member(world, zone="Etc/GMT-14"), await member(world, zone="Etc/GMT+12")
    day = str((datetime.now(UTC) + timedelta(hours=14)).date() - timedelta(days=1))
    states = [(await world.schedule(employee_id=person, due_datetime=day))["state"] for person in (east, west)]
    assert states == ["overdue", "scheduled"]
    assert (await world.call("GET", f"{PLANS}?overdue=true")).json()["count"] == 1


async def refusals(world: World, name: str, **given: Any) -> list[set[tuple[str, str]]]:
    """How a schedule, a log and a report of a type are refused, with the names that reports have for things."""
    links = given.pop("links", [])
    about = {"associated_entities": links, "related_objects": links}
    planned = await world.call(
        "POST", PLANS, {"activity_object_name": name, "associated_entities": about["associated_entities"]} | given
    )
    logged = await world.log(name, related_objects=about["related_objects"], **given)
    told = [
        {"object": each["custom_object"]} | ({"record_id": each["entity_id"]} if "entity_id" in each else {"all": True})
        for each in links
    ]
    await admit(world.database, report(world.tenant.business_id, "log", uuid7().hex, type=name, links=told))
    [*_, answer] = [each for each in await answers(world.database) if each.business_id == world.tenant.business_id]
    refused = [set() if each.is_success else codes(each) for each in (planned, logged)]
    return [*refused, {(reason.field, reason.code) for reason in answer.reasons}]


async def test_rule_4_an_archived_object_takes_nothing(world: World) -> None:
    await make(world)
    await world.call("DELETE", "/inspection")
    assert await refusals(world, "inspection") == [
        {("activity_object_name", "archived")}, {("activity_object_id", "archived")}, {("type", "archived")},
    ]  # fmt: skip


async def test_rule_4_records_are_of_the_objects_that_the_association_mode_allows(world: World) -> None:
    leads = {"association_mode": "selected_objects_associated", "associated_objects": ["lead"]}
    await make(world, name="For leads", **leads)
    await make(world, name="Alone", association_mode="no_objects_associated")
    contact = [{"custom_object": "contact", "entity_id": str(world.contact)}]
    every_lead = [{"custom_object": "lead", "all": True}]
    wrong = [
        {("associated_entities.0.custom_object", "not_associated")},
        {("related_objects.0.custom_object", "not_associated")}, {("links.0.object", "not_associated")},
    ]  # fmt: skip
    for name, links, expected in (
        ("for_leads", contact, wrong), ("alone", contact, wrong), ("alone", every_lead, wrong),
        ("for_leads", every_lead, [set()] * 3), ("call", contact, [set()] * 3), ("alone", [], [set()] * 3),
    ):  # fmt: skip
        assert await refusals(world, name, links=links) == expected, (name, links)


async def test_rule_4_a_log_has_at_most_one_record_of_each_object(world: World) -> None:
    links = [{"custom_object": "contact", "entity_id": str(world.contact)}, {"custom_object": "contact", "all": True}]
    assert await refusals(world, "call", links=links) == [
        set(), {("related_objects.1.custom_object", "one_per_object")}, {("links.1.object", "one_per_object")},
    ]  # fmt: skip


async def two_of_one_object(world: World) -> tuple[str, list[dict[str, str]]]:
    """Plan a call with two contacts and an account."""
    business_id = world.tenant.business_id
    other = await copy_record(world.database, business_id, "Bo", "contact")
    account = await copy_record(world.database, business_id, "Acme")
    given = ("contact", world.contact), ("contact", other), ("account", account)
    links = [{"custom_object": name, "entity_id": str(record_id)} for name, record_id in given]
    return (await world.schedule(associated_entities=links))["id"], links


async def test_rule_4_a_plan_with_two_records_of_an_object_is_completed_with_one_of_them(world: World) -> None:
    identity, links = await two_of_one_object(world)
    refused = await world.log(scheduled_activity_id=identity, mentions=[str(uuid7())])
    assert codes(refused) == {("related_objects", "one_per_object"), ("mentions.0", "does_not_exist")}
    told = {each["field"]: each["message"] for each in refused.json()["errors"]}["related_objects"]
    assert "2 records of 'contact'" in told
    assert "account" not in told
    body = {"related_objects": [], "scheduled_activity_id": identity}
    operation = {"action": "complete", "object": "call", "body": body}
    [result] = (await world.call("POST", "/bulk", {"operations": [operation]})).json()["results"]
    assert (result["status"], [each["field"] for each in result["errors"]]) == (400, ["related_objects"])
    shown = (await world.call("GET", f"{PLANS}/{identity}")).json()
    assert (shown["version"], len(shown["associated_entities"])) == (1, 3)
    done = await world.log(scheduled_activity_id=identity, related_objects=links[1:])
    assert done.status_code == 201
    kept = [each["entity_id"] for each in done.json()["associated_entities"]]
    assert kept == [each["entity_id"] for each in links[1:]]
    again = await world.log(scheduled_activity_id=identity)
    assert again.status_code == 409


async def test_rule_4_a_plan_names_each_record_and_each_member_once(world: World) -> None:
    grace, every = {"custom_object": "contact", "entity_id": str(world.contact)}, {"custom_object": "lead", "all": True}
    assert (await refusals(world, "call", links=[grace, every, grace, every]))[0] == {
        ("associated_entities.2.custom_object", "twice"), ("associated_entities.3.custom_object", "twice"),
    }  # fmt: skip
    me = str(world.tenant.user_id)
    assert (await world.schedule(mentions=[me, me]))["mentions"] == [me]


@pytest.mark.parametrize("action", ["complete", "log"])
async def test_rule_4_a_report_waits_until_a_plan_with_two_records_of_an_object_has_one(
    world: World, action: str
) -> None:
    identity, links = await two_of_one_object(world)
    told = report(world.tenant.business_id, action, uuid7().hex, known_only=True, type="call")
    told.activity_id = UUID(identity)
    await admit(world.database, told)
    [waits] = [each for each in await answers(world.database) if each.receipt_id == told.receipt_id]
    assert (waits.outcome, [(each.field, each.code) for each in waits.reasons]) == (
        "waiting", [("links", "one_per_object")],
    )  # fmt: skip
    changed = await world.call("PATCH", f"{PLANS}/{identity}", {"associated_entities": links[1:]})
    assert changed.status_code == 200
    await waiting_reports.look_again(world.database)
    [_, applied] = [each for each in await answers(world.database) if each.receipt_id == told.receipt_id]
    assert (applied.outcome, applied.version) == ("applied", 3)


async def test_rule_4_a_report_plans_with_at_most_one_record_of_each_object(world: World) -> None:
    links = [Link(object="contact", record_id=world.contact), Link(object="contact", all=True)]
    told = report(world.tenant.business_id, "schedule", uuid7().hex, type="call", links=links)
    await admit(world.database, told)
    [refused] = [each for each in await answers(world.database) if each.receipt_id == told.receipt_id]
    assert (refused.outcome, [(each.field, each.code) for each in refused.reasons]) == (
        "refused", [("links.1.object", "one_per_object")],
    )  # fmt: skip


async def test_rule_4_all_problems_of_a_log_are_reported_at_once(world: World) -> None:
    await make(world, association_mode="selected_objects_associated", associated_objects=["lead"])
    await add(world, "text", "outcome", on="inspection", is_required=True)
    await add(world, "integer", "score", on="inspection")
    await world.call("DELETE", "/inspection")
    before = len(await events(world.database))
    answer = await world.log(
        "inspection", related_objects=[{"custom_object": "contact", "entity_id": str(uuid7())}],
        mentions=[str(uuid7())], scheduled_activity_id=str(uuid7()), fields=[value("score", "x"), value("no", 1)],
    )  # fmt: skip
    assert codes(answer) == {
        ("activity_object_id", "archived"), ("related_objects.0.custom_object", "not_associated"),
        ("related_objects.0.entity_id", "does_not_exist"), ("mentions.0", "does_not_exist"),
        ("scheduled_activity_id", "does_not_exist"), ("fields.outcome", "required"), ("fields.score", "not_integer"),
        ("fields.no", "unknown_field"),
    }  # fmt: skip
    assert len(await events(world.database)) == before


async def test_a_deleted_reference_stays_in_answers_and_says_so(world: World) -> None:
    gone, when = UUID(await member(world)), datetime.now(UTC)
    role, by = await crew(world, member_ids=[gone]), {"X_USER_ID": str(gone)}
    await make(world)
    body = {"activity_object_name": "inspection", "role_id": str(role)}
    planned = (await world.call("POST", PLANS, body, **by)).json()
    done = (await world.call("POST", PLANS, {"activity_object_name": "inspection"}, **by)).json()
    log = {"related_objects": [], "scheduled_activity_id": done["id"]}
    logged = (await world.call("POST", "/inspection/log-activity", log, **by)).json()
    for shown in (planned, done, logged):
        assert "deleted" not in str(shown)
    await member(world, identity=gone, version=2, deleted_at=when)
    await crew(world, identity=role, version=2, deleted_at=when)
    await world.call("DELETE", "/inspection")
    listed = {each["id"]: each for each in (await world.call("GET", PLANS)).json()["results"]}
    planned_path = f"{PLANS}/{planned['id']}"
    noted = await world.call("PATCH", planned_path, {"subject": "x"})
    for shown in ((await world.call("GET", planned_path)).json(), listed[planned["id"]], noted.json()):
        for name in ("role", "created_by", "activity_object"):
            assert shown[name]["deleted"] is True, name
        assert shown["role"]["name"] == "crew"
    more = await world.call("POST", f"/logged/{done['id']}/append", {"kind": "note", "text": "x"})
    responses = (await world.call("POST", "/inspection/responses", {})).json()["results"]
    undone = await world.call("POST", f"/logged/{done['id']}/undo", {})
    for shown in (
        more.json(),
        *responses,
        (await world.call("GET", f"/logged/{done['id']}")).json(),
        undone.json()["logged"],
    ):
        for name in ("logged_by", "completed_by", "activity_object"):
            assert shown[name]["deleted"] is True, name
        assert shown["logged_by"]["name"] == "Bo"
    assert listed[done["id"]]["employee"]["deleted"] is True


HOSTILE = [
    (b'"a\\u0000b"', 400), (b'"a\x00b"', 400), (b'"\\ud800"', 400), (b'"\xed\xa0\x80"', 400), (b'"\xff"', 400),
    (b'"' + b"x" * 1_000_000 + b'"', 400), (b'"' + b"x" * (1 << 20) + b'"', 413), (b"[" * 10_000 + b"]" * 10_000, 400),
    (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 400), (b"NaN", 400), (b'"a","note":"b"', 400),
]  # fmt: skip


@pytest.mark.parametrize(("text", "status"), HOSTILE, ids=lambda each: repr(each)[:24])
async def test_nul_lone_surrogates_a_megabyte_and_json_ten_thousand_deep_change_nothing(
    world: World, text: bytes, status: int
) -> None:
    ada = await save_person(world.database, world.tenant.business_id, "Ada", member_id=world.tenant.user_id)
    logged = (await world.log()).json()["id"]
    s1 = world.tenant.headers | {"content-type": "application/json"}
    s2 = {
        "x-api-key": world.tenant.key.text, "x-org-id": str(world.tenant.business_id),
        "authorization": f"Bearer {ada.token}", "content-type": "application/json",
    }  # fmt: skip
    before = len(await events(world.database))
    for path, start, headers in (
        (f"/api/activities{PLANS}", b'{"activity_object_name":"call","note":', s1),
        ("/api/activities/call/log-activity", b'{"related_objects":[],"note":', s1),
        (f"/api/activities/logged/{logged}/append", b'{"kind":"note","text":', s1),
        ("/api/activities", b'{"name":"x","description":', s1),
        (PATH, b'{"location":"x","title":', s2),
    ):
        answer = await world.http.post(path, content=start + text + b"}", headers=headers)
        assert answer.status_code == status, (path, answer.text[:200])
        assert answer.json().keys() >= ({"statusCode", "message"} if path == PATH else {"code", "detail"})
    assert len(await events(world.database)) == before
