"""Records of contact, account, lead and a business's own objects."""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Path, Query, Response

from libs.contracts.ids import record_id_of
from libs.database import Transaction
from libs.errors import Conflict, Problem, Rejected
from libs.service.answers import gone, if_match, versioned
from libs.service.body import Line
from libs.service.clock import now
from libs.service.http import DatabaseDep, rewrites, writes
from libs.service.idempotency import once
from services.directory.api import writing
from services.directory.api.bodies import RecordBody, RecordPatch, Ref
from services.directory.api.bulk import Lines, save_lines
from services.directory.api.pages import Page, answer_page, must_exist, shown
from services.directory.api.writing import Object, Reader, Row, Write, Writing
from services.directory.domain import rules
from services.directory.store import businesses, records
from services.directory.store.records import Place

router = APIRouter(prefix="/api/directory/records/{object}")

Search = Annotated[str, Line(200)]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which records are asked for."""

    object: str
    search: str | None
    has_activities: bool | None
    archived: bool


async def _filter(
    object_name: Object,
    search: Annotated[Search | None, Query()] = None,
    has_activities: Annotated[bool | None, Query()] = None,
    archived: Annotated[bool, Query()] = False,
) -> Filter:
    return Filter(object_name, search, has_activities, archived)


Filtering = Annotated[Filter, Depends(_filter)]


@router.post("", status_code=201)
@writes
async def create_record(body: RecordBody, call: Writing) -> Response:
    """Make a record; 409 where there is one with that external ref."""
    async with call.database.transaction(call.principal) as tx:

        async def write() -> Response:
            return writing.answer(await create(tx, call, call.place, body), 201)

        return await once(tx, call.principal, call.request, write)


async def create(tx: Transaction, call: Write, place: Place, body: RecordBody) -> Row:
    """Make a record. Raises Conflict where there is one with that external ref."""
    new = await writing.check(tx, place, body)
    rows = await writing.save(tx, call.principal, place, [new], replace=False)
    if not rows:
        await writing.refuse_erased(tx, place, new.id)
        link = f"/api/directory/records/{place.object}/{new.id}"
        raise Conflict(f"external_ref: there is a record {body.external_ref!r} already", "ref_taken", link)
    return rows[0]


@router.post("/bulk")
@writes
async def save_bulk(call: Writing) -> Response:
    """Save up to 10,000 records, one a line; one with a known external ref is brought to the new state."""
    lines = Lines()
    await lines.read(await call.request.body())
    async with call.database.transaction(call.principal) as tx:

        async def write() -> Response:
            found = await writing.hold_object(tx, call.place)
            answer = await save_lines(tx, call.principal, call.place, found["statuses"], lines)
            return Response(answer, media_type="application/json")

        return await once(tx, call.principal, call.request, write)


@router.put("/by-ref/{external_ref:path}")
@rewrites
async def put_record(external_ref: Annotated[Ref, Path()], body: RecordBody, call: Writing) -> Response:
    """Bring the record with that external ref to the state of the body: 201 when it is new, else 200."""
    if body.external_ref not in (None, external_ref):
        message = f"is {body.external_ref!r} in the body and {external_ref!r} in the path"
        raise Rejected(f"external_ref {message}", [Problem("external_ref", "contradiction", message)])
    async with call.database.transaction(call.principal) as tx:

        async def write() -> Response:
            new = await writing.check(tx, call.place, body.model_copy(update={"external_ref": external_ref}))
            seen = if_match(call.request)
            if seen is not None:
                await writing.lock(tx, call.place, new.id, seen)
            rows = await writing.save(tx, call.principal, call.place, [new], replace=True)
            if rows:
                return writing.answer(rows[0], 201 if rows[0]["version"] == 1 else 200)
            await writing.refuse_erased(tx, call.place, new.id)
            record = must_exist(await records.find_record(tx, call.place, new.id), "record", new.id)
            return writing.answer(record)

        return await once(tx, call.principal, call.request, write)


@router.get("/by-ref/{external_ref:path}")
async def show_by_ref(
    object_name: Object, external_ref: Annotated[Ref, Path()], principal: Reader, database: DatabaseDep
) -> Response:
    """Show the record with that external ref, as `GET /{record_id}` does."""
    place = writing.place_of(principal, object_name)
    record_id = record_id_of(place.business_id, place.object, external_ref)
    async with database.transaction(principal) as tx:
        record = must_exist(await records.find_record(tx, place, record_id), object_name, repr(external_ref))
    return versioned(shown(record), record["version"])


@router.get("")
async def list_records(filters: Filtering, page: Page, principal: Reader, database: DatabaseDep) -> Response:
    """List records, newest first; `search` is a part of the name. Archived ones are listed with `archived=true`."""
    if filters.has_activities is not None:
        message = f"is not known here; ask /api/timeline/{filters.object}?has_activities=true or false"
        raise Rejected(f"has_activities {message}", [Problem("has_activities", "not_supported", message)])
    place = writing.place_of(principal, filters.object)
    mark = f"records:{place.object}:{filters.archived}:{filters.search or ''}"
    async with database.transaction(principal) as tx:
        found = await businesses.find_object(tx, place.business_id, place.object)
        must_exist(found, "record object", repr(place.object))
        after = page.after(principal, mark)
        rows = await records.list_records(tx, place, (filters.search, filters.archived), after, page.limit + 1)
    return answer_page(principal, mark, rows, page.limit)


@router.get("/{record_id}")
async def show_record(object_name: Object, record_id: UUID, principal: Reader, database: DatabaseDep) -> Response:
    """Show one record; `merged_into` names the one that stands for it since they were merged."""
    place = writing.place_of(principal, object_name)
    async with database.transaction(principal) as tx:
        record = must_exist(await records.find_record(tx, place, record_id), object_name, record_id)
    return versioned(shown(record), record["version"])


@router.patch("/{record_id}")
@rewrites
async def change_record(record_id: UUID, body: RecordPatch, call: Writing) -> Response:
    """Change what the body names; `account_id` moves it to another account."""
    async with call.database.transaction(call.principal) as tx:

        async def write() -> Response:
            before = await writing.lock(tx, call.place, record_id, if_match(call.request))
            await writing.refuse_erased(tx, call.place, record_id)
            writing.refuse_merged(before)
            changes = body.model_dump(exclude_unset=True)
            if "fields" in changes:
                stored = orjson.loads(before["fields"])
                merged = rules.merge_fields(stored, changes["fields"])
                changes["fields"] = before["fields"] if merged == stored else orjson.dumps(merged)
            after = before | changes
            await writing.check(tx, call.place, _as_body(after))
            if after == before:
                return writing.answer(before)
            return writing.answer(await writing.change(tx, call, before, after))

        return await once(tx, call.principal, call.request, write)


@router.delete("/{record_id}", status_code=204)
@rewrites
async def delete_record(record_id: UUID, call: Writing) -> Response:
    """Delete a record; what is linked to it stays."""
    async with call.database.transaction(call.principal) as tx:

        async def write() -> Response:
            before = await writing.lock(tx, call.place, record_id, if_match(call.request))
            record = await writing.change(tx, call, before, before | {"deleted_at": now()})
            return gone(record_id, record["version"])

        return await once(tx, call.principal, call.request, write)


def _as_body(row: Row) -> RecordBody:
    names = ("name", "status", "owner_id", "account_id", "visible_role_ids")
    return RecordBody.model_construct(**{name: row[name] for name in names}, fields={}, external_ref=None)
