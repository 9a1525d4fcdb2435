"""Erasing the person of a record: from here everywhere."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Response

from libs.messaging.outbox import append
from libs.service.answers import json_answer
from libs.service.body import Body, Line
from libs.service.clock import now
from libs.service.http import DatabaseDep
from services.directory.api.pages import must_exist
from services.directory.api.security import done_by
from services.directory.api.writing import Object, Reader, Writing, place_of
from services.directory.domain.events import events_of
from services.directory.store import records, security

router = APIRouter(prefix="/api/directory/records/{object}/{record_id}/erase")


class EraseBody(Body):
    """Why a person is erased. It is kept, so it must not name the person."""

    reason: Annotated[str, Line(500)]


@router.post("", status_code=202)
async def erase_record(record_id: UUID, body: EraseBody, call: Writing) -> Response:
    """Erase what is known of a record's person, also where the record is deleted; the record itself and its links stay.

    The texts of its activities and conversations follow within moments. A second time answers 200 and changes nothing.
    """
    place, at = call.place, now()
    async with call.database.transaction(call.principal) as tx:
        before = must_exist(await records.lock_any(tx, place, record_id), place.object, record_id)
        if before["erased_at"] is not None:
            earlier = await security.find_event(tx, place.business_id, "record.erased", record_id)
            return json_answer(_shown(before, earlier or {}))
        record = await records.erase_record(tx, place.business_id, record_id, at)
        event = await security.insert_event(
            tx, "record.erased", record_id, done_by(call.principal, call.request), body.reason
        )
        await append(tx, events_of("directory.record", [record]))
    answer = json_answer(_shown(record, event), 202)
    answer.headers["x-wrote"] = f"{record_id}:{record['version']}"
    return answer


@router.get("")
async def show_erasure(object_name: Object, record_id: UUID, principal: Reader, database: DatabaseDep) -> Response:
    """Show when, by whom and why a record's person was erased."""
    place = place_of(principal, object_name)
    async with database.transaction(principal) as tx:
        event = await security.find_event(tx, place.business_id, "record.erased", record_id)
        record = must_exist(await records.find_erased(tx, place, record_id), "erasure of record", record_id)
    return json_answer(_shown(record, event or {}))


def _shown(record: dict[str, Any], event: dict[str, Any]) -> dict[str, Any]:
    return {
        "erasure_id": event.get("id"),
        "object": record["object"],
        "record_id": record["id"],
        "version": record["version"],
        "erased_at": record["erased_at"],
        "by_key": event.get("by_key"),
        "by_member": event.get("by_member"),
        "reason": event.get("reason"),
    }
