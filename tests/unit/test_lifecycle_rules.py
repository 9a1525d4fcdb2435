"""Advanced rules against an independent, naive model, and what each operator asks."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.contracts.activity import Link
from libs.contracts.activity_object import FieldRule, LinkedTo, ObjectField, RuleCondition
from services.lifecycle.domain.fields import compile_object
from services.lifecycle.domain.fields.kinds import KINDS, LINKED
from services.lifecycle.domain.fields.operators import OPERATORS
from services.lifecycle.domain.linked import as_now
from services.lifecycle.domain.rule_changes import check_rules
from tests.unit.test_lifecycle_fields import BLUE, MEMBER, RED, codes, definition, field

NAMES = ("a", "b", "c", "d", "e")


def number(name: str) -> ObjectField:
    return field("integer", name)


def rule(targets: list[str], *conditions: tuple[str, str, Any], match: Any = "all") -> FieldRule:
    return FieldRule(
        match=match,
        conditions=[
            RuleCondition(field_id=number(name).id, operator=word, value=value) for name, word, value in conditions
        ],
        target_field_ids=[number(name).id for name in targets],
    )


def test_a_linked_value_that_rules_hide_stays_on_its_record() -> None:
    place = LinkedTo(object="contact", name="budget")
    there = field(LINKED, "b", custom_field_type="integer", custom_object_field=place)
    shown = rule([], ("a", "equals", 1)).model_copy(update={"target_field_ids": [there.id]})
    compiled, contact = compile_object(definition(number("a"), there, rules=[shown])), UUID(int=7)
    links, living = [Link(object="contact", record_id=contact)], {contact: {"budget": 5}}
    assert as_now(compiled, {"a": 1}, links, living) == {"a": 1, "b": 5}
    assert as_now(compiled, {"a": 2, "b": 5}, links, living) == {"a": 2}
    checked = compiled.check([("a", 2)], logging=True, held={"a": 1, "b": 5})
    assert (checked.stored, checked.problems, checked.linked) == ({"a": 2}, [], {})


ASKED = st.tuples(
    st.sampled_from(["equals", "not_equals", "less_than", "at_least", "is_blank", "is_not_blank"]), st.integers(0, 2)
)


@st.composite
def rulings(draw: st.DrawFn) -> list[FieldRule]:
    """Rules without circles: in some order of the names, each asks of names before its targets'. In any order."""
    order = draw(st.permutations(NAMES))
    made = []
    for place in range(1, len(order)):
        if draw(st.booleans()):
            asked = draw(st.lists(st.tuples(st.sampled_from(order[:place]), ASKED), min_size=1, max_size=3))
            conditions = [(name, word, None if "blank" in word else value) for name, (word, value) in asked]
            made.append(rule([order[place]], *conditions, match=draw(st.sampled_from(["all", "any"]))))
    return draw(st.permutations(made))


def naive_hidden(rules: list[FieldRule], values: dict[str, int]) -> set[str]:
    """Ask again and again, field by field, whether a name is shown: written apart from the code, slow and plain."""
    by_id = {number(name).id: name for name in NAMES}

    def value_of(name: str) -> int | None:
        return values.get(name) if is_shown(name) else None

    def holds(condition: RuleCondition) -> bool:
        value, wanted = value_of(by_id[condition.field_id]), condition.value
        answers = {
            "equals": lambda: value == wanted and value is not None,
            "not_equals": lambda: value != wanted or value is None,
            "less_than": lambda: value is not None and value < wanted,
            "at_least": lambda: value is not None and value >= wanted,
            "is_blank": lambda: value is None,
            "is_not_blank": lambda: value is not None,
        }
        return bool(answers[condition.operator]())

    def is_shown(name: str) -> bool:
        for each in rules:
            if name in [by_id[target] for target in each.target_field_ids]:
                held = [holds(condition) for condition in each.conditions]
                return all(held) if each.match == "all" else any(held)
        return True

    return {name for name in NAMES if not is_shown(name)}


@given(rules=rulings(), values=st.dictionaries(st.sampled_from(NAMES), st.integers(0, 2)))
@settings(max_examples=200)
def test_rules_hide_what_a_naive_model_hides(rules: list[FieldRule], values: dict[str, int]) -> None:
    compiled = compile_object(definition(*map(number, NAMES), rules=rules))
    hidden = naive_hidden(rules, values)
    assert compiled.hidden(values) == hidden
    checked = compiled.check(values.items(), logging=True)
    refused = {problem.field.removeprefix("fields.") for problem in checked.problems if problem.code == "hidden"}
    assert refused == hidden & values.keys()


@given(rules=rulings(), values=st.dictionaries(st.sampled_from(NAMES), st.integers(0, 2)))
@settings(max_examples=200)
def test_required_fields_are_missed_only_where_they_are_shown(rules: list[FieldRule], values: dict[str, int]) -> None:
    fields = [number(name).model_copy(update={"is_required": True}) for name in NAMES]
    checked = compile_object(definition(*fields, rules=rules)).check(values.items(), logging=True)
    missed = {problem.field.removeprefix("fields.") for problem in checked.problems if problem.code == "required"}
    assert missed == set(NAMES) - naive_hidden(rules, values) - values.keys()


def shows(kind: str, operator: str, operand: Any, value: Any) -> bool:
    """Tell whether a field is shown by a rule that asks this of a value."""
    asked, target = field(kind, "asked"), field("text", "target")
    condition = RuleCondition(field_id=asked.id, operator=operator, value=operand)
    one = FieldRule(conditions=[condition], target_field_ids=[target.id])
    checked = compile_object(definition(asked, target, rules=[one])).check([("asked", value)], logging=False)
    assert checked.problems == []
    return "target" not in checked.hidden


@pytest.mark.parametrize(
    ("kind", "operator", "operand", "value", "holds"),
    [
        ("text", "equals", "Won", "won", True),
        ("text", "contains", "FUND", "refund", True),
        ("text", "not_contains", "x", None, True),
        ("text", "starts_with", "re", "Refund", True),
        ("money", "equals", "1", "1.00", True),
        ("money", "greater_than", "9", "10.00", True),
        ("decimal", "at_most", "0.5", "0.50", True),
        ("rating", "less_than", 3, None, False),
        ("date", "on_or_after", "2026-01-31", "2026-01-31", True),
        ("datetime", "before", "2026-01-31T09:00:00.5Z", "2026-01-31T10:00:00+01:00", True),
        ("checkbox", "equals", False, False, True),
        ("checkbox", "equals", False, None, False),
        ("dropdown", "equals", "red", RED.id, True),
        ("dropdown", "is_any_of", ["red", "blue"], "blue", True),
        ("dropdown", "is_none_of", ["red"], None, True),
        ("dropdown", "not_equals", "red", None, True),
        ("checkboxes", "contains", ["red"], ["red", "blue"], True),
        ("checkboxes", "contains", ["red", "blue"], ["red"], False),
        ("checkboxes", "is_any_of", ["red", "blue"], [BLUE.id], True),
        ("choices", "equals", ["blue", "red"], ["red", "blue"], True),
        ("dynamictags", "contains", "VIP", ["vip", "new"], True),
        ("team_selector", "is_any_of", MEMBER, MEMBER, True),
        ("relationship", "not_contains", [MEMBER], [MEMBER], False),
        ("yesnomaybe", "equals", "no", "maybe", False),
        ("files", "is_not_blank", None, "https://a.example/x", True),
        ("phonenumber", "is_blank", None, "", True),
    ],
)
def test_an_operator_asks_by_the_kind(kind: str, operator: str, operand: Any, value: Any, holds: bool) -> None:
    assert shows(kind, operator, operand, value) is holds


def test_every_kind_can_be_asked_for_blank() -> None:
    assert all("is_blank" in OPERATORS[kind.family] for kind in KINDS.values())


def test_a_change_that_would_hide_a_value_has_to_take_it_away() -> None:
    fields = [number("a"), number("b")]
    compiled = compile_object(definition(*fields, rules=[rule(["b"], ("a", "equals", 1))]))
    held = {"a": 1, "b": 2}
    assert codes(compiled.check([("a", 2)], logging=False, held=held)) == [("fields.b", "hidden")]
    taken = compiled.check([("a", 2), ("b", None)], logging=False, held=held)
    assert (taken.stored, taken.problems) == ({"a": 2}, [])
    assert compiled.check([("a", 1)], logging=False, held=held).stored == held


def test_a_rule_about_a_field_or_option_that_is_gone_hides_its_targets() -> None:
    fields = [field("dropdown", "a", options=[BLUE]), number("b")]
    gone = FieldRule(
        conditions=[RuleCondition(field_id=fields[0].id, operator="equals", value="red")],
        target_field_ids=[fields[1].id],
    )
    assert compile_object(definition(*fields, rules=[gone])).hidden({}) == {"b"}


@given(
    asked=st.dictionaries(
        st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True), max_size=5
    )
)
def test_circles_and_only_circles_are_refused(asked: dict[str, list[str]]) -> None:
    """`asked`: by target what its rule asks of. A circle: something that can be reached from itself."""
    reached = {target: set(of) for target, of in asked.items()}
    for _ in NAMES:
        for of in reached.values():
            of |= {further for each in of for further in reached.get(each, set())}
    rules = [rule([target], *((name, "is_blank", None) for name in of)) for target, of in asked.items()]
    problems = check_rules(rules, {number(name).id: number(name) for name in NAMES})
    assert [problem.code for problem in problems] == ["cycle"] * any(target in of for target, of in reached.items())
