"""Routes by which a business has what was logged before searched for reports of the same event."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import model_validator

from libs.access.levels import ADMIN_OBJECTS
from libs.access.members import list_settings
from libs.database import Transaction
from libs.errors import Conflict, Problem
from libs.service.answers import json_answer
from libs.service.body import Body, Moment
from services.lifecycle.api.callers import Caller, Reader, make_caller, refuse
from services.lifecycle.domain.alike import SETTING, setting_of
from services.lifecycle.store import recognition as store

router = APIRouter(prefix="/api/activities/logged/same-event/search")
SEARCHED_MAX = 50_000
"""Activities that one request has searched; some 100 are looked at each second."""

Administrator = Annotated[Caller, Depends(make_caller("activities.write", ADMIN_OBJECTS, matched=False))]


class SearchBody(Body):
    """When the activities were logged that are to be searched."""

    logged_from: Moment
    logged_before: Moment

    @model_validator(mode="after")
    def _in_order(self) -> "SearchBody":
        if self.logged_from >= self.logged_before:
            raise ValueError("logged_from must be before logged_before")
        return self


@router.post("", status_code=202)
async def search_past(body: SearchBody, caller: Administrator) -> Response:
    """Search what was logged before for reports of the same event, as the business has it set now.

    Recognition begins when `same_event` is set (`since`); this looks at what was logged before, at most 50,000
    activities a request and some 100 of them a second. Asked again it changes nothing that is found already.
    """

    async def write(tx: Transaction) -> Response:
        settings = await list_settings(tx, [caller.business_id])
        if setting_of(settings.get(caller.business_id, {})) is None:
            message = f"the business recognises no same events; set `{SETTING}` first (PATCH /api/directory/business)"
            raise Conflict(message, "not_set")
        found = await store.list_logged(
            tx, caller.business_id, (body.logged_from, body.logged_before), SEARCHED_MAX + 1
        )
        if len(found) > SEARCHED_MAX:
            message = f"has more than {SEARCHED_MAX} activities before logged_before; ask for less at a time"
            refuse([Problem("logged_from", "too_many", message)])
        await store.put_off(tx, caller.business_id, found)
        left = await store.count_put_off(tx, caller.business_id)
        return json_answer({"activities": len(found), "left": left}, 202)

    return await caller.write(write)


@router.get("")
async def show_search(caller: Reader) -> Response:
    """Show how many activities are still to be looked at."""
    async with caller.database.transaction(caller.principal) as tx:
        return json_answer({"left": await store.count_put_off(tx, caller.business_id)})
