"""Blanks the conversations of records whose person was erased, and tells of each."""

import itertools
from dataclasses import replace
from datetime import datetime

import structlog

from libs.database import Database, Transaction
from libs.messaging.outbox import append
from libs.service import metrics
from libs.service.clock import now
from services.ingest import closing
from services.ingest.store import erasures, interactions
from services.ingest.store.erasures import Erasure

SLICE = 25
"""Conversations blanked in one transaction: each may have 10,000 messages."""

SLICES_PER_LINE = 100
CLAIM_S = 10.0
CLAIM_MAX_S = 3_600.0
"""A slice that fails is tried again after 10 s, 20 s … an hour; the erasures of others go on meanwhile."""

log = structlog.get_logger("ingest")


async def go_on(database: Database) -> None:
    """Do what there is to erase, slice by slice; after a crash it goes on where it was."""
    await measure(database)
    for slices in itertools.count(1):
        async with database.work() as tx:
            erasure = await erasures.claim_next(tx, CLAIM_S, CLAIM_MAX_S)
        if erasure is None:
            break
        async with database.work() as tx:
            if not await erasures.lock_claimed(tx, erasure):
                continue
            finished = await _erase_slice(tx, erasure, now())
        if finished or slices % SLICES_PER_LINE == 0:
            log.info(
                "record erased" if finished else "record being erased", business_id=str(erasure.business_id),
                record_id=str(erasure.record_id), slices=slices,
            )  # fmt: skip
            await measure(database)


async def measure(database: Database) -> None:
    """Say by metrics what there still is to erase."""
    async with database.work() as tx:
        count, oldest_s = await erasures.count_open(tx)
    metrics.ERASURES_OPEN.labels("ingest").set(count)
    metrics.ERASURE_OLDEST.labels("ingest").set(oldest_s)


async def _erase_slice(tx: Transaction, erasure: Erasure, at: datetime) -> bool:
    page = await erasures.page_interactions(tx, erasure, SLICE)
    if page:
        await erasures.blank_interactions(tx, erasure, page, at)
        heads = await interactions.list_interactions(tx, erasure.business_id, page)
        messages = await interactions.list_messages(tx, heads)
        await append(tx, [closing.event_of(head, messages[head.business_id, head.interaction_id]) for head in heads])
        erasure = replace(erasure, after_interaction_id=page[-1])
    finished = len(page) < SLICE
    await erasures.save_progress(tx, erasure, at if finished else None)
    return finished
