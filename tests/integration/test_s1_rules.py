"""Advanced rules over HTTP and in reports, line by line (design: advanced rules)."""

from typing import Any

import pytest

from tests.integration.test_lifecycle_reports import admit, answers, report
from tests.integration.test_lifecycle_routes import World, world
from tests.integration.test_s1_fields import add, value, values
from tests.integration.test_s1_objects import codes

__all__ = ("world",)


def rule(targets: list[str], *conditions: tuple[str, str, Any], match: str = "all") -> dict[str, Any]:
    asked = [{"field_id": name, "operator": operator, "value": operand} for name, operator, operand in conditions]
    return {"match": match, "conditions": asked, "target_field_ids": targets}


async def put(world: World, *rules: dict[str, Any]) -> Any:
    return await world.call("PUT", "/call/rules", list(rules))


@pytest.fixture
async def form(world: World) -> World:
    """A call with an outcome, and a reason that has to be given for a bad one."""
    await add(world, "dropdown", "outcome")
    await add(world, "text", "reason", is_required=True)
    assert (await put(world, rule(["reason"], ("outcome", "equals", "red")))).status_code == 200
    return world


async def test_rules_are_shown_as_they_were_saved_and_can_be_sent_back(form: World) -> None:
    fields = {each["name"]: each["id"] for each in (await form.call("GET", "/call/fields")).json()}
    shown = await form.call("GET", "/call/rules")
    [one] = shown.json()
    assert one["conditions"] == [{"field_id": fields["outcome"], "operator": "equals", "value": "red"}]
    assert (one["target_field_ids"], one["match"], one["warnings"]) == ([fields["reason"]], "all", [])
    again = await form.call("PUT", "/call/rules", shown.json())
    assert (again.json(), again.headers["etag"]) == (shown.json(), shown.headers["etag"])
    assert (await form.call("GET", "/call")).json()["visibility_rules"] == shown.json()
    assert (await form.call("PUT", "/call/rules", shown.json(), If_Match='"1"')).status_code == 412


async def test_a_target_is_hidden_unless_its_rule_holds_on_log(form: World) -> None:
    assert (await form.log()).status_code == 201
    assert codes(await form.log(fields=[value("outcome", "red")])) == {("fields.reason", "required")}
    assert codes(await form.log(fields=[value("outcome", "blue"), value("reason", "x")])) == {
        ("fields.reason", "hidden")
    }
    both = await form.log(fields=[value("outcome", "red"), value("reason", "late")])
    assert values(both)["reason"] == "late"


async def test_a_target_is_hidden_unless_its_rule_holds_on_schedule_and_change(form: World) -> None:
    hidden = [value("outcome", "blue"), value("reason", "x")]
    body = {"activity_object_name": "call", "fields": hidden}
    assert codes(await form.call("POST", "/scheduled-activity", body)) == {("fields.reason", "hidden")}
    planned = await form.schedule(fields=[value("outcome", "red"), value("reason", "late")])
    path = f"/scheduled-activity/{planned['id']}"
    turned = await form.call("PATCH", path, {"fields": [value("outcome", "blue")]})
    assert codes(turned) == {("fields.reason", "hidden")}
    taken = await form.call("PATCH", path, {"fields": [value("outcome", "blue"), value("reason", None)]})
    assert list(values(taken)) == ["outcome"]


async def test_a_target_is_hidden_unless_its_rule_holds_on_report(form: World) -> None:
    business = form.tenant.business_id
    await admit(
        form.database,
        report(business, "log", "a", type="call", fields={"outcome": "blue", "reason": "x"}),
        report(business, "log", "b", type="call", fields={"outcome": "red"}),
        report(business, "schedule", "c", type="call", fields={"reason": "x"}),
        report(business, "log", "d", type="call", fields={"outcome": "red", "reason": "late"}),
        report(business, "log", "e", type="call"),
    )
    told = [(each.outcome, [reason.code for reason in each.reasons]) for each in await answers(form.database)]
    assert told == [
        ("refused", ["hidden"]), ("refused", ["required"]), ("refused", ["hidden"]), ("applied", []), ("applied", []),
    ]  # fmt: skip


async def test_all_or_any_of_the_conditions_have_to_hold(world: World) -> None:
    for name in ("a", "b", "c", "d"):
        await add(world, "integer", name)
    conditions = (("a", "greater_than", 1), ("b", "is_not_blank", None))
    await put(world, rule(["c"], *conditions), rule(["d"], *conditions, match="any"))
    both = [value("c", 1), value("d", 1)]
    assert codes(await world.log(fields=[value("a", 2), *both])) == {("fields.c", "hidden")}
    assert codes(await world.log(fields=[value("a", 1), *both])) == {("fields.c", "hidden"), ("fields.d", "hidden")}
    assert (await world.log(fields=[value("a", 2), value("b", 0), *both])).status_code == 201


async def test_a_rule_about_a_hidden_field_does_not_hold(world: World) -> None:
    for name in ("a", "b", "c"):
        await add(world, "checkbox", name)
    await put(world, rule(["c"], ("b", "not_equals", True)), rule(["b"], ("a", "equals", True)))
    assert (await world.log(fields=[value("c", True)])).status_code == 201
    chain = [value("a", True), value("b", True), value("c", True)]
    assert codes(await world.log(fields=chain)) == {("fields.c", "hidden")}


async def test_what_cannot_be_right_is_refused_on_saving_all_at_once(world: World) -> None:
    for name in ("a", "b", "c"):
        await add(world, "integer", name)
    answer = await put(
        world,
        rule(["b", "nothing"], ("a", "sounds_like", 1), ("none", "equals", 1)),
        rule(["b"], ("a", "equals", "x"), ("a", "is_blank", 1)),
        rule([]),
    )
    assert codes(answer) == {
        ("rules.0.conditions.0.operator", "operator_unknown"), ("rules.0.conditions.1.field_id", "does_not_exist"),
        ("rules.0.target_field_ids.1", "does_not_exist"), ("rules.1.target_field_ids.0", "double_target"),
        ("rules.1.conditions.0.value", "not_integer"), ("rules.1.conditions.1.value", "operand_not_allowed"),
        ("rules.2.conditions", "required"), ("rules.2.target_field_ids", "required"),
    }  # fmt: skip
    assert (await world.call("GET", "/call/rules")).json() == []


async def test_circles_are_refused_on_saving_and_named(world: World) -> None:
    for name in ("a", "b", "c"):
        await add(world, "integer", name)
    circle = [rule([to], (of, "is_not_blank", None)) for of, to in (("a", "b"), ("b", "c"), ("c", "a"))]
    answer = await put(world, *circle)
    assert {code for _, code in codes(answer)} == {"cycle"}
    assert "'a' → " in answer.json()["errors"][0]["message"]
    assert {code for _, code in codes(await put(world, rule(["a"], ("a", "is_blank", None))))} == {"cycle"}
    assert (await put(world, *circle[:2])).status_code == 200


async def test_read_only_and_required_together_is_a_warning(world: World) -> None:
    await add(world, "integer", "a")
    await add(world, "text", "b", is_required=True, is_read_only=True)
    answer = await put(world, rule(["b"], ("a", "is_not_blank", None)))
    assert [each["code"] for each in answer.json()[0]["warnings"]] == ["required_read_only"]
    assert (await world.log(fields=[value("a", 1)])).status_code == 201


async def test_a_field_that_a_rule_uses_is_not_deleted(form: World) -> None:
    for name in ("outcome", "reason"):
        assert (await form.call("DELETE", f"/call/fields/{name}")).json()["code"] == "in_use"
    await put(form)
    assert (await form.call("DELETE", "/call/fields/reason")).status_code == 204


async def test_a_form_is_evaluated_as_it_stands(form: World) -> None:
    ids = {each["name"]: each["id"] for each in (await form.call("GET", "/call/fields")).json()}

    async def evaluate(*given: dict[str, Any], **more: Any) -> dict[str, Any]:
        answer = await form.call("POST", "/call/evaluate", {"fields": list(given)} | more)
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    empty = await evaluate()
    assert empty["visible_field_ids"] == [ids["notes"], ids["outcome"]]
    assert (empty["hidden_field_ids"], empty["required_field_ids"], empty["problems"]) == ([ids["reason"]], [], [])
    red = await evaluate(value("outcome", "red"))
    assert (red["hidden_field_ids"], red["required_field_ids"]) == ([], [ids["reason"]])
    assert [each["code"] for each in red["problems"]] == ["required"]
    assert (await evaluate(value("outcome", "red"), logging=False))["problems"] == []
    wrong = await evaluate(value("outcome", "green"), value("reason", "x"))
    assert [each["code"] for each in wrong["problems"]] == ["not_an_option", "hidden"]


async def test_rules_hold_from_the_moment_they_are_saved(form: World) -> None:
    assert (await form.log(fields=[value("outcome", "blue")])).status_code == 201
    await put(form, rule(["reason"], ("outcome", "equals", "blue")))
    assert codes(await form.log(fields=[value("outcome", "blue")])) == {("fields.reason", "required")}
