"""Sends all interactions again, for projections that are rebuilt."""

from uuid import UUID

from libs.database import Database
from libs.messaging.outbox import append
from services.ingest import closing
from services.ingest.store import interactions

SLICE = 25
"""Interactions in one transaction: up to 22 MiB when each is as long as it may be."""
BEFORE_ALL = (UUID(int=0), UUID(int=0))


async def republish(database: Database) -> int:
    """Append every interaction at its version, a transaction for each slice; return how many that were."""
    after, count = BEFORE_ALL, 0
    while True:
        async with database.work() as tx:
            heads = await interactions.lock_page(tx, after, SLICE)
            messages = await interactions.list_messages(tx, heads)
            await append(
                tx, [closing.event_of(head, messages[head.business_id, head.interaction_id]) for head in heads]
            )
        count += len(heads)
        if len(heads) < SLICE:
            return count
        after = (heads[-1].business_id, heads[-1].interaction_id)
