"""Routes of logged activities: log, read, append, history."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response

from libs.database import Transaction
from libs.service.answers import versioned
from services.lifecycle import recording
from services.lifecycle.api import logs
from services.lifecycle.api.answers import paged, shown_history, shown_logged
from services.lifecycle.api.bodies import AppendBody, LogBody
from services.lifecycle.api.callers import Caller, Reader, Writer, id_of, visible
from services.lifecycle.api.marks import marked, marks_of
from services.lifecycle.api.pages import LOGGED_NAMES, ShownBody, check_names, chosen
from services.lifecycle.api.references import References, look_up
from services.lifecycle.api.same_events import with_differences
from services.lifecycle.api.writing import Done, written
from services.lifecycle.domain import life
from services.lifecycle.domain.held import Held
from services.lifecycle.recording import Entry
from services.lifecycle.store import activities

router = APIRouter(prefix="/api/activities")
first = APIRouter(prefix="/api/activities")
"""Served before all others, as it is called most; no other path ends like it."""


@first.post("/{object}/log-activity", status_code=201)
async def log_activity(object: str, body: LogBody, caller: Writer) -> Response:  # noqa: A002 - the path's word
    """Log an activity that happened; with `scheduled_activity_id` complete what was planned."""

    def answer(done: Done) -> Response:
        activity = done.held.activity
        kind = done.references.known.type_of(str(activity.type_id))
        shown = done.references.with_gone(shown_logged(activity, kind, done.appends, caller.now))
        return versioned(marked(shown, done.marks), activity.version, 201, activity.activity_id)

    return await written(logs.operation(caller, object, body), answer)


@router.get("/logged/{activity_id}")
async def get_logged(activity_id: str, caller: Reader, wanted: Annotated[ShownBody, Query()]) -> Response:
    """Show a logged activity with all its additions."""
    check_names(wanted.fields, LOGGED_NAMES)
    identity = id_of(activity_id, "logged")
    async with caller.database.transaction(caller.principal) as tx:
        references = await look_up(tx, caller)
        held = await caller.find(tx, identity, references.known, logged=True)
        shown = await _shown(tx, references, held)
        if held.activity.same:
            shown["same"] = await with_differences(tx, caller, references.known, held)
    return versioned(chosen(shown, wanted.fields), held.activity.version)


@router.get("/logged/{activity_id}/history")
async def get_logged_history(activity_id: str, caller: Reader) -> Response:
    """Show every version of a logged activity: what, who, when, why."""
    return await history_of(caller, id_of(activity_id, "logged"), logged=True)


@router.post("/logged/{activity_id}/restore")
async def restore_logged(activity_id: str, caller: Writer) -> Response:
    """Take the deletion of a logged activity back."""

    async def write(tx: Transaction) -> Response:
        references = await look_up(tx, caller)
        held = await caller.lock(
            tx, id_of(activity_id, "logged"), references.known, "delete", logged=True, deleted=True
        )
        caller.match(held)
        decision = life.bring_back(held, caller.now)
        if decision.outcome == "applied":
            me = references.known.person_of(caller.principal.user_id)
            told = Entry(decision, me, request_id=caller.request_id, recognise=references.known.recognises)
            await recording.record(tx, [told])
        assert decision.held is not None
        shown = await _shown(tx, references, decision.held)
        return versioned(shown, decision.held.activity.version, wrote=held.activity.activity_id)

    return await caller.write(write)


@router.post("/logged/{activity_id}/append", status_code=201)
async def append_to_logged(activity_id: str, body: AppendBody, caller: Writer) -> Response:
    """Add a note, an attachment, a correction or a retraction to a logged activity."""

    async def write(tx: Transaction) -> Response:
        references = await look_up(tx, caller)
        held = await caller.lock(tx, id_of(activity_id, "logged"), references.known, "edit", logged=True)
        decision = await logs.decide_append(tx, references, held, body)
        addition = decision.addition
        assert addition is not None
        await recording.record(tx, [Entry(decision, addition.by, request_id=caller.request_id)])
        after = visible(
            await activities.find_activity(tx, caller.business_id, held.activity.activity_id),
            held.activity.activity_id,
            logged=True,
        )
        shown = await _shown(tx, references, after) | {"append_id": addition.id, "kind": addition.kind}
        return versioned(shown, after.activity.version, 201, after.activity.activity_id)

    return await caller.write(write)


async def history_of(caller: Caller, activity_id: UUID, *, logged: bool) -> Response:
    """Show every version of an activity."""
    async with caller.database.transaction(caller.principal) as tx:
        references = await look_up(tx, caller)
        held = await caller.find(tx, activity_id, references.known, logged=logged, deleted=True)
        rows = await activities.list_history(tx, caller.business_id, activity_id)
    shown = shown_history(rows)
    return versioned(paged(caller.request, shown, len(shown), 1, len(shown)), held.activity.version)


async def _shown(tx: Transaction, references: References, held: Held) -> dict[str, Any]:
    activity, caller = held.activity, references.caller
    appends: Sequence[bytes] = ()
    if activity.appends_count:
        appends = await activities.list_appends(tx, caller.business_id, activity.activity_id)
    await references.learn_of(tx, [activity])
    shown = shown_logged(activity, references.known.type_of(str(activity.type_id)), appends, caller.now)
    return marked(references.with_gone(shown), await marks_of(tx, caller, [activity]))
