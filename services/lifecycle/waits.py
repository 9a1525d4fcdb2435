"""Loops over the reports that wait for an activity."""

from datetime import datetime, timedelta

from libs.database import Database
from libs.service.clock import now
from services.lifecycle import admission
from services.lifecycle.store import admissions

WAIT_MAX = timedelta(days=7)
SLICE = 200


async def look_again(database: Database) -> None:
    """Admit waiting reports whose activity has come by another way, and refuse those that waited for 7 days."""
    while True:
        async with database.work() as tx:
            keys = await admissions.list_moved(tx, SLICE)
            await admission.retry(tx, keys, now())
        if len(keys) < SLICE:
            break
    await refuse_expired(database, now())


async def refuse_expired(database: Database, at: datetime) -> None:
    """Refuse the reports that have waited for 7 days at an instant; their receipts say why."""
    while True:
        async with database.work() as tx:
            count = await admission.expire(tx, at - WAIT_MAX, at, SLICE)
        if count < SLICE:
            break
