"""Routes: volume over time, and the rows behind each number."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from libs.access import Principal, may
from libs.contracts.ids import instant_text
from libs.database import Transaction
from libs.errors import Problem, Rejected
from libs.service.answers import json_answer
from libs.service.clock import now
from libs.service.cursors import decode_cursor, encode_cursor
from libs.service.freshness import Wanted, not_yet, read_wanted
from libs.service.http import DatabaseDep
from services.reporting.domain.buckets import Bucket, bounds_of, buckets_of
from services.reporting.queries import DIMENSIONS, RangeQuery, RowsQuery, VolumeQuery, zone_of
from services.reporting.store import sights, volume
from services.reporting.store.volume import Selection

CELLS_MAX = 20_000
LOOKED_AT_MAX = 2_000_000
"""Looked at one by one for a member from whom records are hidden: 2.4 s [1.2 s a million, measured]."""

Reader = Annotated[Principal, Depends(may("reports.read"))]
Freshness = Annotated[Wanted, Depends(read_wanted)]
router = APIRouter()


@router.get("/api/reports/volume")
async def show_volume(
    query: Annotated[VolumeQuery, Query()], wanted: Freshness, database: DatabaseDep, principal: Reader
) -> Response:
    """Count activities and conversations by day, week or month and by what they are; cells without any are left out.

    Retracted and deleted ones are not counted; a conversation that became an activity is counted once, as that
    activity, else at its beginning as one logged. A member is told of those alone that the member may see. `rows`
    leads to what a cell counts.
    """
    waiting = await not_yet(database, principal, wanted, volume.find_versions)
    if waiting is not None:
        return waiting
    moment, zone = now(), query.zone or principal.zone
    buckets = buckets_of(query.first, query.last, query.granularity)
    chosen = _selection(query, principal, moment, buckets)
    bounds = bounds_of(buckets, zone_of(zone))
    async with database.transaction(principal) as tx:
        chosen = await _told(tx, principal, chosen)
        rows = await volume.sum_volume(tx, chosen, bounds, query.group_by, CELLS_MAX + 1)
    if len(rows) > CELLS_MAX:
        message = f"gives more than {CELLS_MAX} cells; ask for fewer columns, fewer days or a coarser granularity"
        raise Rejected(f"group_by {message}", [Problem("group_by", "too_many_cells", message)])
    common = query.values() | {"zone": zone, "as_of": instant_text(moment)}
    series = [_cell(row, buckets[row["bucket"] - 1], query.group_by, common) for row in rows]
    total = sum(cell["count"] for cell in series)
    return json_answer({"total": total, "series": series, "as_of": moment})


@router.get("/api/reports/rows")
async def list_rows(
    query: Annotated[RowsQuery, Query()], wanted: Freshness, database: DatabaseDep, principal: Reader
) -> Response:
    """List the activities and conversations behind a number, newest first by `at`, then id.

    `count` is how many there are in all, for a member how many of those that the member may see. An empty value, such
    as `direction=`, asks for those that have none.
    """
    waiting = await not_yet(database, principal, wanted, volume.find_versions)
    if waiting is not None:
        return waiting
    chosen = _selection(query, principal, query.as_of or now(), buckets_of(query.first, query.last, "month"))
    after = _read_cursor(principal, query)
    async with database.transaction(principal) as tx:
        chosen = await _told(tx, principal, chosen)
        count = await volume.count_counted(tx, chosen)
        rows = await volume.list_counted(tx, chosen, after, query.limit + 1)
    shown = rows[: query.limit]
    following = None
    if len(rows) > query.limit:
        last = [instant_text(shown[-1]["at"]), str(shown[-1]["id"])]
        following = encode_cursor(principal, query.filter_text(), last)
    return json_answer({"count": count, "results": [_line(row) for row in shown], "next": following})


async def _told(tx: Transaction, principal: Principal, chosen: Selection) -> Selection:
    """Choose what the caller is told of. Raises Rejected where too much would have to be looked at for that."""
    sight, shut = await sights.sight_in(tx, principal)
    chosen = replace(chosen, sight=sight, shut=shut)
    if chosen.is_looked_at and (count := await volume.count_all(tx, chosen)) > LOOKED_AT_MAX:
        message = (
            f"are so many days that {count} activities would have to be looked at to tell which of them you may see; "
            f"at most {LOOKED_AT_MAX} are, ask for fewer days"
        )
        raise Rejected(f"from and to {message}", [Problem("from", "too_many", message)])
    return chosen


def _selection(query: RangeQuery, principal: Principal, moment: datetime, buckets: list[Bucket]) -> Selection:
    bounds = bounds_of([buckets[0], buckets[-1]], zone_of(query.zone or principal.zone))
    return Selection(principal.business_id, bounds[0], bounds[-1], moment, query.values())


def _cell(row: Any, bucket: Bucket, group_by: list[str], common: dict[str, str]) -> dict[str, Any]:
    group = {name: row[name] for name in group_by}
    link = urlencode({"from": bucket.first, "to": bucket.last} | common | group)
    return {
        "bucket": bucket.name.isoformat(),
        "group": {name: value or None for name, value in group.items()},
        "count": row["count"],
        "rows": f"/api/reports/rows?{link}",
    }


def _line(row: Any) -> dict[str, Any]:
    values = {name: row[name] or None for name in DIMENSIONS}
    return {
        "kind": row["kind"],
        "activity_id": row["id"] if row["kind"] == "activity" else None,
        "interaction_id": row["interaction_id"],
        "version": row["version"],
        "at": row["at"],
        **values,
    }


def _read_cursor(principal: Principal, query: RowsQuery) -> tuple[datetime, UUID] | None:
    if query.cursor is None:
        return None
    try:
        at, activity_id = decode_cursor(principal, query.filter_text(), query.cursor)
        return datetime.fromisoformat(at), UUID(activity_id)
    except (ValueError, TypeError):
        message = "is not a cursor of this list; take `next` of an earlier answer as it is"
        raise Rejected(f"cursor {message}", [Problem("cursor", "cursor_invalid", message)]) from None
