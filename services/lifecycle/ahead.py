"""The loop that makes the occurrences of `fixed` recurrences ahead."""

from datetime import timedelta

from libs.database import Database
from libs.service.clock import now
from services.lifecycle import recording, recurring
from services.lifecycle.domain.recurrence import HORIZON_DAYS
from services.lifecycle.recording import Entry
from services.lifecycle.store import series

SLICE = 50


async def make_occurrences(database: Database) -> None:
    """Make what is missing up to the horizon, some recurrences at a time; each occurrence is made once."""
    while True:
        at = now()
        async with database.work() as tx:
            behind = await series.claim_behind(tx, at.date() + timedelta(days=HORIZON_DAYS), SLICE)
            for each in behind:
                decisions = await recurring.make_ahead(tx, each, at)
                await recording.record(tx, [Entry(decision) for decision in decisions])
        if len(behind) < SLICE:
            return
