"""Routes of scheduled activities: schedule, read, change, cancel, restore, history."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from libs.database import Transaction
from libs.service.answers import versioned
from services.lifecycle import living, recording
from services.lifecycle.api import planning, series
from services.lifecycle.api.answers import shown_scheduled
from services.lifecycle.api.bodies import NotesBody, PlanBody, Scope
from services.lifecycle.api.callers import Caller, Reader, Writer, id_of
from services.lifecycle.api.logged import history_of
from services.lifecycle.api.marks import Marks, marked, marks_of
from services.lifecycle.api.pages import SCHEDULED_NAMES, ShownBody, check_names, chosen
from services.lifecycle.api.references import References, look_up, roles_of
from services.lifecycle.api.writing import written
from services.lifecycle.domain import life
from services.lifecycle.domain.held import PLAN, Assignee, Decision, Held, Told
from services.lifecycle.recording import Entry

router = APIRouter(prefix="/api/activities/scheduled-activity")
first = APIRouter(prefix="/api/activities/scheduled-activity")
"""Served before all others: finding a route costs more the later it stands, and this one is called most."""


@first.post("", status_code=201)
async def schedule(body: PlanBody, caller: Writer) -> Response:
    """Schedule an activity; with `recurrence` the first occurrence of one."""
    if body.recurrence is None:
        return await written(
            planning.operation(caller, body),
            lambda done: _answer(caller, done.references, done.held, 201),
        )

    async def write(tx: Transaction) -> Response:
        references = await look_up(tx, caller, planning.people_of(body), body.associated_entities)
        await planning.learn_defaults(tx, references, body)
        decision, begun = await planning.schedule(tx, references, body)
        answer = await _record(tx, caller, references, [decision], status=201)
        if begun is not None:
            await series.begin(tx, caller, begun)
        return answer

    return await caller.write(write)


@router.get("/{activity_id}")
async def get_scheduled(activity_id: str, caller: Reader, wanted: Annotated[ShownBody, Query()]) -> Response:
    """Show a scheduled activity, also when it has been logged or cancelled since."""
    check_names(wanted.fields, SCHEDULED_NAMES)
    identity = id_of(activity_id, "scheduled")
    async with caller.database.transaction(caller.principal) as tx:
        references = await look_up(tx, caller)
        held = await caller.find(tx, identity, references.known)
        await references.learn_of(tx, [held.activity])
        marks = await marks_of(tx, caller, [held.activity])
        shown = marked(_shown(caller, references, await _now(tx, references, held)), marks)
    return versioned(chosen(shown, wanted.fields), held.activity.version)


@router.put("/{activity_id}")
async def replace(activity_id: str, body: PlanBody, caller: Writer, scope: Scope = "this") -> Response:
    """Replace what is planned; its type stays. `scope`: of a recurrence this one, this and following, or all open."""
    return await _change(caller, activity_id, body, {*planning.REPLACED, *body.model_fields_set}, scope)


@router.patch("/{activity_id}")
async def change(activity_id: str, body: PlanBody, caller: Writer, scope: Scope = "this") -> Response:
    """Change what the body names. `scope`: of a recurrence this one, this and following, or all open ones."""
    return await _change(caller, activity_id, body, body.model_fields_set, scope)


@router.patch("/{activity_id}/notes")
async def change_notes(activity_id: str, body: NotesBody, caller: Writer) -> Response:
    """Change the note alone."""
    return await _change(caller, activity_id, PlanBody(note=body.notes), {"notes"})


@router.delete("/{activity_id}", status_code=204)
async def cancel(activity_id: str, caller: Writer, scope: Scope = "this") -> Response:
    """Cancel a scheduled activity; one that is cancelled stays so. `scope`: of a recurrence this one (it goes on), this
    and following, or all open ones (it ends).
    """

    async def write(tx: Transaction) -> Response:
        references = await look_up(tx, caller)
        held = await caller.lock(tx, id_of(activity_id, "scheduled"), references.known, "delete")
        decision = planning.cancel(references, held)
        others = await series.end(tx, references, held, scope) if scope != "this" else []
        answer = await _record(tx, caller, references, [decision, *others])
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
            planning.refuse_logged(held)
        caller.match(held)
        await series.refuse_passed(tx, held)
        undo = life.restore if held.activity.deleted_at is None else life.bring_back
        return await _record(tx, caller, references, [undo(held, caller.now)])

    return await caller.write(write)


@router.post("/{activity_id}/claim")
async def claim(activity_id: str, caller: Writer) -> Response:
    """Take an activity that is assigned to a role one is a member of; the first claim wins."""

    async def write(tx: Transaction) -> Response:
        references = await look_up(tx, caller)
        held = await caller.lock_to_claim(tx, id_of(activity_id, "scheduled"), references.known)
        assignee = held.activity.assignee
        await references.learn_of(tx, [held.activity])
        caller.match(held)
        planning.refuse_logged(held)
        planning.refuse_cancelled(held)
        me = references.known.person_of(caller.principal.user_id)
        assert me is not None
        taker = Assignee(member_id=me.member_id, name=me.name)
        content = {"assignee": taker}
        if held.activity.due_date is not None:
            content |= references.due(held.activity.due_date, taker)
        told = Told(PLAN, caller.now, caller.now, me, content)
        role = references.known.roles.get(assignee.role_id) if assignee is not None and assignee.role_id else None
        return await _record(tx, caller, references, [life.claim(held, told, role)])

    return await caller.write(write)


@router.get("/{activity_id}/history")
async def get_history(activity_id: str, caller: Reader) -> Response:
    """Show every version: what, who, when, why."""
    return await history_of(caller, id_of(activity_id, "scheduled"), logged=False)


async def _change(caller: Caller, activity_id: str, body: PlanBody, names: set[str], scope: Scope = "this") -> Response:
    async def write(tx: Transaction) -> Response:
        references = await look_up(tx, caller, planning.people_of(body), body.associated_entities)
        held = await caller.lock(tx, id_of(activity_id, "scheduled"), references.known, "edit")
        await references.learn_of(tx, [held.activity])
        series.check_scope(references, held, names, scope)
        decision, content = await planning.change(tx, references, held, (body, names))
        answer = await _record(tx, caller, references, [decision])
        if scope != "this":
            changed = series.Changed(decision, content, body.recurrence, ends="recurrence" in names)
            await series.change(tx, references, changed, scope)
        return answer

    return await caller.write(write)


async def _record(
    tx: Transaction, caller: Caller, references: References, decisions: Sequence[Decision], *, status: int = 200
) -> Response:
    held = decisions[0].held
    assert held is not None
    me = references.known.person_of(caller.principal.user_id)
    first = decisions[0]._replace(linked=references.linked)
    applied = [each for each in (first, *decisions[1:]) if each.outcome == "applied"]
    if applied:
        await recording.record(tx, [Entry(each, me, request_id=caller.request_id) for each in applied])
    marks = await marks_of(tx, caller, [held.activity]) if status == 200 else {}
    return _answer(caller, references, await _now(tx, references, held), status, marks)


async def _now(tx: Transaction, references: References, held: Held) -> Held:
    [now] = await living.as_now(tx, references.known, [held.activity], roles_of(references.caller))
    return held._replace(activity=now)


def _answer(
    caller: Caller, references: References, held: Held, status: int = 200, marks: Marks | None = None
) -> Response:
    shown = marked(_shown(caller, references, held), marks or {})
    return versioned(shown, held.activity.version, status, held.activity.activity_id)


def _shown(caller: Caller, references: References, held: Held) -> dict[str, Any]:
    kind = references.known.type_of(str(held.activity.type_id))
    return references.with_gone(shown_scheduled(held.activity, kind, caller.now, caller.rights(references.known)))
