"""Reports that come in through Kafka: the same reports, on a topic for each business."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from libs.database import Transaction
from libs.errors import Rejected
from libs.messaging.broker import Record
from libs.messaging.inbound import Inbound, reason_of
from libs.messaging.reading import Poison
from libs.service.clock import now
from services.ingest import domain, envelopes
from services.ingest.domain import Arrival, Report
from services.ingest.gather import Gather

Item = tuple[Record, Report]


def inbound_of(gather: Gather, topics: Mapping[str, UUID]) -> Inbound:
    """Hear reports on topics, each of the business that the setting says, whatever a record says."""

    def read(record: Record) -> Report:
        sent = envelopes.read_record(record.headers, record.value or b"")
        return domain.accept(Arrival(topics[record.topic], now()), *sent)

    async def keep(tx: Transaction, items: Sequence[Item]) -> list[Poison]:
        """Keep the reports of a batch; what was sent before with another body is set aside."""
        aside: list[Poison] = []
        for business_id in sorted({topics[record.topic] for record, _ in items}):
            own = [item for item in items if topics[item[0].topic] == business_id]
            verdicts = await gather.keep_in(tx, Arrival(business_id, now()), [report for _, report in own])
            for (record, report), verdict in zip(own, verdicts, strict=True):
                if verdict.kind not in ("accepted", "duplicate"):
                    problem = domain.problem_of(verdict, report)
                    aside.append(Poison(record, reason_of(Rejected(problem.message, [problem], problem.code))))
        return aside

    return Inbound(read, keep, tuple(sorted(topics)))
