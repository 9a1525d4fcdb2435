"""Endpoints: who is told, about what, where."""

from collections.abc import AsyncIterator, Callable, Set
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, cast
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Request, Response

from libs.access import Principal, may
from libs.contracts.ids import uuid7
from libs.database import Database, Transaction
from libs.errors import Conflict, NotFound, Stale
from libs.service.answers import if_match, json_answer, versioned
from libs.service.cursors import decode_cursor, encode_cursor
from libs.service.http import KEYED, DatabaseDep, rewrites, takes
from libs.service.idempotency import once
from services.webhook_dispatcher import changes, resolver, signing
from services.webhook_dispatcher.api.bodies import EndpointChange, NewEndpoint, check_limit, show_endpoint
from services.webhook_dispatcher.delivery import Dispatcher
from services.webhook_dispatcher.domain import expressions
from services.webhook_dispatcher.domain.headers import check_headers
from services.webhook_dispatcher.domain.urls import read_url, refused
from services.webhook_dispatcher.resolver import BlockedAddress
from services.webhook_dispatcher.sealing import Sealer
from services.webhook_dispatcher.settings import Settings
from services.webhook_dispatcher.signing import Scheme
from services.webhook_dispatcher.store import endpoints, missed, subscribers
from services.webhook_dispatcher.store.endpoints import EndpointState

router = APIRouter(prefix="/api/webhooks/endpoints")
Reader = Annotated[Principal, Depends(may("webhooks.read"))]
Writer = Annotated[Principal, Depends(may("webhooks.write"))]
NOTHING = EndpointState("", "", (), (), (), "active")
REPLAYS = "/api/webhooks/replays"
PLAIN = ("url", "description", "rate_limit_per_s", "timeout_s", "ordered", "skip_after_s", "schedule_s")
PARTS: dict[str, tuple[str, ...]] = {name: (name,) for name in (*PLAIN, "event_types", "headers")} | {
    "body": ("body_form",), "filter": ("sources", "activity_objects", "record_objects", "expression"),
}  # fmt: skip
"""Of a state, by the field of a body that says them."""


def settings_of(request: Request) -> Settings:
    """Return the settings of the service whose route this is."""
    return cast(Settings, request.app.state.service.settings)


@router.post("", status_code=201)
@takes(KEYED)
async def make_endpoint(request: Request, principal: Writer, database: DatabaseDep, body: NewEndpoint) -> Response:
    """Make an endpoint; its secret is in this answer and in no other (`signature` v1a: it has a public key instead)."""
    settings = settings_of(request)
    await check_url(body.url, settings)
    state = _with(NOTHING, body, settings, set(NewEndpoint.model_fields))
    made: list[dict[str, Any]] = []

    async def write() -> Response:
        await endpoints.lock_number(tx, principal.business_id)
        if await endpoints.count_endpoints(tx, principal.business_id) >= settings.webhook_endpoints_max:
            message = f"a business has at most {settings.webhook_endpoints_max} endpoints; delete one first"
            raise Conflict(message, "too_many_endpoints")
        made.append(await insert_with_secret(tx, principal, settings, state, ("own", body.signature)))
        shown = {name: value for name, value in made[0].items() if name != "secret"}
        return versioned(shown, 1, 201, shown["id"])  # what is kept for a repeated request is without the secret

    async with database.transaction(principal) as tx:
        answer = await once(tx, principal, request, write, whole=True)
    return versioned(made[0], 1, 201, made[0]["id"]) if made else answer


async def insert_with_secret(
    tx: Transaction, principal: Principal, settings: Settings, state: EndpointState, kind: tuple[str, Scheme]
) -> dict[str, Any]:
    """Insert an endpoint of a kind with a key of its own; return it as it is shown, with its secret if it has one."""
    id_ = uuid7()
    await endpoints.insert_endpoint(tx, principal.business_id, id_, state, (kind[0], None))
    secret = await add_key(tx, principal, settings, id_, kind[1])
    await endpoints.insert_revision(tx, principal.business_id, (id_, 1), principal.key_id, state.document())
    row = await endpoints.find_endpoint(tx, principal.business_id, id_)
    assert row is not None
    return show_endpoint(row) | {name: value for name, value in secret.items() if name == "secret"}


async def add_key(
    tx: Transaction, principal: Principal, settings: Settings, endpoint_id: UUID, scheme: Scheme
) -> dict[str, str]:
    """Let an endpoint be signed with a new key; return `secret`, or with v1a `public_key`."""
    key = signing.generate_key()
    sealer = Sealer(settings.webhook_master_key.get_secret_value())
    sealed = sealer.seal(key, principal.business_id, endpoint_id, scheme)
    public = None if scheme == "v1" else signing.public_bytes_of(key)
    await endpoints.insert_secret(tx, principal.business_id, endpoint_id, (uuid7(), sealed), public)
    return {"secret": signing.secret_of(key)} if public is None else {"public_key": signing.public_key_of(public)}


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
    """Show one endpoint, and how often its expression had no answer."""
    async with database.transaction(principal) as tx:
        row = await endpoints.find_endpoint(tx, principal.business_id, id)
        failures = await subscribers.find_filter_failure(tx, principal.business_id, id)
    if row is None:
        raise missing(id)
    return versioned(show_endpoint(row) | {"filter_failures": failures}, row["version"])


@router.patch("/{id}")
@rewrites
async def change_endpoint(
    id: UUID, request: Request, principal: Writer, database: DatabaseDep, body: EndpointChange  # noqa: A002
) -> Response:  # fmt: skip
    """Change what the body names. The URL in force is always the current one, also for what is owed already: after
    this answer nothing is begun as it was before; what is under way ends."""
    named, settings = body.model_fields_set, settings_of(request)
    if "url" in named:
        await check_url(body.url, settings)
    wanted = _with(NOTHING, body, settings, named)  # judged before anything is locked

    def changed(state: EndpointState) -> EndpointState:
        state = replace(state, **{part: getattr(wanted, part) for name in named for part in PARTS.get(name, ())})
        if "paused" in named and state.status != "disabled":
            state = replace(state, status="paused" if body.paused else "active")
        return state

    return await change_state(request, principal, database, (id, changed), by_hand=True)


@router.delete("/{id}", status_code=204)
@rewrites
async def delete_endpoint(id: UUID, request: Request, principal: Writer, database: DatabaseDep) -> Response:  # noqa: A002
    """Delete an endpoint: after this answer nothing more is sent to it; what is under way ends."""

    async def write() -> Response:
        row = await locked_endpoint(tx, principal, id, request)
        if row["kind"] == "object":
            raise managed(row)
        await endpoints.delete_endpoint(tx, principal.business_id, id)
        return Response(status_code=204)

    async with changing(request, principal, database, id) as tx:
        return await once(tx, principal, request, write)


Change = Callable[[EndpointState], EndpointState]


async def change_state(
    request: Request, principal: Principal, database: Database, wanted: tuple[UUID, Change], *, by_hand: bool = False
) -> Response:
    """Change an endpoint to another state and keep the revision. Raises NotFound, Stale, Conflict."""
    id_, change = wanted

    async def write() -> Response:
        row = await locked_endpoint(tx, principal, id_, request)
        if row["kind"] == "listener" or (by_hand and row["kind"] == "object"):
            raise managed(row)
        state = change(EndpointState(**{name: row[name] for name in EndpointState.__slots__}))
        saved = await endpoints.update_endpoint(tx, principal.business_id, id_, state)
        revision = (id_, saved["version"])
        await endpoints.insert_revision(tx, principal.business_id, revision, principal.key_id, state.document())
        shown = show_endpoint(saved)
        if state.status == "active" and row["status"] != "active":
            await endpoints.resume_parked(tx, principal.business_id, id_)
            shown["missed"] = await _missed(tx, principal.business_id, id_)
        return versioned(shown, saved["version"], 200, id_)

    async with changing(request, principal, database, id_) as tx:
        return await once(tx, principal, request, write)


@asynccontextmanager
async def changing(
    request: Request, principal: Principal, database: Database, id_: UUID
) -> AsyncIterator[Transaction]:  # fmt: skip
    """Open a transaction that changes an endpoint; when it is left, no worker begins anything as it was before."""
    dispatcher = cast(Dispatcher, request.app.state.service.shared[Dispatcher])
    async with database.transaction(principal) as tx:
        tx.on_commit(partial(dispatcher.changed, id_))
        yield tx
    await changes.tell(database, dispatcher.worker, id_)


async def _missed(tx: Transaction, business_id: UUID, id_: UUID) -> dict[str, Any]:
    """Say how much an endpoint missed while it was disabled, and how to have it."""
    count, since = await missed.count_missed(tx, business_id, id_)
    body = {"endpoint_id": id_, "from": since, "statuses": ["missed"]}
    return {"count": count, "replay": {"method": "POST", "path": REPLAYS, "body": body} if count else None}


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


def managed(row: dict[str, Any]) -> Conflict:
    """Say that an endpoint is not changed by hand."""
    if row["kind"] == "object":
        where = f"activity object {row['activity_object_id']}: change its webhook_url or its submission_action"
        return Conflict(f"this endpoint belongs to {where}", "managed")
    return Conflict("this endpoint belongs to somebody who listens: it ends with that", "managed")


async def check_url(url: str, settings: Settings) -> None:
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


def _with(
    state: EndpointState, body: NewEndpoint | EndpointChange, settings: Settings, named: Set[str]
) -> EndpointState:
    """Put what a body says into a state. Raises Rejected naming each field that is not taken."""
    if "headers" in named:
        headers = check_headers(body.headers, settings.headers_allowed())
        state = replace(state, headers=orjson.dumps(headers))
    if "filter" in named:
        if body.filter.expression:
            expressions.check_expression(body.filter.expression)
        state = replace(state, **body.filter.model_dump())
    if "event_types" in named:
        state = replace(state, event_types=sorted(set(body.event_types)))
    plain = {name: getattr(body, name) for name in PLAIN if name in named}
    return replace(state, body_form=body.body, **plain)
