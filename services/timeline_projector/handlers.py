"""What is shown, kept in step with the events heard."""

from collections.abc import Sequence

from libs.contracts.activity import ActivityEvent
from libs.contracts.activity_object import ActivityObject
from libs.contracts.directory import Record
from libs.database import Transaction
from services.timeline_projector import domain, store


async def show_activities(tx: Transaction, events: Sequence[ActivityEvent]) -> None:
    """Put each activity on the timelines of the records it is linked to now; an older version changes nothing."""
    heads = domain.newest_heads(events)
    earlier = await store.advance_heads(tx, heads)
    gone, come = domain.moves(heads, earlier)
    if gone:
        await store.delete_entries(tx, gone)
    if come:
        await store.insert_entries(tx, come)


async def name_types(tx: Transaction, events: Sequence[ActivityObject]) -> None:
    """Note what the types of activities are called and how they look now."""
    await store.save_activity_objects(tx, events)


async def know_records(tx: Transaction, events: Sequence[Record]) -> None:
    """Note which records exist; entries that came before their record are seen from then on."""
    await store.save_records(tx, events)
