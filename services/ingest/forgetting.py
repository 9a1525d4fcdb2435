"""Outcomes are kept for 90 days; what is older is forgotten in slices."""

from datetime import timedelta

from libs.database import Database
from libs.service.clock import now
from services.ingest.domain import OUTCOME_KEPT_DAYS
from services.ingest.store import reports as store

SLICE_ROWS = 5_000


async def forget_outcomes(database: Database) -> None:
    """Delete old outcomes that worked (their receipts still say `applied`); of others erase the reasons."""
    before = now() - timedelta(days=OUTCOME_KEPT_DAYS)
    for forget in (store.delete_outcomes, store.clear_reasons):
        forgotten = SLICE_ROWS
        while forgotten == SLICE_ROWS:
            async with database.work() as tx:
                forgotten = await forget(tx, before, SLICE_ROWS)
