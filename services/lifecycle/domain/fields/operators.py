"""What rules may ask of a value, by the family of its kind. A blank value is equal to nothing and contains nothing."""

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from services.lifecycle.domain.fields.kinds import Family

Test = Callable[[Any], bool]
"""Asks a stored value; None is a blank one."""


class Operator(NamedTuple):
    """A comparison: made ready for an operand, it is a test. `takes`: nothing, one operand, or a list of them."""

    takes: str
    prepare: Callable[[Any], Test]


def _same(value: Any) -> Any:
    return value


def _folded(value: Any) -> Any:
    return value.casefold()


def _id(value: Any) -> Any:
    return value["id"]


def _ids(value: Any) -> Any:
    return frozenset(each["id"] for each in value)


def _blank() -> dict[str, Operator]:
    return {
        "is_blank": Operator("nothing", lambda _: lambda value: value is None),
        "is_not_blank": Operator("nothing", lambda _: lambda value: value is not None),
    }


def _not(operator: Operator) -> Operator:
    def prepare(operand: Any) -> Test:
        test = operator.prepare(operand)
        return lambda value: not test(value)

    return Operator(operator.takes, prepare)


def _comparing(read: Callable[[Any], Any], compare: Callable[[Any, Any], bool], takes: str = "one") -> Operator:
    def prepare(operand: Any) -> Test:
        wanted = frozenset(read(each) for each in operand) if takes == "several" else read(operand)
        return lambda value: value is not None and compare(read(value), wanted)

    return Operator(takes, prepare)


def _equal(read: Callable[[Any], Any]) -> dict[str, Operator]:
    equals = _comparing(read, lambda value, wanted: bool(value == wanted))
    return {"equals": equals, "not_equals": _not(equals)}


def _among(read: Callable[[Any], Any]) -> dict[str, Operator]:
    among = _comparing(read, lambda value, wanted: value in wanted, "several")
    return {"is_any_of": among, "is_none_of": _not(among)}


def _ordered(read: Callable[[Any], Any], words: tuple[str, str, str, str]) -> dict[str, Operator]:
    less, more, at_most, at_least = words
    return {
        less: _comparing(read, lambda value, wanted: bool(value < wanted)),
        more: _comparing(read, lambda value, wanted: bool(value > wanted)),
        at_most: _comparing(read, lambda value, wanted: bool(value <= wanted)),
        at_least: _comparing(read, lambda value, wanted: bool(value >= wanted)),
    }


def _holding() -> dict[str, Operator]:
    """Compare sets of options or records by their ids; the operand of each is a list."""
    contains = Operator("several", lambda operand: lambda value: value is not None and _ids(operand) <= _ids(value))
    any_of = Operator("several", lambda operand: lambda value: value is not None and bool(_ids(operand) & _ids(value)))
    equals = Operator("several", lambda operand: lambda value: value is not None and _ids(operand) == _ids(value))
    return {
        "contains": contains, "not_contains": _not(contains), "is_any_of": any_of, "is_none_of": _not(any_of),
        "equals": equals, "not_equals": _not(equals),
    }  # fmt: skip


_CONTAINS = _comparing(_folded, lambda value, wanted: wanted in value)
_STARTS = _comparing(_folded, lambda value, wanted: value.startswith(wanted))
_ORDER = ("less_than", "greater_than", "at_most", "at_least")
_TIMES = ("before", "after", "on_or_before", "on_or_after")

OPERATORS: Mapping[Family, Mapping[str, Operator]] = {
    "text": {
        **_equal(_folded), "contains": _CONTAINS, "not_contains": _not(_CONTAINS), "starts_with": _STARTS, **_blank(),
    },
    "number": {**_equal(Decimal), **_ordered(Decimal, _ORDER), **_blank()},
    "day": {**_equal(_same), **_ordered(_same, _TIMES), **_blank()},
    "instant": {**_equal(datetime.fromisoformat), **_ordered(datetime.fromisoformat, _TIMES), **_blank()},
    "flag": {**_equal(_same), **_blank()},
    "one": {**_equal(_id), **_among(_id), **_blank()},
    "several": {**_holding(), **_blank()},
    "member": {**_equal(_id), **_among(_id), **_blank()},
    "records": {**_holding(), **_blank()},
    "files": _blank(),
}  # fmt: skip
"""Texts are compared without regard to capitals, choices and references by id, numbers by value."""

TEXT_PARTS = frozenset({"contains", "not_contains", "starts_with"})
"""Operators on texts whose operand is a part of a value, and need not be a value itself."""
EACH = frozenset({"one", "member"})
"""Families in which a list of operands is a list of values; elsewhere the list is itself a value."""
