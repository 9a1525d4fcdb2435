"""The 25 kinds of fields: how each checks values, what settings it takes, which comparisons rules may make with it."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from libs.contracts.activity_object import ObjectField
from services.lifecycle.domain.fields import choices, numbers, references, texts, times
from services.lifecycle.domain.fields.wrong import Check

Family = Literal["text", "number", "day", "instant", "flag", "one", "several", "member", "records", "files"]
Options = Literal["none", "required", "optional", "fixed"]


class Kind(NamedTuple):
    """A kind: what makes the checker of a field, the family that rules compare by, its options and settings."""

    make: Callable[[ObjectField], Check]
    family: Family
    options: Options = "none"
    settings: tuple[str, ...] = ()


LINKED = "activity_custom_field"
"""The kind of a linked field: its value is of `custom_field_type` and lives on a record."""

KINDS: dict[str, Kind] = {
    "checkbox": Kind(choices.checkbox, "flag"),
    "checkboxes": Kind(choices.several, "several", "required"),
    "choices": Kind(choices.several, "several", "required"),
    "date": Kind(times.day, "day"),
    "datetime": Kind(times.instant, "instant"),
    "decimal": Kind(numbers.decimal, "number", settings=("decimals",)),
    "dropdown": Kind(choices.one, "one", "required"),
    "dynamictags": Kind(choices.tags, "several", "optional"),
    "email": Kind(texts.email, "text"),
    "files": Kind(references.files, "files"),
    "integer": Kind(numbers.integer, "number"),
    "longtext": Kind(texts.longtext, "text"),
    "money": Kind(numbers.money, "number", settings=("currency", "decimals")),
    "phonenumber": Kind(texts.phonenumber, "text", settings=("phone_region",)),
    "radio": Kind(choices.one, "one", "required"),
    "rating": Kind(numbers.rating, "number", settings=("rating_max",)),
    "relationship": Kind(references.relationship, "records", settings=("relation",)),
    "selector": Kind(choices.one, "one", "required"),
    "status": Kind(choices.one, "one", "required"),
    "team_selector": Kind(references.team_selector, "member"),
    "text": Kind(texts.text, "text"),
    "timezone": Kind(texts.timezone, "text"),
    "wysiwyg": Kind(texts.wysiwyg, "text"),
    "yesnomaybe": Kind(choices.one, "one", "fixed"),
}
"""The kinds of values; with linked fields, which have a value of one of these, they are 25."""

SETTINGS = ("rating_max", "currency", "decimals", "phone_region", "relation")


def kind_of(field: ObjectField) -> str:
    """Name the kind of a field's value; of a linked one, that of the value on the record."""
    return field.custom_field_type or "text" if field.field_type == LINKED else field.field_type


def checker_of(field: ObjectField) -> Check:
    """Make the checker of a field's values."""
    return KINDS[kind_of(field)].make(field)


def is_blank(value: Any) -> bool:
    """Tell whether a value says nothing: then it takes away what is stored."""
    return value is None or value in ("", [])
