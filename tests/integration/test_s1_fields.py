"""Fields of activity objects over HTTP and in reports, line by line (design: activity objects)."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest

from libs.contracts.activity import Link
from libs.contracts.directory import RecordObject
from libs.contracts.ids import preset_id_of, record_id_of, uuid7
from libs.contracts.record import RecordRefused, RecordRequested
from libs.contracts.report import Reason
from services.lifecycle import handlers, remapping
from tests.integration.test_lifecycle_reports import admit, answers, outbox, report
from tests.integration.test_lifecycle_routes import World, world
from tests.integration.test_s1_objects import codes
from tests.unit.test_lifecycle_fields import TAKEN

__all__ = ("world",)


async def add(world: World, kind: str, name: str = "f", on: str = "call", **more: Any) -> dict[str, Any]:
    """Add a field, with what its kind cannot be without."""
    needed: dict[str, Any] = {}
    if kind in ("checkboxes", "choices", "dropdown", "radio", "selector", "status"):
        needed["options"] = [{"name": "Red"}, {"name": "Blue"}]
    if kind == "relationship":
        needed["relation"] = "contact"
    if kind == "activity_custom_field":
        needed |= {"custom_object_field": {"custom_object": "contact", "name": "budget"}, "custom_field_type": "money"}
    body = {"display_name": name.title(), "name": name, "field_type": kind} | needed | more
    answer = await world.call("POST", f"/{on}/fields", body)
    assert answer.status_code == 201, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


def value(name: str, given: Any) -> dict[str, Any]:
    return {"id": name, "value": given}


def values(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code in (200, 201), answer.text
    return {each["name"]: each["value"] for each in answer.json()["fields"]}


async def test_all_25_kinds_are_made_and_shown_with_their_settings(world: World) -> None:
    kinds = {kind for kind, *_ in TAKEN} | {"dynamictags", "activity_custom_field"}
    settings = {
        "rating": {"rating_max": 10}, "money": {"currency": "EUR", "decimals": 2}, "decimal": {"decimals": 3},
        "phonenumber": {"phone_region": "DE"}, "relationship": {"relation": "contact"},
    }  # fmt: skip
    for place, kind in enumerate(sorted(kinds), 1):
        made = await add(world, kind, f"f_{kind}", **settings.get(kind, {}))
        assert made["order"] == place
        assert {name: made[name] for name in settings.get(kind, {})} == settings.get(kind, {})
        assert bool(made["options"]) is (kind in {
            "checkboxes", "choices", "dropdown", "radio", "selector", "status", "yesnomaybe",
        })  # fmt: skip
    listed = (await world.call("GET", "/call/fields")).json()
    assert len({each["field_type"] for each in listed}) == 25
    assert (await world.call("GET", "/call")).json()["fields"] == listed


async def test_a_value_comes_back_as_it_is_stored_and_can_be_sent_back(world: World) -> None:
    known = {"team_selector": str(world.tenant.user_id), "relationship": str(world.contact)}
    chosen = {"checkboxes": ["blue"], "choices": ["blue", "red"]} | dict.fromkeys(
        ("dropdown", "radio", "selector", "status"), "blue"
    )
    given = {f"f_{kind}": (known | chosen).get(kind, sent) for kind, sent, _ in TAKEN}
    for name in given:
        await add(world, name.removeprefix("f_"), name)
    stored = {f"f_{kind}": kept for kind, _, kept in TAKEN if kind not in {*known, *chosen, "yesnomaybe"}}
    first = values(await world.log(fields=[value(*each) for each in given.items()]))
    again = values(await world.log(fields=[value(*each) for each in first.items()]))
    assert first == again
    assert {name: first[name] for name in stored} == stored
    assert first["f_team_selector"] == {"id": str(world.tenant.user_id), "name": "Ada"}
    assert [option["code"] for option in first["f_choices"]] == ["red", "blue"]


async def test_a_field_has_bounds_and_all_that_is_wrong_is_named(world: World) -> None:
    path = "/call/fields"
    body = {"display_name": "X", "field_type": "dropdown", "rating_max": 3, "currency": "EUR"}
    assert codes(await world.call("POST", path, body)) == {
        ("options", "required"), ("rating_max", "not_allowed"), ("currency", "not_allowed"),
    }  # fmt: skip
    for wrong, problem in (
        ({"field_type": "text", "options": [{"name": "A"}]}, ("options", "not_allowed")),
        ({"field_type": "robot"}, ("field_type", "unknown_kind")),
        ({"field_type": "relationship"}, ("relation", "required")),
        ({"field_type": "relationship", "relation": "planet"}, ("relation", "setting_invalid")),
        ({"field_type": "rating", "rating_max": 11}, ("rating_max", "setting_invalid")),
        ({"field_type": "money", "currency": "eur"}, ("currency", "setting_invalid")),
        ({"field_type": "phonenumber", "phone_region": "XX"}, ("phone_region", "setting_invalid")),
        ({"field_type": "radio", "options": [{"name": "A"}, {"name": "a"}]}, ("options.1.name", "twice")),
        ({"field_type": "text", "name": "notes"}, ("name", "name_taken")),
        ({"field_type": "text", "name": "No!"}, ("name", "api_name_invalid")),
        ({"field_type": "activity_custom_field"}, ("custom_object_field", "required")),
        ({"field_type": "text", "custom_field_type": "text"}, ("custom_field_type", "not_allowed")),
    ):
        assert problem in codes(await world.call("POST", path, {"display_name": "X"} | wrong)), wrong
    for wrong in ({"display_name": "x" * 201}, {"order": 32_768}, {"order": -1}, {"display_name": ""}):
        answer = await world.call("POST", path, {"display_name": "X", "field_type": "text"} | wrong)
        assert answer.status_code == 400, wrong


async def test_a_fields_name_is_derived_unique_and_stable(world: World) -> None:
    made = [await world.call("POST", "/call/fields", {"display_name": "Next step", "field_type": "text"}) for _ in "ab"]
    assert [each.json()["name"] for each in made] == ["next_step", "next_step_2"]
    path = f"/call/fields/{made[0].json()['id']}"
    assert (await world.call("PATCH", path, {"display_name": "Then"})).json()["name"] == "next_step"
    assert codes(await world.call("PATCH", path, {"name": "then", "field_type": "date"})) == {
        ("name", "create_only"), ("field_type", "create_only"),
    }  # fmt: skip


async def test_fields_are_listed_in_their_order(world: World) -> None:
    for name, order in (("b", 2), ("a", 30_000), ("c", 1)):
        await add(world, "text", name, order=order)
    await world.call("PATCH", "/call/fields/notes", {"order": 32_767})
    answer = await world.call("GET", "/call/fields")
    assert [each["name"] for each in answer.json()] == ["c", "b", "a", "notes"]
    shown = values(await world.log(fields=[value("a", "1"), value("b", "2"), value("c", "3")]))
    assert list(shown) == ["c", "b", "a"]


async def test_every_object_has_a_notes_field_that_cannot_be_deleted(world: World) -> None:
    [notes] = (await world.call("GET", "/task/fields")).json()
    assert [notes[name] for name in ("name", "field_type", "is_default", "is_deletable")] == [
        "notes", "wysiwyg", True, False,
    ]  # fmt: skip
    assert (await world.call("DELETE", f"/task/fields/{notes['id']}")).json()["code"] == "not_deletable"
    await world.call("PATCH", "/task/fields/notes", {"is_required": True})
    assert codes(await world.log("task")) == {("fields.notes", "required")}
    by_field = await world.log("task", fields=[value(notes["id"], "<i>said</i>")])
    assert by_field.json()["notes"] == "<i>said</i>"
    assert codes(await world.log("task", notes="a", fields=[value("notes", "b")])) == {("fields.notes", "twice")}


async def test_html_is_sanitised_on_the_way_in_wherever_it_comes_from(world: World) -> None:
    evil = "<p onclick='x()'>hi<script>alert(1)</script><img src=x onerror=y()></p>"
    clean = '<p>hi<img src="x"></p>'
    assert (await world.log(notes=evil)).json()["notes"] == clean
    planned = await world.schedule(note=evil)
    assert planned["note"] == clean
    patched = await world.call("PATCH", f"/scheduled-activity/{planned['id']}/notes", {"notes": evil + "!"})
    assert patched.json()["note"] == clean + "!"
    await admit(world.database, report(world.tenant.business_id, "log", "a", type="call", notes=evil))
    shown = await world.call("POST", "/scheduled-activity/search", {})
    assert "script" not in shown.text


async def test_required_fields_are_enforced_when_it_is_logged_and_not_before(world: World) -> None:
    await add(world, "text", "outcome", is_required=True)
    await add(world, "integer", "score", is_required=True)
    planned = await world.schedule()
    missing = {("fields.outcome", "required"), ("fields.score", "required")}
    assert codes(await world.log(scheduled_activity_id=planned["id"])) == missing
    assert codes(await world.log(fields=[value("score", "x")])) == {
        ("fields.outcome", "required"), ("fields.score", "not_integer"),
    }  # fmt: skip
    path = f"/scheduled-activity/{planned['id']}"
    kept = await world.call("PATCH", path, {"fields": [value("outcome", "won")]})
    assert values(kept) == {"outcome": "won"}
    done = await world.log(scheduled_activity_id=planned["id"], fields=[value("score", 3)])
    assert values(done) == {"outcome": "won", "score": 3}


async def test_planned_values_are_changed_one_by_one_and_replaced_whole(world: World) -> None:
    await add(world, "text", "a")
    await add(world, "text", "b")
    planned = await world.schedule(fields=[value("a", "1"), value("b", "2")])
    path = f"/scheduled-activity/{planned['id']}"
    assert values(await world.call("PATCH", path, {"fields": [value("a", None)]})) == {"b": "2"}
    assert values(await world.call("PATCH", path, {"location": "x"})) == {"b": "2"}
    assert values(await world.call("PUT", path, {"fields": [value("a", "3")]})) == {"a": "3"}
    assert values(await world.call("PUT", path, {})) == {}


async def test_read_only_and_hidden_fields_take_no_value(world: World) -> None:
    made = await add(world, "text", "a", is_read_only=True, is_required=True)
    assert [each["code"] for each in made["warnings"]] == ["required_read_only"]
    await add(world, "text", "b", is_hidden=True, is_required=True)
    assert (await world.log()).status_code == 201
    assert codes(await world.log(fields=[value("a", "x"), value("b", "x"), value("c", "x")])) == {
        ("fields.a", "read_only"), ("fields.b", "hidden"), ("fields.c", "unknown_field"),
    }  # fmt: skip


async def test_members_and_records_in_values_must_exist(world: World) -> None:
    await add(world, "team_selector", "owner")
    await add(world, "relationship", "about")
    nobody = str(uuid7())
    answer = await world.log(fields=[value("owner", nobody), value("about", [nobody, str(world.contact)])])
    assert codes(answer) == {("fields.owner", "does_not_exist"), ("fields.about", "does_not_exist")}


async def test_a_report_is_held_to_the_same_fields(world: World) -> None:
    await add(world, "dropdown", "outcome", is_required=True)
    await add(world, "team_selector", "owner")
    business = world.tenant.business_id
    wrong = {"outcome": "green", "surprise": 1, "owner": str(uuid7())}
    await admit(
        world.database,
        report(business, "log", "bad", type="call", fields=wrong),
        report(business, "log", "bare", type="call"),
        report(business, "schedule", "plan", type="call"),
        report(business, "log", "good", type="call", fields={"outcome": "red", "owner": str(world.tenant.user_id)}),
    )
    told = {each.activity_id: each for each in await answers(world.database)}
    found = [(each.outcome, {(reason.field, reason.code) for reason in each.reasons}) for each in told.values()]
    assert found == [
        ("refused", {
            ("fields.outcome", "not_an_option"), ("fields.surprise", "unknown_field"),
            ("fields.owner", "does_not_exist"),
        }),
        ("refused", {("fields.outcome", "required")}),
        ("applied", set()),
        ("applied", set()),
    ]  # fmt: skip
    good = [*told][-1]
    shown = values(await world.call("GET", f"/logged/{good}"))
    assert (shown["outcome"]["name"], shown["owner"]) == ("Red", {"id": str(world.tenant.user_id), "name": "Ada"})


async def test_an_option_is_added_renamed_reordered_and_removed(world: World) -> None:
    made = await add(world, "dropdown", "outcome")
    path = f"/call/fields/{made['id']}"
    added = await world.call("POST", f"{path}/options", {"name": "Dark green"})
    assert (added.status_code, added.json()["code"]) == (201, "dark_green")
    assert codes(await world.call("POST", f"{path}/options", {"name": "red"})) == {("name", "twice"), ("code", "twice")}
    red, _, green = (await world.call("GET", path)).json()["options"]
    planned = await world.schedule(fields=[value("outcome", "red")])
    logged = (await world.log(fields=[value("outcome", red["id"])])).json()
    put = await world.call("PATCH", path, {"options": [green, red | {"name": "Crimson"}]})
    assert [each["name"] for each in put.json()["options"]] == ["Dark green", "Crimson"]
    now = await world.call("GET", f"/scheduled-activity/{planned['id']}")
    then = await world.call("GET", f"/logged/{logged['id']}")
    assert (values(now)["outcome"]["name"], values(then)["outcome"]["name"]) == ("Crimson", "Red")
    assert codes(await world.log(fields=[value("outcome", "blue")])) == {("fields.outcome", "not_an_option")}
    assert (await world.call("DELETE", f"{path}/options/{red['id']}")).status_code == 204
    assert (await world.call("DELETE", f"{path}/options/{red['id']}")).status_code == 404
    then = await world.call("GET", f"/logged/{logged['id']}")
    assert values(then)["outcome"] == red | {"deleted": True}
    assert (await world.call("DELETE", f"{path}/options/dark_green")).json()["code"] == "last_option"
    assert (await world.call("POST", "/call/fields/notes/options", {"name": "x"})).json()["code"] == "no_options"


async def test_the_options_of_yes_no_maybe_are_what_they_are(world: World) -> None:
    made = await add(world, "yesnomaybe", "passed")
    path, options = f"/call/fields/{made['id']}", made["options"]
    for wanted in (options[:2], options[::-1], [options[0] | {"name": "Certainly"}, *options[1:]], []):
        refused = await world.call("PATCH", path, {"options": wanted})
        assert (refused.status_code, codes(refused)) == (400, {("options", "not_allowed")})
        assert "Yes (yes), No (no), Maybe (maybe)" in refused.json()["detail"]
    body = {"display_name": "Sure", "field_type": "yesnomaybe", "options": [{"name": "Sure"}]}
    assert codes(await world.call("POST", "/call/fields", body)) == {("options", "not_allowed")}
    renamed = await world.call("PATCH", path, {"display_name": "Well", "options": options})
    assert (renamed.status_code, renamed.json()["options"]) == (200, options)


async def replace_all(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remapping, "now", lambda: datetime.now(UTC) + timedelta(seconds=3))
    await remapping.replace_options(world.database)


async def test_a_replaced_option_is_replaced_in_what_is_planned_by_versions_and_stays_in_what_was_logged(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await add(world, "dropdown", "outcome")
    many = await add(world, "checkboxes", "colours")
    red, blue = made["options"]
    chosen = [value("outcome", "red"), value("colours", ["red", "blue"])]
    planned = [await world.schedule(fields=chosen) for _ in range(3)]
    other = await world.schedule(fields=[value("outcome", "blue")])
    logged = (await world.log(fields=chosen)).json()
    path = f"/call/fields/{made['id']}/options/{red['id']}/replace"
    assert codes(await world.call("POST", path, {"option_id": red["id"]})) == {("option_id", "does_not_exist")}
    replaced = await world.call("POST", path, {"option_id": "blue"})
    assert (replaced.status_code, [each["code"] for each in replaced.json()["options"]]) == (200, ["blue"])
    both = f"/call/fields/{many['id']}/options/red/replace"
    assert (await world.call("POST", both, {"option_id": many["options"][1]["id"]})).status_code == 200
    await replace_all(world, monkeypatch)
    for each in planned:
        shown = await world.call("GET", f"/scheduled-activity/{each['id']}")
        assert (values(shown)["outcome"], shown.headers["etag"]) == (blue, '"3"')
        assert [option["code"] for option in values(shown)["colours"]] == ["blue"]
    history = (await world.call("GET", f"/scheduled-activity/{planned[0]['id']}/history")).json()["results"]
    assert [each["why"] for each in history] == [
        None, "an option of 'outcome' was replaced by 'Blue'", "an option of 'colours' was replaced by 'Blue'",
    ]  # fmt: skip
    assert (await world.call("GET", f"/scheduled-activity/{other['id']}")).headers["etag"] == '"1"'
    kept = await world.call("GET", f"/logged/{logged['id']}")
    assert values(kept)["outcome"] == red | {"deleted": True}
    assert kept.headers["etag"] == '"1"'


async def test_a_deleted_field_is_gone_from_forms_and_stays_where_it_was_said(world: World) -> None:
    await add(world, "text", "a")
    logged = (await world.log(fields=[value("a", "x")])).json()
    assert (await world.call("DELETE", "/call/fields/a")).status_code == 204
    assert codes(await world.log(fields=[value("a", "x")])) == {("fields.a", "unknown_field")}
    [shown] = (await world.call("GET", f"/logged/{logged['id']}")).json()["fields"]
    assert (shown["display_name"], shown["value"], shown["deleted"]) == ("A", "x", True)
    again = await world.call("POST", "/call/fields", {"display_name": "A", "name": "a", "field_type": "text"})
    assert codes(again) == {("name", "name_taken")}


def about(world: World) -> list[dict[str, Any]]:
    return [{"custom_object": "contact", "entity_id": str(world.contact)}]


async def requests(world: World) -> list[RecordRequested]:
    rows = await outbox(world.database)
    return [RecordRequested.model_validate_json(row["value"]) for row in rows if row["types"] == "record.requested"]


async def test_a_linked_value_is_asked_of_its_record_and_in_the_answer_at_once(world: World) -> None:
    await add(world, "activity_custom_field", "contact_budget")
    planned = await world.schedule(associated_entities=about(world), fields=[value("contact_budget", 10)])
    [shown] = planned["fields"]
    assert (shown["field_type"], shown["custom_field_type"], shown["value"]) == (
        "activity_custom_field", "money", "10.00",
    )  # fmt: skip
    patched = await world.call(
        "PATCH", f"/scheduled-activity/{planned['id']}", {"fields": [value("contact_budget", None)]}
    )
    assert values(patched) == {}
    logged = await world.log(related_objects=about(world), fields=[value("contact_budget", "12.5")])
    assert values(logged) == {"contact_budget": "12.50"}
    await admit(
        world.database,
        report(
            world.tenant.business_id, "log", "r", type="call", fields={"contact_budget": 7},
            links=[Link(object="contact", external_ref="later")],
        ),
    )  # fmt: skip
    asked = await requests(world)
    assert [(each.fields, each.version) for each in asked] == [
        ({"budget": "10.00"}, 1), ({"budget": None}, 2), ({"budget": "12.50"}, 1), ({"budget": "7.00"}, 1),
    ]  # fmt: skip
    later = record_id_of(world.tenant.business_id, "contact", "later")
    assert [each.record_id for each in asked] == [world.contact] * 3 + [later]
    assert asked[0].by is not None
    assert (asked[0].object, asked[0].by.name, str(asked[0].activity_id)) == ("contact", "Ada", planned["id"])
    assert len({each.request_id for each in asked}) == 4


async def test_a_linked_value_needs_its_record(world: World) -> None:
    await add(world, "activity_custom_field", "contact_budget")
    everyone = [{"custom_object": "contact", "all": True}]
    for links in ([], everyone):
        answer = await world.log(related_objects=links, fields=[value("contact_budget", 1)])
        assert codes(answer) == {("fields.contact_budget", "no_record")}
    assert await requests(world) == []


def lock_fields(world: World, version: int, *names: str) -> RecordObject:
    business_id = world.tenant.business_id
    return RecordObject(
        business_id=business_id, id=preset_id_of(business_id, "record_object", "contact"), version=version,
        name="Contact", api_name="contact", locked_fields=list(names), created_at=datetime.now(UTC),
    )  # fmt: skip


async def test_a_linked_value_is_refused_when_the_records_object_does_not_allow_it(world: World) -> None:
    await add(world, "activity_custom_field", "contact_budget")
    async with world.database.work() as tx:
        await handlers.copy_objects(tx, [lock_fields(world, 1), lock_fields(world, 2, "budget", "other")])
    answer = await world.log(related_objects=about(world), fields=[value("contact_budget", 1)])
    assert codes(answer) == {("fields.contact_budget", "not_allowed")}
    told = report(
        world.tenant.business_id, "log", "r", type="call", fields={"contact_budget": 1},
        links=[Link(object="contact", record_id=world.contact)],
    )  # fmt: skip
    await admit(world.database, told)
    [refused] = await answers(world.database)
    assert [each.code for each in refused.reasons] == ["not_allowed"]
    assert await requests(world) == []


def refusal(asked: RecordRequested) -> RecordRefused:
    reason = Reason(field="record_id", code="erased", message="it was erased")
    return RecordRefused(**asked.model_dump(), refused_at=datetime.now(UTC), reasons=[reason])


async def test_what_a_record_refuses_later_is_said_by_the_activity_once(world: World) -> None:
    await add(world, "activity_custom_field", "contact_budget")
    await add(world, "text", "other")
    said = [value("contact_budget", 1), value("other", "x")]
    planned = await world.schedule(associated_entities=about(world), fields=said)
    logged = (await world.log(related_objects=about(world), fields=said)).json()
    refused = [refusal(each) for each in await requests(world)]
    for _ in range(2):
        async with world.database.work() as tx:
            await handlers.note_refusals(tx, refused)
    now = await world.call("GET", f"/scheduled-activity/{planned['id']}")
    assert (values(now), now.headers["etag"]) == ({"other": "x"}, '"2"')
    then = await world.call("GET", f"/logged/{logged['id']}")
    assert (values(then)["contact_budget"], then.headers["etag"]) == ("1.00", '"2"')
    assert [each["text"] for each in then.json()["appends"]] == ["the contact did not take budget: it was erased"]


async def test_a_value_that_changed_since_is_kept_when_the_earlier_one_is_refused(world: World) -> None:
    await add(world, "activity_custom_field", "contact_budget")
    planned = await world.schedule(associated_entities=about(world), fields=[value("contact_budget", 1)])
    path = f"/scheduled-activity/{planned['id']}"
    await world.call("PATCH", path, {"fields": [value("contact_budget", 2)]})
    first, _ = await requests(world)
    async with world.database.work() as tx:
        await handlers.note_refusals(tx, [refusal(first)])
    assert values(await world.call("GET", path)) == {"contact_budget": "2.00"}


async def test_a_late_plan_writes_nothing_to_the_record_of_what_was_logged(world: World) -> None:
    await add(world, "activity_custom_field", "contact_budget")
    business, links = world.tenant.business_id, [Link(object="contact", record_id=world.contact)]
    await admit(
        world.database,
        report(business, "log", "a", type="call", links=links, fields={"contact_budget": 2}),
        report(business, "schedule", "a", type="call", links=links, fields={"contact_budget": 1}),
    )
    assert [each.fields for each in await requests(world)] == [{"budget": "2.00"}]


async def test_a_linked_field_needs_an_object_that_allows_its_record(world: World) -> None:
    alone = {"name": "Alone", "association_mode": "no_objects_associated"}
    assert (await world.call("POST", "", alone)).status_code == 201
    body = {
        "display_name": "Budget", "field_type": "activity_custom_field", "custom_field_type": "money",
        "custom_object_field": {"custom_object": {"api_name": "contact"}, "name": "budget"},
    }  # fmt: skip
    refused = await world.call("POST", "/alone/fields", body)
    assert codes(refused) == {("custom_object_field.custom_object", "not_associated")}
    assert (await world.call("POST", "/call/fields", body)).status_code == 201
    closed = await world.call("PATCH", "/call", {"association_mode": "no_objects_associated"})
    assert codes(closed) == {("association_mode", "field_needs_object")}


async def test_two_who_change_an_object_at_once_both_have_their_way(world: World) -> None:
    await asyncio.gather(*(add(world, "text", f"f{place}") for place in range(5)))
    names = [each["name"] for each in (await world.call("GET", "/call/fields")).json()]
    assert sorted(names) == ["f0", "f1", "f2", "f3", "f4", "notes"]
    etag = (await world.call("GET", "/call")).headers["etag"]
    assert etag == '"6"'
    stale = await world.call("DELETE", "/call/fields/f1", If_Match='"5"')
    assert stale.status_code == 412


async def test_a_field_write_with_an_idempotency_key_happens_once(world: World) -> None:
    body = {"display_name": "Once", "field_type": "text"}
    answered = [await world.call("POST", "/call/fields", body, Idempotency_Key="k") for _ in range(2)]
    assert answered[0].json() == answered[1].json()
    assert UUID(answered[0].json()["id"])
    assert len((await world.call("GET", "/call/fields")).json()) == 2


async def test_a_correction_is_held_to_the_fields_and_the_latest_is_shown(world: World) -> None:
    await world.call("PATCH", "/call", {"is_editable": True})
    await add(world, "dropdown", "outcome", is_required=True)
    await add(world, "integer", "score")
    logged = (await world.log(notes="first", fields=[value("outcome", "red"), value("score", 1)])).json()
    path = f"/logged/{logged['id']}"

    async def correct(**fields: Any) -> httpx.Response:
        return await world.call("POST", f"{path}/append", {"kind": "correction", "fields": fields})

    assert codes(await correct(outcome="green", score="x", other=1)) == {
        ("fields.outcome", "not_an_option"), ("fields.score", "not_integer"), ("fields.other", "unknown_field"),
    }  # fmt: skip
    assert codes(await correct(outcome=None)) == {("fields.outcome", "required")}
    corrected = await correct(outcome="blue", score=None, notes="<b>second</b><script>x()</script>")
    assert corrected.status_code == 201, corrected.text
    shown = (await world.call("GET", path)).json()
    assert [(each["name"], each["value"]["code"]) for each in shown["fields"]] == [("outcome", "blue")]
    assert shown["notes"] == "<b>second</b>"
    revisions = [(each["revision"], each["by"]["name"], each["notes"]) for each in shown["revisions"]]
    assert revisions == [(0, "Ada", "first"), (1, "Ada", "<b>second</b>")]
    assert [each["value"]["code"] for each in shown["revisions"][0]["fields"] if each["name"] == "outcome"] == ["red"]
    [listed] = (await world.call("POST", "/call/responses", {})).json()["results"]
    assert listed["fields"] == shown["fields"]
    history = (await world.call("GET", f"{path}/history")).json()["results"]
    assert [each["type"] for each in history] == ["activity.completed", "activity.appended"]


async def test_a_reported_correction_is_held_to_the_fields(world: World) -> None:
    await world.call("PATCH", "/call", {"is_editable": True})
    await add(world, "dropdown", "outcome")
    business = world.tenant.business_id
    await admit(world.database, report(business, "log", "a", type="call", fields={"outcome": "red"}))
    for ref, fields in (("b", {"outcome": "green"}), ("c", {"outcome": "blue"})):
        told = report(business, "append", ref, kind="correction", fields=fields)
        about_a = report(business, "log", "a", type="call")
        await admit(world.database, msgspec.structs.replace(told, activity_id=about_a.activity_id))
    told_back = [(each.outcome, [reason.code for reason in each.reasons]) for each in await answers(world.database)]
    assert told_back == [("applied", []), ("refused", ["not_an_option"]), ("applied", [])]
    [logged] = {each.activity_id for each in await answers(world.database)}
    shown = values(await world.call("GET", f"/logged/{logged}"))
    assert shown["outcome"]["name"] == "Blue"
