"""Secrets and keys of endpoints: rotated; a secret is shown once, a public key whenever it is asked for."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from libs.access import Principal, may
from libs.errors import Conflict
from libs.service.answers import json_answer
from libs.service.http import KEYED, MATCHED, DatabaseDep, takes
from libs.service.idempotency import once
from services.webhook_dispatcher.api.bodies import Rotation
from services.webhook_dispatcher.api.endpoints import add_key, changing, locked_endpoint, settings_of
from services.webhook_dispatcher.store import endpoints

router = APIRouter(prefix="/api/webhooks/endpoints")
Writer = Annotated[Principal, Depends(may("webhooks.write"))]
KEYS_LIVE_MAX = 10
"""Of an endpoint at once: each delivery carries a signature of every one."""


@router.post("/{id}/secret/rotate")
@takes(KEYED, MATCHED)
async def rotate_secret(
    id: UUID, request: Request, principal: Writer, database: DatabaseDep, body: Rotation | None = None  # noqa: A002
) -> Response:  # fmt: skip
    """Make a new secret or key, effective at once; the old ones are signed with as well until they end."""
    wanted = body or Rotation()
    shown = {"id": id, "old_valid_s": wanted.old_valid_s}
    made: list[dict[str, str]] = []

    async def write() -> Response:
        row = await locked_endpoint(tx, principal, id, request)
        await endpoints.expire_secrets(tx, principal.business_id, id, wanted.old_valid_s)
        if len(await endpoints.list_live_secrets(tx, principal.business_id, id)) >= KEYS_LIVE_MAX:
            message = f"an endpoint is signed with at most {KEYS_LIVE_MAX} secrets at once; say a shorter old_valid_s"
            raise Conflict(message, "too_many_secrets")
        scheme = wanted.signature or row["signature"] or "v1"
        made.append(await add_key(tx, principal, settings_of(request), id, scheme))
        return json_answer(shown)

    async with changing(request, principal, database, id) as tx:
        answer = await once(tx, principal, request, write, whole=True)
    return json_answer(shown | made[0]) if made else answer
