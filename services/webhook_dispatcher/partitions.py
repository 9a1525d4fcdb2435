"""Days of events and attempts: made ahead, dropped when they are no longer kept."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from libs.database import Database
from libs.service.clock import now
from services.webhook_dispatcher.store import deliveries, erased, replays

DAYS_AHEAD = 3
SLICE_ROWS = 5_000


async def make_ahead(database: Database) -> None:
    """Make the partitions of today and the days ahead."""
    async with database.work() as tx:
        await deliveries.make_days(tx, DAYS_AHEAD)


def keep_days(kept_days: int) -> Callable[[Database], Awaitable[None]]:
    """Make the loop that keeps partitions ahead and takes away what is older than `kept_days`."""

    async def keep_partitions(database: Database) -> None:
        await make_ahead(database)
        async with database.work() as tx:
            await deliveries.drop_days(tx, kept_days)
            await erased.forget_old(tx, kept_days)
            await replays.delete_old(tx, kept_days)
            businesses = await deliveries.list_businesses(tx)
        before = now() - timedelta(days=kept_days)
        for business_id in businesses:
            deleted = SLICE_ROWS
            while deleted == SLICE_ROWS:
                async with database.work() as tx:
                    deleted = await deliveries.delete_finished(tx, business_id, before, SLICE_ROWS)

    return keep_partitions
