"""What the routes have in common: pages newest first, and rows as answers."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import Depends, Query, Response

from libs.contracts.ids import instant_text
from libs.database.pool import Tenant
from libs.errors import NotFound, Problem, Rejected
from libs.service.answers import json_answer
from libs.service.cursors import decode_cursor, encode_cursor

Row = dict[str, Any]

LIMIT_MAX = 200
LIMIT_DEFAULT = 50
NEWEST = (datetime.max.replace(tzinfo=UTC), UUID(int=(1 << 128) - 1))
HIDDEN = frozenset({"business_id", "hash"})


@dataclass(frozen=True, slots=True)
class PageQuery:
    """Which page of a list is asked for."""

    limit: int
    cursor: str | None

    def after(self, principal: Tenant, filter_text: str) -> tuple[datetime, UUID]:
        """Tell after which row the page begins. Raises Rejected for a cursor that is not of this list."""
        if self.cursor is None:
            return NEWEST
        try:
            at, row_id = decode_cursor(principal, filter_text, self.cursor)
            return datetime.fromisoformat(at), UUID(row_id)
        except (ValueError, TypeError, AttributeError):
            message = "is not a cursor of this list; take `next` of an earlier answer as it is"
            raise Rejected(f"cursor {message}", [Problem("cursor", "cursor_invalid", message)]) from None


async def _page_query(
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX)] = LIMIT_DEFAULT, cursor: Annotated[str | None, Query()] = None
) -> PageQuery:
    return PageQuery(limit, cursor)


Page = Annotated[PageQuery, Depends(_page_query)]


def answer_page(principal: Tenant, filter_text: str, rows: list[Row], limit: int) -> Response:
    """Answer a page from up to `limit` + 1 rows: one too many says that there is a next page."""
    following = None
    if len(rows) > limit:
        last = rows[limit - 1]
        following = encode_cursor(principal, filter_text, [instant_text(last["created_at"]), str(last["id"])])
    return json_answer({"results": [shown(row) for row in rows[:limit]], "next": following})


def shown(row: Row) -> Row:
    """Make an answer of a row: without what nobody needs to see, JSON columns as they are stored."""
    return {
        name: orjson.Fragment(value) if isinstance(value, bytes) else value
        for name, value in row.items()
        if name not in HIDDEN
    }


def must_exist(row: Row | None, what: str, row_id: object) -> Row:
    """Return the row. Raises NotFound where there is none, or where it is of another business."""
    if row is None:
        raise NotFound(f"there is no {what} {row_id}")
    return row
