"""Bugs in what is acknowledged."""

import asyncio
from typing import Any

from libs.errors import Unavailable
from services.ingest import domain
from tests.faults import planting
from tests.faults.installation import PACKAGES
from tests.faults.planted import bug
from tests.faults.planting import every


@bug("auto-commit", "offsets follow also when the batch could not be handled", "I1", "I4", "I5", "I6", "I8")
def _auto_commit() -> None:
    failing = every(4)

    def handle_all(old: Any) -> Any:
        async def handling(self: Any, records: Any) -> None:
            if self._group in PACKAGES and failing():
                raise Unavailable("a passing trouble")
            await old(self, records)

        return handling

    def put_back(_: Any) -> Any:
        return lambda self, records: None

    planting.replace("libs.messaging.handling:Handling.handle_all", handle_all)
    planting.replace("libs.messaging.assignment:Assignment.put_back", put_back)


@bug(
    "offset-first",
    "the offset is committed before the transaction",
    "I1",
    "I4",
    "I5",
    "I6",
    "I8",
    during=("killed",) * 3,
)
def _offset_first() -> None:
    def receive(old: Any) -> Any:
        async def receiving(self: Any, records: Any) -> None:
            await self._assignment.acknowledge(records, at_once=True)
            await asyncio.sleep(0.3)
            await old(self, records)

        return receiving

    planting.replace("libs.messaging.consumer:Consumer._receive", receive)


@bug("answer-first", "reports are acknowledged before the commit", "I1", "I8", during=("killed", "postgres-killed"))
def _answer_first() -> None:
    tasks: set[Any] = set()

    def keep_many(old: Any) -> Any:
        async def keeping(self: Any, database: Any, arrival: Any, reports: Any, *more: Any) -> Any:
            async def later() -> None:
                await asyncio.sleep(0.5)
                await old(self, database, arrival, reports, *more)

            task = asyncio.create_task(later())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            return domain.judge(reports, {report.receipt_id for report in reports}, {})

        return keeping

    planting.replace("services.ingest.gather:Gather.keep_many", keep_many)


@bug("dedupe-off", "a name that is taken is taken again, with any body", "I3")
def _dedupe_off() -> None:
    def insert(old: Any) -> Any:
        async def inserting(tx: Any, arrival: Any, reports: Any) -> Any:
            await old(tx, arrival, reports)
            return {report.receipt_id for report in reports}

        return inserting

    planting.replace("services.ingest.gather:store.insert_receipts", insert)


@bug("refused-kept", "what is refused for its body goes on all the same", "I2", "I3")
def _refused_kept() -> None:
    _dedupe_off()
    planting.in_sql(
        "on conflict (business_id, receipt_id) do nothing\n        returning receipt_id", "on conflict do nothing"
    )

    def settle(old: Any) -> Any:
        def settling(held: Any, arrived: Any, *more: Any) -> Any:
            return old(None if "refused" in (arrived.report.summary or "") else held, arrived, *more)

        return settling

    planting.replace("services.lifecycle.admission:rules.settle", settle)


@bug("half-answered", "every other report gets no answer", "I1")
def _half_answered() -> None:
    def record(old: Any) -> Any:
        async def recording(tx: Any, entries: Any, answers: Any = ()) -> None:
            await old(tx, entries, [each for each in answers if each.id.int % 2])

        return recording

    planting.replace("services.lifecycle.admission:recording.record", record)


@bug(
    "admissions-forgotten",
    "a report that comes again is admitted again",
    "I1",
    "I3",
    "I8",
    during=("topics-from-zero",),
)
def _admissions_forgotten() -> None:
    def list_(_: Any) -> Any:
        async def nothing(tx: Any, places: Any) -> Any:
            return {}

        return nothing

    planting.replace("services.lifecycle.admission:admissions.list_admissions", list_)
