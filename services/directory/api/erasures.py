"""Erasing the person of a record: from here everywhere."""

from collections.abc import Iterable
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from libs.access import Principal, may
from libs.database import Transaction
from libs.messaging.outbox import append
from libs.service.answers import json_answer
from libs.service.body import Body, Line
from libs.service.clock import now
from libs.service.http import DatabaseDep, writes
from libs.service.idempotency import once
from services.directory.api.pages import must_exist
from services.directory.api.security import done_by
from services.directory.api.writing import Object, Reader, Write, place_of
from services.directory.domain.events import events_of
from services.directory.store import merges, records, security

router = APIRouter(prefix="/api/directory/records/{object}/{record_id}/erase")


class EraseBody(Body):
    """Why a person is erased. It is kept, so it must not name the person."""

    reason: Annotated[str, Line(500)]


Administrator = Annotated[Principal, Depends(may("directory.write"))]


async def _erase(object_name: Object, principal: Administrator, request: Request, database: DatabaseDep) -> Write:
    return Write(principal, place_of(principal, object_name), request, database)


Erasing = Annotated[Write, Depends(_erase)]
"""An erasure cannot be undone: it takes more than to write records does."""


@router.post("", status_code=202)
@writes
async def erase_record(record_id: UUID, body: EraseBody, call: Erasing) -> Response:
    """Erase what is known of a record's person, also where the record is deleted; the record itself and its links stay.

    It takes the scope `directory.write`, and of a member the permission `admin.directory`.
    Records that are merged are one person: all of them are erased (`records`), and stay merged. The texts of their
    activities and conversations follow within moments. A second time answers 200 and changes nothing.
    """
    place, by = call.place, done_by(call.principal, call.request)
    async with call.database.transaction(call.principal) as tx:

        async def write() -> Response:
            must_exist(await records.find_any(tx, place, record_id), place.object, record_id)
            locked = await _lock_person(tx, place.business_id, record_id)
            open_ids = [each for each, record in locked.items() if record["erased_at"] is None]
            erased = await records.erase_records(tx, place.business_id, open_ids, now())
            for record in erased:
                await security.insert_event(tx, "record.erased", record["id"], by, body.reason)
            await append(tx, events_of("directory.record", erased))
            locked |= {record["id"]: record for record in erased}
            event = await security.find_event(tx, place.business_id, "record.erased", record_id)
            answer = json_answer(_shown(locked[record_id], event or {}, locked), 202 if erased else 200)
            if erased:
                answer.headers["x-wrote"] = f"{record_id}:{locked[record_id]['version']}"
            return answer

        return await once(tx, call.principal, call.request, write)


@router.get("")
async def show_erasure(object_name: Object, record_id: UUID, principal: Reader, database: DatabaseDep) -> Response:
    """Show when, by whom and why a record's person was erased."""
    place = place_of(principal, object_name)
    async with database.transaction(principal) as tx:
        event = await security.find_event(tx, place.business_id, "record.erased", record_id)
        record = must_exist(await records.find_erased(tx, place, record_id), "erasure of record", record_id)
        person = await merges.list_one_person(tx, place.business_id, record_id)
    return json_answer(_shown(record, event or {}, person))


async def _lock_person(tx: Transaction, business_id: UUID, record_id: UUID) -> dict[UUID, dict[str, Any]]:
    """Lock the records that are one with a record, in the order of their ids; again where others came meanwhile."""
    while True:
        wanted = await merges.list_one_person(tx, business_id, record_id)
        locked = await records.lock_existing(tx, business_id, wanted)
        if await merges.list_one_person(tx, business_id, record_id) == wanted:
            return locked


def _shown(record: dict[str, Any], event: dict[str, Any], person: Iterable[UUID]) -> dict[str, Any]:
    return {
        "erasure_id": event.get("id"),
        "object": record["object"],
        "record_id": record["id"],
        "records": list(person),
        "version": record["version"],
        "erased_at": record["erased_at"],
        "by_key": event.get("by_key"),
        "by_member": event.get("by_member"),
        "reason": event.get("reason"),
    }
