"""S2's route that opens again what was completed."""

from fastapi import APIRouter, Response

from libs.contracts.ids import ulid_of
from libs.database import Transaction
from libs.errors import Conflict
from services.lifecycle.api.accounts.activities import NOTHING, answer, lock, require_act
from services.lifecycle.api.accounts.answers import COMPLETED, status_of
from services.lifecycle.api.accounts.bodies import ReopenBody
from services.lifecycle.api.accounts.reading import read
from services.lifecycle.api.callers import MemberWriter
from services.lifecycle.api.undo import Undoing, take_back

router = APIRouter(prefix="/v1/accounts/activities")


@router.post("/{activity_id}/undo", status_code=201)
async def undo_activity(activity_id: str, body: ReopenBody, caller: MemberWriter) -> Response:
    """Take the completion of an activity back: it is retracted, and a PENDING one that follows it is answered."""

    async def write(tx: Transaction) -> Response:
        held = await lock(tx, caller, activity_id)
        reading, activity = await read(tx, caller, NOTHING), held.activity
        require_act(caller, reading.known, held, "edit")
        status = status_of(activity)
        if status != COMPLETED:
            raise Conflict(f"activity {ulid_of(activity.activity_id)} is {status}; there is no completion to undo")
        due = body.activity_timestamp or activity.due_at or activity.at
        as_it_was = body.activity_timestamp is None and activity.due_at is not None
        undoing = Undoing(held, body.text, reopen=True, due=None if as_it_was else {"due_at": due, "due_date": None})
        undone = await take_back(tx, caller, reading.known, undoing)
        assert undone.following is not None
        assert undone.following.held is not None
        return await answer(tx, caller, undone.following.held, 201, wrote=True)

    return await caller.write(write)
