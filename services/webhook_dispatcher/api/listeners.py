"""Webhooks for a developer's machine, which no request from outside reaches: it asks for them, and waits."""

import asyncio
from typing import Annotated, Any, cast
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from libs.access import Principal, may
from libs.errors import Conflict, NotFound
from libs.service import Service
from libs.service.answers import json_answer, versioned
from libs.service.body import Body
from libs.service.clock import now
from libs.service.http import KEYED, DatabaseDep, takes
from libs.service.idempotency import once
from services.webhook_dispatcher import signing
from services.webhook_dispatcher.api.bodies import EventTypes, Filter
from services.webhook_dispatcher.api.endpoints import insert_with_secret, settings_of
from services.webhook_dispatcher.domain import expressions
from services.webhook_dispatcher.domain.subscriptions import EventType
from services.webhook_dispatcher.sealing import Sealer
from services.webhook_dispatcher.store import endpoints, listeners
from services.webhook_dispatcher.store.endpoints import EndpointState

router = APIRouter(prefix="/api/webhooks/listeners")
Writer = Annotated[Principal, Depends(may("webhooks.write"))]
LISTENERS_MAX, TAKEN_MAX = 5, 50
WAIT_MAX_S, LOOK_S = 25.0, 0.4
DEFAULT: tuple[EventType, ...] = ("activity.logged",)
NOWHERE = "https://listener.invalid/"


class NewListener(Body):
    """Body of POST /api/webhooks/listeners."""

    event_types: EventTypes = Field(default_factory=lambda: list(DEFAULT))
    filter: Filter = Field(default_factory=Filter)


class Poll(Body):
    """Body of POST …/poll: for how long to wait for something."""

    wait_s: Annotated[float, Field(ge=0, le=WAIT_MAX_S)] = 20.0


@router.post("", status_code=201)
@takes(KEYED)
async def make_listener(request: Request, principal: Writer, database: DatabaseDep, body: NewListener) -> Response:
    """Begin to listen; the secret is in this answer alone. A listener that does not ask for 10 minutes is ended."""
    if body.filter.expression:
        expressions.check_expression(body.filter.expression)
    told = sorted(set(body.event_types))
    state = EndpointState(NOWHERE, "a listener", told, status="paused", **body.filter.model_dump())
    made: list[dict[str, Any]] = []

    async def write() -> Response:
        await endpoints.lock_number(tx, principal.business_id)
        if await listeners.count_listeners(tx, principal.business_id) >= LISTENERS_MAX:
            raise Conflict(f"a business has at most {LISTENERS_MAX} listeners; end one first", "too_many_listeners")
        made.append(await insert_with_secret(tx, principal, settings_of(request), state, ("listener", "v1")))
        shown = {name: value for name, value in made[0].items() if name != "secret"}
        return versioned(shown, 1, 201, shown["id"])  # what is kept for a repeated request is without the secret

    async with database.transaction(principal) as tx:
        answer = await once(tx, principal, request, write, whole=True)
    return versioned(made[0], 1, 201, made[0]["id"]) if made else answer


@router.post("/{id}/poll")
async def poll(
    id: UUID, request: Request, principal: Writer, database: DatabaseDep, body: Poll | None = None  # noqa: A002
) -> Response:  # fmt: skip
    """Answer the next webhooks, signed as they are sent: headers and body; after `wait_s` none. Each comes once."""
    service = cast(Service, request.app.state.service)
    loop = asyncio.get_running_loop()
    until = loop.time() + (body or Poll()).wait_s
    while True:
        async with database.transaction(principal) as tx:
            if not await listeners.note_poll(tx, principal.business_id, id):
                raise NotFound(f"there is no listener {id}")
            taken = await listeners.take(tx, principal.business_id, id, TAKEN_MAX)
            secrets = await endpoints.list_live_secrets(tx, principal.business_id, id)
        if taken or loop.time() >= until or service.leaving or await request.is_disconnected():
            break
        await asyncio.sleep(min(LOOK_S, max(0.0, until - loop.time())))
    sealer = Sealer(settings_of(request).webhook_master_key.get_secret_value())
    keys = [sealer.key(sealed, principal.business_id, id) for sealed in secrets]
    at = int(now().timestamp())
    results = [
        {
            "id": one["id"],
            "headers": {
                "content-type": "application/json", **signing.headers_of(str(one["id"]), at, one["body"], keys),
            },
            "body": one["body"].decode(),
        }
        for one in taken
    ]  # fmt: skip
    return json_answer({"results": results})
