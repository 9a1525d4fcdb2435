"""Erases the texts of all activities that were ever linked to a record whose person was erased.

The search goes through the business once. It begins when no admission is under way that could not know of the erasure;
those after it admit what was told before without its texts (`domain.erasure`), so that none slips past the search.
"""

import itertools
from dataclasses import replace
from datetime import datetime
from uuid import UUID

import structlog

from libs.contracts.report import ReportReceived
from libs.database import Database, Transaction
from libs.service import metrics
from libs.service.clock import now
from services.lifecycle import admission, recording
from services.lifecycle.domain import erasure as rules
from services.lifecycle.recording import Entry
from services.lifecycle.store import activities, admissions, comments, erasures
from services.lifecycle.store.erasures import Erasure

SLICE = 300
"""Activities looked at in one transaction; all of them may have to be erased, and it should take well under 1 s."""

SLICES_PER_LINE = 100
CLAIM_S = 10.0
CLAIM_MAX_S = 3_600.0
"""A slice that fails is tried again after 10 s, 20 s … an hour; the erasures of others go on meanwhile."""

FIRST = UUID(int=0)

log = structlog.get_logger("lifecycle")


async def go_on(database: Database) -> None:
    """Do what there is to erase, slice by slice; after a crash it goes on where it was."""
    await measure(database)
    async with database.work() as tx:
        is_new = await erasures.has_new(tx)
    if is_new:
        async with database.work() as tx:
            await erasures.begin(tx)
    for slices in itertools.count(1):
        async with database.work() as tx:
            erasure = await erasures.claim_next(tx, CLAIM_S, CLAIM_MAX_S)
        if erasure is None:
            break
        async with database.work() as tx:
            if not await erasures.lock_claimed(tx, erasure):
                continue
            reached, finished = await _erase_slice(tx, erasure, now())
        if finished or slices % SLICES_PER_LINE == 0:
            log.info(
                "record erased" if finished else "record being erased", business_id=str(erasure.business_id),
                record_id=str(erasure.record_id), activities=reached.activities, slices=slices,
            )  # fmt: skip
            await measure(database)


async def measure(database: Database) -> None:
    """Say by metrics what there still is to erase."""
    async with database.work() as tx:
        count, oldest_s = await erasures.count_open(tx)
    metrics.ERASURES_OPEN.labels("lifecycle").set(count)
    metrics.ERASURE_OLDEST.labels("lifecycle").set(oldest_s)


async def _erase_slice(tx: Transaction, erasure: Erasure, at: datetime) -> tuple[Erasure, bool]:
    looked_at = await erasures.page_linked(tx, erasure, SLICE)
    linked = [(erasure.business_id, activity_id) for activity_id, is_linked in looked_at if is_linked]
    if linked:
        held = await activities.lock_activities(tx, linked)
        erased = [rules.erase(each, erasure.record_id, at) for each in held.values()]
        await recording.record(tx, [Entry(each, recognise=False) for each in erased])
        await erasures.erase_versions(tx, linked)
        await comments.erase_comments(tx, linked)
        for reports in (await admissions.list_waiting(tx, linked)).values():
            await admission.refuse(tx, reports, rules.REFUSED, at)
    finished = len(looked_at) < SLICE
    if finished:
        await _refuse_waiting(tx, erasure, at)
    after = looked_at[-1][0] if looked_at else erasure.after_activity_id
    reached = replace(erasure, after_activity_id=after, activities=erasure.activities + len(linked))
    await erasures.save_progress(tx, reached, at if finished else None)
    return reached, finished


async def _refuse_waiting(tx: Transaction, erasure: Erasure, at: datetime) -> None:
    """Refuse reports that wait for an activity nobody knows yet, and are about the record."""
    after = (FIRST, FIRST)
    while True:
        page = await erasures.page_waiting(tx, erasure.business_id, after, SLICE)
        about = [report for report in page if _is_about(report, erasure.record_id)]
        if about:
            await admission.refuse(tx, about, rules.REFUSED, at)
        if len(page) < SLICE:
            return
        after = (page[-1].activity_id, page[-1].receipt_id)


def _is_about(report: ReportReceived, record_id: UUID) -> bool:
    return any(rules.link_of(report, link).record_id == record_id for link in report.report.links)
