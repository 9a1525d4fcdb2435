"""How endpoints do."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Response

from libs.access import Principal, may
from libs.service.answers import json_answer
from libs.service.clock import now
from libs.service.http import DatabaseDep
from services.webhook_dispatcher.api.endpoints import missing
from services.webhook_dispatcher.store import stats

router = APIRouter(prefix="/api/webhooks")
Reader = Annotated[Principal, Depends(may("webhooks.read"))]


@router.get("/stats")
async def read_stats(principal: Reader, database: DatabaseDep, endpoint_id: UUID | None = None) -> Response:
    """Show per endpoint its state, rate, success, times of attempts and what waits.

    Figures are over the latest deliveries of the last hour, 200 at most of each endpoint; `waiting` counts to 1,000.
    """
    async with database.transaction(principal) as tx:
        rows = await stats.list_stats(tx, principal.business_id, endpoint_id)
    if endpoint_id is not None and not rows:
        raise missing(endpoint_id)
    return json_answer({"results": [_show(row) for row in rows]})


def _show(row: dict[str, Any]) -> dict[str, Any]:
    at, ended, span_s = now(), row["ended"], row["span_s"]
    oldest = row["oldest_pending_at"]
    return {
        "endpoint_id": row["endpoint_id"],
        "state": _state(row),
        "failing_since": row["failing_since"],
        "rate_per_s": round(row["deliveries"] / max(span_s, 1.0), 3) if span_s is not None else 0.0,
        "deliveries": row["deliveries"],
        "success": round(row["delivered"] / ended, 4) if ended else None,
        "p50_ms": row["p50_ms"],
        "p95_ms": row["p95_ms"],
        "waiting": row["waiting"],
        "waiting_is_more": row["waiting"] >= stats.WAITING_MAX,
        "oldest_pending_s": None if oldest is None else round(max(0.0, (at - oldest).total_seconds()), 3),
    }


def _state(row: dict[str, Any]) -> str:
    """Name its state: disabled, paused, held (it said Retry-After), parked (its breaker is open), failing or active."""
    if row["status"] != "active":
        return str(row["status"])
    if row["held_until"] is not None and row["held_until"] > now():
        return "parked" if row["held_for"] == "breaker" else "held"
    return "failing" if row["failing_since"] is not None else "active"
