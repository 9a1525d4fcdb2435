"""The route that undoes what was logged."""

from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Response

from libs.contracts.ids import uuid7
from libs.database import Transaction
from libs.errors import Conflict, Problem, Rejected
from libs.service.answers import versioned
from libs.service.body import Body, Text
from services.lifecycle import living, recording
from services.lifecycle.api.answers import shown_logged, shown_scheduled
from services.lifecycle.api.bodies import TEXT_MAX, Due
from services.lifecycle.api.callers import Caller, Writer, id_of, refuse, require
from services.lifecycle.api.marks import marked, marks_of
from services.lifecycle.api.references import look_up, roles_of
from services.lifecycle.domain import undo as rules
from services.lifecycle.domain.held import Append, Held
from services.lifecycle.domain.known import Known
from services.lifecycle.recording import Entry
from services.lifecycle.store import activities

router = APIRouter(prefix="/api/activities/logged")


class UndoBody(Body):
    """Why, and by when it is to be done again; `reopen` false: not at all (absent: if it had been planned)."""

    text: Annotated[str, Text(TEXT_MAX)] | None = None
    due_datetime: Due = None
    reopen: bool | None = None


@router.post("/{activity_id}/undo", status_code=201)
async def undo(activity_id: str, body: UndoBody, caller: Writer) -> Response:
    """Retract a logged activity, and schedule a new one that follows it, together or not at all."""

    async def write(tx: Transaction) -> Response:
        references = await look_up(tx, caller)
        known = references.known
        held = await caller.lock(tx, id_of(activity_id, "logged"), known, "edit", logged=True)
        activity = held.activity
        reopen = body.reopen if body.reopen is not None else activity.completed_at is not None
        if body.due_datetime is not None and not reopen:
            message = "is taken only where the activity is planned again"
            refuse([Problem("due_datetime", "exclusive", message)])
        due = references.due(body.due_datetime, activity.assignee) if "due_datetime" in body.model_fields_set else None
        undone = await take_back(tx, caller, known, Undoing(held, body.text, reopen, due))
        after = undone.retraction.held
        assert after is not None
        kind = known.type_of(str(activity.type_id))
        appends = await activities.list_appends(tx, caller.business_id, activity.activity_id)
        await references.learn_of(tx, [after.activity])
        marks = await marks_of(tx, caller, [after.activity])
        logged = references.with_gone(shown_logged(after.activity, kind, appends, caller.now))
        shown = {"logged": marked(logged, marks), "scheduled": None}
        newest = after.activity
        if undone.following is not None and undone.following.held is not None:
            newest = undone.following.held.activity
            [newest] = await living.as_now(tx, known, [newest], roles_of(caller))
            scheduled = references.with_gone(shown_scheduled(newest, kind, caller.now, caller.rights(known)))
            shown["scheduled"] = marked(scheduled, marks)
        return versioned(shown, newest.version, 201, newest.activity_id)

    return await caller.write(write)


class Undoing(NamedTuple):
    """What is undone, why, and whether it is planned again, by which due (None: as it was due)."""

    held: Held
    text: str | None
    reopen: bool
    due: dict[str, Any] | None


async def take_back(tx: Transaction, caller: Caller, known: Known, undoing: Undoing) -> rules.Undone:
    """Retract a locked activity, plan it again where it is reopened, and record both. Raises Conflict, Rejected."""
    held, activity = undoing.held, undoing.held.activity
    caller.match(held)
    if activity.retracted_at is not None:
        raise Conflict(f"activity {activity.activity_id} is retracted already", code="already_retracted")
    if undoing.reopen:
        allowed = caller.rights(known).may_assign(activity.type_id, activity.assignee)
        require(allowed, "schedule", f"a {activity.type!r}")
    me = known.person_of(caller.principal.user_id)
    retraction = Append(id=uuid7(), kind="retraction", at=caller.now, by=me, text=undoing.text)
    undone = rules.undo(held, retraction, caller.now, reopen=undoing.reopen, due=undoing.due)
    if undone.retraction.outcome != "applied":
        problems = [Problem(each.field, each.code, each.message) for each in undone.retraction.reasons]
        raise Rejected("this cannot be undone", problems, code=problems[0].code)
    decisions = [each for each in undone if each is not None]
    await recording.record(tx, [Entry(each, me, request_id=caller.request_id) for each in decisions])
    return undone
