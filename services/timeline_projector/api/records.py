"""Route: an object's records with the number of their activities, those that have some or none."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import Field

from libs.access import Principal, may
from libs.errors import Problem, Rejected
from libs.service.answers import json_answer
from libs.service.body import Body, Line
from libs.service.cursors import decode_cursor, encode_cursor
from libs.service.freshness import Wanted, not_yet, read_wanted
from libs.service.http import DatabaseDep
from services.timeline_projector.store import records, wide

PAGE_MAX = 200

router = APIRouter()


class RecordsQuery(Body):
    """`has_activities`: only records with a badge, or without one; not given: all. `min_version`: `freshness`."""

    has_activities: bool | None = None
    limit: Annotated[int, Field(ge=1, le=PAGE_MAX)] = 50
    cursor: str | None = None
    min_version: list[str] = Field(default_factory=list)


async def _object(object_name: Annotated[str, Line(255), Path()]) -> str:
    return object_name


@router.get("/api/timeline/{object_name}")
async def list_records(
    object_name: Annotated[str, Depends(_object)],
    query: Annotated[RecordsQuery, Query()],
    wanted: Annotated[Wanted, Depends(read_wanted)],
    database: DatabaseDep,
    principal: Annotated[Principal, Depends(may("timeline.read"))],
) -> Response:
    """List the records of an object with the `count` that their badges show, by name, then id; archived ones are not.

    An object that nobody has records of has none here either.
    """
    filter_text = f"records\x1f{object_name}\x1f{query.has_activities}"
    after = _read_cursor(principal, filter_text, query.cursor)
    waiting = await not_yet(database, principal, wanted, records.find_versions)
    if waiting is not None:
        return waiting
    async with database.transaction(principal) as tx:
        place = (principal.business_id, object_name)
        sight = await records.sight_in(tx, principal)
        if await wide.is_wide(tx, principal.business_id, sight):
            page = (after, query.limit + 1)
            rows = await wide.list_counted(tx, place, query.has_activities, page, sight)
        else:
            rows = await records.list_counted(tx, place, query.has_activities, after, query.limit + 1)
    shown, following = rows[: query.limit], None
    if len(rows) > query.limit:
        following = encode_cursor(principal, filter_text, [shown[-1]["name"], str(shown[-1]["id"])])
    results = [
        {"id": row["id"], "object": object_name, "name": row["name"], "version": row["version"], "count": row["lines"]}
        for row in shown
    ]
    return json_answer({"results": results, "next": following})


def _read_cursor(principal: Principal, filter_text: str, cursor: str | None) -> tuple[str, UUID] | None:
    if cursor is None:
        return None
    values: list[Any] = decode_cursor(principal, filter_text, cursor)
    try:
        name, record_id = values
        return str(name), UUID(record_id)
    except (ValueError, TypeError, AttributeError):
        message = "is not a cursor of this list; take `next` of an earlier answer as it is"
        raise Rejected(f"cursor {message}", [Problem("cursor", "cursor_invalid", message)]) from None
