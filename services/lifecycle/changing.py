"""Follows changes of records: enters what is entered by itself."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from libs.access.members import list_settings
from libs.contracts.record import RecordChanged
from libs.database import Transaction
from services.lifecycle import looking, recording
from services.lifecycle.domain import changes as rules
from services.lifecycle.domain import life
from services.lifecycle.domain.changes import SETTING, Entry
from services.lifecycle.domain.held import LOG, Subject, Told
from services.lifecycle.domain.known import Known
from services.lifecycle.store import activities, erasures, records


async def enter(tx: Transaction, events: Sequence[RecordChanged], now: datetime) -> None:
    """Log what changes of records make, each once; nothing about a person who was erased since."""
    settings = await list_settings(tx, {event.business_id for event in events})
    made = [rules.entry_of(event, settings.get(event.business_id, {}).get(SETTING)) for event in events]
    entries = {(each.business_id, each.activity_id): each for each in made if each is not None}
    if not entries:
        return
    there = await activities.lock_activities(tx, list(entries))
    fresh = [each for key, each in entries.items() if key not in there]
    gone = await _erased(tx, fresh)
    fresh = [each for each in fresh if (each.business_id, each.event.record_id) not in gone]
    if not fresh:
        return
    people = {(each.business_id, person) for each in fresh for person in rules.people_in(each.event)}
    known = await looking.look_up(tx, {each.business_id for each in fresh}, people, now)
    accounts = await _accounts(tx, fresh)
    await recording.record(tx, [_logged(each, known[each.business_id], accounts, now) for each in fresh])


async def _erased(tx: Transaction, entries: Sequence[Entry]) -> set[tuple[UUID, UUID]]:
    if not entries:
        return set()
    oldest = min(each.event.changed_at for each in entries)
    found = await erasures.list_since(tx, {each.business_id for each in entries}, oldest)
    return {(business_id, record_id) for business_id, record_id, _ in found}


async def _accounts(tx: Transaction, entries: Sequence[Entry]) -> dict[str, str]:
    """Name the accounts that contacts leave or come to by their ids: those known here that are for everybody."""
    wanted: dict[UUID, set[UUID]] = {}
    for each in entries:
        wanted.setdefault(each.business_id, set()).update(rules.accounts_in(each.event))
    found = [await records.list_records(tx, business_id, ids, ()) for business_id, ids in wanted.items() if ids]
    return {str(identity): name for each in found for identity, (_, name, _) in each.items()}


def _logged(entry: Entry, known: Known, accounts: dict[str, str], now: datetime) -> recording.Entry:
    kind = known.types[entry.type]
    by = known.person_of(entry.event.by.member_id) if entry.event.by is not None else None
    names = {str(member.id): member.name for member in known.members.values()} | accounts
    content = {"type": kind.api_name, "type_id": kind.id, "type_name": kind.name, **rules.named(entry.content, names)}
    if by is not None:
        content["actor"] = by
    subject = Subject(entry.business_id, entry.activity_id, source=rules.SOURCE, source_kind=rules.SOURCE_KIND)
    decision = life.log(None, subject, Told(LOG, entry.event.changed_at, now, by, content), by_request=True)
    return recording.Entry(decision, by)
