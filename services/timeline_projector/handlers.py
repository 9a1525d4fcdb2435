"""What is shown, kept in step with the events heard."""

from collections.abc import Collection, Mapping, Sequence

from libs.contracts.activity import ActivityEvent, newest_of
from libs.contracts.activity_object import ActivityObject
from libs.contracts.directory import Record
from libs.contracts.interaction import InteractionClosed, newest_conversations
from libs.database import Transaction
from libs.turns import give_way
from services.timeline_projector.domain import conversations as talking
from services.timeline_projector.domain import lines
from services.timeline_projector.domain.lines import ActivityKey, InteractionKey, Placed
from services.timeline_projector.store import conversations, entries, records


async def show_activities(tx: Transaction, events: Sequence[ActivityEvent]) -> None:
    """Put each activity on the timelines of the records it is linked to now; an older version changes nothing."""
    heads = {}
    for number, (key, activity) in enumerate(newest_of(events).items()):
        await give_way(number)
        heads[key] = lines.head_of(activity)
    about = {(head[0], head.interaction_id) for head in heads.values() if head.interaction_id is not None}
    earlier: dict[ActivityKey, Placed | None] = {}
    if about:
        await conversations.lock_businesses(tx, {business_id for business_id, _ in about})
        new = await entries.insert_heads(tx, heads, [])
        earlier |= dict.fromkeys(new)
    else:
        new = await _show_new(tx, heads)
    if len(new) == len(heads) and not about:
        return
    earlier |= await entries.advance_heads(tx, {key: head for key, head in heads.items() if key not in new})
    about |= {(key[0], placed.interaction_id) for key, placed in earlier.items() if placed and placed.interaction_id}
    if about:
        together = await _place(tx, about, earlier)
        apart = {key: placed for key, placed in earlier.items() if key not in together.shown}
        await _move(tx, {**heads, **together.shown}, apart | together.earlier)
    else:
        await _move(tx, heads, earlier)


async def show_conversations(tx: Transaction, events: Sequence[InteractionClosed]) -> None:
    """Keep each finished conversation with its messages, and put it on timelines; an older version changes nothing.

    A conversation and the activity made from it are one line, whichever of them is heard of first.
    """
    newest = newest_conversations(events)
    await conversations.lock_businesses(tx, {business_id for business_id, _ in newest})
    talks = {key: talking.talk_of(event.interaction) for key, event in newest.items()}
    newer = await conversations.save_talks(tx, list(talks.values()))
    if not newer:
        return
    await _save_messages(tx, {key: newest[key] for key in newer}, [key for key, is_new in newer.items() if not is_new])
    await conversations.mark_heads(tx, {(key[0], talks[key].activity_id): key[1] for key in newer})
    together = await _place(tx, newer, {})
    await _move(tx, together.shown, together.earlier)


async def name_types(tx: Transaction, events: Sequence[ActivityObject]) -> None:
    """Note what the types of activities are called and how they look now."""
    await records.save_activity_objects(tx, events)


async def know_records(tx: Transaction, events: Sequence[Record]) -> None:
    """Note which records exist; entries that came before their record are seen from then on."""
    await records.save_records(tx, events)


async def _show_new(tx: Transaction, heads: Mapping[ActivityKey, lines.Head]) -> set[ActivityKey]:
    """Show the activities that are new, and name them: one statement, committed at once where it is the first.

    Later versions are mostly of activities that are there, which costs less to ask than an insert that makes nothing.
    """
    if tx.begun:
        return await _insert(tx, heads)
    with tx.alone():
        later = [key for key, head in heads.items() if head.version > 1]
        there = await entries.list_there(tx, later) if later else set()
        new = {key: head for key, head in heads.items() if key not in there}
        return await _insert(tx, new) if new else set()


async def _insert(tx: Transaction, heads: Mapping[ActivityKey, lines.Head]) -> set[ActivityKey]:
    _, come = lines.moves(heads, dict.fromkeys(heads))
    return await entries.insert_heads(tx, heads, come)


async def _save_messages(
    tx: Transaction, newer: Mapping[InteractionKey, InteractionClosed], known: Collection[InteractionKey]
) -> None:
    if known:
        await conversations.delete_messages(tx, known)
    rows = [row for event in newer.values() for row in talking.messages_of(event.interaction, event.messages)]
    if rows:
        await conversations.insert_messages(tx, rows)


async def _place(
    tx: Transaction, about: Collection[InteractionKey], heard: Mapping[ActivityKey, Placed | None]
) -> talking.Placing:
    """Place all lines about these conversations anew."""
    members = await conversations.lock_members(tx, about)
    placing = talking.place(members, await conversations.find_known(tx, about), heard)
    if placing.notes:
        await conversations.save_placed(tx, placing.notes)
    return placing


async def _move(
    tx: Transaction, shown: Mapping[ActivityKey, lines.Head | Placed], earlier: Mapping[ActivityKey, Placed | None]
) -> None:
    gone, come = lines.moves(shown, earlier)
    if gone:
        await entries.delete_entries(tx, gone)
    if come:
        await entries.insert_entries(tx, come)
