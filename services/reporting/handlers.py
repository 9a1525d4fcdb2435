"""What is counted, kept in step with the events heard."""

from collections.abc import Collection, Sequence

from libs.contracts.activity import ActivityEvent
from libs.contracts.ids import activity_id_of_interaction
from libs.contracts.interaction import InteractionClosed, newest_conversations
from libs.database import Transaction
from services.reporting.domain.facts import (
    Cell,
    InteractionKey,
    differences_of,
    differences_of_talks,
    joined,
    newest_facts,
    talk_of,
)
from services.reporting.store import conversations, facts


async def count_activities(tx: Transaction, events: Sequence[ActivityEvent]) -> None:
    """Count each activity once, as its newest version is; an older version changes nothing."""
    newest = newest_facts(events)
    about = {(fact[0], fact.interaction_id) for fact in newest.values() if fact.interaction_id is not None}
    if about:
        await conversations.lock_businesses(tx, {business_id for business_id, _ in about})
    earlier = await facts.replace_facts(tx, newest)
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
    newer = {key: talk for key, talk in newest.items() if key not in held or held[key].version < talk.version}
    if not newer:
        return
    await conversations.save_talks(tx, list(newer.values()))
    await conversations.mark_facts(tx, {(key[0], activity_id_of_interaction(key[1])): key[1] for key in newer})
    before = differences_of_talks([held[key] for key in newer if key in held], [])
    differences = joined(before, await _count_alone(tx, newer))
    if differences:
        await facts.add_to_rollups(tx, differences)


async def _count_alone(tx: Transaction, about: Collection[InteractionKey]) -> dict[Cell, int]:
    return differences_of_talks([], await conversations.count_alone(tx, about))
