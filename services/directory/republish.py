"""Sends the current state of everything again, for copies that are rebuilt."""

from uuid import UUID

from libs.database import Database
from libs.messaging.outbox import append
from services.directory.domain.events import events_of
from services.directory.store import slices

SLICE_ROWS = 500
BEFORE_ALL = (UUID(int=0), UUID(int=0))


async def republish(database: Database) -> int:
    """Append the latest state of everything, a transaction for each slice; return how many events that were."""
    return sum([await _republish(database, event_type) for event_type in slices.SLICES])


async def _republish(database: Database, event_type: str) -> int:
    after, count = BEFORE_ALL, 0
    while True:
        async with database.work() as tx:
            rows = await slices.list_slice(tx, event_type, after, SLICE_ROWS)
            await append(tx, events_of(event_type, rows))
        count += len(rows)
        if len(rows) < SLICE_ROWS:
            return count
        after = (rows[-1]["business_id"], rows[-1]["id"])
