"""What is counted, kept in step with the events heard."""

from collections.abc import Collection, Mapping, Sequence

from libs.contracts.activity import ActivityEvent, newest_of
from libs.contracts.activity_object import ActivityObject
from libs.contracts.directory import Record
from libs.contracts.ids import activity_id_of_interaction
from libs.contracts.interaction import InteractionClosed, newest_conversations
from libs.database import Transaction
from libs.turns import give_way
from services.reporting.domain.facts import (
    ActivityKey,
    Cell,
    Fact,
    InteractionKey,
    Talk,
    differences_of,
    differences_of_talks,
    fact_of,
    joined,
    talk_of,
)
from services.reporting.store import conversations, facts, sights


async def count_activities(tx: Transaction, events: Sequence[ActivityEvent]) -> None:
    """Count each activity once, as its newest version is; an older version changes nothing."""
    newest = {}
    for number, (key, activity) in enumerate(newest_of(events).items()):
        await give_way(number)
        newest[key] = fact_of(activity)
    about = {(fact[0], fact.interaction_id) for fact in newest.values() if fact.interaction_id is not None}
    earlier: dict[ActivityKey, Fact | None] = {}
    if about:
        await conversations.lock_businesses(tx, {business_id for business_id, _ in about})
    if tx.begun:
        new = await facts.insert_facts(tx, newest)
        earlier |= dict.fromkeys(new)
    else:
        new = await _count_new(tx, newest)
        if len(new) == len(newest):
            return
    earlier |= await facts.replace_facts(tx, {key: fact for key, fact in newest.items() if key not in new})
    differences = differences_of(newest, earlier)
    about |= {(key[0], fact.interaction_id) for key, fact in earlier.items() if fact and fact.interaction_id}
    if about:
        await conversations.lock_talks(tx, about)
        differences = joined(differences, await _count_alone(tx, about))
    if differences:
        await facts.add_to_rollups(tx, differences)


async def count_conversations(tx: Transaction, events: Sequence[InteractionClosed]) -> None:
    """Count each finished conversation once: by itself while no living activity was made from it, else as that one.

    An older version changes nothing.
    """
    newest = {key: talk_of(event.interaction) for key, event in newest_conversations(events).items()}
    await conversations.lock_businesses(tx, {business_id for business_id, _ in newest})
    held = await conversations.lock_talks(tx, newest)
    newer = {key: talk for key, talk in newest.items() if key not in held or _is_older(held[key], talk)}
    if not newer:
        return
    await conversations.save_talks(tx, list(newer.values()))
    await conversations.mark_facts(tx, {(key[0], activity_id_of_interaction(key[1])): key[1] for key in newer})
    before = differences_of_talks([held[key] for key in newer if key in held], [])
    differences = joined(before, await _count_alone(tx, newer))
    if differences:
        await facts.add_to_rollups(tx, differences)


async def know_types(tx: Transaction, events: Sequence[ActivityObject]) -> None:
    """Note with whom the types of activities are shared."""
    await sights.save_types(tx, events)


async def know_records(tx: Transaction, events: Sequence[Record]) -> None:
    """Note for whom records are."""
    await sights.save_records(tx, events)


async def _count_new(tx: Transaction, newest: Mapping[ActivityKey, Fact]) -> set[ActivityKey]:
    """Count the activities that are new, and name them, before anything else is done in the transaction.

    Later versions are mostly of activities that are there, which costs less to ask than an insert that makes nothing.
    """
    with tx.alone():
        later = [key for key, fact in newest.items() if fact.version > 1]
        there = await facts.list_there(tx, later) if later else set()
        new = {key: fact for key, fact in newest.items() if key not in there}
        return await facts.count_new(tx, new) if new else set()


def _is_older(held: Talk, talk: Talk) -> bool:
    """Tell whether what is held is older, or of the same version and says nothing of who may see it."""
    return held.version < talk.version or (held.version == talk.version and held.type_id is None)


async def _count_alone(tx: Transaction, about: Collection[InteractionKey]) -> dict[Cell, int]:
    return differences_of_talks([], await conversations.count_alone(tx, about))
