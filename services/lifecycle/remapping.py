"""Puts one option in the place of another in all that is planned; what was logged keeps what it said."""

from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from libs.database import Database, Transaction
from libs.service.clock import now
from services.lifecycle import recording
from services.lifecycle.domain.held import Person
from services.lifecycle.domain.values import remap
from services.lifecycle.recording import Entry
from services.lifecycle.store import activities, remappings
from services.lifecycle.store.remappings import Remapping

SLICE = 2_000
"""Activities looked at in one transaction."""
SETTLE = timedelta(seconds=2)
"""Requests that still know the old option are over by then: no transaction that writes lasts longer than 1 s."""

log = structlog.get_logger("lifecycle")


async def replace_options(database: Database) -> None:
    """Make the replacements that there are to make, slice by slice; after a crash it goes on where it was."""
    while True:
        async with database.work() as tx:
            place = await remappings.lock_next(tx, now() - SETTLE)
            if place is None:
                return
            reached, finished = await _remap_slice(tx, place, now())
        if finished:
            log.info(
                "option replaced", business_id=str(reached.business_id), field=reached.field_name,
                activities=reached.activities,
            )  # fmt: skip


async def _remap_slice(tx: Transaction, place: Remapping, at: datetime) -> tuple[Remapping, bool]:
    looked_at = await remappings.page_planned(tx, place, SLICE)
    planned = [(place.business_id, activity_id) for activity_id, is_planned in looked_at if is_planned]
    held = await activities.lock_activities(tx, planned) if planned else {}
    by = Person(member_id=place.by_member) if place.by_member is not None else None
    decided = [remap(each, place.field_name, place.option_id, place.replacement, at) for each in held.values()]
    entries = [Entry(decision, by) for decision in decided if decision.outcome == "applied"]
    if entries:
        await recording.record(tx, entries)
    finished = len(looked_at) < SLICE
    after = looked_at[-1][0] if looked_at else place.after_activity_id
    reached = replace(place, after_activity_id=after, activities=place.activities + len(entries))
    await remappings.save_progress(tx, reached, at if finished else None)
    return reached, finished
