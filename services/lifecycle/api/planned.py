"""Routes that list scheduled activities: with filters in the query, or the same in a body."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Response

from libs.errors import Problem
from libs.service.answers import json_answer
from services.lifecycle.api.answers import paged, shown_scheduled
from services.lifecycle.api.bodies import ListBody
from services.lifecycle.api.callers import Caller, Reader, refuse
from services.lifecycle.api.references import References, look_up
from services.lifecycle.domain.due import zone_of
from services.lifecycle.domain.plans import Filter
from services.lifecycle.store import plans

router = APIRouter(prefix="/api/activities/scheduled-activity")


@router.get("")
async def list_scheduled(caller: Reader, wanted: Annotated[ListBody, Query()]) -> Response:
    """List scheduled activities; undated ones come last, cancelled ones are left out."""
    return await _list(caller, wanted)


@router.post("/search")
async def search_scheduled(body: ListBody, caller: Reader) -> Response:
    """List scheduled activities; the filters are in the body."""
    return await _list(caller, body)


async def _list(caller: Caller, wanted: ListBody) -> Response:
    async with caller.database.transaction(caller.principal) as tx:
        references = await look_up(tx, caller)
        chosen = replace(_filter(caller, wanted, references), sight=await caller.sight(tx, references.known))
        count = await plans.count_planned(tx, caller.business_id, chosen, caller.now)
        skip = (wanted.page - 1) * wanted.page_size
        found = await plans.list_planned(tx, caller.business_id, chosen, caller.now, (skip, wanted.page_size))
    kinds, rights = references.known.types, caller.rights(references.known)
    results = [shown_scheduled(each, kinds.get(str(each.type_id)), caller.now, rights) for each in found]
    return json_answer(paged(caller.request, results, count, wanted.page, wanted.page_size))


def _filter(caller: Caller, wanted: ListBody, references: References) -> Filter:
    problems = []
    if wanted.activity_id is not None and wanted.activity_name is not None:
        problems.append(Problem("activity_name", "exclusive", "give activity_id or activity_name, not both"))
    text = wanted.activity_name or (str(wanted.activity_id) if wanted.activity_id else None)
    kind = references.known.type_of(text) if text is not None else None
    if text is not None and kind is None:
        field = "activity_name" if wanted.activity_name else "activity_id"
        problems.append(Problem(field, "does_not_exist", f"{text[:100]!r} is not an activity object"))
    due_from = _instant(caller, wanted.from_date, days=0)
    due_before = _instant(caller, wanted.to_date, days=1)
    if due_from is not None and due_before is not None and due_from >= due_before:
        problems.append(Problem("to_date", "range", "lies before from_date"))
    refuse(problems)
    members, roles = list(wanted.employee_ids), list(wanted.role_ids)
    me = caller.principal.user_id
    if wanted.assigned_to_me and me is not None:
        members.append(me)
        known = references.known.members.get(str(me))
        roles += known.role_ids if known is not None else ()
    return Filter(
        search=wanted.search,
        due_from=due_from,
        due_before=due_before,
        member_ids=tuple(members),
        role_ids=tuple(roles),
        completed=wanted.completed,
        overdue=wanted.overdue,
        type_id=kind.id if kind is not None else None,
        ordering=wanted.ordering,
    )


def _instant(caller: Caller, moment: datetime | date | None, days: int) -> datetime | None:
    """Read a bound: an instant as it is (the upper one included), a day as its begin or end in the business's zone."""
    if isinstance(moment, datetime):
        return moment + timedelta(microseconds=days)
    if moment is None:
        return None
    midnight = datetime.combine(moment + timedelta(days=days), time.min, zone_of(caller.principal.zone))
    return midnight.astimezone(UTC)
