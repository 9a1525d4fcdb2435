"""Routes that list: scheduled activities, with filters in the query or in a body, and the responses of an object."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

import msgspec
from fastapi import APIRouter, Query, Response
from pydantic import Field

from libs.contracts import activity as contract
from libs.errors import Problem
from libs.service.answers import json_answer
from libs.service.body import Line
from services.lifecycle import living
from services.lifecycle.api.answers import shown_logged, shown_scheduled
from services.lifecycle.api.bodies import Due
from services.lifecycle.api.callers import Caller, Reader, refuse
from services.lifecycle.api.marks import marked, marks_of
from services.lifecycle.api.pages import LOGGED_NAMES, SCHEDULED_NAMES, PageBody, Pager, ShownBody, check_names, chosen
from services.lifecycle.api.references import References, look_up, object_in_path, roles_of
from services.lifecycle.domain.due import zone_of
from services.lifecycle.domain.plans import Filter, LoggedFilter
from services.lifecycle.store import plans

router = APIRouter(prefix="/api/activities/scheduled-activity")
responses = APIRouter(prefix="/api/activities")

B = TypeVar("B", bound=PageBody)


class ListBody(PageBody, ShownBody):
    """Filters of the list of scheduled activities; the query has the same names."""

    search: Annotated[str, Line(200)] | None = None
    from_date: Due = None
    to_date: Due = None
    employee_ids: list[UUID] = Field(default_factory=list, max_length=100)
    role_ids: list[UUID] = Field(default_factory=list, max_length=100)
    assigned_to_me: bool = False
    completed: bool | None = None
    overdue: bool | None = None
    activity_id: UUID | None = None
    activity_name: Annotated[str, Line(255)] | None = None
    ordering: Literal["due_datetime", "-due_datetime", "created", "-created"] = "due_datetime"


class ResponsesBody(PageBody, ShownBody):
    """Filters of the logged activities of an object. Days and instants are those of the log."""

    from_date: Due = None
    to_date: Due = None
    completed: bool | None = None
    retracted: bool | None = None
    ordering: Literal["logged_at", "-logged_at"] = "-logged_at"


@router.get("")
async def list_scheduled(caller: Reader, wanted: Annotated[ListBody, Query()]) -> Response:
    """List scheduled activities; undated ones come last, cancelled ones are left out.

    `next` and `previous` find their page at once, however late it is. `count` is exact as long as at most 2,000
    activities have to be looked at for it, beyond that an estimate (`count_is_estimate`).
    """
    return await _list(caller, wanted)


@router.post("/search")
async def search_scheduled(body: ListBody, caller: Reader, page: Annotated[PageBody, Query()]) -> Response:
    """List scheduled activities; the filters are in the body. `next` takes the same body again."""
    return await _list(caller, _turned(body, page))


@responses.post("/{object}/responses")
async def list_responses(
    object: str,  # noqa: A002 - the path's word
    body: ResponsesBody,
    caller: Reader,
    page: Annotated[PageBody, Query()],
) -> Response:
    """Page through the logged activities of one object, the newest first; `next` takes the same body again."""
    wanted = _turned(body, page)
    check_names(wanted.fields, LOGGED_NAMES)
    problems: list[Problem] = []
    since, before = _span(caller, wanted.from_date, wanted.to_date, problems)
    refuse(problems)
    async with caller.database.transaction(caller.principal) as tx:
        references = await look_up(tx, caller)
        kind = object_in_path(references.known, object)
        filtered = LoggedFilter(kind.id, since, before, wanted.completed, wanted.retracted, wanted.ordering)
        pager = Pager(caller, wanted, filtered, lambda activity: activity.logged_at)
        sight, reader_id = await caller.sight(tx, references.known), await caller.reader(tx)
        filtered = replace(filtered, sight=sight, reader_id=reader_id)
        found = await plans.list_logged(tx, caller.business_id, filtered, pager.page)
        count = pager.whole(found) or await plans.count_logged(tx, caller.business_id, filtered)
        await references.learn_of(tx, found)
        marks = await marks_of(tx, caller, found)

    def show(activity: contract.Activity) -> dict[str, Any]:
        appends = [msgspec.json.encode(each) for each in activity.appends]  # the newest 20
        shown = references.with_gone(shown_logged(activity, kind, appends, caller.now))
        return chosen(marked(shown, marks), wanted.fields)

    return json_answer(pager.envelope(found, count, show))


async def _list(caller: Caller, wanted: ListBody) -> Response:
    check_names(wanted.fields, SCHEDULED_NAMES)
    async with caller.database.transaction(caller.principal) as tx:
        references = await look_up(tx, caller)
        filtered = _filter(caller, wanted, references)
        pager = Pager(caller, wanted, filtered, _key_of(wanted.ordering))
        sight, reader_id = await caller.sight(tx, references.known), await caller.reader(tx)
        filtered = replace(filtered, sight=sight, reader_id=reader_id)
        found = await plans.list_planned(tx, caller.business_id, filtered, caller.now, pager.page)
        count = pager.whole(found) or await plans.count_planned(tx, caller.business_id, filtered, caller.now)
        await references.learn_of(tx, found)
        found = await living.as_now(tx, references.known, found, roles_of(caller))
        marks = await marks_of(tx, caller, found)

    rights = caller.rights(references.known)

    def show(activity: contract.Activity) -> dict[str, Any]:
        kind = references.known.type_of(str(activity.type_id))
        shown = references.with_gone(shown_scheduled(activity, kind, caller.now, rights))
        return chosen(marked(shown, marks), wanted.fields)

    return json_answer(pager.envelope(found, count, show))


def _key_of(ordering: str) -> Any:
    return (lambda each: each.created_at) if ordering.endswith("created") else (lambda each: each.due_at)


def _turned(body: B, page: PageBody) -> B:
    """Turn to the page that the query names, if it names one."""
    return body.model_copy(update=page.model_dump(exclude_unset=True))


def _filter(caller: Caller, wanted: ListBody, references: References) -> Filter:
    problems: list[Problem] = []
    if wanted.activity_id is not None and wanted.activity_name is not None:
        problems.append(Problem("activity_name", "exclusive", "give activity_id or activity_name, not both"))
    text = wanted.activity_name or (str(wanted.activity_id) if wanted.activity_id else None)
    kind = references.known.type_of(text) if text is not None else None
    if text is not None and kind is None:
        field = "activity_name" if wanted.activity_name else "activity_id"
        problems.append(Problem(field, "does_not_exist", f"{text[:100]!r} is not an activity object"))
    due_from, due_before = _span(caller, wanted.from_date, wanted.to_date, problems)
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
        assigned=bool(members or roles),
        member_ids=tuple(members),
        role_ids=tuple(roles),
        completed=wanted.completed,
        overdue=wanted.overdue,
        type_id=kind.id if kind is not None else None,
        ordering=wanted.ordering,
    )


def _span(
    caller: Caller, since: datetime | date | None, until: datetime | date | None, problems: list[Problem]
) -> tuple[datetime | None, datetime | None]:
    """Read two bounds, both included."""
    first, end = _instant(caller, since, days=0), _instant(caller, until, days=1)
    if first is not None and end is not None and first >= end:
        problems.append(Problem("to_date", "range", "lies before from_date"))
    return first, end


def _instant(caller: Caller, moment: datetime | date | None, days: int) -> datetime | None:
    """Read a bound: an instant as it is (the upper one included), a day as its begin or end in the business's zone."""
    if isinstance(moment, datetime):
        return moment + timedelta(microseconds=days)
    if moment is None:
        return None
    midnight = datetime.combine(moment + timedelta(days=days), time.min, zone_of(caller.principal.zone))
    return midnight.astimezone(UTC)
