"""Kinds whose value is chosen: checkbox, and one or several of a field's options.

An option is given by its id, its code, or an object with one of them (or its name); it is stored as
`{"id", "name", "code"}`, as it was called then.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from libs.contracts.activity_object import FieldOption, ObjectField
from libs.contracts.decoding import struct_of
from libs.contracts.ids import uuid5
from services.lifecycle.domain.fields.wrong import Check, Wrong, shown

CHOSEN_MAX = 100
TAG_MAX = 100
NAMED_MAX = 20

YES_NO_MAYBE = (("yes", "Yes"), ("no", "No"), ("maybe", "Maybe"))

Option = dict[str, str]
_Option = struct_of(FieldOption)


def checkbox(_: ObjectField) -> Check:
    """Check true or false."""

    def check(value: object) -> bool:
        if value is not True and value is not False:
            raise Wrong("not_boolean", f"is {shown(value)}; give true or false")
        return value

    return check


def one(field: ObjectField) -> Check:
    """Check one of the field's options."""
    known = _by_word(field.options)
    allowed = _names(field.options)

    def check(value: object) -> Option:
        found = known.get(_word_of(value))
        if found is None:
            raise Wrong("not_an_option", f"is {shown(value)}; give one of {allowed}")
        return dict(found)

    return check


def several(field: ObjectField) -> Check:
    """Check several of the field's options; each is stored once, in the field's order."""
    known = _by_word(field.options)
    places = {option.id: place for place, option in enumerate(field.options)}
    allowed = _names(field.options)

    def check(value: object) -> list[Option]:
        chosen: dict[str, Option] = {}
        for each in _many(value):
            found = known.get(_word_of(each))
            if found is None:
                raise Wrong("not_an_option", f"has {shown(each)}; give some of {allowed}")
            chosen[found["id"]] = dict(found)
        return sorted(chosen.values(), key=lambda option: places[option["id"]])

    return check


def tags(field: ObjectField) -> Check:
    """Check tags: the field's options, or new ones by their names; the same name is always the same tag."""
    known = _by_word(field.options)
    field_id = UUID(field.id)

    def check(value: object) -> list[Option]:
        chosen: dict[str, Option] = {}
        for each in _many(value):
            word = _word_of(each)
            found = known.get(word) or known.get(code_of(word)) or _tag(field_id, each, word)
            chosen[found["id"]] = dict(found)
        return sorted(chosen.values(), key=lambda option: option["code"])

    return check


def yes_no_maybe(field_id: str) -> list[FieldOption]:
    """Make the options of a yesnomaybe field."""
    return [_Option(id=str(uuid5(UUID(field_id), code)), name=name, code=code) for code, name in YES_NO_MAYBE]


def code_of(name: str) -> str:
    """Make a code of a name: `Not interested` becomes `not_interested`; other alphabets keep their letters."""
    return re.sub(r"\W+", "_", unicodedata.normalize("NFKC", name).casefold()).strip("_")


def _tag(field_id: UUID, value: object, word: str) -> Option:
    name = value.get("name") if isinstance(value, Mapping) else word
    name = unicodedata.normalize("NFC", name).strip() if isinstance(name, str) else ""
    code = code_of(name)
    if not code or len(name) > TAG_MAX or not name.isprintable():
        raise Wrong("not_a_tag", f"has {shown(value)}; give names of one line, up to {TAG_MAX} characters")
    return {"id": str(uuid5(field_id, code)), "name": name, "code": code}


def _by_word(options: Iterable[FieldOption]) -> dict[str, Option]:
    """List live options by what may name them: names give way to codes, codes to ids."""
    live = [{"id": each.id, "name": each.name, "code": each.code} for each in options if each.deleted_at is None]
    return {option[key]: option for key in ("name", "code", "id") for option in live}


def _word_of(value: Any) -> str:
    if isinstance(value, Mapping):
        value = value.get("id") or value.get("code") or value.get("name")
    return value if isinstance(value, str) else ""


def _many(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise Wrong("not_a_list", f"is {shown(value)}; give a list")
    if len(value) > CHOSEN_MAX:
        raise Wrong("too_many", f"has {len(value)} values; at most {CHOSEN_MAX} are taken")
    return value


def _names(options: Iterable[FieldOption]) -> str:
    codes = [each.code for each in options if each.deleted_at is None]
    return ", ".join(codes[:NAMED_MAX]) + (f" and {len(codes) - NAMED_MAX} more" if len(codes) > NAMED_MAX else "")
