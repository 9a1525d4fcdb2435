"""Records of contact, account, lead and a business's own objects."""

from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Path, Query, Request, Response

from libs.access import Principal, may
from libs.database import Database, Transaction
from libs.errors import Conflict, Problem, Rejected
from libs.messaging.outbox import append
from libs.service.answers import if_match, versioned
from libs.service.body import Line
from libs.service.clock import now
from libs.service.http import DatabaseDep
from libs.service.idempotency import once
from services.directory.api.bodies import RecordBody, RecordPatch, Ref
from services.directory.api.bulk import Lines, new_record, save_lines
from services.directory.api.pages import Page, answer_page, must_exist, shown
from services.directory.domain import rules
from services.directory.domain.events import events_of
from services.directory.store import businesses, members, objects, records
from services.directory.store.records import NewRecord, Place

router = APIRouter(prefix="/api/directory/records/{object}")

Reader = Annotated[Principal, Depends(may("records.read"))]
Writer = Annotated[Principal, Depends(may("records.write"))]
Object = Annotated[str, Line(255), Path(alias="object")]
Search = Annotated[str, Line(200)]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which records are asked for."""

    object: str
    search: str | None
    has_activities: bool | None


async def _filter(
    object_name: Object,
    search: Annotated[Search | None, Query()] = None,
    has_activities: Annotated[bool | None, Query()] = None,
) -> Filter:
    return Filter(object_name, search, has_activities)


Filtering = Annotated[Filter, Depends(_filter)]


@dataclass(frozen=True, slots=True)
class Write:
    """A write to the records of an object."""

    principal: Principal
    place: Place
    request: Request
    database: Database


async def _write(object_name: Object, principal: Writer, request: Request, database: DatabaseDep) -> Write:
    return Write(principal, Place(principal.business_id, object_name), request, database)


Writing = Annotated[Write, Depends(_write)]


@router.post("", status_code=201)
async def create_record(body: RecordBody, call: Writing) -> Response:
    """Make a record; 409 where there is one with that external ref."""
    async with call.database.transaction(call.principal) as tx:

        async def write() -> Response:
            new = await _check(tx, call.place, body)
            rows = await records.save_records(tx, call.place, [new], now(), replace=False)
            if not rows:
                await _refuse_erased(tx, call.place, new.id)
                link = f"/api/directory/records/{call.place.object}/{new.id}"
                raise Conflict(f"external_ref: there is a record {body.external_ref!r} already", "ref_taken", link)
            return await _announce(tx, rows[0], 201)

        return await once(tx, call.principal, call.request, write)


@router.post("/bulk")
async def save_bulk(call: Writing) -> Response:
    """Save up to 10,000 records, one a line; one with a known external ref is brought to the new state."""
    lines = Lines()
    await lines.read(await call.request.body())
    async with call.database.transaction(call.principal) as tx:

        async def write() -> Response:
            found = await _hold_object(tx, call.place)
            answer = await save_lines(tx, call.principal, found, lines, now())
            return Response(answer, media_type="application/json")

        return await once(tx, call.principal, call.request, write)


@router.put("/by-ref/{external_ref:path}")
async def put_record(external_ref: Annotated[Ref, Path()], body: RecordBody, call: Writing) -> Response:
    """Bring the record with that external ref to the state of the body: 201 when it is new, else 200."""
    if body.external_ref not in (None, external_ref):
        message = f"is {body.external_ref!r} in the body and {external_ref!r} in the path"
        raise Rejected(f"external_ref {message}", [Problem("external_ref", "contradiction", message)])
    async with call.database.transaction(call.principal) as tx:

        async def write() -> Response:
            new = await _check(tx, call.place, body.model_copy(update={"external_ref": external_ref}))
            seen = if_match(call.request)
            if seen is not None:
                await _lock(tx, call.place, new.id, seen)
            rows = await records.save_records(tx, call.place, [new], now(), replace=True)
            if rows:
                return await _announce(tx, rows[0], 201 if rows[0]["version"] == 1 else 200)
            await _refuse_erased(tx, call.place, new.id)
            record = must_exist(await records.find_record(tx, call.place, new.id), "record", new.id)
            return versioned(shown(record), record["version"], wrote=new.id)

        return await once(tx, call.principal, call.request, write)


@router.get("")
async def list_records(filters: Filtering, page: Page, principal: Reader, database: DatabaseDep) -> Response:
    """List records, newest first; `search` is a part of the name."""
    if filters.has_activities is not None:
        message = f"is not known here; ask /api/timeline/{filters.object}?has_activities=true or false"
        raise Rejected(f"has_activities {message}", [Problem("has_activities", "not_supported", message)])
    place = Place(principal.business_id, filters.object)
    mark = f"records:{place.object}:{filters.search or ''}"
    async with database.transaction(principal) as tx:
        await _find_object(tx, place)
        after = page.after(principal, mark)
        rows = await records.list_records(tx, place, filters.search, after, page.limit + 1)
    return answer_page(principal, mark, rows, page.limit)


@router.get("/{record_id}")
async def show_record(object_name: Object, record_id: UUID, principal: Reader, database: DatabaseDep) -> Response:
    """Show one record."""
    place = Place(principal.business_id, object_name)
    async with database.transaction(principal) as tx:
        record = must_exist(await records.find_record(tx, place, record_id), object_name, record_id)
    return versioned(shown(record), record["version"])


@router.patch("/{record_id}")
async def change_record(record_id: UUID, body: RecordPatch, call: Writing) -> Response:
    """Change what the body names."""
    async with call.database.transaction(call.principal) as tx:

        async def write() -> Response:
            before = await _lock(tx, call.place, record_id, if_match(call.request))
            await _refuse_erased(tx, call.place, record_id)
            changes = body.model_dump(exclude_unset=True)
            if "fields" in changes:
                merged = rules.merge_fields(orjson.loads(before["fields"]), changes["fields"])
                changes["fields"] = orjson.dumps(merged)
            after = before | changes
            await _refuse_unknown(tx, call.place, after["status"], after["owner_id"])
            if "fields" in changes and orjson.loads(before["fields"]) == merged:
                after["fields"] = before["fields"]
            if after == before:
                return versioned(shown(before), before["version"], wrote=record_id)
            return await _announce(tx, await records.save_record(tx, after | {"updated_at": now()}), 200)

        return await once(tx, call.principal, call.request, write)


@router.delete("/{record_id}", status_code=204)
async def delete_record(record_id: UUID, call: Writing) -> Response:
    """Delete a record; what is linked to it stays."""
    at = now()
    async with call.database.transaction(call.principal) as tx:
        before = await _lock(tx, call.place, record_id, if_match(call.request))
        record = await records.save_record(tx, before | {"updated_at": at, "deleted_at": at})
        await append(tx, events_of("directory.record", [record]))
    return Response(status_code=204, headers={"x-wrote": f"{record_id}:{record['version']}"})


async def _check(tx: Transaction, place: Place, body: RecordBody) -> NewRecord:
    await _refuse_unknown(tx, place, body.status, body.owner_id)
    return new_record(place, body)


async def _refuse_unknown(tx: Transaction, place: Place, status: str | None, owner_id: UUID | None) -> None:
    found = await _hold_object(tx, place)
    owners = {owner_id} if owner_id is not None else set()
    known = await members.list_member_ids(tx, place.business_id, owners) if owners else set()
    problems = list(rules.check_record(status, owner_id, found["statuses"], known))
    if problems:
        raise Rejected("the record is not valid", problems)


async def _find_object(tx: Transaction, place: Place) -> dict[str, Any]:
    found = await businesses.find_object(tx, place.business_id, place.object)
    return must_exist(found, "record object", repr(place.object))


async def _hold_object(tx: Transaction, place: Place) -> dict[str, Any]:
    """Find the object to write records of: it is not deleted before they are."""
    found = await objects.hold_object(tx, place.business_id, place.object)
    return must_exist(found, "record object", repr(place.object))


async def _lock(tx: Transaction, place: Place, record_id: UUID, seen: int | None) -> dict[str, Any]:
    record = must_exist(await records.lock_record(tx, place, record_id), place.object, record_id)
    rules.check_version(record["version"], seen)
    return record


async def _refuse_erased(tx: Transaction, place: Place, record_id: UUID) -> None:
    """Refuse to fill an erased record again. Raises Conflict."""
    if await records.list_erased(tx, place.business_id, [record_id]):
        link = f"/api/directory/records/{place.object}/{record_id}/erase"
        raise Conflict(f"record {record_id}: {rules.ERASED}", "erased", link)


async def _announce(tx: Transaction, record: dict[str, Any], status: int) -> Response:
    """Append the record's event, and answer it."""
    await append(tx, events_of("directory.record", [record]))
    return versioned(shown(record), record["version"], status, record["id"])
