"""Fields of an object are made and changed: what a field may be, its options, and what has to stay."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import msgspec

from libs.contracts import activity_object as contract
from libs.errors import Problem
from services.lifecycle.domain.fields.choices import code_of, yes_no_maybe
from services.lifecycle.domain.fields.kinds import KINDS, LINKED, SETTINGS, kind_of
from services.lifecycle.domain.fields.numbers import DECIMALS_MAX, RATING_MAX
from services.lifecycle.domain.fields.texts import phone_regions
from services.lifecycle.domain.objects import FieldOption, ObjectField, allows

FIELDS_MAX = 200
OPTIONS_MAX = 500
ORDER_MAX = 32_767
_CURRENCY = re.compile(r"[A-Z]{3}")

NewId = Callable[[], UUID]


def changed_field(
    field: contract.ObjectField | None, changes: Mapping[str, Any], now: datetime, new_id: NewId
) -> contract.ObjectField:
    """Put changes on a field, or make a new one of them; `options` are those it is to have, in their order."""
    given = dict(changes)
    options = given.pop("options", None)
    if field is None:
        field = ObjectField(id=str(new_id()))
        if kind_of(ObjectField(**given)) == "yesnomaybe":
            field = _replaced(field, options=yes_no_maybe(field.id))
    field = _replaced(field, **given)
    if options is None or KINDS.get(kind_of(field), KINDS["text"]).options == "fixed":
        return field
    return _replaced(field, options=merged_options(field.options, options, now, new_id))


def merged_options(
    before: Sequence[contract.FieldOption], wanted: Sequence[Mapping[str, Any]], now: datetime, new_id: NewId
) -> list[contract.FieldOption]:
    """Give the options that are wanted, those of before by id or code; what is not wanted is kept as deleted."""
    by_word = {word: option for option in before for word in (option.code, option.id)}
    made: list[contract.FieldOption] = []
    for each in wanted:
        code = each.get("code") or None
        known = by_word.get(each.get("id") or code or code_of(each["name"]))
        made.append(
            FieldOption(
                id=known.id if known is not None else str(new_id()),
                name=each["name"],
                code=code or (known.code if known is not None else code_of(each["name"])),
            )
        )
    kept = {option.id for option in made}
    gone = [option for option in before if option.id not in kept]
    return [*made, *(option if option.deleted_at else _without(option, now) for option in gone)]


def fixed_problems(field: contract.ObjectField, wanted: Sequence[Mapping[str, Any]] | None) -> Iterator[Problem]:
    """Say what is wrong with options that are wanted of a field whose options are what they are."""
    if wanted is None or KINDS.get(kind_of(field), KINDS["text"]).options != "fixed":
        return
    before = [(option.name, option.code) for option in live_options(field)]
    if [(each["name"], each.get("code") or code_of(each["name"])) for each in wanted] != before:
        named = ", ".join(f"{name} ({code})" for name, code in before)
        yield Problem("options", "not_allowed", f"are {named} for {kind_of(field)}, and stay so")


def without_option(field: contract.ObjectField, option_id: str, now: datetime) -> contract.ObjectField:
    """Take an option out of a field; it is kept for its name."""
    options = [_without(option, now) if option.id == option_id else option for option in field.options]
    return _replaced(field, options=options)


def deleted_field(field: contract.ObjectField, now: datetime) -> contract.ObjectField:
    """Delete a field; it is kept for its name."""
    return _replaced(field, deleted_at=now)


def live_options(field: contract.ObjectField) -> list[contract.FieldOption]:
    """List the options that can be chosen."""
    return [option for option in field.options if option.deleted_at is None]


def put_field(fields: Sequence[contract.ObjectField], field: contract.ObjectField) -> list[contract.ObjectField]:
    """Put a field in the place of the one with its id, else at the end."""
    if all(each.id != field.id for each in fields):
        return [*fields, field]
    return [field if each.id == field.id else each for each in fields]


def check_field(
    definition: contract.ActivityObject, field: contract.ObjectField, record_objects: Collection[str]
) -> Iterator[Problem]:
    """Name everything that is wrong with a field of an object."""
    if field.field_type != LINKED and field.field_type not in KINDS:
        message = f"is {field.field_type[:100]!r}; there are {', '.join(sorted([*KINDS, LINKED]))}"
        yield Problem("field_type", "unknown_kind", message)
        return
    yield from _check_linked(definition, field, record_objects)
    if kind_of(field) in KINDS:
        yield from _check_options(field)
        yield from _check_settings(field, record_objects)
    if not field.display_name:
        yield Problem("display_name", "required", "is required")


def warnings_of(field: contract.ObjectField) -> list[dict[str, str]]:
    """Say what can be saved and yet is hardly meant."""
    if not (field.is_required and field.is_read_only):
        return []
    message = f"{field.name!r} is required and read-only: nobody can fill it in, so it is not enforced"
    return [{"field": "is_required", "code": "required_read_only", "message": message}]


def _check_linked(
    definition: contract.ActivityObject, field: contract.ObjectField, record_objects: Collection[str]
) -> Iterator[Problem]:
    place = field.custom_object_field
    if field.field_type != LINKED:
        if place is not None or field.custom_field_type is not None:
            name = "custom_object_field" if place is not None else "custom_field_type"
            yield Problem(name, "not_allowed", f"is taken for fields of kind {LINKED} only")
        return
    if place is None:
        yield Problem("custom_object_field", "required", f"is required for {LINKED}: which object's field it is")
    elif place.object not in record_objects:
        message = f"{place.object[:100]!r} is not a record object; there are {', '.join(record_objects)}"
        yield Problem("custom_object_field.custom_object", "does_not_exist", message)
    elif not allows(definition, place.object):
        message = f"{place.object!r} is not allowed for {definition.api_name!r} ({definition.association_mode})"
        yield Problem("custom_object_field.custom_object", "not_associated", message)
    if kind_of(field) not in KINDS:
        message = f"is {str(field.custom_field_type)[:100]!r}; there are {', '.join(sorted(KINDS))}"
        yield Problem("custom_field_type", "unknown_kind", message)


def _check_options(field: contract.ObjectField) -> Iterator[Problem]:
    kind, options = KINDS[kind_of(field)], live_options(field)
    if kind.options == "required" and not options:
        yield Problem("options", "required", f"is required for {kind_of(field)}: at least one option")
    if kind.options == "none" and options:
        yield Problem("options", "not_allowed", f"is not taken for {kind_of(field)}")
    if len(field.options) > OPTIONS_MAX:
        message = f"has {len(field.options)} options with deleted ones; at most {OPTIONS_MAX} are taken"
        yield Problem("options", "too_many", message)
    for word in ("code", "name"):
        seen: set[str] = set()
        for place, option in enumerate(options):
            text = getattr(option, word)
            if not text or text.casefold() in seen:
                message = f"{text!r} stands twice" if text else "is required where it cannot be made of the name"
                yield Problem(f"options.{place}.{word}", "twice" if text else "required", message)
            seen.add(text.casefold())


def _check_settings(field: contract.ObjectField, record_objects: Collection[str]) -> Iterator[Problem]:
    kind = kind_of(field)
    for name in SETTINGS:
        if getattr(field, name) is not None and name not in KINDS[kind].settings:
            yield Problem(name, "not_allowed", f"is not taken for {kind}")
    checks = (
        ("rating_max", lambda value: 1 <= value <= RATING_MAX, f"a whole number from 1 to {RATING_MAX}"),
        ("decimals", lambda value: 0 <= value <= DECIMALS_MAX, f"a whole number from 0 to {DECIMALS_MAX}"),
        ("currency", _CURRENCY.fullmatch, "three capitals as in ISO 4217, such as EUR"),
        ("phone_region", lambda value: value in phone_regions(), "two capitals as in ISO 3166-1, such as DE"),
        ("relation", lambda value: value in record_objects, f"one of {', '.join(record_objects)}"),
    )
    for name, is_right, allowed in checks:
        value = getattr(field, name)
        if value is not None and not is_right(value):
            yield Problem(name, "setting_invalid", f"is {value!r}; give {allowed}")
    if kind == "relationship" and field.relation is None:
        yield Problem("relation", "required", "is required for relationship: the record object it refers to")


def _without(option: contract.FieldOption, now: datetime) -> contract.FieldOption:
    return FieldOption(id=option.id, name=option.name, code=option.code, deleted_at=now)


def _replaced(field: contract.ObjectField, **changes: Any) -> contract.ObjectField:
    return cast(contract.ObjectField, msgspec.structs.replace(cast(Any, field), **changes))
