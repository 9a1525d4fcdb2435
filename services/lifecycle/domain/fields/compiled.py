"""An activity object's fields and rules, made ready once for each version of it."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from uuid import UUID

from libs.contracts.activity_object import ActivityObject, LinkedTo, ObjectField
from libs.errors import Problem
from services.lifecycle.domain.fields.kinds import checker_of, is_blank, kind_of
from services.lifecycle.domain.fields.listing import live_fields
from services.lifecycle.domain.fields.references import REFERRING, Reference, referred_to
from services.lifecycle.domain.fields.rules import Ruling, compile_rules
from services.lifecycle.domain.fields.wrong import Check, Wrong

COMPILED_MAX = 4_096
"""Definitions that are kept ready at a time."""


class Checked(NamedTuple):
    """What values came to. `stored`: all values of the activity after them, by name; `problems`: all that is wrong.

    `hidden` names the fields that rules or the definition hide now. `linked` holds those of the given values that live
    on a record, by field name (None: to be taken away), `references` what the given values refer to.
    """

    stored: dict[str, Any]
    problems: list[Problem]
    hidden: frozenset[str]
    linked: dict[str, Any]
    references: list[Reference]


class Compiled:
    """The fields and rules of one version of an activity object."""

    __slots__ = (
        "_always_hidden", "_checks", "_elsewhere", "_required", "_ruling", "api_name", "by_word", "fields", "linked",
    )  # fmt: skip

    def __init__(self, definition: ActivityObject) -> None:
        self.api_name = definition.api_name
        live = live_fields(definition)
        self.fields: dict[str, ObjectField] = {each.name: each for each in live}
        self.linked: dict[str, LinkedTo] = {
            each.name: each.custom_object_field for each in live if each.custom_object_field is not None
        }
        self.by_word = {each.id: each.name for each in live} | {each.name: each.name for each in live}
        self._checks: dict[str, Check] = {each.name: checker_of(each) for each in live}
        self._elsewhere = {each.name for each in live if each.name in self.linked or kind_of(each) in REFERRING}
        self._required = [each.name for each in live if each.is_required and not each.is_read_only]
        self._always_hidden = frozenset(each.name for each in live if each.is_hidden)
        self._ruling: Ruling = compile_rules(definition.rules, live, self._checks)

    def needs_nothing(self, *, logging: bool) -> bool:
        """Tell whether an activity without any values is right as it is."""
        return not (logging and self._required)

    def check(
        self, values: Iterable[tuple[str, Any]], *, logging: bool, held: Mapping[str, Any] | None = None
    ) -> Checked:
        """Check values, given as (field's id or name, value), on top of those `held`; a blank one takes a value away.

        All problems are named at once, each by `fields.<name>`. Required fields are enforced when `logging`, unless
        they are hidden or read-only. Values of hidden fields are refused, also where the given ones hide what is held.
        """
        problems: list[Problem] = []
        given = self._read(values, problems)
        stored = {name: value for name, value in {**(held or {}), **given}.items() if value is not None}
        hidden = self._ruling.hidden(stored, self._always_hidden)
        if hidden:
            self._refuse_hidden(given, held, hidden, problems)
            for name in self.linked.keys() & hidden - given.keys():
                stored.pop(name, None)  # it stays on its record
        if logging:
            problems += [
                Problem(f"fields.{name}", "required", f"is required for activities of type {self.api_name!r}")
                for name in self._required
                if name not in stored and name not in hidden and not _named(problems, name)
            ]
        linked, references = self._aside(given)
        return Checked(stored, problems, hidden, linked, references)

    def taken(self, name: str, value: Any) -> Any:
        """Give a value that a record has as a field stores it; None: it says nothing, or the field does not take it."""
        try:
            return None if is_blank(value) else self._stored(name, value)
        except Wrong:
            return None

    def hidden(self, stored: Mapping[str, Any]) -> frozenset[str]:
        """Name the fields that are hidden while these values are stored."""
        return self._ruling.hidden(stored, self._always_hidden)

    def _read(self, values: Iterable[tuple[str, Any]], problems: list[Problem]) -> dict[str, Any]:
        given: dict[str, Any] = {}
        for word, value in values:
            name = self.by_word.get(word)
            if name is None:
                message = f"{word[:100]!r} is not a field of {self.api_name!r}; it has {', '.join(self.fields)}"
                problems.append(Problem(f"fields.{word[:100]}", "unknown_field", message))
            elif name in given:
                problems.append(Problem(f"fields.{name}", "twice", "is given twice"))
            elif self.fields[name].is_read_only and not is_blank(value):
                problems.append(Problem(f"fields.{name}", "read_only", "is read-only"))
            else:
                try:
                    given[name] = None if is_blank(value) else self._stored(name, value)
                except Wrong as wrong:
                    given[name] = None
                    problems.append(Problem(f"fields.{name}", wrong.code, wrong.message))
        return given

    def _stored(self, name: str, value: Any) -> Any:
        stored = self._checks[name](value)
        return None if is_blank(stored) else stored

    def _refuse_hidden(
        self,
        given: Mapping[str, Any],
        held: Mapping[str, Any] | None,
        hidden: frozenset[str],
        problems: list[Problem],
    ) -> None:
        """Refuse values of hidden fields: those given, and those held that only the given ones hide."""
        shown = hidden - self.hidden(held) if held else frozenset()
        for name in sorted(hidden, key=list(self.fields).index):
            if given.get(name) is not None:
                problems.append(Problem(f"fields.{name}", "hidden", "is hidden and takes no value"))
            elif held and name in shown and name in held and name not in given and name not in self.linked:
                message = "would be hidden, and has a value; take it away in the same request (null)"
                problems.append(Problem(f"fields.{name}", "hidden", message))

    def _aside(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Reference]]:
        linked: dict[str, Any] = {}
        references: list[Reference] = []
        for name, value in given.items():
            if name not in self._elsewhere:
                continue
            definition = self.fields[name]
            if definition.custom_object_field is not None:
                linked[name] = value
            if value is not None:
                references += referred_to(definition, kind_of(definition), value)
        return linked, references


_ready: dict[tuple[UUID, UUID, int], Compiled] = {}


def compile_object(definition: ActivityObject) -> Compiled:
    """Make the fields and rules of a definition ready for checking values."""
    return Compiled(definition)


def compiled_of(definition: ActivityObject) -> Compiled:
    """Give the compiled form of a saved definition, made once for each version."""
    key = (definition.business_id, definition.id, definition.version)
    found = _ready.get(key)
    if found is None:
        if len(_ready) >= COMPILED_MAX:
            _ready.clear()
        found = _ready[key] = compile_object(definition)
    return found


def _named(problems: Iterable[Problem], name: str) -> bool:
    return any(problem.field == f"fields.{name}" for problem in problems)
