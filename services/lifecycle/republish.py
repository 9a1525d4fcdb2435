"""Sends the current state of everything again, for projections that are rebuilt."""

from collections.abc import Sequence

import msgspec

from libs.contracts.ids import key_of
from libs.database import Database
from libs.messaging.outbox import Outgoing, append
from services.lifecycle.domain.held import ActivityEvent, Change, Held
from services.lifecycle.looking import published
from services.lifecycle.store import activities, objects

SLICE = 1_000
TYPE = "activity.state"


async def republish(database: Database) -> int:
    """Append every activity's state with its version and `recorded_at`, and every activity object, in slices.

    Returns how many events that were.
    """
    count = await _republish_objects(database)
    after = None
    while True:
        async with database.work() as tx:
            rows = await activities.lock_page(tx, after, SLICE)
            await append(tx, _states(rows))
        count += len(rows)
        if len(rows) < SLICE:
            return count
        after = (rows[-1].activity.business_id, rows[-1].activity.activity_id)


async def _republish_objects(database: Database) -> int:
    place, count = None, 0
    while True:
        async with database.work() as tx:
            definitions = await objects.page_objects(tx, place, SLICE)
            await append(tx, [published(each) for each in definitions])
        count += len(definitions)
        if len(definitions) < SLICE:
            return count
        place = (definitions[-1].business_id, definitions[-1].id)


def _states(rows: Sequence[Held]) -> list[Outgoing]:
    return [
        Outgoing(
            (TYPE,),
            key_of(held.activity.business_id, held.activity.activity_id),
            msgspec.json.encode(ActivityEvent(activity=held.activity, change=Change(type=TYPE))),
            held.activity.version,
        )
        for held in rows
    ]
