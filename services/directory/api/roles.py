"""Roles: groups of members with permissions."""

from typing import Annotated, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from libs.access import Principal, may
from libs.contracts.ids import uuid7
from libs.errors import Rejected
from libs.messaging.outbox import append
from libs.service.answers import versioned
from libs.service.body import Body, Line
from libs.service.clock import now
from libs.service.http import DatabaseDep
from libs.service.idempotency import once
from services.directory.api.pages import Page, answer_page, must_exist, shown
from services.directory.domain import rules
from services.directory.domain.events import events_of
from services.directory.store import members

router = APIRouter(prefix="/api/directory/roles")

Reader = Annotated[Principal, Depends(may("directory.read"))]
Writer = Annotated[Principal, Depends(may("directory.write"))]

MEMBERS_MAX = 1_000
PERMISSIONS_MAX = 200


class RoleBody(Body):
    """A new role; a permission is for one's own (`my`), for all, or for none."""

    name: Annotated[str, Line(200)]
    member_ids: list[UUID] = Field(default_factory=list, max_length=MEMBERS_MAX)
    permissions: dict[Annotated[str, Line(100)], Literal["my", "all", "none"]] = Field(
        default_factory=dict, max_length=PERMISSIONS_MAX
    )


@router.post("", status_code=201)
async def create_role(body: RoleBody, principal: Writer, request: Request, database: DatabaseDep) -> Response:
    """Add a role and give it to members."""
    business_id = principal.business_id
    async with database.transaction(principal) as tx:

        async def write() -> Response:
            member_ids = list(dict.fromkeys(body.member_ids))
            known = {row["id"] for row in await members.lock_members(tx, business_id, member_ids)}
            problems = rules.unknown_references("member_ids", member_ids, known)
            if problems:
                raise Rejected("unknown members", problems)
            new = {
                "business_id": business_id,
                "id": uuid7(),
                "name": body.name,
                "member_ids": member_ids,
                "permissions": orjson.dumps(body.permissions),
                "created_at": now(),
            }
            role = await members.insert_role(tx, new)
            changed = await members.add_role_to_members(tx, business_id, member_ids, role["id"])
            await append(tx, [*events_of("directory.role", [role]), *events_of("directory.member", changed)])
            return versioned(shown(role), 1, 201, role["id"])

        return await once(tx, principal, request, write)


@router.get("")
async def list_roles(page: Page, principal: Reader, database: DatabaseDep) -> Response:
    """List live roles, newest first."""
    async with database.transaction(principal) as tx:
        after = page.after(principal, "roles")
        rows = await members.list_roles(tx, principal.business_id, after, page.limit + 1)
    return answer_page(principal, "roles", rows, page.limit)


@router.get("/{role_id}")
async def show_role(role_id: UUID, principal: Reader, database: DatabaseDep) -> Response:
    """Show one role."""
    async with database.transaction(principal) as tx:
        role = must_exist(await members.find_role(tx, principal.business_id, role_id), "role", role_id)
    return versioned(shown(role), role["version"])
