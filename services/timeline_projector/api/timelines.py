"""Routes: the timeline of a record, and badges."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field

from libs.access import Principal, may
from libs.contracts.ids import instant_text
from libs.database import Database, Transaction
from libs.errors import NotFound, Problem, Rejected
from libs.service.answers import json_answer
from libs.service.body import Body, Line
from libs.service.clock import now
from libs.service.cursors import decode_cursor, encode_cursor
from libs.service.freshness import Wanted, not_yet, read_wanted
from libs.service.http import DatabaseDep
from services.timeline_projector.domain import lines
from services.timeline_projector.store import entries, records, wide

BADGES_MAX = 500
PAGE_MAX = 200
POLL_S = 0.025

Reader = Annotated[Principal, Depends(may("timeline.read"))]
Read = Callable[[Transaction, UUID], Awaitable[list[Any]]]


@dataclass(frozen=True, slots=True)
class Place:
    """Whose timeline: the path's two words."""

    object_name: str
    record_id: UUID


class TimelineQuery(Body):
    """`upcoming`: not logged and not cancelled; `past`: logged, completed or cancelled. `min_version`: `freshness`."""

    limit: Annotated[int, Field(ge=1, le=PAGE_MAX)] = 50
    cursor: str | None = None
    state: Literal["upcoming", "past"] | None = None
    min_version: list[str] = Field(default_factory=list)


class BadgesBody(Body):
    """Records of one object."""

    object: Annotated[str, Line(255)]
    record_ids: Annotated[list[UUID], Field(max_length=BADGES_MAX)]


def make_router(reference_wait_max_s: float) -> APIRouter:
    """Make the routes; a record that is not known yet is looked for again for up to `reference_wait_max_s`."""
    router = APIRouter()

    @router.get("/api/timeline/{object_name}/{record_id}")
    async def show_timeline(
        place: Annotated[Place, Depends(_place)],
        query: Annotated[TimelineQuery, Query()],
        wanted: Annotated[Wanted, Depends(read_wanted)],
        database: DatabaseDep,
        principal: Reader,
    ) -> Response:
        """List what happened to a record and what is planned, newest first by `at`, then id.

        A conversation stands at its beginning; one that became an activity is that activity's line. What is planned
        without a date stands at the moment it was entered, and last of all with `state=upcoming`.
        """
        record = (principal.business_id, place.object_name, place.record_id)
        after = _read_cursor(principal, record, query)
        waiting = await not_yet(database, principal, wanted, records.find_versions)
        if waiting is not None:
            return waiting

        async def read(tx: Transaction, root: UUID) -> list[Any]:
            past, upcoming = None if query.state is None else False, query.state == "upcoming"
            place, sight = (*record[:2], root), await records.sight_in(tx, principal)
            if await wide.is_wide(tx, principal.business_id, sight):
                lines_wanted = wide.Wanted(upcoming or past, after, query.limit + 1, dated_first=upcoming)
                return await wide.list_lines(tx, place, sight, lines_wanted)
            if upcoming:
                return await entries.list_upcoming(tx, place, after, query.limit + 1)
            return await entries.list_lines(tx, place, past, after and after[1:], query.limit + 1)

        rows = await _read_living(database, principal, record, reference_wait_max_s, read)
        shown, moment = rows[: query.limit], now()
        following = None
        if len(rows) > query.limit:
            last = shown[-1]
            place_of_last = [last["due_at"] is not None, instant_text(last["stands_at"]), str(last["activity_id"])]
            following = encode_cursor(principal, _filter_text(record, query), place_of_last)
        return json_answer({"results": [lines.line_of(row, moment) for row in shown], "next": following})

    router.add_api_route("/api/timeline/badges", count_badges, methods=["POST"])
    return router


async def _place(object_name: str, record_id: UUID) -> Place:
    return Place(object_name, record_id)


async def count_badges(
    body: BadgesBody, wanted: Annotated[Wanted, Depends(read_wanted)], database: DatabaseDep, principal: Reader
) -> Response:
    """Count the lines of each record's timeline; 0 for a record that has none, is deleted or is not known."""
    waiting = await not_yet(database, principal, wanted, records.find_versions)
    if waiting is not None:
        return waiting
    async with database.transaction(principal) as tx:
        sight = await records.sight_in(tx, principal)
        if await wide.is_wide(tx, principal.business_id, sight):
            counts = await wide.count_lines(tx, (principal.business_id, body.object), body.record_ids, sight)
        else:
            counts = await entries.count_lines(tx, principal.business_id, body.object, body.record_ids)
    return json_answer({"counts": {str(record_id): counts.get(record_id, 0) for record_id in body.record_ids}})


async def _read_living(
    database: Database, principal: Principal, record: tuple[UUID, str, UUID], wait_s: float, read: Read
) -> list[Any]:
    """Read the timeline of the record that stands for this one, in the transaction that finds this one alive.

    Waits for one that is not known yet. Raises NotFound when it stays unknown, was deleted, or is for other roles.
    """
    role_ids = principal.standing.role_ids if principal.standing is not None else None
    clock = asyncio.get_running_loop().time
    deadline = clock() + wait_s
    while True:
        async with database.transaction(principal) as tx:
            found = await records.find_record(tx, record, role_ids)
            if found is not None and found[0]:
                return await read(tx, found[1])
        if found is not None or clock() >= deadline:
            raise NotFound(f"there is no {record[1][:100]} with the id {record[2]}")
        await asyncio.sleep(POLL_S)


def _filter_text(record: tuple[UUID, str, UUID], query: TimelineQuery) -> str:
    return f"timeline\x1f{record[1]}\x1f{record[2]}\x1f{query.state}"


def _read_cursor(
    principal: Principal, record: tuple[UUID, str, UUID], query: TimelineQuery
) -> tuple[bool, datetime, UUID] | None:
    if query.cursor is None:
        return None
    values: list[Any] = decode_cursor(principal, _filter_text(record, query), query.cursor)
    try:
        dated, at, activity_id = values
        return bool(dated), datetime.fromisoformat(at), UUID(activity_id)
    except (ValueError, TypeError):
        message = "is not a cursor of this list; take `next` of an earlier answer as it is"
        raise Rejected(f"cursor {message}", [Problem("cursor", "cursor_invalid", message)]) from None
