"""What is counted, kept in step with the events heard."""

from collections.abc import Sequence

from libs.contracts.activity import ActivityEvent
from libs.database import Transaction
from services.reporting import store
from services.reporting.domain.facts import differences_of, newest_facts


async def count_activities(tx: Transaction, events: Sequence[ActivityEvent]) -> None:
    """Count each activity once, as its newest version is; an older version changes nothing."""
    facts = newest_facts(events)
    earlier = await store.replace_facts(tx, facts)
    differences = differences_of(facts, earlier)
    if differences:
        await store.add_to_rollups(tx, differences)
