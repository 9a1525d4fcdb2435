"""A test of an endpoint: one signed sample, and everything there is to see about it."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Response

from libs.access import Principal, may
from libs.service.answers import json_answer
from libs.service.body import Body
from libs.service.clock import now
from libs.service.http import DatabaseDep, shared
from services.webhook_dispatcher.api.endpoints import missing
from services.webhook_dispatcher.domain.subscriptions import EventType
from services.webhook_dispatcher.store import endpoints
from services.webhook_dispatcher.trial import Trials

router = APIRouter(prefix="/api/webhooks/endpoints")
Writer = Annotated[Principal, Depends(may("webhooks.write"))]
Trying = Annotated[Trials, Depends(shared(Trials))]


class Trial(Body):
    """Body of POST …/test: of which type the sample is; else of the first that the endpoint subscribes to."""

    event_type: EventType | None = None


@router.post("/{id}/test")
async def try_endpoint(
    id: UUID, principal: Writer, database: DatabaseDep, trials: Trying, body: Trial | None = None  # noqa: A002
) -> Response:  # fmt: skip
    """Send one signed sample now, whatever state the endpoint is in; nothing of it is kept."""
    async with database.transaction(principal) as tx:
        row = await endpoints.find_endpoint(tx, principal.business_id, id)
        secrets = await endpoints.list_live_secrets(tx, principal.business_id, id)
    if row is None:
        raise missing(id)
    event_type = body.event_type if body is not None and body.event_type else row["event_types"][0]
    return json_answer(await trials.send(trials.target_of(principal.business_id, row, secrets), event_type, now()))
