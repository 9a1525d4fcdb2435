"""Roles: groups of members with permissions."""

from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from libs.access import Principal, may
from libs.access.levels import PERMISSIONS, check_permissions, complete
from libs.contracts.ids import uuid7
from libs.database import Transaction
from libs.errors import Rejected
from libs.messaging.outbox import append
from libs.service.answers import gone, if_match, versioned
from libs.service.body import Body, Line
from libs.service.clock import now
from libs.service.http import DatabaseDep, rewrites, writes
from libs.service.idempotency import once
from services.directory.api.administration import keep_administrator
from services.directory.api.pages import Page, answer_page, must_exist, shown
from services.directory.domain import rules
from services.directory.domain.events import events_of
from services.directory.store import members

router = APIRouter(prefix="/api/directory/roles")

Reader = Annotated[Principal, Depends(may("directory.read"))]
Writer = Annotated[Principal, Depends(may("directory.write"))]

MEMBERS_MAX = 1_000
PERMISSIONS_MAX = 2 * len(PERMISSIONS)

Name = Annotated[str, Line(200)]
MemberIds = Annotated[list[UUID], Field(max_length=MEMBERS_MAX)]
Permissions = Annotated[dict[Annotated[str, Line(100)], Annotated[str, Line(100)]], Field(max_length=PERMISSIONS_MAX)]


class RoleBody(Body):
    """A role, for PUT as well; a permission is `my` (for one's own), `all` or `none`. None at all: says nothing."""

    name: Name
    member_ids: MemberIds = Field(default_factory=list)
    permissions: Permissions = Field(default_factory=dict)


class RolePatch(Body):
    """What is to change about a role; a permission that is not named stays, one that is null is `none`."""

    name: Name = ""
    member_ids: MemberIds = Field(default_factory=list)
    permissions: dict[Annotated[str, Line(100)], Annotated[str, Line(100)] | None] = Field(
        default_factory=dict, max_length=PERMISSIONS_MAX
    )


@router.post("", status_code=201)
@writes
async def create_role(body: RoleBody, principal: Writer, request: Request, database: DatabaseDep) -> Response:
    """Add a role and give it to members."""
    business_id = principal.business_id
    permissions = _permissions(body.permissions)
    async with database.transaction(principal) as tx:

        async def write() -> Response:
            member_ids = list(dict.fromkeys(body.member_ids))
            await _lock_members(tx, business_id, member_ids)
            new = {
                "business_id": business_id,
                "id": uuid7(),
                "name": body.name,
                "member_ids": member_ids,
                "permissions": permissions,
                "created_at": now(),
            }
            role = await members.insert_role(tx, new)
            changed = await members.add_role_to_members(tx, business_id, member_ids, role["id"])
            await append(tx, [*events_of("directory.role", [role]), *events_of("directory.member", changed)])
            return versioned(shown(role), 1, 201, role["id"])

        answer = await once(tx, principal, request, write)
    request.app.state.access.invalidate()
    return answer


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


@router.put("/{role_id}")
@rewrites
async def replace_role(
    role_id: UUID, body: RoleBody, principal: Writer, request: Request, database: DatabaseDep
) -> Response:
    """Replace a role: its name, who has it, and what it allows."""
    changes = body.model_dump() | {"permissions": _permissions(body.permissions)}
    return await _change(principal, request, database, role_id, changes)


@router.patch("/{role_id}")
@rewrites
async def change_role(
    role_id: UUID, body: RolePatch, principal: Writer, request: Request, database: DatabaseDep
) -> Response:
    """Change what the body names."""
    return await _change(principal, request, database, role_id, body.model_dump(exclude_unset=True))


@router.delete("/{role_id}", status_code=204)
@rewrites
async def delete_role(role_id: UUID, principal: Writer, request: Request, database: DatabaseDep) -> Response:
    """Delete a role: its members lose what it allowed; what was assigned to it stays assigned.

    The last role that lets a living member administer the business stays.
    """
    return await _change(principal, request, database, role_id, {"member_ids": [], "deleted_at": now()})


async def _change(
    principal: Principal, request: Request, database: DatabaseDep, role_id: UUID, changes: dict[str, Any]
) -> Response:
    async with database.transaction(principal) as tx:

        async def write() -> Response:
            async with keep_administrator(tx, principal.business_id):
                role = await _save(tx, principal.business_id, role_id, changes, if_match(request))
            if role["deleted_at"] is not None:
                return gone(role_id, role["version"])
            return versioned(shown(role), role["version"], wrote=role_id)

        answer = await once(tx, principal, request, write)
    request.app.state.access.invalidate()
    return answer


async def _save(
    tx: Transaction, business_id: UUID, role_id: UUID, changes: dict[str, Any], seen: int | None
) -> dict[str, Any]:
    """Save a role and the members who get or lose it; unchanged: nothing."""
    # members are locked before roles: those that the role has, and those that it gets
    held = must_exist(await members.find_role(tx, business_id, role_id), "role", role_id)
    wanted = list(dict.fromkeys(changes["member_ids"] if "member_ids" in changes else held["member_ids"]))
    await _lock_members(tx, business_id, wanted, also=held["member_ids"])
    before = must_exist(await members.lock_role(tx, business_id, role_id), "role", role_id)
    rules.check_version(before["version"], seen)
    after = before | changes | {"member_ids": wanted}
    if isinstance(changes.get("permissions"), dict):
        after["permissions"] = _patched(orjson.loads(before["permissions"]), changes["permissions"])
    if _same(before, after):
        return before
    role = await members.save_role(tx, after)
    changed = await _give_and_take(tx, before, wanted)
    await append(tx, [*events_of("directory.role", [role]), *events_of("directory.member", changed)])
    return role


async def _give_and_take(tx: Transaction, before: dict[str, Any], wanted: list[UUID]) -> list[dict[str, Any]]:
    business_id, role_id, had = before["business_id"], before["id"], before["member_ids"]
    given = [member_id for member_id in wanted if member_id not in had]
    taken = [member_id for member_id in had if member_id not in wanted]
    changed = await members.add_role_to_members(tx, business_id, given, role_id)
    return changed + await members.take_role_from_members(tx, business_id, taken, role_id)


async def _lock_members(
    tx: Transaction, business_id: UUID, member_ids: list[UUID], also: list[UUID] | None = None
) -> None:
    known = {row["id"] for row in await members.lock_members(tx, business_id, {*member_ids, *(also or [])})}
    problems = rules.unknown_references("member_ids", member_ids, known)
    if problems:
        raise Rejected("unknown members", problems)


def _patched(stored: dict[str, Any], changes: dict[str, str | None]) -> bytes:
    return _permissions(stored | {name: level or "none" for name, level in changes.items()})


def _permissions(given: dict[str, Any]) -> bytes:
    """Check permissions and write all of them down. Raises Rejected."""
    problems = list(check_permissions(given))
    if problems:
        raise Rejected("the permissions are not valid", problems)
    return orjson.dumps(complete(given))


def _same(before: dict[str, Any], after: dict[str, Any]) -> bool:
    plain = {**before, "permissions": orjson.loads(before["permissions"])}
    return plain == {**after, "permissions": orjson.loads(after["permissions"])}
