"""Routes by which people say what is the same event, and what is not."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Response

from libs.database import Transaction
from libs.errors import Conflict, Unavailable
from libs.service.answers import versioned
from services.lifecycle import recognition, recording
from services.lifecycle.api.answers import shown_logged, shown_same
from services.lifecycle.api.callers import Caller, Wanted, Writer, id_of
from services.lifecycle.api.marks import marked, marks_of
from services.lifecycle.api.references import look_up
from services.lifecycle.domain import recognition as rules
from services.lifecycle.domain.differing import differences
from services.lifecycle.domain.held import Held
from services.lifecycle.domain.known import Known
from services.lifecycle.domain.recognition import Verdict, pair_of
from services.lifecycle.recording import Entry
from services.lifecycle.store import activities
from services.lifecycle.store import recognition as store

router = APIRouter(prefix="/api/activities/logged")


@router.put("/{activity_id}/same-event/{other_id}")
async def link(activity_id: str, other_id: str, caller: Writer) -> Response:
    """Say that two logged activities tell of the same event: it is shown and counted once, with both as its reports.

    Whoever is linked to one of them belongs to it too. Said again it changes nothing.
    """

    async def write(tx: Transaction) -> Response:
        known = (await look_up(tx, caller)).known
        ids = id_of(activity_id, "logged"), id_of(other_id, "logged")
        one, other = await _lock(tx, caller, known, ids)
        caller.match(one)
        _check(one, other)
        if any(each.activity_id == ids[1] for each in one.activity.same):
            return await _answer(tx, caller, known, one)
        said = await store.list_verdicts(tx, caller.business_id, _group_of(one))
        across = {pair_of(left, right) for left in _group_of(one) for right in _group_of(other)}
        newer = dict.fromkeys((across & said.keys()) | {pair_of(*ids)}, Verdict(True, caller.principal.user_id))
        await store.save_verdicts(tx, caller.business_id, newer, caller.now)
        after = await _settle(
            tx, caller, known, {ids[0]: one, ids[1]: other}, "somebody said that it is the same event"
        )
        if not any(each.activity_id == ids[1] for each in after[ids[0]].activity.same):
            message = f"at most {rules.GROUP_MAX} activities are one event, and one conversation among them"
            raise Conflict(message, code="not_one_event")
        return await _answer(tx, caller, known, after[ids[0]], wrote=True)

    return await caller.write(write)


@router.delete("/{activity_id}/same-event")
async def part(activity_id: str, caller: Writer) -> Response:
    """Say that a logged activity is an event of its own: it is shown and counted again, and not recognised any more as
    the same as those it was linked to. Said again it changes nothing.
    """

    async def write(tx: Transaction) -> Response:
        known = (await look_up(tx, caller)).known
        identity = id_of(activity_id, "logged")
        held = await caller.lock(tx, identity, known, "edit", logged=True)
        caller.match(held)
        if not held.activity.same:
            return await _answer(tx, caller, known, held)
        mine = Verdict(False, caller.principal.user_id)
        pairs = [pair_of(identity, other.activity_id) for other in held.activity.same]
        await store.save_verdicts(tx, caller.business_id, dict.fromkeys(pairs, mine), caller.now)
        after = await _settle(tx, caller, known, {identity: held}, "somebody said that it is not the same event")
        return await _answer(tx, caller, known, after[identity], wrote=True)

    return await caller.write(write)


async def with_differences(tx: Transaction, caller: Caller, known: Known, held: Held) -> list[dict[str, Any]]:
    """Show the other reports of an activity's event, with what those say otherwise that the caller sees."""
    shown = []
    for each in shown_same(held.activity):
        other = await activities.find_activity(tx, caller.business_id, each["activity_id"])
        seen = other is not None and other.activity.deleted_at is None and await caller.sees(tx, other, known)
        found = differences(held.activity, other.activity) if seen and other is not None else None
        shown.append(each | {"differences": None if found is None else [one._asdict() for one in found]})
    return shown


async def _lock(tx: Transaction, caller: Caller, known: Known, ids: tuple[UUID, UUID]) -> list[Held]:
    keys = [(caller.business_id, identity) for identity in ids]
    locked = await activities.lock_activities(tx, keys)
    return [await caller.check(tx, locked.get(key), known, Wanted(key[1], "edit", logged=True)) for key in keys]


def _check(one: Held, other: Held) -> None:
    """Refuse to link what cannot be one event. Raises Conflict."""
    if one.activity.activity_id == other.activity.activity_id:
        raise Conflict(f"{one.activity.activity_id} is one activity: name another one", code="same_activity")
    for held in (one, other):
        if held.activity.retracted_at is not None:
            raise Conflict(f"activity {held.activity.activity_id} is retracted", code="retracted")
        if held.activity.privacy != "public":
            message = f"activity {held.activity.activity_id} is not for everybody ({held.activity.privacy})"
            raise Conflict(message, code="not_public")
    if None not in (one.activity.interaction_id, other.activity.interaction_id):
        raise Conflict("both were made from conversations, which stay two", code="two_conversations")


def _group_of(held: Held) -> list[UUID]:
    return [held.activity.activity_id, *(each.activity_id for each in held.activity.same)]


async def _settle(tx: Transaction, caller: Caller, known: Known, held: dict[UUID, Held], why: str) -> dict[UUID, Held]:
    """Link anew after somebody's word. Raises Unavailable where another one has some of them in hand."""
    changed = await recognition.look(tx, caller.business_id, held, caller.now)
    if changed is None:
        raise Unavailable("reports of this event are being changed by somebody else just now; try again")
    decisions = recognition.link(list(changed.values()), caller.now, why)
    later = {each.held.activity.activity_id: each.held for each in decisions if each.held is not None}
    answers = await recognition.answer_again(tx, caller.business_id, list(later.values()), caller.now)
    me = known.person_of(caller.principal.user_id)
    entries = [Entry(each, me, request_id=caller.request_id, recognise=False) for each in decisions]
    await recording.record(tx, entries, answers)
    return held | later


async def _answer(tx: Transaction, caller: Caller, known: Known, held: Held, *, wrote: bool = False) -> Response:
    activity = held.activity
    appends = await activities.list_appends(tx, caller.business_id, activity.activity_id)
    shown = shown_logged(activity, known.type_of(str(activity.type_id)), appends, caller.now)
    shown["same"] = await with_differences(tx, caller, known, held)
    marked(shown, await marks_of(tx, caller, [activity]))
    return versioned(shown, activity.version, 200, activity.activity_id if wrote else None)
