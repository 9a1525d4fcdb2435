"""Routes of logged activities: log, read, append, history."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response

from libs.contracts import activity as contract
from libs.contracts.activity_object import ActivityObject
from libs.contracts.ids import uuid7
from libs.database import Transaction
from libs.errors import Conflict, Problem, Rejected
from libs.service.answers import versioned
from services.lifecycle import recording
from services.lifecycle.api.answers import paged, shown_history, shown_logged
from services.lifecycle.api.bodies import AppendBody, LogBody
from services.lifecycle.api.callers import Caller, Reader, Writer, id_of, refuse, require, visible
from services.lifecycle.api.pages import LOGGED_NAMES, ShownBody, check_names, chosen
from services.lifecycle.api.references import Given, References, look_up, object_in_path
from services.lifecycle.domain import life
from services.lifecycle.domain.held import LOG, Append, Held, Subject, Told
from services.lifecycle.domain.known import Known
from services.lifecycle.recording import Entry
from services.lifecycle.store import activities

router = APIRouter(prefix="/api/activities")


@router.post("/{object}/log-activity", status_code=201)
async def log_activity(object: str, body: LogBody, caller: Writer) -> Response:  # noqa: A002 - the path's word
    """Log an activity that happened; with `scheduled_activity_id` complete what was planned."""

    async def write(tx: Transaction) -> Response:
        references = await look_up(tx, caller, body.mentions, body.related_objects)
        kind = object_in_path(references.known, object)
        held = await _scheduled(tx, caller, body, references)
        rights = caller.rights(references.known)
        if held is not None:
            require(rights.may("log", held.activity), "log", f"activity {held.activity.activity_id}")
        elif body.scheduled_activity_id is None:
            require(rights.may_log_directly(kind.id), "log", f"a {kind.api_name!r}")
        told = await _told(tx, body, references, kind, held)
        if kind.deleted_at is not None:
            references.problems.append(Problem("activity_object_id", "archived", f"{kind.api_name!r} is archived"))
        if held is not None and held.activity.type_id != kind.id:
            message = f"is a scheduled {held.activity.type!r}, not a {kind.api_name!r}"
            references.problems.append(Problem("scheduled_activity_id", "other_type", message))
        refuse(references.problems)
        if held is not None:
            caller.match(held)
            refuse_logged(held)
        subject = Subject(caller.business_id, uuid7())
        decision = life.log(held, subject, told, by_request=True)._replace(linked=references.linked)
        await recording.record(tx, [Entry(decision, told.by, request_id=caller.request_id)])
        assert decision.held is not None
        if held is not None:
            await caller.retry_waiting(tx, decision.held)
        return await _answer(tx, caller, decision.held.activity.activity_id, references.known)

    return await caller.write(write)


@router.get("/logged/{activity_id}")
async def get_logged(activity_id: str, caller: Reader, wanted: Annotated[ShownBody, Query()]) -> Response:
    """Show a logged activity with all its additions."""
    check_names(wanted.fields, LOGGED_NAMES)
    identity = id_of(activity_id, "logged")
    async with caller.database.transaction(caller.principal) as tx:
        references = await look_up(tx, caller)
        held = await caller.find(tx, identity, references.known, logged=True)
        shown = await _shown(tx, caller, held, references.known)
    return versioned(chosen(shown, wanted.fields), held.activity.version)


@router.get("/logged/{activity_id}/history")
async def get_history(activity_id: str, caller: Reader) -> Response:
    """Show every version of a logged activity: what, who, when, why."""
    return await history_of(caller, id_of(activity_id, "logged"), logged=True)


@router.post("/logged/{activity_id}/restore")
async def restore(activity_id: str, caller: Writer) -> Response:
    """Take the deletion of a logged activity back."""

    async def write(tx: Transaction) -> Response:
        references = await look_up(tx, caller)
        held = await caller.lock(
            tx, id_of(activity_id, "logged"), references.known, "delete", logged=True, deleted=True
        )
        caller.match(held)
        decision = life.bring_back(held, caller.now)
        if decision.outcome == "applied":
            me = _me(caller, references.known)
            await recording.record(tx, [Entry(decision, me, request_id=caller.request_id)])
        return await _answer(tx, caller, held.activity.activity_id, references.known)

    return await caller.write(write)


@router.post("/logged/{activity_id}/append", status_code=201)
async def append_to_logged(activity_id: str, body: AppendBody, caller: Writer) -> Response:
    """Add a note, an attachment, a correction or a retraction to a logged activity."""

    async def write(tx: Transaction) -> Response:
        references = await look_up(tx, caller)
        held = await caller.lock(tx, id_of(activity_id, "logged"), references.known, "edit", logged=True)
        caller.match(held)
        said, kind = body.model_dump(), references.known.type_of(str(held.activity.type_id))
        editable = kind is not None and kind.is_editable
        if kind is not None and editable and body.fields and body.kind == "correction":
            said["fields"] = await references.correction(tx, body.fields, kind, held.activity)
            refuse(references.problems)
        addition = Append(id=uuid7(), at=caller.now, by=_me(caller, references.known), **said)
        decision = life.append(held, addition, caller.now, is_editable=editable)
        if decision.outcome != "applied":
            problems = [Problem(each.field, each.code, each.message) for each in decision.reasons]
            raise Rejected("this cannot be added", problems, code=problems[0].code)
        decision = decision._replace(linked=references.linked)
        await recording.record(tx, [Entry(decision, addition.by, request_id=caller.request_id)])
        return await _answer(tx, caller, held.activity.activity_id, references.known, addition)

    return await caller.write(write)


async def history_of(caller: Caller, activity_id: UUID, *, logged: bool) -> Response:
    """Show every version of an activity."""
    async with caller.database.transaction(caller.principal) as tx:
        references = await look_up(tx, caller)
        held = await caller.find(tx, activity_id, references.known, logged=logged, deleted=True)
        rows = await activities.list_history(tx, caller.business_id, activity_id)
    shown = shown_history(rows)
    return versioned(paged(caller.request, shown, len(shown), 1, len(shown)), held.activity.version)


def refuse_logged(held: Held) -> None:
    """Refuse a second log, and changes to what was logged. Raises Conflict."""
    if held.activity.logged_at is not None:
        link = f"/api/activities/logged/{held.activity.activity_id}"
        raise Conflict(f"activity {held.activity.activity_id} is logged already", code="already_logged", link=link)


async def _scheduled(tx: Transaction, caller: Caller, body: LogBody, references: References) -> Held | None:
    if body.scheduled_activity_id is None:
        return None
    key = (caller.business_id, body.scheduled_activity_id)
    held = (await activities.lock_activities(tx, [key])).get(key)
    if held is not None and (held.activity.deleted_at is not None or not await caller.sees(tx, held, references.known)):
        held = None
    if held is None or held.activity.planned_at is None:
        message = f"{body.scheduled_activity_id} is not a scheduled activity"
        if held is not None:
            refuse_logged(held)
        references.problems.append(Problem("scheduled_activity_id", "does_not_exist", message))
        return None
    return held


async def _told(
    tx: Transaction, body: LogBody, references: References, kind: ActivityObject, held: Held | None
) -> Told:
    caller = references.caller
    content: dict[str, Any] = references.said(body, body.model_fields_set)
    links = references.links("related_objects", body.related_objects, kind, logging=True)
    before = held.activity if held is not None else None
    if links or before is None:
        content["links"] = links
    given = Given(kind, body.model_fields_set, links or (before.links if before else []), before, logging=True)
    content |= await references.fields(tx, body, given)
    content = {name: value for name, value in content.items() if name == "links" or value not in (None, [])}
    content |= {"type": kind.api_name, "type_id": kind.id, "type_name": kind.name}
    if body.occurred_at is not None:
        content["occurred_at"] = body.occurred_at
    me = _me(caller, references.known)
    if me is not None:
        content["actor"] = me
    return Told(LOG, caller.now, caller.now, me, content)


def _me(caller: Caller, known: Known) -> contract.Person | None:
    return known.person_of(caller.principal.user_id)


async def _answer(
    tx: Transaction, caller: Caller, activity_id: UUID, known: Known, wrote: contract.Append | None = None
) -> Response:
    """Show a logged activity as it was just made, or with what was just added."""
    held = visible(await activities.find_activity(tx, caller.business_id, activity_id), activity_id, logged=True)
    shown = await _shown(tx, caller, held, known)
    if wrote is not None:
        shown |= {"append_id": wrote.id, "kind": wrote.kind}
    return versioned(shown, held.activity.version, 201, activity_id)


async def _shown(tx: Transaction, caller: Caller, held: Held, known: Known) -> dict[str, Any]:
    activity = held.activity
    appends: Sequence[bytes] = ()
    if activity.appends_count:
        appends = await activities.list_appends(tx, caller.business_id, activity.activity_id)
    return shown_logged(activity, known.type_of(str(activity.type_id)), appends, caller.now)
