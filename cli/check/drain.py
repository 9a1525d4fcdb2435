"""Waiting until everything that was accepted has been through: outboxes empty, topics heard, persons erased."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from libs.database import Database
from libs.errors import ActivitiesError
from libs.messaging import admin, outbox
from libs.messaging.broker import BrokerSettings
from services.ingest.store import erasures as ingest_erasures
from services.lifecycle.store import erasures as lifecycle_erasures

DRAIN_MAX_S = 60.0
PAUSE_S = 0.25

ERASING = {"ingest": ingest_erasures.count_open, "lifecycle": lifecycle_erasures.count_open}
"""Services that erase by themselves, after they have heard of it."""

Groups = Mapping[str, Sequence[str]]
"""Consumer groups with the topics that each hears."""


class Stuck(ActivitiesError):
    """Something did not drain in time; the message names what."""


async def drain(
    databases: Mapping[str, Database],
    groups: Groups,
    broker: BrokerSettings,
    tell: Callable[[str], None],
    within_s: float = DRAIN_MAX_S,
) -> None:
    """Return when no outbox holds anything, no group is behind and nobody is being erased, seen twice in a row.

    Raises Stuck. Twice, because what was heard between the two looks may have put something into an outbox again.
    """
    deadline = time.monotonic() + within_s
    quiet = 0
    while quiet < 2:
        left = await _left(databases, groups, broker)
        quiet = 0 if left else quiet + 1
        if left:
            tell("; ".join(left))
        if left and time.monotonic() > deadline:
            raise Stuck(f"not drained within {within_s:g} s: {'; '.join(left)}")
        await asyncio.sleep(PAUSE_S)


async def _left(databases: Mapping[str, Database], groups: Groups, broker: BrokerSettings) -> list[str]:
    left = []
    for package, database in databases.items():
        rows = await _unpublished(database)
        if rows:
            left.append(f"{package}: {rows} events in the outbox")
    for package, count_open in ERASING.items():
        async with databases[package].work() as tx:
            count, _ = await count_open(tx)
        if count:
            left.append(f"{package}: {count} erasures under way")
    for group, behind in (await admin.backlogs(broker, groups)).items():
        if behind:
            left.append(f"{group}: {behind} events not heard")
    return left


async def _unpublished(database: Database) -> int:
    async with database.work() as tx:
        return await outbox.unpublished(tx)
