"""Activity objects over HTTP, line by line (design: activity objects; routes)."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from libs.contracts.activity_object import ActivityObject
from libs.contracts.directory import RecordObject
from libs.contracts.ids import preset_id_of, uuid7
from services.lifecycle import handlers
from tests.integration.test_lifecycle_reports import admit, outbox, report
from tests.integration.test_lifecycle_routes import World, world

__all__ = ("world",)


async def make(world: World, **more: Any) -> dict[str, Any]:
    answer = await world.call("POST", "", {"name": "Inspection"} | more)
    assert answer.status_code == 201, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


def codes(answer: httpx.Response) -> set[tuple[str, str]]:
    assert answer.status_code == 400, answer.text
    return {(error["field"], error["code"]) for error in answer.json()["errors"]}


async def published(world: World) -> list[ActivityObject]:
    rows = await outbox(world.database)
    return [ActivityObject.model_validate_json(row["value"]) for row in rows if row["types"] == "activity.object"]


async def test_an_object_has_everything_that_s1_names(world: World) -> None:
    given: dict[str, Any] = {
        "name": "Site inspection", "api_name": "inspection", "description": "On site", "is_editable": True,
        "association_mode": "selected_objects_associated",
        "submission_action": "trigger_webhook", "redirect_url": "https://a.example/x",
        "webhook_url": "https://b.example/y", "calendar_sync_enabled": True, "calendar_sync_duration": 45,
        "icon": "eye", "colour": "#112233", "order": 3, "default_note": "<b>look</b><script>x()</script>",
        "default_delay_min": 60,
    }  # fmt: skip
    contact = preset_id_of(world.tenant.business_id, "record_object", "contact")
    answer = await world.call(
        "POST",
        "",
        given
        | {
            "associated_objects": [{"custom_object": {"id": str(contact)}}, "lead"],
            "default_assignee": {"employee_id": str(world.tenant.user_id)},
            "loggable_sharing_settings": {"shared_with": "selected", "member_ids": [str(world.tenant.user_id)]},
        },
    )
    assert (answer.status_code, answer.headers["etag"]) == (201, '"1"')
    shown = answer.json()
    assert {name: shown[name] for name in given} == given | {"default_note": "<b>look</b>"}
    assert [each["api_name"] for each in shown["custom_objects"]] == ["contact", "lead"]
    assert shown["selected_objects"] == shown["custom_objects"]
    assert shown["default_assignee"] == {"employee_id": str(world.tenant.user_id), "role_id": None, "name": "Ada"}
    assert shown["loggable_sharing_settings"]["member_ids"] == [str(world.tenant.user_id)]
    assert (shown["n_submissions"], shown["deleted"], shown["visibility_rules"]) == (0, False, [])
    assert [(each["name"], each["field_type"], each["is_deletable"]) for each in shown["fields"]] == [
        ("notes", "wysiwyg", False)
    ]
    for path in (f"/{shown['id']}", "/inspection"):
        again = await world.call("GET", path)
        assert (again.json(), again.headers["etag"]) == (shown, '"1"')


@pytest.mark.parametrize(
    ("name", "api_name"),
    [("Site  visit!", "site_visit_2"), ("Logged", "logged_2"), ("Ärztliche Prüfung", "arztliche_prufung"),
     ("訪問", "activity"), ("7 days", "activity_7_days"), ("Q", "q_")],
)  # fmt: skip
async def test_an_api_name_is_derived_when_absent(world: World, name: str, api_name: str) -> None:
    assert (await make(world, name=name))["api_name"] == api_name


async def test_an_api_name_is_unique_also_when_many_ask_at_once(world: World) -> None:
    made = await asyncio.gather(*(make(world, name="Survey") for _ in range(4)))
    assert {each["api_name"] for each in made} == {"survey", "survey_2", "survey_3", "survey_4"}
    taken = await world.call("POST", "", {"name": "x", "api_name": "survey"})
    assert (taken.status_code, taken.json()["code"]) == (409, "api_name_taken")


@pytest.mark.parametrize("word", ["loggable", "logged", "scheduled-activity", "scheduled_activity", "log-activity"])
async def test_words_that_are_paths_are_refused_as_api_names(world: World, word: str) -> None:
    assert codes(await world.call("POST", "", {"name": "x", "api_name": word})) == {("api_name", "reserved")}


async def test_an_api_name_is_stable(world: World) -> None:
    made = await make(world)
    renamed = await world.call("PATCH", "/inspection", {"name": "Review of a site"})
    assert (renamed.json()["name"], renamed.json()["api_name"]) == ("Review of a site", "inspection")
    assert codes(await world.call("PATCH", f"/{made['id']}", {"api_name": "other"})) == {("api_name", "create_only")}
    assert (await world.call("PUT", "/inspection", {"name": "x", "api_name": "inspection"})).status_code == 200


async def test_all_problems_of_an_object_are_named_at_once(world: World) -> None:
    nobody = str(uuid7())
    answer = await world.call(
        "POST",
        "",
        {
            "name": "x", "api_name": "X!", "association_mode": "selected_objects_associated",
            "submission_action": "redirect", "default_assignee": {"employee_id": nobody},
            "loggable_sharing_settings": {"role_ids": [nobody]}, "associated_objects": ["planet"],
        },
    )  # fmt: skip
    assert codes(answer) == {
        ("api_name", "api_name_invalid"), ("redirect_url", "required"),
        ("default_assignee.employee_id", "does_not_exist"), ("associated_objects", "required"),
        ("loggable_sharing_settings.role_ids.0", "does_not_exist"),
        ("associated_objects.0.custom_object", "does_not_exist"),
    }  # fmt: skip
    assert (await world.call("GET", "?search=x")).json()["results"] == [] or len(await published(world)) == 13


@pytest.mark.parametrize(
    "body",
    [{"name": "x" * 201}, {"name": "x", "description": "x" * 501}, {"name": "x", "colour": "red"}, {}, {"order": 1},
     {"name": "x", "order": 32_768}, {"name": "x", "webhook_url": "ftp://x"}, {"name": "x", "surprise": 1}],
)  # fmt: skip
async def test_a_body_beyond_its_bounds_is_refused(world: World, body: dict[str, Any]) -> None:
    assert (await world.call("POST", "", body)).status_code == 400


async def test_put_replaces_and_patch_changes(world: World) -> None:
    await make(world, description="d", icon="eye", default_delay_min=5)
    patched = await world.call("PATCH", "/inspection", {"icon": "hand"}, If_Match='"1"')
    assert (patched.json()["icon"], patched.json()["description"], patched.headers["etag"]) == ("hand", "d", '"2"')
    put = await world.call("PUT", "/inspection", {"name": "Inspection"})
    assert [put.json()[name] for name in ("icon", "description", "default_delay_min")] == [None, None, None]
    assert put.json()["fields"] == patched.json()["fields"]
    assert (await world.call("PATCH", "/inspection", {"icon": "x"}, If_Match='"1"')).status_code == 412
    same = await world.call("PATCH", "/inspection", {"name": "Inspection"})
    assert same.headers["etag"] == put.headers["etag"]
    versions = [each.version for each in await published(world) if each.api_name == "inspection"]
    assert versions == [1, 2, 3]


async def test_a_write_with_an_idempotency_key_happens_once(world: World) -> None:
    answers = [await world.call("POST", "", {"name": "Once"}, Idempotency_Key="k") for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert (await world.call("GET", "?search=once")).json()["count"] == 1


async def test_an_archived_object_is_not_listed_takes_nothing_and_is_still_shown(world: World) -> None:
    await make(world)
    await world.log("inspection")
    gone = [await world.call("DELETE", "/inspection") for _ in range(2)]
    assert [(each.status_code, each.headers["etag"]) for each in gone] == [(204, '"2"')] * 2
    assert (await world.call("GET", "?search=inspection")).json()["count"] == 0
    shown = (await world.call("GET", "/inspection")).json()
    assert (shown["deleted"], shown["n_submissions"]) == (True, 1)
    assert codes(await world.log("inspection")) == {("activity_object_id", "archived")}
    assert codes(await world.call("POST", "/scheduled-activity", {"activity_object_name": "inspection"})) == {
        ("activity_object_name", "archived")
    }
    assert (await world.call("PATCH", "/inspection", {"name": "x"})).json()["code"] == "archived"
    assert (await world.call("POST", "", {"name": "x", "api_name": "inspection"})).status_code == 409


async def test_n_submissions_counts_what_was_logged_however_it_came(world: World) -> None:
    await make(world)

    async def count() -> int:
        one = (await world.call("GET", "/inspection")).json()["n_submissions"]
        listed = (await world.call("GET", "?search=inspection")).json()["results"][0]["n_submissions"]
        assert one == listed
        return int(one)

    planned = await world.schedule(activity_object_name="inspection")
    assert await count() == 0
    assert (await world.log("inspection", scheduled_activity_id=planned["id"])).status_code == 201
    assert (await world.log("inspection", scheduled_activity_id=planned["id"])).status_code == 409
    told = report(world.tenant.business_id, "log", "one", type="inspection")
    await admit(world.database, told)
    await admit(world.database, told)
    assert await count() == 2
    await asyncio.gather(*(world.log("inspection") for _ in range(5)))
    assert await count() == 7


async def test_objects_are_searched_filtered_by_record_object_and_paged(world: World) -> None:
    await make(world, name="Only lead", association_mode="selected_objects_associated", associated_objects=["lead"])
    await make(world, name="Alone", association_mode="no_objects_associated")
    assert [each["name"] for each in (await world.call("GET", "?search=ONLY")).json()["results"]] == ["Only lead"]
    for_lead = (await world.call("GET", "?custom_object_id=lead")).json()
    for_contact = (await world.call("GET", "?custom_object_id=contact")).json()
    assert (for_lead["count"], for_contact["count"]) == (14, 13)
    with_bare = (await world.call("GET", "?custom_object_id=contact&show_no_objects_associated=true")).json()
    assert with_bare["results"][-1]["name"] == "Alone"
    page = (await world.call("GET", "?page=2&page_size=10")).json()
    assert (page["count"], len(page["results"]), page["next"], page["errors"]) == (15, 5, None, [])
    assert codes(await world.call("GET", "?custom_object_id=planet")) == {("custom_object_id", "does_not_exist")}
    assert (await world.call("GET", "?page_size=1001")).status_code == 400


async def test_record_objects_of_the_business_itself_are_named_by_id_as_they_are_shown(world: World) -> None:
    business_id = world.tenant.business_id
    policy = RecordObject(
        business_id=business_id, id=preset_id_of(business_id, "record_object", "policy"), version=1, name="Policy",
        api_name="policy", created_at=datetime.now(UTC),
    )  # fmt: skip
    async with world.database.work() as tx:
        await handlers.copy_objects(tx, [policy])
    named = [{"custom_object": {"id": str(policy.id)}}]
    made = await make(world, association_mode="selected_objects_associated", associated_objects=named)
    assert made["selected_objects"] == [{"id": str(policy.id), "api_name": "policy"}]
    assert (await world.call("GET", f"?custom_object_id={policy.id}")).json()["count"] == 14
    everyone = [{"custom_object": {"id": str(policy.id)}, "all": True}]
    logged = await world.log("inspection", related_objects=everyone)
    assert logged.json()["associated_entities"][0]["custom_object"]["api_name"] == "policy"


async def test_loggable_objects_are_listed_by_id_name_and_api_name(world: World) -> None:
    made = await make(world)
    found = (await world.call("GET", "/loggable")).json()
    assert found["count"] == 14
    assert {name: made[name] for name in ("id", "name", "api_name")} in found["results"]


async def test_a_copy_has_fields_and_rules_of_its_own(world: World) -> None:
    await make(world, icon="eye")
    outcome = await world.call(
        "POST",
        "/inspection/fields",
        {"display_name": "Outcome", "field_type": "dropdown", "options": [{"name": "Good"}, {"name": "Bad"}]},
    )
    reason = await world.call("POST", "/inspection/fields", {"display_name": "Reason", "field_type": "text"})
    bad = outcome.json()["options"][1]["id"]
    rule = {
        "match": "all",
        "conditions": [{"field_id": outcome.json()["id"], "operator": "is_any_of", "value": [bad]}],
        "target_field_ids": [reason.json()["id"]],
    }
    assert (await world.call("PUT", "/inspection/rules", [rule])).status_code == 200
    answer = await world.call("POST", "/inspection/duplicate")
    copy = answer.json()
    assert (answer.status_code, copy["name"], copy["api_name"]) == (201, "Inspection (copy)", "inspection_copy")
    assert [each["name"] for each in copy["fields"]] == ["notes", "outcome", "reason"]
    assert copy["fields"][1]["id"] != outcome.json()["id"]
    [copied] = copy["rules"]
    assert copied["conditions"][0]["field_id"] == copy["fields"][1]["id"]
    assert copied["conditions"][0]["value"] == [copy["fields"][1]["options"][1]["id"]]
    fields = [{"id": "outcome", "value": "good"}, {"id": "reason", "value": "x"}]
    assert codes(await world.log("inspection_copy", fields=fields)) == {("fields.reason", "hidden")}
    named = await world.call("POST", "/inspection/duplicate", {"name": "Other", "api_name": "other"})
    assert (named.json()["name"], named.json()["icon"]) == ("Other", "eye")


async def test_what_is_not_there_is_not_found(world: World) -> None:
    nothing = str(uuid7())
    for method, path, body in (
        ("GET", f"/{nothing}", None), ("PATCH", "/nothing", {"name": "x"}), ("DELETE", "/nothing", None),
        ("POST", "/nothing/duplicate", None), ("GET", "/nothing/fields", None), ("GET", "/call/fields/x", None),
        ("PUT", "/nothing/rules", []), ("POST", "/nothing/evaluate", {}), ("DELETE", "/call/fields/x", None),
    ):  # fmt: skip
        assert (await world.call(method, path, body)).status_code == 404, (method, path)


async def test_defaults_fill_what_a_schedule_leaves_out(world: World) -> None:
    await make(
        world,
        default_note="bring papers",
        default_delay_min=60,
        default_assignee={"employee_id": str(world.tenant.user_id)},
    )
    answer = await world.call("POST", "/scheduled-activity", {"activity_object_name": "inspection"})
    shown = answer.json()
    assert (shown["note"], shown["employee"]["name"]) == ("bring papers", "Ada")
    assert shown["due_datetime"] is not None
    own = await world.call("POST", "/scheduled-activity", {"activity_object_name": "inspection", "note": "mine"})
    assert own.json()["note"] == "mine"


async def test_of_objects_is_shown_what_fields_names(world: World) -> None:
    await world.log()
    [listed] = (await world.call("GET", "?search=site_vis&fields=name,order")).json()["results"]
    assert listed.keys() == {"id", "name", "order"}
    shown = (await world.call("GET", "/call?fields=n_submissions")).json()
    assert (shown.keys(), shown["n_submissions"]) == ({"id", "n_submissions"}, 1)
    for path in ("?fields=nothing", "/call?fields=nothing"):
        refused = await world.call("GET", path)
        assert (refused.status_code, codes(refused)) == (400, {("fields", "unknown_field")})


async def test_an_order_stays_within_its_bound(world: World) -> None:
    await make(world, name="Last", order=32_767)
    after = await make(world, name="After it")
    assert after["order"] == 32_767
