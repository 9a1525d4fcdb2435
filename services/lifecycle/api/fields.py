"""Routes of an object's fields and of their options."""

from typing import Any

from fastapi import APIRouter, Response

from libs.contracts.activity_object import ActivityObject, FieldOption, ObjectField
from libs.contracts.ids import uuid7
from libs.database import Transaction
from libs.errors import Conflict, NotFound, Problem
from libs.service.answers import versioned
from services.lifecycle.api.callers import Admin, Caller, Reader, refuse
from services.lifecycle.api.object_answers import shown_field, shown_option
from services.lifecycle.api.object_bodies import FieldBody, FieldPatch, OptionBody, ReplacementBody
from services.lifecycle.api.objects import lock, refuse_archived, save
from services.lifecycle.api.references import look_up, object_in_path
from services.lifecycle.domain import field_changes as rules
from services.lifecycle.domain import objects as definitions
from services.lifecycle.domain import rule_changes
from services.lifecycle.domain.fields import live_fields
from services.lifecycle.domain.fields.kinds import KINDS, kind_of
from services.lifecycle.domain.known import Known
from services.lifecycle.store import remappings

router = APIRouter(prefix="/api/activities/{object}/fields")


@router.get("")
async def list_fields(object: str, caller: Reader) -> Response:  # noqa: A002 - the path's word
    """List the fields of an activity object in their order."""
    async with caller.database.transaction(caller.principal) as tx:
        kind = object_in_path((await look_up(tx, caller)).known, object)
    return versioned([shown_field(field) for field in live_fields(kind)], kind.version)


@router.post("", status_code=201)
async def create_field(object: str, body: FieldBody, caller: Admin) -> Response:  # noqa: A002
    """Add a field. Without `name` it is made of the display name; without `order` it comes last."""

    async def write(tx: Transaction) -> Response:
        known, kind = await _lock(tx, caller, object)
        problems = _name_problems(kind, body)
        if len(kind.fields) >= rules.FIELDS_MAX:
            message = f"has {len(kind.fields)} fields with deleted ones; at most {rules.FIELDS_MAX} are taken"
            problems.append(Problem("fields", "too_many", message))
        changes = _changes(body, set(FieldPatch.model_fields), known)
        taken = [field.name for field in kind.fields]
        changes["name"] = body.name or definitions.api_name_of(body.display_name, taken, otherwise="field")
        if body.order is None:
            last = max(field.order for field in live_fields(kind))
            changes["order"] = min(last + 1, rules.ORDER_MAX)
        field = rules.changed_field(None, changes, caller.now, uuid7)
        problems += rules.fixed_problems(field, changes.get("options"))
        return await _save(tx, (known, kind), field, problems, status=201)

    return await caller.write(write)


@router.get("/{field_id}")
async def get_field(object: str, field_id: str, caller: Reader) -> Response:  # noqa: A002
    """Show a field by id or name."""
    async with caller.database.transaction(caller.principal) as tx:
        kind = object_in_path((await look_up(tx, caller)).known, object)
    return versioned(shown_field(_field(kind, field_id)), kind.version)


@router.put("/{field_id}")
async def replace_field(object: str, field_id: str, body: FieldBody, caller: Admin) -> Response:  # noqa: A002
    """Replace what is said of a field; its name and kind stay."""
    return await _change(caller, (object, field_id), body, set(FieldPatch.model_fields))


@router.patch("/{field_id}")
async def change_field(object: str, field_id: str, body: FieldPatch, caller: Admin) -> Response:  # noqa: A002
    """Change what the body names."""
    return await _change(caller, (object, field_id), body, body.model_fields_set)


@router.delete("/{field_id}", status_code=204)
async def delete_field(object: str, field_id: str, caller: Admin) -> Response:  # noqa: A002
    """Delete a field; what was stored under it stays where it was said."""

    async def write(tx: Transaction) -> Response:
        known, kind = await _lock(tx, caller, object)
        field = _field(kind, field_id)
        if not field.is_deletable:
            raise Conflict(f"the field {field.name!r} is there in every object and cannot be deleted", "not_deletable")
        if rule_changes.uses(kind.rules, field.id):
            link = f"/api/activities/{kind.api_name}/rules"
            raise Conflict(f"a rule uses the field {field.name!r}; change the rules first", "in_use", link)
        return await _save(tx, (known, kind), rules.deleted_field(field, caller.now), [], status=204)

    return await caller.write(write)


@router.post("/{field_id}/options", status_code=201)
async def create_option(object: str, field_id: str, body: OptionBody, caller: Admin) -> Response:  # noqa: A002
    """Add an option to a choice field, behind the others."""

    async def write(tx: Transaction) -> Response:
        known, kind = await _lock(tx, caller, object)
        field = _with_options(_field(kind, field_id))
        earlier = [shown_option(option) for option in rules.live_options(field)]
        wanted = body.model_dump(exclude={"id"})
        after = rules.changed_field(field, {"options": [*earlier, wanted]}, caller.now, uuid7)
        problems = list(rules.check_field(kind, after, known.record_object_names()))
        refuse([Problem(each.field.rpartition(".")[2], each.code, each.message) for each in problems])
        saved = await save(tx, kind, definitions.next_version(kind, fields=rules.put_field(kind.fields, after)))
        return versioned(shown_option(rules.live_options(after)[-1]), saved.version, 201, saved.id)

    return await caller.write(write)


@router.delete("/{field_id}/options/{option_id}", status_code=204)
async def delete_option(object: str, field_id: str, option_id: str, caller: Admin) -> Response:  # noqa: A002
    """Take an option out of a field; where it was chosen it is still named, as deleted."""

    async def write(tx: Transaction) -> Response:
        known, kind = await _lock(tx, caller, object)
        field = _with_options(_field(kind, field_id))
        option = _option(field, option_id)
        _keep_one(field)
        return await _save(tx, (known, kind), rules.without_option(field, option.id, caller.now), [], status=204)

    return await caller.write(write)


@router.post("/{field_id}/options/{option_id}/replace")
async def replace_option(
    object: str,  # noqa: A002
    field_id: str,
    option_id: str,
    body: ReplacementBody,
    caller: Admin,
) -> Response:
    """Put another option in the place of one: in all that is planned, by new versions; what was logged keeps it."""

    async def write(tx: Transaction) -> Response:
        known, kind = await _lock(tx, caller, object)
        field = _with_options(_field(kind, field_id))
        old = _option(field, option_id)
        new = next((each for each in rules.live_options(field) if body.option_id in (each.id, each.code)), None)
        if new is None or new.id == old.id:
            message = f"{body.option_id[:100]!r} is not another option of {field.name!r}"
            refuse([Problem("option_id", "does_not_exist", message)])
        assert new is not None
        place = remappings.Remapping(
            caller.business_id, uuid7(), kind.id, field.name, old.id, shown_option(new), caller.principal.user_id
        )
        await remappings.insert_remapping(tx, place, caller.now)
        return await _save(tx, (known, kind), rules.without_option(field, old.id, caller.now), [])

    return await caller.write(write)


async def _change(caller: Caller, path: tuple[str, str], body: FieldPatch, names: set[str]) -> Response:
    async def write(tx: Transaction) -> Response:
        known, kind = await _lock(tx, caller, path[0])
        field = _field(kind, path[1])
        problems = [
            Problem(name, "create_only", f"stays {getattr(field, name)!r}")
            for name in ("name", "field_type", "custom_field_type")
            if getattr(body, name) not in (None, getattr(field, name))
        ]
        changes = _changes(body, names - {"name", "field_type", "custom_field_type"}, known)
        if changes.get("order", 0) is None:
            changes["order"] = field.order
        if changes.get("display_name", "") is None:
            changes["display_name"] = ""
        problems += rules.fixed_problems(field, changes.get("options"))
        return await _save(tx, (known, kind), rules.changed_field(field, changes, caller.now, uuid7), problems)

    return await caller.write(write)


def _changes(body: FieldPatch, names: set[str], known: Known) -> dict[str, Any]:
    """Read the parts of a body that are in `names`, in the form of a field."""
    changes = {name: getattr(body, name) for name in names if name not in ("options", "custom_object_field")}
    if "options" in names and body.options is not None:
        changes["options"] = [option.model_dump() for option in body.options]
    if changes.get("relation") is not None:
        changes["relation"] = known.record_object_of(changes["relation"]) or changes["relation"]
    if "custom_object_field" in names:
        place = body.custom_object_field
        changes["custom_object_field"] = place and definitions.LinkedTo(
            object=known.record_object_of(place.custom_object) or place.custom_object, name=place.name
        )
    return changes


async def _save(
    tx: Transaction,
    place: tuple[Known, ActivityObject],
    field: ObjectField,
    problems: list[Problem],
    *,
    status: int = 200,
) -> Response:
    known, kind = place
    if field.deleted_at is None:
        problems = [*problems, *rules.check_field(kind, field, known.record_object_names())]
    refuse(problems)
    fields = kind.fields if any(each.is_default for each in kind.fields) else live_fields(kind)
    saved = await save(tx, kind, definitions.next_version(kind, fields=rules.put_field(fields, field)))
    answer = versioned(shown_field(field), saved.version, status, saved.id)
    return (
        answer
        if status != 204
        else Response(status_code=204, headers={name: answer.headers[name] for name in ("etag", "x-wrote")})
    )


async def _lock(tx: Transaction, caller: Caller, text: str) -> tuple[Known, ActivityObject]:
    known, kind = await lock(tx, caller, text)
    refuse_archived(kind)
    return known, kind


def _field(kind: ActivityObject, text: str) -> ObjectField:
    for field in live_fields(kind):
        if text in (field.id, field.name):
            return field
    raise NotFound(f"{kind.api_name!r} has no field {text[:100]!r}")


def _option(field: ObjectField, text: str) -> FieldOption:
    for option in rules.live_options(field):
        if text in (option.id, option.code):
            return option
    raise NotFound(f"the field {field.name!r} has no option {text[:100]!r}")


def _with_options(field: ObjectField) -> ObjectField:
    """Pass on a field whose options can be changed. Raises Conflict."""
    if KINDS[kind_of(field)].options not in ("required", "optional"):
        raise Conflict(f"the options of {field.name!r} ({kind_of(field)}) cannot be changed", "no_options")
    return field


def _keep_one(field: ObjectField) -> None:
    if KINDS[kind_of(field)].options == "required" and len(rules.live_options(field)) == 1:
        raise Conflict(f"{field.name!r} needs at least one option; add another first", "last_option")


def _name_problems(kind: ActivityObject, body: FieldBody) -> list[Problem]:
    if body.name is None:
        return []
    if any(field.name == body.name for field in kind.fields) or body.name == "notes":
        message = f"there is, or was, a field {body.name!r} in {kind.api_name!r}"
        return [Problem("name", "name_taken", message)]
    return list(definitions.check_word("name", body.name))
