"""What directory hears: what activities ask to be changed about records."""

from collections.abc import Sequence
from datetime import datetime

from libs.contracts.record import RecordRequested
from libs.database import Transaction
from libs.messaging.outbox import append
from libs.service.clock import now
from services.directory.domain.changes import record_events
from services.directory.domain.requests import Around, decide, owner_of, refusal
from services.directory.store import members, objects, records, requests


async def apply_requests(tx: Transaction, events: Sequence[RecordRequested]) -> None:
    """Do what activities ask for where the record's object allows it, in their order, each once; answer each."""
    fresh = await requests.claim(tx, list({(each.business_id, each.request_id): each for each in events}.values()))
    for event in events:
        if (event.business_id, event.request_id) in fresh:
            fresh.discard((event.business_id, event.request_id))
            await _apply(tx, event, now())


async def _apply(tx: Transaction, request: RecordRequested, at: datetime) -> None:
    around = await _look_around(tx, request)
    after, problems = decide(request, around)
    if after is None or around.record is None:
        await append(tx, [refusal(request, problems, at)])
        return
    before = around.record
    saved = await records.save_record(tx, after | {"updated_at": at})
    await append(tx, record_events({saved["id"]: before}, [saved], None, request))


async def _look_around(tx: Transaction, request: RecordRequested) -> Around:
    """Lock the record that a request is about, or the one that stands for it, and look up what decides."""
    kind = await objects.hold_object(tx, request.business_id, request.object)
    record = (await records.lock_existing(tx, request.business_id, [request.record_id])).get(request.record_id)
    if record is not None and record["merged_into"] is not None:
        record = (await records.lock_existing(tx, request.business_id, [record["merged_into"]])).get(
            record["merged_into"]
        )
    if record is not None and record["object"] != request.object:
        record = None
    owner_id = owner_of(request.fields)
    known = await members.list_member_ids(tx, request.business_id, [owner_id]) if owner_id is not None else set()
    return Around(record, kind, known)
