"""Replays: one delivery, or what an endpoint was told, or missed, in a span of time."""

from dataclasses import replace
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from libs.access import Principal, may
from libs.database import Transaction
from libs.errors import Conflict, NotFound, Problem, Rejected
from libs.service.answers import json_answer
from libs.service.body import Body, Moment
from libs.service.cursors import decode_cursor, encode_cursor
from libs.service.http import DatabaseDep, shared, writes
from libs.service.idempotency import once
from services.webhook_dispatcher.api.bodies import check_limit
from services.webhook_dispatcher.api.deliveries import missing_delivery
from services.webhook_dispatcher.api.endpoints import missing
from services.webhook_dispatcher.domain.spans import span_of
from services.webhook_dispatcher.domain.subscriptions import EventType
from services.webhook_dispatcher.replaying import Replayer
from services.webhook_dispatcher.store import deliveries, endpoints, replays, told
from services.webhook_dispatcher.store.replays import Row, Selection

router = APIRouter(prefix="/api/webhooks")
Reader = Annotated[Principal, Depends(may("webhooks.read"))]
Writer = Annotated[Principal, Depends(may("webhooks.write"))]
Replaying = Annotated[Replayer, Depends(shared(Replayer))]
SELECTED_MAX, RUNNING_MAX = 100_000, 5
Ended = Literal["delivered", "exhausted", "missed", "cancelled"]
DEFAULT: tuple[Ended, ...] = ("exhausted", "missed")
MISSED: tuple[Ended, ...] = ("exhausted", "missed", "cancelled")


class NewReplay(Body):
    """Body of POST /api/webhooks/replays: which deliveries of an endpoint are sent again.

    `missed_since`: all that did not arrive since then and was not replayed with success either. Otherwise `from`
    (included) and `to` (not included), by when a delivery was made, `statuses`, `event_types` (none: all).
    `backfill`: what the business's other endpoints were told in that span and this one was not, such as before it was
    made; as far as its filter of now lets it through.
    """

    endpoint_id: UUID
    missed_since: Moment | None = None
    from_: Annotated[Moment | None, Field(alias="from")] = None
    to: Moment | None = None
    statuses: Annotated[list[Ended], Field(min_length=1, max_length=4)] = Field(default_factory=lambda: list(DEFAULT))
    event_types: Annotated[list[EventType], Field(max_length=20)] = Field(default_factory=list)
    backfill: bool = False

    def selection(self) -> Selection:
        """Say which deliveries are meant. Raises Rejected."""
        if self.backfill and self.model_fields_set & {"missed_since", "statuses"}:
            raise _refused("backfill", "already says which: leave out missed_since and statuses")
        if self.missed_since is not None and self.model_fields_set & {"from_", "statuses"}:
            raise _refused("missed_since", "already says from when and which: leave out from and statuses")
        if self.from_ is not None and self.to is not None and self.from_ >= self.to:
            raise _refused("from", "must lie before to")
        first, end = span_of(self.missed_since or self.from_, self.to)
        only_missed = self.missed_since is not None
        statuses = MISSED if only_missed else tuple(self.statuses)
        return Selection(self.endpoint_id, first, end, statuses, self.event_types, only_missed, self.backfill)


@router.post("/replays", status_code=202)
@writes
async def make_replay(
    request: Request, principal: Writer, database: DatabaseDep, replayer: Replaying, body: NewReplay
) -> Response:
    """Send deliveries of an endpoint again, in the background, after what is fresh."""
    asked = body.selection()

    async def write() -> Response:
        selection = _subscribed(asked, await _live_endpoint(tx, principal, body.endpoint_id))
        if await replays.count_running(tx, principal.business_id) >= RUNNING_MAX:
            raise Conflict(f"{RUNNING_MAX} replays are running; wait for one or cancel it", "too_many_replays")
        count = told.count_told if selection.backfill else replays.count_chosen
        total = await count(tx, principal.business_id, selection, SELECTED_MAX + 1)
        if total > SELECTED_MAX:
            raise _refused("from", f"selects more than {SELECTED_MAX} deliveries; narrow the span")
        row = await replays.insert_replay(tx, principal.business_id, selection, total, principal.key_id)
        tx.on_commit(replayer.hurry)
        return json_answer(_show(row, {}), 202, {"location": f"/api/webhooks/replays/{row['id']}"})

    async with database.transaction(principal) as tx:
        return await once(tx, principal, request, write)


@router.get("/replays")
async def list_replays(
    principal: Reader, database: DatabaseDep, limit: int = 50, cursor: str | None = None
) -> Response:
    """List replays, newest first."""
    check_limit(limit, 200)
    before = UUID(decode_cursor(principal, "replays", cursor)[0]) if cursor else None
    async with database.transaction(principal) as tx:
        rows = await replays.list_replays(tx, principal.business_id, before, limit + 1)
    more = encode_cursor(principal, "replays", [str(rows[limit - 1]["id"])]) if len(rows) > limit else None
    return json_answer({"results": [_bare(row) for row in rows[:limit]], "next": more})


@router.get("/replays/{id}")
async def read_replay(id: UUID, principal: Reader, database: DatabaseDep) -> Response:  # noqa: A002
    """Show how far a replay is."""
    async with database.transaction(principal) as tx:
        row = await replays.find_replay(tx, principal.business_id, id)
        if row is None:
            raise _missing(id)
        outcomes = await replays.count_outcomes(tx, principal.business_id, id)
    return json_answer(_show(row, outcomes))


@router.post("/replays/{id}/cancel")
@writes
async def cancel_replay(id: UUID, request: Request, principal: Writer, database: DatabaseDep) -> Response:  # noqa: A002
    """Stop a replay: what has not been sent yet is not sent. One that ended stays as it is."""

    async def write() -> Response:
        row = await replays.find_replay(tx, principal.business_id, id, lock=True)
        if row is None:
            raise _missing(id)
        if row["status"] != "cancelled":
            await replays.take_back(tx, principal.business_id, id)
        if row["status"] == "running":
            row = await replays.end_replay(tx, principal.business_id, id, "cancelled", "by its owner")
        return json_answer(_show(row, await replays.count_outcomes(tx, principal.business_id, id)))

    async with database.transaction(principal) as tx:
        return await once(tx, principal, request, write)


@router.post("/deliveries/{id}/replay", status_code=202)
@writes
async def replay_delivery(
    id: UUID, request: Request, principal: Writer, database: DatabaseDep, replayer: Replaying  # noqa: A002
) -> Response:  # fmt: skip
    """Send one delivery again, under the webhook-id that it had."""

    async def write() -> Response:
        row = await deliveries.find_delivery(tx, principal.business_id, id, lock=True)
        if row is None:
            raise missing_delivery(id)
        if row["status"] in ("pending", "parked"):
            raise Conflict(f"delivery {id} is {row['status']}: it will be sent by itself", "under_way")
        if not row["kept"]:
            raise Conflict(f"the body of delivery {id} is no longer kept", "event_expired")
        await _live_endpoint(tx, principal, row["endpoint_id"])
        made = id
        if row["status"] == "missed":
            await replays.release_missed(tx, principal.business_id, None, [id])
        else:
            [made] = await replays.insert_copies(tx, principal.business_id, None, [id])
        tx.on_commit(replayer.wake)
        new = await deliveries.find_delivery(tx, principal.business_id, made)
        assert new is not None
        del new["now"]
        return json_answer(new, 202, {"location": f"/api/webhooks/deliveries/{made}"})

    async with database.transaction(principal) as tx:
        return await once(tx, principal, request, write)


def _subscribed(selection: Selection, endpoint: Row) -> Selection:
    """Let a backfill be of types that its endpoint subscribes to. Raises Rejected."""
    if not selection.backfill:
        return selection
    types = sorted(set(endpoint["event_types"]) & set(selection.event_types or endpoint["event_types"]))
    if not types:
        raise _refused("event_types", f"names none of what the endpoint hears: {', '.join(endpoint['event_types'])}")
    return replace(selection, event_types=types)


async def _live_endpoint(tx: Transaction, principal: Principal, id_: UUID) -> Row:
    """Check that an endpoint is there and sends. Raises NotFound, Conflict."""
    row = await endpoints.find_endpoint(tx, principal.business_id, id_)
    if row is None:
        raise missing(id_)
    if row["status"] != "active":
        raise Conflict(f"endpoint {id_} is {row['status']}; enable it first", "endpoint_not_active")
    return row


def _refused(field: str, message: str) -> Rejected:
    return Rejected(f"{field} {message}", [Problem(field, "selection_refused", message)])


def _bare(row: Row) -> dict[str, Any]:
    return row | {"left": max(0, row["total"] - row["released"] - row["expired"] - row["passed"])}


def _show(row: Row, outcomes: dict[str, int]) -> dict[str, Any]:
    """Show a replay with its progress: of what was released, how much arrived, waits, or has ended in vain."""
    ended = sum(outcomes.get(status, 0) for status in ("exhausted", "cancelled", "missed"))
    waiting = outcomes.get("pending", 0) + outcomes.get("parked", 0)
    return _bare(row) | {"delivered": outcomes.get("delivered", 0), "waiting": waiting, "failed": ended}


def _missing(id_: UUID) -> NotFound:
    return NotFound(f"there is no replay {id_}")
