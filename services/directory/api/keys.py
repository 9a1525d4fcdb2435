"""API keys: made, listed, rotated, revoked."""

from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from libs.access import SCOPES, Principal, may
from libs.access.keys import generate_key
from libs.errors import Conflict
from libs.messaging.outbox import append
from libs.service.answers import gone, versioned
from libs.service.body import Body, Line
from libs.service.clock import now
from libs.service.http import KEYED, DatabaseDep, takes, writes
from libs.service.idempotency import once
from services.directory.api.pages import Page, answer_page, must_exist, shown
from services.directory.api.security import done_by
from services.directory.domain import rules
from services.directory.domain.events import events_of
from services.directory.store import keys, security

router = APIRouter(prefix="/api/directory/api-keys")

Reader = Annotated[Principal, Depends(may("directory.read"))]
Writer = Annotated[Principal, Depends(may("directory.write"))]


class KeyBody(Body):
    """A new key. Without `scopes` it has all but `act_as`."""

    name: Annotated[str, Line(200)]
    scopes: Annotated[list[str], Field(max_length=len(SCOPES))] | None = None


class RotationBody(Body):
    """For how long the old key still works beside the new one."""

    overlap_s: Annotated[int, Field(ge=0, le=rules.OVERLAP_MAX_S)] = rules.OVERLAP_DEFAULT_S


@router.post("", status_code=201)
@takes(KEYED)
async def create_key(body: KeyBody, principal: Writer, request: Request, database: DatabaseDep) -> Response:
    """Make a key; it is shown once, also where the request is repeated."""
    scopes = rules.grant_scopes(body.scopes, principal.scopes)
    key = generate_key("api", principal.business_id)
    fresh: list[dict[str, Any]] = []
    async with database.transaction(principal) as tx:

        async def write() -> Response:
            new = {
                "business_id": principal.business_id,
                "id": key.id,
                "kind": "api",
                "name": body.name,
                "hash": key.hash,
                "scopes": scopes,
                "member_id": None,
                "created_at": now(),
                "expires_at": None,
            }
            row = await keys.insert_key(tx, new)
            await security.insert_event(tx, "key.made", key.id, done_by(principal, request))
            await append(tx, events_of("directory.api_key", [row]))
            fresh.append(shown(row))
            return versioned(fresh[0] | {"api_key": None}, 1, 201, key.id)

        answer = await once(tx, principal, request, write, whole=True)
    return versioned(fresh[0] | {"api_key": key.text}, 1, 201, key.id) if fresh else answer


@router.post("/{key_id}/rotate", status_code=201)
@takes(KEYED)
async def rotate_key(
    key_id: UUID, principal: Writer, request: Request, database: DatabaseDep, body: RotationBody | None = None
) -> Response:
    """Make a key with the old one's name and scopes, shown once; the old one ends after `overlap_s`."""
    at = now()
    ends_at = at + timedelta(seconds=(body or RotationBody()).overlap_s)
    key = generate_key("api", principal.business_id)
    fresh: list[dict[str, Any]] = []
    async with database.transaction(principal) as tx:

        async def write() -> Response:
            must_exist(await keys.find_key(tx, principal.business_id, key_id), "key", key_id)
            old = await keys.end_key(tx, principal.business_id, key_id, ends_at)
            if old is None:
                raise Conflict(f"key {key_id} is a member token or has ended: make a new one instead", "key_ended")
            rules.grant_scopes(old["scopes"], principal.scopes)
            row = await keys.insert_key(
                tx, old | {"id": key.id, "hash": key.hash, "created_at": at, "expires_at": None}
            )
            await security.insert_event(tx, "key.rotated", key_id, done_by(principal, request))
            await security.insert_event(tx, "key.made", key.id, done_by(principal, request))
            await append(tx, events_of("directory.api_key", [old, row]))
            fresh.append(shown(row) | {"replaces": {"id": key_id, "expires_at": old["expires_at"]}})
            return versioned(fresh[0] | {"api_key": None}, 1, 201, key.id)

        answer = await once(tx, principal, request, write, whole=True)
    request.app.state.access.invalidate()
    return versioned(fresh[0] | {"api_key": key.text}, 1, 201, key.id) if fresh else answer


@router.get("")
async def list_keys(page: Page, principal: Reader, database: DatabaseDep) -> Response:
    """List keys and member tokens, newest first, without their secrets."""
    async with database.transaction(principal) as tx:
        rows = await keys.list_keys(tx, principal.business_id, page.after(principal, "keys"), page.limit + 1)
    return answer_page(principal, "keys", rows, page.limit)


@router.delete("/{key_id}", status_code=204)
@writes
async def revoke_key(key_id: UUID, principal: Writer, request: Request, database: DatabaseDep) -> Response:
    """Revoke a key or a member token; revoking it again changes nothing."""
    async with database.transaction(principal) as tx:

        async def write() -> Response:
            row = await keys.revoke_key(tx, principal.business_id, key_id, now())
            if row is None:
                must_exist(await keys.find_key(tx, principal.business_id, key_id), "key", key_id)
            else:
                await security.insert_event(tx, "key.revoked", key_id, done_by(principal, request))
                await append(tx, events_of("directory.api_key", [row]))
            return gone()

        answer = await once(tx, principal, request, write)
    request.app.state.access.invalidate()
    return answer
