"""Activity objects: their names, what goes together, and copies of them."""

import re
import unicodedata
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import msgspec

from libs.contracts import activity_object as contract
from libs.contracts.decoding import struct_of
from libs.errors import Problem
from services.lifecycle.domain.fields.listing import NOTES, notes_field

ActivityObject = struct_of(contract.ActivityObject)
ObjectField = struct_of(contract.ObjectField)
FieldOption = struct_of(contract.FieldOption)
FieldRule = struct_of(contract.FieldRule)
RuleCondition = struct_of(contract.RuleCondition)
LinkedTo = struct_of(contract.LinkedTo)
Sharing = struct_of(contract.Sharing)

NAME_MIN, NAME_MAX = 2, 255
RESERVED = frozenset(
    ("api", "append", "claim", "duplicate", "evaluate", "fields", "history", "log_activity", "loggable", "logged",
     "notes", "options", "replace", "responses", "restore", "rules", "scheduled", "scheduled_activity", "search")
)  # fmt: skip
"""Words that are paths. With hyphens in them they are no api_names anyway."""
_API_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Copy:
    """How a copy of an object is called; `new_id` makes the ids of its parts."""

    id: UUID
    name: str
    api_name: str
    created_at: datetime
    new_id: Callable[[], UUID]


def api_name_of(name: str, taken: Collection[str], *, otherwise: str) -> str:
    """Make an api_name of a name: `Site visit` becomes `site_visit`, or `site_visit_2` where that is taken.

    `otherwise` is used where nothing of the name can be.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    plain = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    if not plain or not plain[0].isalpha():
        plain = f"{otherwise}_{plain}".strip("_")
    plain = plain[: NAME_MAX - 10].ljust(NAME_MIN, "_")
    found, number = plain, 2
    while found in taken or found in RESERVED:
        found, number = f"{plain}_{number}", number + 1
    return found


def check_api_name(api_name: str) -> Iterator[Problem]:
    """Name what is wrong with an object's api_name."""
    if api_name.replace("-", "_") in RESERVED:
        yield Problem("api_name", "reserved", f"{api_name!r} is reserved, as are {', '.join(sorted(RESERVED))}")
    else:
        yield from check_word("api_name", api_name, NAME_MIN)


def check_word(field: str, word: str, length_min: int = 1) -> Iterator[Problem]:
    """Name what is wrong with a word that stands for something in requests."""
    if not length_min <= len(word) <= NAME_MAX or _API_NAME.fullmatch(word) is None:
        allowed = f"small letters, digits and _, beginning with a letter, {length_min} to {NAME_MAX}"
        yield Problem(field, "api_name_invalid", f"is {word[:100]!r}; give {allowed}")


def check_object(definition: contract.ActivityObject) -> Iterator[Problem]:
    """Name what does not go together in an object."""
    mode = definition.association_mode
    if mode == "selected_objects_associated" and not definition.associated_objects:
        yield Problem("associated_objects", "required", f"is required for {mode}; name at least one record object")
    if mode != "selected_objects_associated" and definition.associated_objects:
        yield Problem("associated_objects", "not_allowed", f"is not taken for {mode}")
    for action, name in (("redirect", "redirect_url"), ("trigger_webhook", "webhook_url")):
        if definition.submission_action == action and getattr(definition, name) is None:
            yield Problem(name, "required", f"is required for the submission action {action}")
    for field in definition.fields:
        place = field.custom_object_field
        if field.deleted_at is None and place is not None and not allows(definition, place.object):
            message = f"does not allow {place.object!r}, on which the field {field.name!r} is kept"
            yield Problem("association_mode", "field_needs_object", message)


def allows(definition: contract.ActivityObject, record_object: str) -> bool:
    """Tell whether activities of a type may be linked to records of an object."""
    if definition.association_mode == "all_objects_associated":
        return True
    return (
        definition.association_mode == "selected_objects_associated" and record_object in definition.associated_objects
    )


def replaced(definition: contract.ActivityObject, **changes: Any) -> contract.ActivityObject:
    """Copy a definition with changes."""
    return cast(contract.ActivityObject, msgspec.structs.replace(cast(Any, definition), **changes))


def next_version(definition: contract.ActivityObject, **changes: Any) -> contract.ActivityObject:
    """Copy a definition with the next version's number."""
    return replaced(definition, version=definition.version + 1, **changes)


def is_same(one: contract.ActivityObject, other: contract.ActivityObject) -> bool:
    """Tell whether two versions of a definition say the same."""
    return bool(
        msgspec.structs.replace(cast(Any, one), version=0) == msgspec.structs.replace(cast(Any, other), version=0)
    )


def duplicate(definition: contract.ActivityObject, copy: Copy) -> contract.ActivityObject:
    """Copy an object with its live fields and its rules; all parts get ids of their own."""
    ids: dict[str, str] = {}
    fields = []
    for field in definition.fields:
        if field.deleted_at is None:
            ids[field.id] = notes_field(copy.id).id if field.name == NOTES else str(copy.new_id())
            options = [
                msgspec.structs.replace(cast(Any, option), id=str(copy.new_id()))
                for option in field.options
                if option.deleted_at is None
            ]
            ids |= {old.id: new.id for old, new in zip(_live(field.options), options, strict=True)}
            fields.append(msgspec.structs.replace(cast(Any, field), id=ids[field.id], options=options))
    rules = [
        FieldRule(
            id=str(copy.new_id()),
            match=rule.match,
            conditions=[
                RuleCondition(
                    field_id=ids.get(each.field_id, each.field_id),
                    operator=each.operator,
                    value=_renamed(each.value, ids),
                )
                for each in rule.conditions
            ],
            target_field_ids=[ids.get(each, each) for each in rule.target_field_ids],
        )
        for rule in definition.rules
    ]
    made = msgspec.structs.replace(
        cast(Any, definition), id=copy.id, version=1, name=copy.name, api_name=copy.api_name,
        created_at=copy.created_at, deleted_at=None, fields=fields, rules=rules,
    )  # fmt: skip
    return cast(contract.ActivityObject, made)


def _live(options: Collection[contract.FieldOption]) -> list[contract.FieldOption]:
    return [option for option in options if option.deleted_at is None]


def _renamed(value: Any, ids: dict[str, str]) -> Any:
    """Put new ids for old ones into a condition's value, wherever they stand in it."""
    if isinstance(value, list):
        return [_renamed(each, ids) for each in value]
    if isinstance(value, dict):
        return {name: _renamed(each, ids) for name, each in value.items()}
    return ids.get(value, value) if isinstance(value, str) else value
