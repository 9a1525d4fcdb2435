"""Advanced rules: a target is hidden unless its rule holds (design: advanced rules).

The value of a field that is hidden counts as blank, so rules are evaluated in the order of what they depend on.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from libs.contracts.activity_object import FieldRule, ObjectField, RuleCondition
from services.lifecycle.domain.fields.kinds import KINDS, kind_of
from services.lifecycle.domain.fields.operators import EACH, OPERATORS, TEXT_PARTS, Operator, Test
from services.lifecycle.domain.fields.wrong import Check, Wrong, must_be_text


class Asked(NamedTuple):
    """A condition made ready: which field, and what is asked of its value."""

    field: str
    holds: Test


class _Rule(NamedTuple):
    every: bool
    asked: tuple[Asked, ...]
    targets: frozenset[str]

    def holds(self, values: Mapping[str, Any], hidden: set[str]) -> bool:
        found = (each.holds(None if each.field in hidden else values.get(each.field)) for each in self.asked)
        return all(found) if self.every else any(found)


class Ruling:
    """The rules of an object, in the order of what they depend on."""

    __slots__ = ("_rules",)

    def __init__(self, rules: Sequence[_Rule]) -> None:
        self._rules = rules

    def hidden(self, values: Mapping[str, Any], always: frozenset[str] = frozenset()) -> frozenset[str]:
        """Name the fields that are hidden while these values are stored; those in `always` are in any case."""
        if not self._rules:
            return always
        hidden = set(always)
        for rule in self._rules:
            if not rule.holds(values, hidden):
                hidden |= rule.targets
        return frozenset(hidden)


def compile_rules(rules: Iterable[FieldRule], fields: Iterable[ObjectField], checks: Mapping[str, Check]) -> Ruling:
    """Make saved rules ready. What refers to a field or option that is gone since does not hold."""
    by_id = {field.id: field for field in fields}
    ready = []
    for rule in rules:
        targets = frozenset(by_id[each].name for each in rule.target_field_ids if each in by_id)
        asked = tuple(_ask(each, by_id, checks) for each in rule.conditions)
        ready.append(_Rule(rule.match == "all", asked, targets))
    return Ruling(_in_order(ready))


def prepare(condition: RuleCondition, field: ObjectField, check: Check) -> Test:
    """Make a condition on a field ready. Raises Wrong: no such operator for its kind, or an operand it cannot have."""
    family = KINDS[kind_of(field)].family
    operators = OPERATORS[family]
    operator = operators.get(condition.operator)
    if operator is None:
        message = f"is {condition.operator[:100]!r}; for {kind_of(field)} there are {', '.join(operators)}"
        raise Wrong("operator_unknown", message)
    return operator.prepare(_operand(condition, operator, family, check))


def _operand(condition: RuleCondition, operator: Operator, family: str, check: Check) -> Any:
    value = condition.value
    if operator.takes == "nothing":
        if value is not None:
            raise Wrong("operand_not_allowed", f"is not taken by {condition.operator}")
        return None
    if value is None or value in ("", []):
        raise Wrong("operand_required", f"is required by {condition.operator}")
    if family == "text" and condition.operator in TEXT_PARTS:
        return must_be_text(value)
    if operator.takes == "several" and family in EACH:
        return [check(each) for each in (value if isinstance(value, list) else [value])]
    if operator.takes == "several" and not isinstance(value, list):
        value = [value]
    return check(value)


def _ask(condition: RuleCondition, by_id: Mapping[str, ObjectField], checks: Mapping[str, Check]) -> Asked:
    field = by_id.get(condition.field_id)
    if field is None:
        return Asked("", _never)
    try:
        return Asked(field.name, prepare(condition, field, checks[field.name]))
    except Wrong:
        return Asked(field.name, _never)


def _never(_: Any) -> bool:
    return False


def _in_order(rules: list[_Rule]) -> list[_Rule]:
    """Put rules behind those that decide whether their conditions' fields are hidden; those in a circle as given."""
    ordered: list[_Rule] = []
    pending = list(rules)
    while pending:
        open_targets = frozenset[str]().union(*(rule.targets for rule in pending))
        free = [rule for rule in pending if not any(each.field in open_targets for each in rule.asked)] or pending
        ordered += free
        pending = [rule for rule in pending if rule not in free]
    return ordered
