"""Deliveries and their attempts: what was sent, when, and how it was answered."""

from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Query, Response

from libs.access import Principal, may
from libs.errors import NotFound, Problem, Rejected
from libs.service.answers import json_answer
from libs.service.body import Moment
from libs.service.cursors import decode_cursor, encode_cursor
from libs.service.http import DatabaseDep
from services.webhook_dispatcher.api.bodies import check_limit
from services.webhook_dispatcher.domain.spans import END, FIRST, span_of
from services.webhook_dispatcher.domain.subscriptions import EventType
from services.webhook_dispatcher.store import deliveries
from services.webhook_dispatcher.store.deliveries import DeliveryFilter

router = APIRouter(prefix="/api/webhooks/deliveries")
Reader = Annotated[Principal, Depends(may("webhooks.read"))]
Status = Literal["pending", "delivered", "exhausted", "parked", "cancelled", "missed"]


async def wanted_span(
    from_: Annotated[Moment | None, Query(alias="from")] = None, to: Moment | None = None
) -> tuple[UUID, UUID]:
    """Read when the deliveries of a list were made: `from` (included) and `to` (not included)."""
    if from_ is not None and to is not None and from_ >= to:
        raise Rejected("from must lie before to", [Problem("from", "span_empty", "must lie before to")])
    return span_of(from_, to)


async def wanted_deliveries(
    endpoint_id: UUID | None = None,
    status: Status | None = None,
    event_type: Annotated[EventType | None, Query(alias="type")] = None,
    activity_id: UUID | None = None,
    span: Annotated[tuple[UUID, UUID], Depends(wanted_span)] = (FIRST, END),
) -> DeliveryFilter:
    """Read the filter of a list."""
    return DeliveryFilter(endpoint_id, status, event_type, activity_id, *span)


@router.get("")
async def list_deliveries(
    principal: Reader,
    database: DatabaseDep,
    wanted: Annotated[DeliveryFilter, Depends(wanted_deliveries)],
    limit: int = 50,
    cursor: str | None = None,
) -> Response:
    """List deliveries, newest first."""
    check_limit(limit, 200)
    filter_text = f"deliveries {wanted.text()}"
    before = UUID(decode_cursor(principal, filter_text, cursor)[0]) if cursor else None
    async with database.transaction(principal) as tx:
        rows = await deliveries.list_deliveries(tx, principal.business_id, wanted, before, limit + 1)
    more = encode_cursor(principal, filter_text, [str(rows[limit - 1]["id"])]) if len(rows) > limit else None
    return json_answer({"results": rows[:limit], "next": more})


@router.get("/{id}")
async def read_delivery(id: UUID, principal: Reader, database: DatabaseDep) -> Response:  # noqa: A002
    """Show one delivery with the body that is sent, as far as it is still kept."""
    async with database.transaction(principal) as tx:
        row = await deliveries.find_delivery(tx, principal.business_id, id)
        body = await deliveries.find_body(tx, principal.business_id, id)
    if row is None:
        raise missing_delivery(id)
    del row["now"]
    return json_answer(row | {"body": None if body is None else orjson.Fragment(body)})


@router.get("/{id}/attempts")
async def list_attempts(id: UUID, principal: Reader, database: DatabaseDep) -> Response:  # noqa: A002
    """List the attempts of a delivery, oldest first, with the first 16 KiB of each answer."""
    async with database.transaction(principal) as tx:
        row = await deliveries.find_delivery(tx, principal.business_id, id)
        if row is None:
            raise missing_delivery(id)
        rows = await deliveries.list_attempts(tx, principal.business_id, row)
    return json_answer({"results": [_show_attempt(row) for row in rows], "next": None})


def _show_attempt(row: dict[str, Any]) -> dict[str, Any]:
    return row | {
        "phases": orjson.loads(row["phases"]),
        "headers": orjson.loads(row["headers"]),
        "answer": row["answer"].decode("utf-8", "replace"),
    }


def missing_delivery(id_: UUID) -> NotFound:
    """Say that there is no such delivery."""
    return NotFound(f"there is no delivery {id_}")
