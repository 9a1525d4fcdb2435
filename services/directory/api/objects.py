"""Record objects: contact, account, lead, and those that a business makes for itself."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import Field

from libs.access import Principal, may
from libs.contracts.ids import preset_id_of
from libs.database import Transaction
from libs.errors import Conflict, Rejected
from libs.messaging.outbox import append
from libs.service.answers import gone, if_match, versioned
from libs.service.body import Body, Line
from libs.service.clock import now
from libs.service.http import DatabaseDep, rewrites, writes
from libs.service.idempotency import once
from services.directory.api.pages import Page, answer_page, must_exist, shown
from services.directory.domain import rules
from services.directory.domain.events import events_of
from services.directory.store import objects

router = APIRouter(prefix="/api/directory/objects")

Reader = Annotated[Principal, Depends(may("directory.read"))]
Writer = Annotated[Principal, Depends(may("directory.write"))]
Named = Annotated[str, Line(100), Path(alias="object")]

STATUSES_MAX = 100
FIELDS_MAX = 500
Name = Annotated[str, Line(200)]
Fields = Annotated[list[Annotated[str, Line(255)]], Field(max_length=FIELDS_MAX)]
Statuses = Annotated[list[Annotated[str, Line(100)]], Field(max_length=STATUSES_MAX)]


class ObjectBody(Body):
    """A new record object. Without `api_name` it is made of the name; without statuses records take any.

    `locked_fields`: those of its records that activities may not write.
    """

    name: Name
    api_name: Annotated[str, Line(100)] | None = None
    statuses: Statuses = Field(default_factory=list)
    locked_fields: Fields = Field(default_factory=list)


class ObjectPatch(Body):
    """What is to change; records that have a status which goes keep it."""

    name: Name = ""
    statuses: Statuses = Field(default_factory=list)
    locked_fields: Fields = Field(default_factory=list)


@router.post("", status_code=201)
@writes
async def create_object(body: ObjectBody, principal: Writer, request: Request, database: DatabaseDep) -> Response:
    """Make a record object; one that was deleted under that api_name comes back."""
    api_name = rules.api_name_of(body.name) if body.api_name is None else body.api_name
    problems = [*rules.check_api_name(api_name), *rules.check_statuses(body.statuses)]
    if problems:
        raise Rejected("the record object is not valid", problems)
    business_id = principal.business_id
    new = {
        "business_id": business_id, "id": preset_id_of(business_id, "record_object", api_name), "api_name": api_name,
        "name": body.name, "statuses": body.statuses, "locked_fields": body.locked_fields, "created_at": now(),
    }  # fmt: skip
    async with database.transaction(principal) as tx:

        async def write() -> Response:
            made = await objects.save_object(tx, new)
            if made is None:
                link = f"/api/directory/objects/{api_name}"
                raise Conflict(f"api_name: there is a record object {api_name!r} already", "api_name_taken", link)
            return await _announce(tx, made, 201)

        return await once(tx, principal, request, write)


@router.get("")
async def list_objects(page: Page, principal: Reader, database: DatabaseDep) -> Response:
    """List record objects, newest first."""
    async with database.transaction(principal) as tx:
        after = page.after(principal, "objects")
        rows = await objects.list_objects(tx, principal.business_id, after, page.limit + 1)
    return answer_page(principal, "objects", list(rows), page.limit)


@router.get("/{object}")
async def show_object(named: Named, principal: Reader, database: DatabaseDep) -> Response:
    """Show a record object, by api_name or id."""
    async with database.transaction(principal) as tx:
        found = await objects.find_object(tx, principal.business_id, named, _uuid_of(named))
    kind = must_exist(found, "record object", repr(named))
    return versioned(shown(kind), kind["version"])


@router.patch("/{object}")
@rewrites
async def change_object(
    named: Named, body: ObjectPatch, principal: Writer, request: Request, database: DatabaseDep
) -> Response:
    """Change the name or the statuses; the api_name stays."""
    async with database.transaction(principal) as tx:

        async def write() -> Response:
            before = await _lock(tx, principal, named, request)
            changes = body.model_dump(exclude_unset=True)
            problems = list(rules.check_statuses(changes.get("statuses", ())))
            if problems:
                raise Rejected("the record object is not valid", problems)
            if before | changes == before:
                return versioned(shown(before), before["version"], wrote=before["id"])
            return await _announce(tx, await objects.update_object(tx, before | changes), 200)

        return await once(tx, principal, request, write)


@router.delete("/{object}", status_code=204)
@rewrites
async def delete_object(named: Named, principal: Writer, request: Request, database: DatabaseDep) -> Response:
    """Delete a record object of one's own that has no records; what was linked to deleted records of it stays."""
    async with database.transaction(principal) as tx:

        async def write() -> Response:
            before = await _lock(tx, principal, named, request)
            api_name = before["api_name"]
            if api_name in rules.PRESET_NAMES:
                raise Conflict(f"{api_name!r} is there in every business and cannot be deleted", "preset")
            if await objects.has_records(tx, principal.business_id, api_name):
                link = f"/api/directory/records/{api_name}"
                raise Conflict(f"there are records of {api_name!r}; delete them first", "has_records", link)
            deleted = await objects.update_object(tx, before | {"deleted_at": now()})
            await append(tx, events_of("directory.object", [deleted]))
            return gone(deleted["id"], deleted["version"])

        return await once(tx, principal, request, write)


async def _lock(tx: Transaction, principal: Principal, named: str, request: Request) -> dict[str, Any]:
    locked = await objects.lock_object(tx, principal.business_id, named, _uuid_of(named))
    found = must_exist(locked, "record object", repr(named))
    rules.check_version(found["version"], if_match(request))
    return found


async def _announce(tx: Transaction, kind: dict[str, Any], status: int) -> Response:
    await append(tx, events_of("directory.object", [kind]))
    return versioned(shown(kind), kind["version"], status, kind["id"])


def _uuid_of(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
