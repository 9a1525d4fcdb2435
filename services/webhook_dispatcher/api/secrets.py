"""Secrets of endpoints: rotated, shown once."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from libs.access import Principal, may
from libs.contracts.ids import uuid7
from libs.service.answers import json_answer
from libs.service.http import DatabaseDep
from libs.service.idempotency import once
from services.webhook_dispatcher import signing
from services.webhook_dispatcher.api.bodies import Rotation
from services.webhook_dispatcher.api.endpoints import locked_endpoint, settings_of
from services.webhook_dispatcher.sealing import Sealer
from services.webhook_dispatcher.store import endpoints

router = APIRouter(prefix="/api/webhooks/endpoints")
Writer = Annotated[Principal, Depends(may("webhooks.write"))]


@router.post("/{id}/secret/rotate")
async def rotate_secret(
    id: UUID, request: Request, principal: Writer, database: DatabaseDep, body: Rotation | None = None  # noqa: A002
) -> Response:  # fmt: skip
    """Make a new secret, effective at once; the old ones are signed with as well until they end."""
    valid_s = (body or Rotation()).old_valid_s
    secret = signing.generate_secret()
    made: list[str] = []

    async def write() -> Response:
        await locked_endpoint(tx, principal, id, request)
        sealer = Sealer(settings_of(request).webhook_master_key.get_secret_value())
        await endpoints.expire_secrets(tx, principal.business_id, id, valid_s)
        sealed = sealer.seal(signing.key_of(secret), principal.business_id, id)
        await endpoints.insert_secret(tx, principal.business_id, id, (uuid7(), sealed))
        made.append(secret)
        return json_answer({"id": id, "old_valid_s": valid_s})

    async with database.transaction(principal) as tx:
        answer = await once(tx, principal, request, write)
    return json_answer({"id": id, "old_valid_s": valid_s, "secret": secret}) if made else answer
