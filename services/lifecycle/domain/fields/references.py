"""Kinds whose value refers to something: team_selector (a member), relationship (records), files.

Only the form is checked here. Whether a member or record exists is for the caller to look up (`referred_to`).
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID

from libs.contracts.activity_object import ObjectField
from services.lifecycle.domain.fields.wrong import Check, Wrong, shown

REFERENCES_MAX = 50
REFERRING = ("team_selector", "relationship")
"""The kinds whose values `referred_to` finds something in."""
URL_MAX = 2_000
_URL = re.compile(r"https?://[^\s<>\"\x00-\x20]+")


class Reference(NamedTuple):
    """What a value refers to: a member (`object` is None), or a record of `object`."""

    field: str
    object: str | None
    id: UUID


def team_selector(_: ObjectField) -> Check:
    """Check a member's id; stored as `{"id"}`."""

    def check(value: object) -> dict[str, str]:
        found = _uuid_of(value, ("id", "member_id", "employee_id"))
        if found is None:
            raise Wrong("not_a_member", f"is {shown(value)}; give a member's id")
        return {"id": found}

    return check


def relationship(field: ObjectField) -> Check:
    """Check records of the field's object: one or a list of ids; stored as a list of `{"object", "id"}`."""
    name = field.relation or ""

    def check(value: object) -> list[dict[str, str]]:
        chosen = {}
        for each in _bounded(value):
            found = _uuid_of(each, ("id", "record_id", "entity_id"))
            if found is None or (isinstance(each, Mapping) and each.get("object", name) != name):
                raise Wrong("not_a_record", f"has {shown(each)}; give ids of records of {name!r}")
            chosen[found] = {"object": name, "id": found}
        return list(chosen.values())

    return check


def files(_: ObjectField) -> Check:
    """Check files: one or a list of file ids or http(s) addresses; stored as a list."""

    def check(value: object) -> list[str]:
        chosen = {}
        for each in _bounded(value):
            given = each.get("id") or each.get("url") if isinstance(each, Mapping) else each
            found = _uuid_of(given, ())
            if found is None and isinstance(given, str) and len(given) <= URL_MAX and _URL.fullmatch(given):
                found = given
            if found is None:
                message = f"has {shown(each)}; give file ids or http(s) addresses of up to {URL_MAX} characters"
                raise Wrong("not_a_file", message)
            chosen[found] = found
        return list(chosen)

    return check


def referred_to(field: ObjectField, kind: str, stored: Any) -> list[Reference]:
    """Name what a stored value refers to."""
    if kind == "team_selector":
        return [Reference(field.name, None, UUID(stored["id"]))]
    if kind == "relationship":
        return [Reference(field.name, each["object"], UUID(each["id"])) for each in stored]
    return []


def _bounded(value: object) -> list[Any]:
    many = value if isinstance(value, list) else [value]
    if len(many) > REFERENCES_MAX:
        raise Wrong("too_many", f"has {len(many)} values; at most {REFERENCES_MAX} are taken")
    return many


def _uuid_of(value: object, names: tuple[str, ...]) -> str | None:
    if isinstance(value, Mapping):
        value = next((value[name] for name in names if name in value), None)
    if not isinstance(value, str) or len(value) != 36:
        return None
    try:
        return str(UUID(value))
    except ValueError:
        return None
