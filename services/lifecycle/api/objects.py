"""Routes of activity objects: list, make, show, replace, change, archive, copy."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response

from libs.contracts.activity_object import ActivityObject
from libs.contracts.ids import uuid7
from libs.database import Transaction
from libs.errors import Conflict, NotFound, Problem
from libs.messaging.outbox import append
from libs.service.answers import json_answer, versioned
from services.lifecycle import looking
from services.lifecycle.api.answers import paged
from services.lifecycle.api.callers import Admin, Caller, Reader, refuse
from services.lifecycle.api.object_answers import shown_object
from services.lifecycle.api.object_bodies import CopyBody, ObjectBody, ObjectList, ObjectPatch
from services.lifecycle.api.object_content import ObjectContent, people_in, read_rules
from services.lifecycle.api.pages import ShownBody, check_names, chosen
from services.lifecycle.api.references import look_up, object_in_path
from services.lifecycle.domain import objects as rules
from services.lifecycle.domain.fields.listing import notes_field
from services.lifecycle.domain.known import Known
from services.lifecycle.domain.presets import presets_of
from services.lifecycle.store import objects

router = APIRouter(prefix="/api/activities")

NAMES = tuple(shown_object(presets_of(UUID(int=0), datetime.fromtimestamp(0, UTC))[0], Known(UUID(int=0)), 0))
"""What is shown of an activity object."""
TRIES = 5
"""How often a derived api_name is made anew because somebody else took it at the same time."""


@router.get("")
async def list_objects(caller: Reader, wanted: Annotated[ObjectList, Query()]) -> Response:
    """List activity objects, those alone that go with a record object if one is named; then those that go with none
    only if that is asked for.
    """
    check_names(wanted.fields, NAMES)
    async with caller.database.transaction(caller.principal) as tx:
        known = (await look_up(tx, caller)).known
        search = (wanted.search or "").lower()
        found = [kind for kind in _live(known) if search in kind.name.lower() or search in kind.api_name]
        if wanted.custom_object_id is not None:
            name = _record_object(known, wanted.custom_object_id)
            bare = "no_objects_associated" if wanted.show_no_objects_associated else None
            found = [kind for kind in found if rules.allows(kind, name) or kind.association_mode == bare]
        page = found[(wanted.page - 1) * wanted.page_size : wanted.page * wanted.page_size]
        counts = await _count(tx, caller, page, wanted.fields)
    results = [chosen(shown_object(kind, known, counts.get(kind.id, 0)), wanted.fields) for kind in page]
    return json_answer(paged(caller.request, results, len(found), wanted.page, wanted.page_size))


@router.get("/loggable")
async def list_loggable(caller: Reader) -> Response:
    """List the activity objects that the caller may log."""
    async with caller.database.transaction(caller.principal) as tx:
        known = (await look_up(tx, caller)).known
    rights = caller.rights(known)
    loggable = [kind for kind in _live(known) if rights.may_log_directly(kind.id)]
    found = [{"id": kind.id, "name": kind.name, "api_name": kind.api_name} for kind in loggable]
    return json_answer(paged(caller.request, found, len(found), 1, max(len(found), 1)))


@router.post("", status_code=201)
async def create_object(body: ObjectBody, caller: Admin) -> Response:
    """Make an activity object. Without `api_name` it is made of the name."""

    async def write(tx: Transaction) -> Response:
        references = await look_up(tx, caller, people_in(body))
        content = ObjectContent(body, set(type(body).model_fields), references)
        made = rules.ActivityObject(
            business_id=caller.business_id, id=(object_id := uuid7()), version=1, name="", api_name="",
            created_at=caller.now, fields=[notes_field(object_id)],
        )  # fmt: skip
        made = rules.replaced(made, **content.changes(made))
        read, problems = read_rules(body.visibility_rules or [], made)
        made = rules.replaced(made, rules=read)
        references.problems += [*problems, *rules.check_object(made), *_name_problems(body.api_name)]
        refuse(references.problems)
        return await _insert(tx, caller, references.known, made, body.api_name)

    return await caller.write(write)


detail = APIRouter(prefix="/api/activities")


@detail.get("/{object}")
async def get_object(
    object: str,  # noqa: A002 - the path's word
    caller: Reader,
    wanted: Annotated[ShownBody, Query()],
) -> Response:
    """Show an activity object by id or api_name."""
    check_names(wanted.fields, NAMES)
    async with caller.database.transaction(caller.principal) as tx:
        references = await look_up(tx, caller)
        kind = object_in_path(references.known, object)
        counts = await _count(tx, caller, [kind], wanted.fields)
    shown = shown_object(kind, references.known, counts.get(kind.id, 0))
    return versioned(chosen(shown, wanted.fields), kind.version)


@detail.put("/{object}")
async def replace_object(object: str, body: ObjectBody, caller: Admin) -> Response:  # noqa: A002
    """Replace what is said of an activity object; its api_name, its fields and what is logged stay."""
    return await _change(caller, object, body, set(type(body).model_fields) - {"visibility_rules"})


@detail.patch("/{object}")
async def change_object(object: str, body: ObjectPatch, caller: Admin) -> Response:  # noqa: A002
    """Change what the body names."""
    return await _change(caller, object, body, body.model_fields_set)


@detail.delete("/{object}", status_code=204)
async def archive_object(object: str, caller: Admin) -> Response:  # noqa: A002
    """Archive an activity object: nothing more is scheduled or logged of it, what there is stays."""

    async def write(tx: Transaction) -> Response:
        known, kind = await lock(tx, caller, object)
        if kind.deleted_at is None:
            kind = await save(tx, kind, rules.next_version(kind, deleted_at=caller.now))
        answer = await _answer(tx, caller, known, kind)
        headers = {name: answer.headers[name] for name in ("etag", "x-wrote")}
        return Response(status_code=204, headers=headers)

    return await caller.write(write)


@detail.post("/{object}/duplicate", status_code=201)
async def duplicate_object(object: str, caller: Admin, body: CopyBody | None = None) -> Response:  # noqa: A002
    """Copy an activity object with its fields and rules."""

    async def write(tx: Transaction) -> Response:
        known, kind = await lock(tx, caller, object)
        api_name = body.api_name if body is not None else None
        refuse(_name_problems(api_name))
        name = (body.name if body is not None else None) or f"{kind.name[:190]} (copy)"
        made = rules.duplicate(kind, rules.Copy(uuid7(), name, "", caller.now, uuid7))
        return await _insert(tx, caller, known, made, api_name)

    return await caller.write(write)


async def lock(tx: Transaction, caller: Caller, text: str) -> tuple[Known, ActivityObject]:
    """Lock the activity object that a path names. Raises NotFound, Stale."""
    known = (await look_up(tx, caller)).known
    kind = await objects.lock_object(tx, caller.business_id, object_in_path(known, text).id)
    if kind is None:
        raise NotFound(f"there is no activity object {text[:100]!r}")
    caller.match_version(kind.version)
    return known, kind


async def save(tx: Transaction, before: ActivityObject, after: ActivityObject) -> ActivityObject:
    """Save the next version of a locked object and publish it, unless it says the same; returns what is there then."""
    if rules.is_same(before, after):
        return before
    await objects.save_object(tx, after)
    await append(tx, [looking.published(after)])
    return after


def refuse_archived(kind: ActivityObject) -> None:
    """Refuse to change what is archived. Raises Conflict."""
    if kind.deleted_at is not None:
        raise Conflict(f"the activity object {kind.api_name!r} is archived", code="archived")


async def _change(caller: Caller, text: str, body: ObjectPatch, names: set[str]) -> Response:
    async def write(tx: Transaction) -> Response:
        _, kind = await lock(tx, caller, text)
        refuse_archived(kind)
        references = await look_up(tx, caller, people_in(body))
        changes = ObjectContent(body, names, references).changes(kind)
        if "visibility_rules" in names:
            changes["rules"], problems = read_rules(body.visibility_rules or [], kind)
            references.problems += problems
        after = rules.next_version(kind, **changes)
        references.problems += rules.check_object(after)
        refuse(references.problems)
        return await _answer(tx, caller, references.known, await save(tx, kind, after))

    return await caller.write(write)


async def _insert(
    tx: Transaction, caller: Caller, known: Known, made: ActivityObject, api_name: str | None
) -> Response:
    """Insert a new object under the api_name given, else under one that is free. Raises Conflict."""
    taken = {kind.api_name for kind in known.types.values()}
    for _ in range(TRIES):
        chosen = api_name or rules.api_name_of(made.name, taken, otherwise="activity")
        named = rules.replaced(made, api_name=chosen)
        if chosen not in taken and await objects.insert_objects(tx, [named]):
            await append(tx, [looking.published(named)])
            return await _answer(tx, caller, known, named, status=201)
        taken.add(chosen)
        if api_name is not None:
            break
    link = f"/api/activities/{api_name}"
    raise Conflict(f"api_name: there is an activity object {api_name!r} already", "api_name_taken", link)


async def _answer(
    tx: Transaction, caller: Caller, known: Known, kind: ActivityObject, *, status: int = 200
) -> Response:
    counts = await objects.count_logged(tx, caller.business_id, [kind.id])
    return versioned(shown_object(kind, known, counts.get(kind.id, 0)), kind.version, status, kind.id)


async def _count(
    tx: Transaction, caller: Caller, kinds: Sequence[ActivityObject], names: Sequence[str]
) -> dict[UUID, int]:
    """Count what was logged of objects, unless that is not shown."""
    if names and "n_submissions" not in names:
        return {}
    return await objects.count_logged(tx, caller.business_id, [kind.id for kind in kinds])


def _name_problems(api_name: str | None) -> list[Problem]:
    return [] if api_name is None else list(rules.check_api_name(api_name))


def _record_object(known: Known, text: str) -> str:
    name = known.record_object_of(text)
    if name is None:
        names = ", ".join(known.record_object_names())
        message = f"{text[:100]!r} is not a record object; there are {names}"
        refuse([Problem("custom_object_id", "does_not_exist", message)])
    return name or ""


def _live(known: Known) -> Sequence[ActivityObject]:
    kinds: dict[UUID, Any] = {kind.id: kind for kind in known.types.values() if kind.deleted_at is None}
    return sorted(kinds.values(), key=lambda kind: (kind.order, kind.id))
