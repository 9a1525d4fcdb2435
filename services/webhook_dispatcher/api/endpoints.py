"""Endpoints: who is told, about what, where."""

from dataclasses import replace
from typing import Annotated, Any, cast
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from libs.access import Principal, may
from libs.contracts.ids import uuid7
from libs.database import Database, Transaction
from libs.errors import Conflict, NotFound, Stale
from libs.service.answers import if_match, json_answer, versioned
from libs.service.cursors import decode_cursor, encode_cursor
from libs.service.http import DatabaseDep
from libs.service.idempotency import once
from services.webhook_dispatcher import resolver, signing
from services.webhook_dispatcher.api.bodies import EndpointChange, NewEndpoint, check_limit, show_endpoint
from services.webhook_dispatcher.domain.urls import read_url, refused
from services.webhook_dispatcher.resolver import BlockedAddress
from services.webhook_dispatcher.sealing import Sealer
from services.webhook_dispatcher.settings import Settings
from services.webhook_dispatcher.store import endpoints
from services.webhook_dispatcher.store.endpoints import EndpointState

router = APIRouter(prefix="/api/webhooks/endpoints")
Reader = Annotated[Principal, Depends(may("webhooks.read"))]
Writer = Annotated[Principal, Depends(may("webhooks.write"))]
ENDPOINTS_MAX = 100


def settings_of(request: Request) -> Settings:
    """Return the settings of the service whose route this is."""
    return cast(Settings, request.app.state.service.settings)


@router.post("", status_code=201)
async def make_endpoint(request: Request, principal: Writer, database: DatabaseDep, body: NewEndpoint) -> Response:
    """Make an endpoint; its secret is in this answer and in no other."""
    settings = settings_of(request)
    await _check_url(body.url, settings)
    state = EndpointState(
        body.url, body.description, sorted(set(body.event_types)), body.filter.sources, body.filter.activity_objects,
        "active",
    )  # fmt: skip
    secret, id_ = signing.generate_secret(), uuid7()
    made: list[dict[str, Any]] = []

    async def write() -> Response:
        if await endpoints.count_endpoints(tx, principal.business_id) >= ENDPOINTS_MAX:
            raise Conflict(f"a business has at most {ENDPOINTS_MAX} endpoints; delete one first", "too_many_endpoints")
        row = await endpoints.insert_endpoint(tx, principal.business_id, id_, state)
        sealer = Sealer(settings.webhook_master_key.get_secret_value())
        sealed = sealer.seal(signing.key_of(secret), principal.business_id, id_)
        await endpoints.insert_secret(tx, principal.business_id, id_, (uuid7(), sealed))
        await endpoints.insert_revision(tx, principal.business_id, (id_, 1), principal.key_id, state.document())
        made.append(show_endpoint(row))
        return versioned(made[0], 1, 201, id_)  # what is kept for a repeated request is without the secret

    async with database.transaction(principal) as tx:
        answer = await once(tx, principal, request, write)
    return versioned({**made[0], "secret": secret}, 1, 201, id_) if made else answer


@router.get("")
async def list_endpoints(
    principal: Reader, database: DatabaseDep, limit: int = 50, cursor: str | None = None
) -> Response:
    """List endpoints, newest first."""
    check_limit(limit, 200)
    after = UUID(decode_cursor(principal, "endpoints", cursor)[0]) if cursor else None
    async with database.transaction(principal) as tx:
        rows = await endpoints.list_endpoints(tx, principal.business_id, after, limit + 1)
    more = encode_cursor(principal, "endpoints", [str(rows[limit - 1]["id"])]) if len(rows) > limit else None
    return json_answer({"results": [show_endpoint(row) for row in rows[:limit]], "next": more})


@router.get("/{id}")
async def read_endpoint(id: UUID, principal: Reader, database: DatabaseDep) -> Response:  # noqa: A002
    """Show one endpoint."""
    async with database.transaction(principal) as tx:
        row = await endpoints.find_endpoint(tx, principal.business_id, id)
    if row is None:
        raise missing(id)
    return versioned(show_endpoint(row), row["version"])


@router.patch("/{id}")
async def change_endpoint(
    id: UUID, request: Request, principal: Writer, database: DatabaseDep, body: EndpointChange  # noqa: A002
) -> Response:  # fmt: skip
    """Change what the body names. The URL in force is always the current one, also for what is owed already."""
    named = body.model_fields_set
    if "url" in named:
        await _check_url(body.url, settings_of(request))

    def changed(state: EndpointState) -> EndpointState:
        if "url" in named:
            state = replace(state, url=body.url)
        if "event_types" in named:
            state = replace(state, event_types=sorted(set(body.event_types)))
        if "description" in named:
            state = replace(state, description=body.description)
        if "filter" in named:
            state = replace(state, sources=body.filter.sources, activity_objects=body.filter.activity_objects)
        if "paused" in named and state.status != "disabled":
            state = replace(state, status="paused" if body.paused else "active")
        return state

    return await _change(id, request, principal, database, changed)


@router.post("/{id}/enable")
async def enable_endpoint(id: UUID, request: Request, principal: Writer, database: DatabaseDep) -> Response:  # noqa: A002
    """Send again, beginning with what was owed while it was disabled or paused."""

    def enabled(state: EndpointState) -> EndpointState:
        return replace(state, status="active", disabled_reason=None)

    return await _change(id, request, principal, database, enabled)


@router.post("/{id}/disable")
async def disable_endpoint(id: UUID, request: Request, principal: Writer, database: DatabaseDep) -> Response:  # noqa: A002
    """Send nothing more and owe nothing new."""

    def disabled(state: EndpointState) -> EndpointState:
        return replace(state, status="disabled", disabled_reason="by_owner")

    return await _change(id, request, principal, database, disabled)


@router.delete("/{id}", status_code=204)
async def delete_endpoint(id: UUID, request: Request, principal: Writer, database: DatabaseDep) -> Response:  # noqa: A002
    """Delete an endpoint: nothing is sent to it from now on."""

    async def write() -> Response:
        await locked_endpoint(tx, principal, id, request)
        await endpoints.delete_endpoint(tx, principal.business_id, id)
        return Response(status_code=204)

    async with database.transaction(principal) as tx:
        return await once(tx, principal, request, write)


async def _change(id_: UUID, request: Request, principal: Principal, database: Database, change: Any) -> Response:
    async def write() -> Response:
        row = await locked_endpoint(tx, principal, id_, request)
        state = change(EndpointState(**{name: row[name] for name in EndpointState.__slots__}))
        saved = await endpoints.update_endpoint(tx, principal.business_id, id_, state)
        revision = (id_, saved["version"])
        await endpoints.insert_revision(tx, principal.business_id, revision, principal.key_id, state.document())
        if state.status == "active" and row["status"] != "active":
            await endpoints.resume_parked(tx, principal.business_id, id_)
        return versioned(show_endpoint(saved), saved["version"], 200, id_)

    async with database.transaction(principal) as tx:
        return await once(tx, principal, request, write)


async def locked_endpoint(tx: Transaction, principal: Principal, id_: UUID, request: Request) -> dict[str, Any]:
    """Lock an endpoint for a write and compare If-Match. Raises NotFound, Stale."""
    row = await endpoints.find_endpoint(tx, principal.business_id, id_, lock=True)
    if row is None:
        raise missing(id_)
    seen = if_match(request)
    if seen is not None and seen != row["version"]:
        raise Stale(f"If-Match names version {seen}, the endpoint has version {row['version']}; read it again")
    return row


def missing(id_: UUID) -> NotFound:
    """Say that there is no such endpoint."""
    return NotFound(f"there is no endpoint {id_}")


async def _check_url(url: str, settings: Settings) -> None:
    """Refuse what may never be sent to; a name that does not resolve just now is taken, each connect checks again."""
    rules = settings.address_rules()
    target = read_url(url, rules)
    if target.literal:
        return
    try:
        await resolver.resolve(target.host, target.port, rules)
    except BlockedAddress:
        raise refused("address_refused", "leads to an address that is not allowed") from None
    except OSError:
        return
