"""Members of a business and their tokens."""

from contextlib import nullcontext
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import AfterValidator, Field

from libs.access import Principal, may
from libs.access.keys import generate_key
from libs.contracts.ids import uuid7
from libs.database import Transaction
from libs.errors import Conflict, Rejected
from libs.messaging.outbox import append
from libs.service.answers import gone, if_match, json_answer, versioned
from libs.service.body import Body, Line
from libs.service.clock import now
from libs.service.http import KEYED, DatabaseDep, rewrites, takes, writes
from libs.service.idempotency import once
from services.directory.api.administration import keep_administrator
from services.directory.api.pages import Page, answer_page, must_exist, shown
from services.directory.api.security import done_by
from services.directory.domain import rules
from services.directory.domain.events import events_of
from services.directory.store import keys, members, security

router = APIRouter(prefix="/api/directory/members")

Reader = Annotated[Principal, Depends(may("directory.read"))]
Writer = Annotated[Principal, Depends(may("directory.write"))]

ROLES_MAX = 100


def _check_email(text: str) -> str:
    local, at, domain = text.rpartition("@")
    if not (local and at and domain) or " " in text:
        raise ValueError("must be an e-mail address, such as ada@example.org")
    return text


Email = Annotated[str, Line(254), AfterValidator(_check_email)]
Zone = Annotated[str, Line(100), AfterValidator(rules.check_zone)]
RoleIds = Annotated[list[UUID], Field(max_length=ROLES_MAX)]


class MemberBody(Body):
    """A new member. Without a zone of its own the business's counts."""

    name: Annotated[str, Line(200)]
    email: Email
    zone: Zone | None = None
    role_ids: RoleIds = Field(default_factory=list)


class MemberPatch(Body):
    """What is to change about a member; what is not named stays."""

    name: Annotated[str, Line(200)] = ""
    email: Email = ""
    zone: Zone | None = None
    role_ids: RoleIds = Field(default_factory=list)


class TokenBody(Body):
    """A new token's life: a minute to a year, else 30 days."""

    expires_in_s: Annotated[int, Field(strict=True, ge=rules.TOKEN_MIN_S, le=rules.TOKEN_MAX_S)] | None = None


@router.post("", status_code=201)
@writes
async def create_member(body: MemberBody, principal: Writer, request: Request, database: DatabaseDep) -> Response:
    """Add a member. The e-mail address is unique among live members."""
    async with database.transaction(principal) as tx:

        async def write() -> Response:
            role_ids = list(dict.fromkeys(body.role_ids))
            await _lock_roles(tx, principal, role_ids)
            new = body.model_dump() | {
                "business_id": principal.business_id,
                "id": uuid7(),
                "role_ids": role_ids,
                "created_at": now(),
            }
            member = await members.insert_member(tx, new)
            if member is None:
                raise await _taken(tx, principal, body.email)
            roles = await members.add_to_roles(tx, principal.business_id, role_ids, member["id"])
            await append(tx, [*events_of("directory.member", [member]), *events_of("directory.role", roles)])
            return versioned(shown(member), 1, 201, member["id"])

        answer = await once(tx, principal, request, write)
    request.app.state.access.invalidate()
    return answer


@router.get("")
async def list_members(page: Page, principal: Reader, database: DatabaseDep) -> Response:
    """List live members, newest first."""
    async with database.transaction(principal) as tx:
        after = page.after(principal, "members")
        rows = await members.list_members(tx, principal.business_id, after, page.limit + 1)
    return answer_page(principal, "members", rows, page.limit)


@router.get("/{member_id}")
async def show_member(member_id: UUID, principal: Reader, database: DatabaseDep) -> Response:
    """Show one member."""
    async with database.transaction(principal) as tx:
        member = must_exist(await members.find_member(tx, principal.business_id, member_id), "member", member_id)
    return versioned(shown(member), member["version"])


@router.patch("/{member_id}")
@rewrites
async def change_member(
    member_id: UUID, body: MemberPatch, principal: Writer, request: Request, database: DatabaseDep
) -> Response:
    """Change what the body names. The last member who may administer the business keeps a role that allows it."""
    changes = body.model_dump(exclude_unset=True)
    async with database.transaction(principal) as tx:

        async def write() -> Response:
            async with keep_administrator(tx, principal.business_id) if "role_ids" in changes else nullcontext():
                before = await _lock_member(tx, principal, member_id, if_match(request))
                after = before | changes
                holder = await members.find_member_by_email(tx, principal.business_id, after["email"])
                if holder is not None and holder["id"] != member_id:
                    raise await _taken(tx, principal, after["email"])
                member = await _save(tx, principal, before, after)
            return versioned(shown(member), member["version"], wrote=member_id)

        answer = await once(tx, principal, request, write)
    request.app.state.access.invalidate()
    return answer


@router.delete("/{member_id}", status_code=204)
@rewrites
async def delete_member(member_id: UUID, principal: Writer, request: Request, database: DatabaseDep) -> Response:
    """Take a member out of the business; its tokens stop working. The last who may administer it stays."""
    async with database.transaction(principal) as tx:

        async def write() -> Response:
            async with keep_administrator(tx, principal.business_id):
                before = await _lock_member(tx, principal, member_id, if_match(request))
                member = await _save(tx, principal, before, before | {"role_ids": [], "deleted_at": now()})
            return gone(member_id, member["version"])

        answer = await once(tx, principal, request, write)
    request.app.state.access.invalidate()
    return answer


@router.post("/{member_id}/tokens", status_code=201)
@takes(KEYED)
async def create_token(
    member_id: UUID, principal: Writer, request: Request, database: DatabaseDep, body: TokenBody | None = None
) -> Response:
    """Make a token with which a member's programs act as that member; it is shown once."""
    at = now()
    key = generate_key("member", principal.business_id)
    fresh: list[dict[str, Any]] = []
    async with database.transaction(principal) as tx:

        async def write() -> Response:
            await _lock_member(tx, principal, member_id, None)
            token = {
                "business_id": principal.business_id,
                "id": key.id,
                "kind": "member",
                "name": "Token",
                "hash": key.hash,
                "scopes": rules.grant_scopes(None, principal.scopes),
                "member_id": member_id,
                "created_at": at,
                "expires_at": at + rules.token_life(body.expires_in_s if body else None),
            }
            row = await keys.insert_key(tx, token)
            await security.insert_event(tx, "key.made", key.id, done_by(principal, request))
            await append(tx, events_of("directory.api_key", [row]))
            fresh.append({"id": key.id, "token": key.text, "expires_at": row["expires_at"]})
            return json_answer(fresh[0] | {"token": None}, 201)

        answer = await once(tx, principal, request, write, whole=True)
    return json_answer(fresh[0], 201) if fresh else answer


async def _save(tx: Transaction, principal: Principal, before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Save a locked member and the roles it enters and leaves, with their events; unchanged: nothing."""
    after["role_ids"] = list(dict.fromkeys(after["role_ids"]))
    if after == before:
        return before
    entered = [role_id for role_id in after["role_ids"] if role_id not in before["role_ids"]]
    left = [role_id for role_id in before["role_ids"] if role_id not in after["role_ids"]]
    business_id, member_id = principal.business_id, before["id"]
    await _lock_roles(tx, principal, after["role_ids"], also=left)
    member = await members.save_member(tx, after)
    roles = await members.add_to_roles(tx, business_id, entered, member_id)
    roles += await members.take_from_roles(tx, business_id, left, member_id)
    await append(tx, [*events_of("directory.member", [member]), *events_of("directory.role", roles)])
    return member


async def _lock_member(tx: Transaction, principal: Principal, member_id: UUID, seen: int | None) -> dict[str, Any]:
    found = await members.lock_members(tx, principal.business_id, [member_id])
    member = must_exist(found[0] if found else None, "member", member_id)
    rules.check_version(member["version"], seen)
    return member


async def _lock_roles(
    tx: Transaction, principal: Principal, role_ids: list[UUID], also: list[UUID] | None = None
) -> None:
    known = await members.lock_roles(tx, principal.business_id, [*role_ids, *(also or [])])
    problems = rules.unknown_references("role_ids", role_ids, known)
    if problems:
        raise Rejected("unknown roles", problems)


async def _taken(tx: Transaction, principal: Principal, email: str) -> Conflict:
    holder = await members.find_member_by_email(tx, principal.business_id, email)
    link = f"/api/directory/members/{holder['id']}" if holder else None
    return Conflict("email: another live member has this e-mail address", "email_taken", link)
