"""What ingest hears: what became of the reports it passed on, and whose conversations are to be erased."""

from collections import Counter
from collections.abc import Sequence

from libs.contracts.directory import Record
from libs.contracts.report import ReportAnswered
from libs.database import Transaction
from services.ingest import domain, metrics
from services.ingest.store import erasures
from services.ingest.store import reports as store


async def note_answers(tx: Transaction, events: Sequence[ReportAnswered]) -> None:
    """Note the outcome of each receipt; an answer that comes again or late changes nothing."""
    for outcome, count in Counter(event.outcome for event in events).items():
        metrics.ANSWERS.labels(outcome).inc(count)
    answers = domain.settle(events)
    if tx.begun:
        await store.save_outcomes(tx, answers)
        return
    with tx.alone():
        await store.save_outcomes(tx, answers)


async def note_erasures(tx: Transaction, events: Sequence[Record]) -> None:
    """Note the records whose person was erased; their conversations follow."""
    erased = [event for event in events if event.erased_at is not None]
    if erased:
        await erasures.insert_erasures(tx, erased)
