"""Many reports, few commits: single reports that come while a commit is under way share the next one."""

import asyncio
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

from libs import tracing
from libs.database import Database, Transaction
from libs.errors import TooMany
from libs.messaging import outbox
from libs.messaging.outbox import Outgoing
from services.ingest import domain, metrics
from services.ingest.domain import Arrival, Report, Verdict
from services.ingest.store import reports as store

GATHERED_MAX = 200
BUSINESSES_CACHED_MAX = 10_000
RETRY_AFTER_S = 5
TYPES = ("activity.received",)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one business may have: reports pending, and sources."""

    reports_pending_max: int
    sources_max: int


@dataclass(eq=False, slots=True)
class Ticket:
    """A report in a queue, its request's trace. `told` becomes its verdict, or None: "your turn to write for all"."""

    arrival: Arrival
    report: Report
    told: "asyncio.Future[Verdict | None]"
    trace: str | None = field(default_factory=tracing.current)


@dataclass(slots=True)
class Lane:
    """The queue of one business. While `writing`, one of its callers is committing for the others."""

    waiting: deque[Ticket] = field(default_factory=deque)
    writing: bool = False


class Gather:
    """Keeps reports: many of a request at once, or single ones gathered.

    There is no task of its own. Whoever finds nobody writing for the business writes for all who wait, then hands
    the turn to the first of those who came meanwhile: no delay is added, and nobody writes for ever.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._lanes: dict[UUID, Lane] = {}
        self._sources: dict[UUID, frozenset[str]] = {}

    async def keep_one(self, database: Database, arrival: Arrival, report: Report) -> Verdict:
        """Keep a report in a commit shared with others. Raises Unavailable, TooMany: then nothing was promised."""
        lane = self._lanes.setdefault(arrival.business_id, Lane())
        ticket = Ticket(arrival, report, asyncio.get_running_loop().create_future())
        lane.waiting.append(ticket)
        if lane.writing:
            verdict = await self._wait(lane, ticket)
            if verdict is not None:
                return verdict
        lane.writing = True
        return await self._write(database, lane, ticket)

    async def keep_many(
        self,
        database: Database,
        arrival: Arrival,
        reports: Sequence[Report],
        traces: Mapping[bytes, str] | None = None,
    ) -> list[Verdict]:
        """Keep reports of one business in one transaction, and say what each is. Raises Unavailable, TooMany.

        `traces` are those of the reports by key, where they came with several requests.
        """
        async with database.transaction(arrival) as tx:
            tx.traces = traces
            return await self.keep_in(tx, arrival, reports)

    async def keep_in(self, tx: Transaction, arrival: Arrival, reports: Sequence[Report]) -> list[Verdict]:
        """Keep reports of one business in a transaction that is open already. Raises Unavailable, TooMany."""
        fresh = await self._with_room(tx, arrival, reports)
        accepted = await store.insert_receipts(tx, arrival, fresh) if fresh else set()
        others = {report.receipt_id for report in reports} - accepted
        known = await store.list_known(tx, arrival, others) if others else {}
        if accepted:
            await self._emit(tx, arrival, [report for report in fresh if report.receipt_id in accepted])
        verdicts = domain.judge(reports, accepted, known)
        tx.on_commit(partial(_count, verdicts))
        return verdicts

    async def sources_with(self, tx: Transaction, arrival: Arrival, named: set[str]) -> frozenset[str]:
        """Return the sources of the business, with those `named` as far as there is room for them."""
        business_id = arrival.business_id
        known = self._sources.get(business_id, frozenset())
        if not named <= known:
            known = await store.insert_sources(tx, arrival, named, self._bounds.sources_max)
            tx.on_commit(lambda: self._remember(business_id, known))
        return known

    async def _wait(self, lane: Lane, ticket: Ticket) -> Verdict | None:
        try:
            return await ticket.told
        except asyncio.CancelledError:
            told = ticket.told
            if not told.cancelled() and told.done() and told.exception() is None and told.result() is None:
                self._pass_on(lane, ticket)  # cancelled in the moment it was given the turn
            raise

    async def _write(self, database: Database, lane: Lane, own: Ticket) -> Verdict:
        waiting = [ticket for ticket in lane.waiting if ticket is own or not ticket.told.done()]
        batch = waiting[:GATHERED_MAX]
        lane.waiting = deque(waiting[GATHERED_MAX:])
        try:
            verdicts = await self.keep_many(database, own.arrival, [one.report for one in batch], _traces(batch))
        except asyncio.CancelledError:
            lane.waiting.extendleft(ticket for ticket in reversed(batch) if ticket is not own)
            raise
        except BaseException as error:
            for ticket in _others(batch, own):
                ticket.told.set_exception(error)
            raise
        else:
            for ticket, verdict in zip(batch, verdicts, strict=True):
                if ticket is not own and not ticket.told.done():
                    ticket.told.set_result(verdict)
            return verdicts[batch.index(own)]
        finally:
            self._pass_on(lane, own)

    def _pass_on(self, lane: Lane, own: Ticket) -> None:
        """Give the turn to the first who still waits, or leave the lane."""
        while lane.waiting:
            following = lane.waiting[0]
            if following is not own and not following.told.done():
                following.told.set_result(None)
                return
            lane.waiting.popleft()
        lane.writing = False
        self._lanes.pop(own.arrival.business_id, None)

    async def _with_room(self, tx: Transaction, arrival: Arrival, reports: Sequence[Report]) -> list[Report]:
        """Return the first report of each identity, without those of sources for which there is no room."""
        first: dict[UUID, Report] = {}
        for report in reports:
            first.setdefault(report.receipt_id, report)
        known = await self.sources_with(tx, arrival, {report.source for report in first.values()})
        return [report for report in first.values() if report.source in known]

    async def _emit(self, tx: Transaction, arrival: Arrival, reports: Sequence[Report]) -> None:
        await outbox.append(
            tx, [Outgoing(TYPES, report.key, report.value, None, report.receipt_id) for report in reports]
        )
        pending = await store.add_accepted(tx, arrival.business_id, len(reports))
        if pending > self._bounds.reports_pending_max:
            raise TooMany(
                f"{pending} reports of this business would be accepted and not answered yet; "
                f"at most {self._bounds.reports_pending_max} may be",
                RETRY_AFTER_S,
            )

    def _remember(self, business_id: UUID, sources: frozenset[str]) -> None:
        if len(self._sources) >= BUSINESSES_CACHED_MAX:
            self._sources.clear()
        self._sources[business_id] = sources


def _traces(batch: Sequence[Ticket]) -> dict[bytes, str]:
    return {ticket.report.key: ticket.trace for ticket in batch if ticket.trace is not None}


def _count(verdicts: Sequence[Verdict]) -> None:
    for kind, count in Counter(verdict.kind for verdict in verdicts).items():
        metrics.REPORTS.labels(kind).inc(count)


def _others(batch: Sequence[Ticket], own: Ticket) -> list[Ticket]:
    return [ticket for ticket in batch if ticket is not own and not ticket.told.done()]
