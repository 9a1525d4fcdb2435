"""Rules are checked before they are saved: nothing unknown, one rule for each target, no circles."""

from collections.abc import Iterator, Mapping, Sequence

from libs.contracts import activity_object as contract
from libs.errors import Problem
from services.lifecycle.domain.fields.kinds import checker_of
from services.lifecycle.domain.fields.rules import prepare
from services.lifecycle.domain.fields.wrong import Wrong

RULES_MAX = 200
CONDITIONS_MAX = 50


def check_rules(rules: Sequence[contract.FieldRule], fields: Mapping[str, contract.ObjectField]) -> list[Problem]:
    """Name everything that is wrong with rules; `fields` are the live ones by id."""
    problems: list[Problem] = []
    decided: dict[str, int] = {}
    for place, rule in enumerate(rules):
        problems += _check_conditions(f"rules.{place}", rule, fields)
        problems += _check_targets(place, rule, fields, decided)
    return problems or list(_circles(rules, fields))


def uses(rules: Sequence[contract.FieldRule], field_id: str) -> bool:
    """Tell whether a rule asks of a field or decides about it."""
    return any(
        field_id in rule.target_field_ids or any(each.field_id == field_id for each in rule.conditions)
        for rule in rules
    )


def warnings_of(rule: contract.FieldRule, fields: Mapping[str, contract.ObjectField]) -> list[dict[str, str]]:
    """Say what can be saved and yet is hardly meant."""
    found = []
    for place, target in enumerate(rule.target_field_ids):
        field = fields.get(target)
        if field is not None and field.is_required and field.is_read_only:
            message = f"{field.name!r} is required and read-only: nobody can fill it in when it is shown"
            found.append({"field": f"target_field_ids.{place}", "code": "required_read_only", "message": message})
    return found


def _check_conditions(
    path: str, rule: contract.FieldRule, fields: Mapping[str, contract.ObjectField]
) -> Iterator[Problem]:
    if not rule.conditions:
        yield Problem(f"{path}.conditions", "required", "is required: at least one condition")
    for place, condition in enumerate(rule.conditions):
        field = fields.get(condition.field_id)
        where = f"{path}.conditions.{place}"
        if field is None:
            message = f"{condition.field_id[:100]!r} is not a field of this object"
            yield Problem(f"{where}.field_id", "does_not_exist", message)
            continue
        try:
            prepare(condition, field, checker_of(field))
        except Wrong as wrong:
            name = "operator" if wrong.code == "operator_unknown" else "value"
            yield Problem(f"{where}.{name}", wrong.code, wrong.message)


def _check_targets(
    number: int, rule: contract.FieldRule, fields: Mapping[str, contract.ObjectField], decided: dict[str, int]
) -> Iterator[Problem]:
    path = f"rules.{number}.target_field_ids"
    if not rule.target_field_ids:
        yield Problem(path, "required", "is required: at least one field")
    for place, target in enumerate(rule.target_field_ids):
        if target not in fields:
            yield Problem(f"{path}.{place}", "does_not_exist", f"{target[:100]!r} is not a field of this object")
        elif target in decided:
            message = f"{fields[target].name!r} is the target of rule {decided[target]} already; one rule decides"
            yield Problem(f"{path}.{place}", "double_target", message)
        decided.setdefault(target, number)


def _circles(rules: Sequence[contract.FieldRule], fields: Mapping[str, contract.ObjectField]) -> Iterator[Problem]:
    """Name one circle: fields that would decide about themselves."""
    asks = {target: {each.field_id for each in rule.conditions} for rule in rules for target in rule.target_field_ids}
    place = {target: number for number, rule in enumerate(rules) for target in rule.target_field_ids}
    done: set[str] = set()
    for start in asks:
        path: list[str] = []
        circle = _walk(start, asks, path, done)
        if circle:
            names = " → ".join(repr(fields[each].name) for each in circle)
            message = f"makes a circle: {names}; a field cannot decide about itself"
            yield Problem(f"rules.{place[circle[0]]}", "cycle", message)
            return


def _walk(start: str, asks: Mapping[str, set[str]], path: list[str], done: set[str]) -> list[str]:
    """Follow what fields ask of, deep first and without recursion; give the first circle found, closed."""
    stack = [iter(sorted(asks.get(start, ())))]
    path.append(start)
    while stack:
        after = next(stack[-1], None)
        if after is None:
            stack.pop()
            done.add(path.pop())
        elif after in path:
            return [*path[path.index(after) :], after]
        elif after not in done:
            path.append(after)
            stack.append(iter(sorted(asks.get(after, ()))))
    return []
