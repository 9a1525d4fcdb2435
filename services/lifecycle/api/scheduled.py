"""Routes of scheduled activities: schedule, read, change, cancel, restore, history."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response

from libs.contracts.ids import uuid7
from libs.database import Transaction
from libs.errors import Conflict, Problem
from libs.service.answers import versioned
from services.lifecycle import recording
from services.lifecycle.api.answers import shown_scheduled
from services.lifecycle.api.bodies import NotesBody, PlanBody
from services.lifecycle.api.callers import Caller, Reader, Writer, id_of, refuse, require
from services.lifecycle.api.logged import history_of, refuse_logged
from services.lifecycle.api.pages import SCHEDULED_NAMES, ShownBody, check_names, chosen
from services.lifecycle.api.references import Given, References, look_up
from services.lifecycle.domain import life
from services.lifecycle.domain.held import PLAN, Assignee, Decision, Held, Subject, Told
from services.lifecycle.domain.plans import schedule_of
from services.lifecycle.recording import Entry

router = APIRouter(prefix="/api/activities/scheduled-activity")

REPLACED = (
    "due_datetime", "employee_id", "role_id", "notes", "mentions", "subject", "summary", "location", "direction",
    "duration_min", "notify_mentioned", "notifications", "associated_entities", "fields",
)  # fmt: skip
"""What PUT sets, to nothing where it is left out."""


@router.post("", status_code=201)
async def schedule(body: PlanBody, caller: Writer) -> Response:
    """Schedule an activity."""

    async def write(tx: Transaction) -> Response:
        references = await look_up(tx, caller, _people(body), body.associated_entities)
        kind = references.type_of(body)
        content = await _content(tx, body, references, set(REPLACED), None)
        refuse(references.problems)
        assert kind is not None
        allowed = caller.rights(references.known).may_assign(kind.id, content["assignee"])
        require(allowed, "schedule", f"a {kind.api_name!r} for {body.employee_id or body.role_id or 'yourself'}")
        content |= {"type": kind.api_name, "type_id": kind.id, "type_name": kind.name}
        me = references.known.person_of(caller.principal.user_id)
        if content["notes"] is None and kind.default_note is not None:
            content["notes"] = kind.default_note
        if content["assignee"] is None and (kind.default_assignee is not None or me is not None):
            mine = Assignee(member_id=me.member_id, name=me.name) if me is not None else None
            content |= {"assignee": kind.default_assignee or mine}
            content |= references.due(body.due_datetime, content["assignee"])
        if content["due_at"] is None and kind.default_delay_min is not None:
            content["due_at"] = schedule_of(caller.now, kind.default_delay_min)
        content["original_due_at"] = body.original_due_datetime or content["due_at"]
        decision = life.plan(
            None, Subject(caller.business_id, uuid7()), Told(PLAN, caller.now, caller.now, me, content)
        )
        return await _record(tx, caller, references, decision, status=201)

    return await caller.write(write)


@router.get("/{activity_id}")
async def get_scheduled(activity_id: str, caller: Reader, wanted: Annotated[ShownBody, Query()]) -> Response:
    """Show a scheduled activity, also when it has been logged or cancelled since."""
    check_names(wanted.fields, SCHEDULED_NAMES)
    identity = id_of(activity_id, "scheduled")
    async with caller.database.transaction(caller.principal) as tx:
        references = await look_up(tx, caller)
        held = await caller.find(tx, identity, references.known)
    return versioned(chosen(_shown(caller, references, held), wanted.fields), held.activity.version)


@router.put("/{activity_id}")
async def replace(activity_id: str, body: PlanBody, caller: Writer) -> Response:
    """Replace what is planned; its type stays."""
    return await _change(caller, activity_id, body, set(REPLACED))


@router.patch("/{activity_id}")
async def change(activity_id: str, body: PlanBody, caller: Writer) -> Response:
    """Change what the body names."""
    return await _change(caller, activity_id, body, body.model_fields_set)


@router.patch("/{activity_id}/notes")
async def change_notes(activity_id: str, body: NotesBody, caller: Writer) -> Response:
    """Change the note alone."""
    return await _change(caller, activity_id, PlanBody(note=body.notes), {"notes"})


@router.delete("/{activity_id}", status_code=204)
async def cancel(activity_id: str, caller: Writer) -> Response:
    """Cancel a scheduled activity; one that is cancelled stays so."""

    async def write(tx: Transaction) -> Response:
        references = await look_up(tx, caller)
        held = await caller.lock(tx, id_of(activity_id, "scheduled"), references.known, "delete")
        refuse_logged(held)
        if held.activity.cancelled_at is None:
            caller.match(held)
        answer = await _record(tx, caller, references, life.cancel(held, caller.now, caller.now))
        headers = {name: answer.headers[name] for name in ("etag", "x-wrote")}
        return Response(status_code=204, headers=headers)

    return await caller.write(write)


@router.post("/{activity_id}/restore")
async def restore(activity_id: str, caller: Writer) -> Response:
    """Take a deletion back, else a cancellation."""

    async def write(tx: Transaction) -> Response:
        references = await look_up(tx, caller)
        held = await caller.lock(tx, id_of(activity_id, "scheduled"), references.known, "delete", deleted=True)
        if held.activity.deleted_at is None:
            refuse_logged(held)
        caller.match(held)
        undo = life.restore if held.activity.deleted_at is None else life.bring_back
        return await _record(tx, caller, references, undo(held, caller.now))

    return await caller.write(write)


@router.post("/{activity_id}/claim")
async def claim(activity_id: str, caller: Writer) -> Response:
    """Take an activity that is assigned to a role one is a member of; the first claim wins."""

    async def write(tx: Transaction) -> Response:
        references = await look_up(tx, caller)
        held = await caller.lock_to_claim(tx, id_of(activity_id, "scheduled"), references.known)
        assignee = held.activity.assignee
        await references.learn(tx, assignee)
        caller.match(held)
        refuse_logged(held)
        refuse_cancelled(held)
        me = references.known.person_of(caller.principal.user_id)
        assert me is not None
        taker = Assignee(member_id=me.member_id, name=me.name)
        content = {"assignee": taker}
        if held.activity.due_date is not None:
            content |= references.due(held.activity.due_date, taker)
        told = Told(PLAN, caller.now, caller.now, me, content)
        role = references.known.roles.get(assignee.role_id) if assignee is not None and assignee.role_id else None
        return await _record(tx, caller, references, life.claim(held, told, role))

    return await caller.write(write)


@router.get("/{activity_id}/history")
async def get_history(activity_id: str, caller: Reader) -> Response:
    """Show every version: what, who, when, why."""
    return await history_of(caller, id_of(activity_id, "scheduled"), logged=False)


async def _change(caller: Caller, activity_id: str, body: PlanBody, names: set[str]) -> Response:
    async def write(tx: Transaction) -> Response:
        references = await look_up(tx, caller, _people(body), body.associated_entities)
        held = await caller.lock(tx, id_of(activity_id, "scheduled"), references.known, "edit")
        await references.learn(tx, held.activity.assignee)
        _check_create_only(body, held, references)
        content = await _content(tx, body, references, names, held)
        refuse(references.problems)
        caller.match(held)
        refuse_logged(held)
        refuse_cancelled(held)
        me = references.known.person_of(caller.principal.user_id)
        told = Told(PLAN, caller.now, caller.now, me, content)
        return await _record(tx, caller, references, life.change(held, told))

    return await caller.write(write)


def refuse_cancelled(held: Held) -> None:
    """Refuse changes to what is cancelled. Raises Conflict."""
    if held.activity.cancelled_at is not None:
        raise Conflict(f"activity {held.activity.activity_id} is cancelled; restore it first", code="cancelled")


def _people(body: PlanBody) -> list[UUID | None]:
    return [body.employee_id, body.role_id, *body.mentions]


def _check_create_only(body: PlanBody, held: Held, references: References) -> None:
    if body.original_due_datetime not in (None, held.activity.original_due_at):
        message = "is set when an activity is scheduled; change due_datetime"
        references.problems.append(Problem("original_due_datetime", "create_only", message))
    if body.activity_object_id is None and body.activity_object_name is None:
        return
    if body.activity_object_id not in (None, held.activity.type_id) or body.activity_object_name not in (
        None, held.activity.type, str(held.activity.type_id),
    ):  # fmt: skip
        field = "activity_object_id" if body.activity_object_id is not None else "activity_object_name"
        message = f"is set when an activity is scheduled and stays {held.activity.type!r}"
        references.problems.append(Problem(field, "create_only", message))


async def _content(
    tx: Transaction, body: PlanBody, references: References, names: set[str], held: Held | None
) -> dict[str, Any]:
    """Read what a body says about a plan: the fields in `names`."""
    earlier = held.activity.assignee if held is not None else None
    content = references.said(body, names, held.activity.mentions if held is not None else ())
    if names & {"employee_id", "role_id"}:
        content["assignee"] = references.assignee(body, earlier)
    assignee = content.get("assignee", earlier)
    if "due_datetime" in names:
        content |= references.due(body.due_datetime, assignee)
    elif "assignee" in content and held is not None and held.activity.due_date is not None:
        content |= references.due(held.activity.due_date, assignee)
    if "notify_mentioned" in names:
        content["notify_mentioned"] = body.notify_mentioned
    if "notifications" in names:
        content["notifications"] = [each.model_dump() for each in body.notifications]
    text = body.activity_object_name or str(body.activity_object_id or "")
    kind = references.known.type_of(str(held.activity.type_id) if held else text)
    links = held.activity.links if held is not None else []
    if "associated_entities" in names:
        links = references.links("associated_entities", body.associated_entities, kind, logging=False)
        content["links"] = links
    before = None if held is None or names.issuperset(REPLACED) else held.activity
    return content | await references.fields(tx, body, Given(kind, names, links, before))


async def _record(
    tx: Transaction, caller: Caller, references: References, decision: Decision, *, status: int = 200
) -> Response:
    held = decision.held
    assert held is not None
    if decision.outcome == "applied":
        me = references.known.person_of(caller.principal.user_id)
        decision = decision._replace(linked=references.linked)
        await recording.record(tx, [Entry(decision, me, request_id=caller.request_id)])
    return _answer(caller, references, held, status=status, wrote=True)


def _answer(caller: Caller, references: References, held: Held, *, status: int = 200, wrote: bool = False) -> Response:
    activity = held.activity
    shown = _shown(caller, references, held)
    return versioned(shown, activity.version, status, activity.activity_id if wrote else None)


def _shown(caller: Caller, references: References, held: Held) -> dict[str, Any]:
    kind = references.known.type_of(str(held.activity.type_id))
    return shown_scheduled(held.activity, kind, caller.now, caller.rights(references.known))
