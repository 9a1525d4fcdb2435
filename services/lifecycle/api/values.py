"""How values of fields are shown: those of what was logged as they were called then, others as they are called now."""

from collections.abc import Mapping
from typing import Any

from libs.contracts.activity_object import ActivityObject, FieldOption, ObjectField
from services.lifecycle.domain.fields import live_fields


def shown_fields(values: Mapping[str, Any], kind: ActivityObject | None, *, renamed: bool) -> list[dict[str, Any]]:
    """Show values in the order of their fields; fields and options that are gone are shown with `deleted: true`."""
    if not values:
        return []
    deleted = [each for each in kind.fields if each.deleted_at is not None] if kind is not None else []
    known = {each.name: each for each in deleted} | (
        {each.name: each for each in live_fields(kind)} if kind is not None else {}
    )
    places = {name: place for place, name in enumerate([*known][len(deleted) :] + [*known][: len(deleted)])}
    ordered = sorted(values, key=lambda name: places.get(name, len(places)))
    return [_shown(name, values[name], known.get(name), renamed=renamed) for name in ordered]


def _shown(name: str, value: Any, field: ObjectField | None, *, renamed: bool) -> dict[str, Any]:
    if field is None:
        unknown = dict.fromkeys(("display_name", "field_type", "custom_field_type"))
        return {"id": name, "name": name, **unknown, "value": value, "deleted": True}
    options = {option.id: option for option in field.options}
    shown = {
        "id": field.id,
        "name": name,
        "display_name": field.display_name,
        "field_type": field.field_type,
        "custom_field_type": field.custom_field_type,
        "value": _value(value, options, renamed=renamed) if options else value,
    }
    return shown if field.deleted_at is None else shown | {"deleted": True}


def _value(value: Any, options: Mapping[str, FieldOption], *, renamed: bool) -> Any:
    if isinstance(value, list):
        return [_value(each, options, renamed=renamed) for each in value]
    option = options.get(value.get("id", "")) if isinstance(value, dict) else None
    if option is None:
        return value
    shown = {"id": option.id, "name": option.name, "code": option.code} if renamed else value
    return shown if option.deleted_at is None else shown | {"deleted": True}
