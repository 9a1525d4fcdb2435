"""Records that are one, archived, or become another: merge and its undo, archive and its undo, conversion of leads."""

from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Response

from libs.database import Transaction
from libs.errors import Conflict, Problem, Rejected
from libs.messaging.outbox import append
from libs.service.answers import if_match, versioned
from libs.service.clock import now
from libs.service.http import rewrites
from libs.service.idempotency import once
from services.directory.api import writing
from services.directory.api.bodies import ConversionBody, MergeBody, RecordBody
from services.directory.api.pages import must_exist, shown
from services.directory.api.records import create
from services.directory.api.security import done_by
from services.directory.api.writing import Row, Write, Writing
from services.directory.domain import rules
from services.directory.domain.changes import record_events
from services.directory.store import merges, records
from services.directory.store.records import Place

router = APIRouter(prefix="/api/directory/records/{object}/{record_id}")

CONVERTED = "Converted"
"""The status of a lead that became a contact."""


@router.post("/merge")
@rewrites
async def merge_record(record_id: UUID, body: MergeBody, call: Writing) -> Response:
    """Let this record stand for another one of its object, whose history is shown here from now on.

    Values stay as they are on both; the other one is not listed any more and says by `merged_into` where it went.
    """
    if body.record_id == record_id:
        message = "is the record itself; name another one"
        raise Rejected(f"record_id {message}", [Problem("record_id", "same", message)])

    async def work(tx: Transaction, at: datetime) -> Response:
        below = await merges.list_below(tx, call.place.business_id, body.record_id)
        locked = await _lock_both(tx, call, record_id, body.record_id, below)
        for each in (locked[record_id], locked[body.record_id]):
            writing.refuse_merged(each)
            await writing.refuse_erased(tx, call.place, each["id"])
        rules.check_version(locked[record_id]["version"], if_match(call.request))
        await merges.insert_merge(tx, done_by(call.principal, call.request), body.record_id, record_id, at)
        await _point(tx, call, locked, {body.record_id, *below}, record_id)
        return writing.answer(locked[record_id])

    return await _once(call, work)


@router.post("/unmerge")
@rewrites
async def unmerge_record(record_id: UUID, call: Writing) -> Response:
    """Let a record that was merged into another one stand for itself again, with those that were merged into it.

    Records that were erased stay merged: which text was whose is not known any more.
    """

    async def work(tx: Transaction, at: datetime) -> Response:
        below = await merges.list_below(tx, call.place.business_id, record_id)
        locked = await records.lock_existing(tx, call.place.business_id, {record_id, *below})
        await writing.lock(tx, call.place, record_id, if_match(call.request))
        if locked[record_id]["merged_into"] is None:
            raise Conflict(f"record {record_id} is not merged into another one", "not_merged")
        if locked[record_id]["erased_at"] is not None:
            link = f"/api/directory/records/{call.place.object}/{record_id}/erase"
            message = f"record {record_id} was erased with those that it is merged with; they stay merged"
            raise Conflict(message, "erased", link)
        await merges.undo_merge(tx, call.place.business_id, record_id, at)
        [after] = await _point(tx, call, locked, {record_id}, None)
        await _point(tx, call, locked, below, record_id)
        return writing.answer(after)

    return await _once(call, work)


@router.post("/archive")
@rewrites
async def archive_record(record_id: UUID, call: Writing) -> Response:
    """Take a record out of the lists; its history stays, and what comes for it is still taken."""
    return await _archive(call, record_id, archived=True)


@router.post("/unarchive")
@rewrites
async def unarchive_record(record_id: UUID, call: Writing) -> Response:
    """Put an archived record back into the lists."""
    return await _archive(call, record_id, archived=False)


@router.post("/convert", status_code=201)
@rewrites
async def convert_lead(record_id: UUID, body: ConversionBody, call: Writing) -> Response:
    """Let a lead become a contact, with an account if one is given; once. A contact that is not given is made of it.

    The contact gets the account. An entry about it appears on the lead and the contact.
    """

    async def work(tx: Transaction, at: datetime) -> Response:
        lead = await writing.lock(tx, call.place, record_id, if_match(call.request))
        if call.place.object != "lead":
            raise Conflict(f"records of {call.place.object!r} cannot be converted; leads can", "not_a_lead")
        await writing.refuse_erased(tx, call.place, record_id)
        writing.refuse_merged(lead)
        if lead["converted_to"] is not None:
            link = f"/api/directory/records/contact/{lead['converted_to']}"
            raise Conflict(f"lead {record_id} was converted to contact {lead['converted_to']}", "converted", link)
        account = await _account(tx, call, body)
        contact = await _contact(tx, call, body, lead, account)
        changes = {"status": CONVERTED, "converted_to": contact["id"], "account_id": contact["account_id"]}
        converted = await writing.change(tx, call, lead, lead | changes)
        content = {"lead": shown(converted), "contact": shown(contact), "account": shown(account) if account else None}
        return versioned(content, converted["version"], 201, record_id)

    return await _once(call, work)


async def _once(call: Write, work: Any) -> Response:
    async with call.database.transaction(call.principal) as tx:
        return await once(tx, call.principal, call.request, lambda: work(tx, now()))


async def _archive(call: Write, record_id: UUID, *, archived: bool) -> Response:
    async def work(tx: Transaction, at: datetime) -> Response:
        before = await writing.lock(tx, call.place, record_id, if_match(call.request))
        writing.refuse_merged(before)
        if (before["archived_at"] is not None) == archived:
            return writing.answer(before)
        return writing.answer(
            await writing.change(tx, call, before, before | {"archived_at": at if archived else None})
        )

    return await _once(call, work)


async def _lock_both(
    tx: Transaction, call: Write, record_id: UUID, other_id: UUID, below: set[UUID]
) -> dict[UUID, Row]:
    """Lock two records, in the order of their ids, with those below the other one."""
    locked = await records.lock_existing(tx, call.place.business_id, {record_id, other_id, *below})
    must_exist(await records.find_record(tx, call.place, record_id), call.place.object, record_id)
    if await records.find_record(tx, call.place, other_id) is None:
        message = f"{other_id} is not a record of {call.place.object!r}"
        raise Rejected(f"record_id {message}", [Problem("record_id", "does_not_exist", message)])
    return locked


async def _point(
    tx: Transaction, call: Write, locked: dict[UUID, Row], record_ids: set[UUID], survivor_id: UUID | None
) -> list[Row]:
    rows = await merges.point_to(tx, call.place.business_id, record_ids, survivor_id, now())
    await append(tx, record_events(locked, rows, call.principal.user_id))
    return rows


async def _account(tx: Transaction, call: Write, body: ConversionBody) -> Row | None:
    place = Place(call.place.business_id, "account", call.place.role_ids)
    if body.account is not None and body.account_id is not None:
        message = "give account or account_id, not both"
        raise Rejected(message, [Problem("account_id", "exclusive", message)])
    if body.account is not None:
        return await create(tx, call, place, body.account)
    return None if body.account_id is None else await _known(tx, place, "account_id", body.account_id)


async def _contact(tx: Transaction, call: Write, body: ConversionBody, lead: Row, account: Row | None) -> Row:
    place = Place(call.place.business_id, "contact", call.place.role_ids)
    account_id = account["id"] if account is not None else None
    if body.contact is not None and body.contact_id is not None:
        message = "give contact or contact_id, not both"
        raise Rejected(message, [Problem("contact_id", "exclusive", message)])
    if body.contact_id is None:
        new = body.contact or RecordBody(name=lead["name"], owner_id=lead["owner_id"], fields=_fields(lead))
        if new.visible_role_ids is None:
            new = new.model_copy(update={"visible_role_ids": lead["visible_role_ids"]})
        return await create(tx, call, place, new.model_copy(update={"account_id": account_id or new.account_id}))
    contact = await _known(tx, place, "contact_id", body.contact_id)
    if account_id is None or contact["account_id"] == account_id:
        return contact
    return await writing.change(tx, call, contact, contact | {"account_id": account_id})


async def _known(tx: Transaction, place: Place, field: str, record_id: UUID) -> Row:
    found = await records.lock_record(tx, place, record_id)
    if found is None:
        message = f"{record_id} is not a record of {place.object!r}"
        raise Rejected(f"{field} {message}", [Problem(field, "does_not_exist", message)])
    writing.refuse_merged(found)
    return found


def _fields(lead: Row) -> dict[str, Any]:
    fields: dict[str, Any] = orjson.loads(lead["fields"])
    return fields
