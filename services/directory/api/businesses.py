"""Businesses: made and listed by the operator."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Request, Response
from pydantic import AfterValidator, SecretStr

from libs.access import SCOPES, operator_only
from libs.access.keys import NO_BUSINESS, Key, generate_key
from libs.access.levels import EVERYTHING
from libs.contracts.ids import preset_id_of, uuid5, uuid7
from libs.database import Transaction
from libs.messaging.outbox import append
from libs.service.answers import json_answer
from libs.service.body import Body, Line
from libs.service.clock import now
from libs.service.http import KEYED, DatabaseDep, takes
from libs.service.idempotency import once
from services.directory.api.pages import Page, answer_page
from services.directory.domain import rules
from services.directory.domain.events import events_of
from services.directory.store import businesses, keys, members, security
from services.directory.store.security import By


@dataclass(frozen=True, slots=True)
class Tenant:
    """The business that a transaction is about."""

    business_id: UUID


class BusinessBody(Body):
    """A new business; names need not be unique."""

    name: Annotated[str, Line(200)]
    zone: Annotated[str, Line(100), AfterValidator(rules.check_zone)]


def make_router(operator_key: SecretStr) -> APIRouter:
    """Make the routes under /api/directory/businesses."""
    router = APIRouter(prefix="/api/directory/businesses", dependencies=[Depends(operator_only(operator_key))])
    router.add_api_route("", create_business, methods=["POST"], status_code=201)
    router.add_api_route("", list_businesses, methods=["GET"])
    return router


@takes(KEYED)
async def create_business(body: BusinessBody, request: Request, database: DatabaseDep) -> Response:
    """Make a business with its first member, a role and a key that have every right, and preset record objects."""
    repeatable = request.headers.get("idempotency-key")
    tenant = Tenant(uuid5(NO_BUSINESS, f"business:{repeatable}") if repeatable else uuid7())
    key = generate_key("api", tenant.business_id)
    fresh: list[dict[str, Any]] = []

    async with database.transaction(tenant) as tx:

        async def write() -> Response:
            user_id = await _insert_everything(tx, tenant.business_id, body, key, now())
            by = By(tenant.business_id, None, None, request.state.request_id)
            await security.insert_event(tx, "key.made", key.id, by)
            fresh.append({"id": tenant.business_id, "api_key": key.text, "user_id": user_id})
            return json_answer(fresh[0] | {"api_key": None}, 201)  # kept for a repetition: keys are shown once

        answer = await once(tx, tenant, request, write, whole=True)
    return json_answer(fresh[0], 201) if fresh else answer


async def list_businesses(page: Page, database: DatabaseDep) -> Response:
    """List all businesses."""
    operator = Tenant(NO_BUSINESS)
    async with database.work() as tx:
        rows = await businesses.list_businesses(tx, page.after(operator, "businesses"), page.limit + 1)
    return answer_page(operator, "businesses", rows, page.limit)


async def _insert_everything(tx: Transaction, business_id: UUID, body: BusinessBody, key: Key, at: datetime) -> UUID:
    user_id, role_id = uuid7(), uuid7()
    business = await businesses.insert_business(tx, business_id, body.name, body.zone, at)
    first = {"business_id": business_id, "created_at": at}
    permissions = orjson.dumps(EVERYTHING)
    role = await members.insert_role(
        tx, first | {"id": role_id, "name": "Administrators", "member_ids": [user_id], "permissions": permissions}
    )
    owner = {"id": user_id, "name": "Owner", "email": f"owner@{business_id}.invalid", "zone": None}
    member = await members.insert_member(tx, first | owner | {"role_ids": [role_id]})
    assert member is not None, "a new business has no member with that address"
    first_key = {"id": key.id, "kind": "api", "name": "First key", "hash": key.hash, "scopes": list(SCOPES)}
    api_key = await keys.insert_key(tx, first | first_key | {"member_id": None, "expires_at": None})
    objects = await businesses.insert_objects(
        tx,
        business_id,
        [
            (preset_id_of(business_id, "record_object", each.api_name), each.api_name, each.name, list(each.statuses))
            for each in rules.PRESETS
        ],
        at,
    )
    await append(
        tx,
        [
            *events_of("directory.business", [business]),
            *events_of("directory.role", [role]),
            *events_of("directory.member", [member]),
            *events_of("directory.api_key", [api_key]),
            *events_of("directory.object", objects),
        ],
    )
    return user_id
