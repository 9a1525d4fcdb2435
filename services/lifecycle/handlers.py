"""What lifecycle does with the events it hears."""

from collections.abc import Sequence
from uuid import UUID

from libs.contracts.directory import Business, Record, RecordObject
from libs.contracts.ids import split_key
from libs.contracts.interaction import InteractionClosed
from libs.contracts.record import RecordChanged, RecordRefused
from libs.contracts.report import ReportReceived
from libs.database import Transaction
from libs.messaging.broker import Record as KafkaRecord
from libs.service.clock import now
from services.lifecycle import admission, changing, conversations, looking, recording
from services.lifecycle.domain import linked
from services.lifecycle.store import activities, erasures, living, records


async def admit_activities(tx: Transaction, events: Sequence[ReportReceived]) -> None:
    """Admit reports: decide, save the versions they make, answer each."""
    await admission.admit(tx, events, now())


async def answer_set_aside(tx: Transaction, record: KafkaRecord) -> None:
    """Answer the receipt of a report that was set aside, where key and header still name it."""
    try:
        business_id, activity_id = split_key(record.key or b"")
        receipt_id = UUID((dict(record.headers).get("ce_id") or b"").decode())
    except ValueError:
        return
    await admission.answer_set_aside(tx, admission.Receipt(business_id, receipt_id, activity_id), now())


async def enter_conversations(tx: Transaction, events: Sequence[InteractionClosed]) -> None:
    """Make finished conversations activities."""
    await conversations.enter(tx, events, now())


async def begin_businesses(tx: Transaction, events: Sequence[Business]) -> None:
    """Give new businesses their preset activity objects."""
    await looking.find_types(tx, [event.id for event in events if event.deleted_at is None], now())


async def copy_objects(tx: Transaction, events: Sequence[RecordObject]) -> None:
    """Keep a copy of what record objects there are."""
    await records.upsert_objects(tx, events)


async def copy_records(tx: Transaction, events: Sequence[Record]) -> None:
    """Keep a copy of what records there are, and note whose person is to be erased here too."""
    await records.upsert_records(tx, events)
    await living.forget_done(tx, {event.business_id for event in events})
    erased = [event for event in events if event.erased_at is not None]
    if erased:
        await erasures.insert_erasures(tx, erased)
        await living.erase_asked(tx, erased)


async def note_refusals(tx: Transaction, events: Sequence[RecordRefused]) -> None:
    """Let activities say which of their values a record did not take, each refusal once."""
    for event in events:
        key = (event.business_id, event.activity_id)
        held = (await activities.lock_activities(tx, [key])).get(key)
        if held is None or await activities.has_append(tx, key, event.request_id):
            continue
        types = await looking.find_types(tx, [event.business_id], now())
        kind = next((each for each in types[event.business_id] if each.id == held.activity.type_id), None)
        decision = linked.note_refusal(held, kind, event)
        if decision.outcome == "applied":
            await recording.record(tx, [recording.Entry(decision)])
    await living.forget_refused(tx, events)


async def follow_changes(tx: Transaction, events: Sequence[RecordChanged]) -> None:
    """Enter what is entered by itself when records change: conversions of leads, significant changes of contacts.

    What activities asked for and is done is a record's value from then on.
    """
    await changing.enter(tx, events, now())
    await living.note_done(tx, events)
