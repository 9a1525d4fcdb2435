"""Routes of recurrences: what is to come before it exists, the recurrence itself, and days left out of it."""

from collections.abc import Collection, Iterator
from datetime import date, timedelta
from heapq import merge
from itertools import islice
from typing import Annotated, Any, cast
from uuid import UUID

import msgspec
from fastapi import APIRouter, Query, Response
from pydantic import Field

from libs.contracts import activity as contract
from libs.database import Transaction
from libs.errors import Conflict, NotFound, Problem
from libs.service.answers import json_answer
from libs.service.body import Body, Line
from services.lifecycle import living
from services.lifecycle.api.answers import shown_scheduled
from services.lifecycle.api.bodies import SkipBody
from services.lifecycle.api.callers import Caller, Reader, SeriesWriter, id_of, refuse, require
from services.lifecycle.api.marks import marked, marks_of
from services.lifecycle.api.references import References, look_up, roles_of
from services.lifecycle.domain import recurrence
from services.lifecycle.domain.recurrence import SKIPPED_MAX, Segment, Series
from services.lifecycle.store import series as store

router = APIRouter(prefix="/api/activities/scheduled-activity")

WINDOW_DAYS_MAX = 366
WINDOW_DAYS = 30
AHEAD_DAYS_MAX = 10 * 366
"""How far from today what is to come is shown, and days can be left out."""
SERIES_MAX = 200
SHOWN_MAX = 1_000


class WindowBody(Body):
    """Which days, both included (30 from today where they are left out), and of whom or of what type."""

    from_date: date | None = None
    to_date: date | None = None
    employee_ids: list[UUID] = Field(default_factory=list, max_length=100)
    role_ids: list[UUID] = Field(default_factory=list, max_length=100)
    assigned_to_me: bool = False
    activity_name: Annotated[str, Line(255)] | None = None


@router.get("/future")
async def list_future(caller: Reader, wanted: Annotated[WindowBody, Query()]) -> Response:
    """Show the occurrences of recurrences in some days that do not exist yet, by day; at most 366 days, 1,000 rows,
    and 200 recurrences (`truncated`: there are more).

    Their ids are those that they will have.
    """
    first, last = _window(caller, wanted)
    async with caller.database.transaction(caller.principal) as tx:
        references = await look_up(tx, caller)
        going_on = await store.list_going_on(tx, caller.business_id, SERIES_MAX)
        examples = await store.list_examples(
            tx, [_place(each, segment) for each in going_on for segment in each.segments]
        )
        seen = await caller.sees_each(tx, list(examples.values()), references.known)
        planned = [msgspec.structs.replace(cast(Any, each), logged_at=None) for each in examples.values()]
        now = await living.as_now(tx, references.known, planned, roles_of(caller))
        marks = await marks_of(tx, caller, examples.values())
    said = {place: each.fields for place, each in zip(examples, now, strict=True)}
    examples = {
        place: example
        for (place, example), is_seen in zip(examples.items(), seen, strict=True)
        if is_seen and _is_wanted(references, wanted, example)
    }
    days = merge(*(_days(each, first, last, examples) for each in going_on), key=lambda row: (row[0], row[1].id))
    rows = list(islice(days, SHOWN_MAX + 1))
    results = [
        marked(_shown(references, row, (examples[_place(*row[1:])], said[_place(*row[1:])])), marks)
        for row in rows[:SHOWN_MAX]
    ]
    return json_answer(
        {"results": results, "truncated": len(rows) > SHOWN_MAX or len(going_on) == SERIES_MAX, "errors": []}
    )


@router.get("/series/{series_id}")
async def get_series(series_id: str, caller: Reader) -> Response:
    """Show a recurrence: its rules, the days left out, and the next 10 days."""
    async with caller.database.transaction(caller.principal) as tx:
        series, _, _ = await _find(tx, caller, series_id)
    return json_answer(_described(series))


@router.post("/series/{series_id}/skip")
async def skip(series_id: str, body: SkipBody, caller: SeriesWriter) -> Response:
    """Leave a day out of a recurrence that has no activity yet; one that has is cancelled instead."""

    async def write(tx: Transaction) -> Response:
        _, example, references = await _find(tx, caller, series_id)
        require(caller.rights(references.known).may("delete", example), "skip", f"an occurrence of series {series_id}")
        key = (caller.business_id, id_of(series_id, "series"))
        series = (await store.lock_series(tx, [key]))[key]
        if body.date in series.skipped:
            return json_answer(_described(series))
        if body.date <= series.made_until:
            link = f"/api/activities/scheduled-activity/{recurrence.id_of(series.id, body.date)}"
            raise Conflict(f"what occurs until {series.made_until} has been made; cancel it", code="made", link=link)
        if body.date > caller.now.date() + timedelta(days=AHEAD_DAYS_MAX):
            refuse([Problem("date", "range", f"has to lie within {AHEAD_DAYS_MAX} days from today")])
        day_before = body.date - timedelta(days=1)
        if next(recurrence.occurrences(series, day_before, body.date), None) is None:
            refuse([Problem("date", "no_occurrence", f"nothing occurs on {body.date}")])
        if len(series.skipped) >= SKIPPED_MAX:
            refuse([Problem("date", "too_many", f"{SKIPPED_MAX} days are left out already")])
        later = msgspec.structs.replace(series, skipped=tuple(sorted((*series.skipped, body.date))))
        over = recurrence.next_after(later, later.made_until) is None
        await store.save_series(tx, later, later.made_until, over=over)
        return json_answer(_described(later))

    return await caller.write(write)


def _window(caller: Caller, wanted: WindowBody) -> tuple[date, date]:
    """Read which days are asked for. Raises Rejected where that is too many, or too far from today."""
    today, far = caller.now.date(), timedelta(days=AHEAD_DAYS_MAX)
    first = wanted.from_date or today
    if abs(first - today) > far:
        refuse([Problem("from_date", "range", f"has to lie within {AHEAD_DAYS_MAX} days from today")])
    last = wanted.to_date or first + timedelta(days=WINDOW_DAYS)
    if not first <= last <= first + timedelta(days=WINDOW_DAYS_MAX):
        refuse([Problem("to_date", "range", f"has to lie within {WINDOW_DAYS_MAX} days after from_date")])
    return first, last


async def _find(tx: Transaction, caller: Caller, text: str) -> tuple[Series, contract.Activity, References]:
    """Read a recurrence that the caller sees, and what its occurrences are like. Raises NotFound."""
    series = await store.find_series(tx, caller.business_id, id_of(text, "series"))
    references = await look_up(tx, caller)
    if series is not None:
        place = _place(series, series.segments[-1])
        example = (await store.list_examples(tx, [place]))[place]
        if (await caller.sees_each(tx, [example], references.known))[0]:
            return series, example, references
    raise NotFound(f"there is no series {text[:100]}")


def _place(series: Series, segment: Segment) -> tuple[UUID, UUID, int]:
    return series.business_id, segment.activity_id, segment.version


def _is_wanted(references: References, wanted: WindowBody, example: contract.Activity) -> bool:
    caller, assignee = references.caller, example.assignee
    rights = caller.rights(references.known)
    if wanted.activity_name not in (None, example.type):
        return False
    if not wanted.employee_ids and not wanted.role_ids and not wanted.assigned_to_me:
        return True
    if assignee is None:
        return False
    mine = wanted.assigned_to_me and (rights.is_assigned(example) or assignee.member_id == caller.principal.user_id)
    return mine or assignee.member_id in wanted.employee_ids or assignee.role_id in wanted.role_ids


def _days(
    series: Series, first: date, last: date, examples: Collection[tuple[UUID, UUID, int]]
) -> Iterator[tuple[date, Series, Segment]]:
    if not any(_place(series, segment) in examples for segment in series.segments):
        return iter(())
    after = max(first - timedelta(days=1), series.made_until)
    days = recurrence.occurrences(series, after, last)
    return ((day, series, segment) for day, segment in days if _place(series, segment) in examples)


def _shown(
    references: References, row: tuple[date, Series, Segment], like: tuple[contract.Activity, dict[str, Any]]
) -> dict[str, Any]:
    (day, series, segment), (example, fields) = row, like
    due_at, due_date = recurrence.due_of(segment, series.zone, day)
    future = msgspec.structs.replace(
        cast(Any, example), activity_id=recurrence.id_of(series.id, day), due_at=due_at, due_date=due_date,
        original_due_at=due_at, occurs_on=day, logged_at=None, completed_at=None, cancelled_at=None, deleted_at=None,
        fields=fields,
    )  # fmt: skip
    known = references.known
    rights = references.caller.rights(known)
    shown = shown_scheduled(future, known.type_of(str(example.type_id)), references.caller.now, rights)
    return shown | {"state": "future", "version": None, "created": None}


def _described(series: Series) -> dict[str, Any]:
    ahead = recurrence.occurrences(series, series.made_until, series.made_until + timedelta(days=WINDOW_DAYS_MAX))
    return {
        "id": series.id,
        "mode": series.mode,
        "zone": series.zone,
        "rules": [
            {"from": each.begins, "rule": each.rule, "time": each.at and each.at.isoformat()}
            for each in series.segments
        ],
        "skipped": list(series.skipped),
        "ends_before": series.ends,
        "made_until": series.made_until,
        "next": [{"id": recurrence.id_of(series.id, day), "date": day} for day, _ in islice(ahead, 10)],
    }
