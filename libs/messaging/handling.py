"""How a batch is handled: in one transaction, and the three kinds of trouble decided in one place.

Poison (undecodable, wrong, `Rejected`) is found by halving the batch and set aside; the rest goes on. Unavailable is
waited for, nothing is skipped; so is what nobody planned for, until it has failed five times, then it is poison. A
flood of poison stops its partition, until what stopped it can be handled (stops.py).
"""

from collections.abc import Mapping, Sequence

import structlog
from aiokafka import TopicPartition

from libs import tracing
from libs.database import Database, Transaction
from libs.errors import Rejected, Unavailable
from libs.messaging import dead_letters, metrics
from libs.messaging.assignment import Assignment, Stop, spans
from libs.messaging.broker import Record
from libs.messaging.dead_letters import UNKNOWN_ATTEMPTS
from libs.messaging.floods import Floods
from libs.messaging.inbound import Inbound, InboundReader
from libs.messaging.reading import Poison, Reader, Reading
from libs.messaging.subscription import Subscription

_log = structlog.get_logger(__name__)


class _Trial(Exception):
    """Rolls back what was done for a trial."""


class Handling:
    """Reads and applies the batches of one consumer, and decides about what cannot be applied."""

    def __init__(
        self,
        service: str,
        group: str,
        database: Database,
        subscriptions: Sequence[Subscription] | Inbound,
        assignment: Assignment,
    ) -> None:
        self.floods = Floods()
        self.reader: Reader | InboundReader
        self._told_of_aside: list[Subscription] = []
        if isinstance(subscriptions, Inbound):
            self.reader = InboundReader(subscriptions)
        else:
            self.reader = Reader(subscriptions)
            self._told_of_aside = [each for each in subscriptions if each.on_set_aside is not None]
        self._service = service
        self._group = group
        self._database = database
        self._assignment = assignment
        self._given_up: list[Record] = []
        self._assigned = assignment.times

    async def handle_all(self, records: Sequence[Record]) -> None:
        """Handle what is not stopped; where a partition has to stop on the way, go on with the others."""
        if self._assigned != self._assignment.times:
            self._assigned = self._assignment.times
            self.reader.forget()
        while True:
            open_records = self._without_stopped(records)
            stopped = len(self._assignment.stopped)
            reading = await self.reader.read(open_records)
            if not self._stop_floods(open_records, reading.poison):
                await self._handle(open_records, reading)
            if len(self._assignment.stopped) == stopped:
                return

    async def forget_attempts(self) -> None:
        """Forget the failures of records given up, once their whole batch is done: till then it may come again."""
        if self._given_up:
            async with self._database.work() as tx:
                await dead_letters.forget_attempts(tx, self._group, self._given_up)
            self._given_up.clear()

    async def can_handle(self, record: Record) -> bool:
        """Handle a record for a trial: nothing of it stays."""
        reading = await self.reader.read([record])
        if reading.poison:
            return False
        try:
            async with self._database.work() as tx:
                for heard, events in reading.events:
                    await heard.handler(tx, events)
                raise _Trial
        except _Trial:
            return True
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001 - whatever a handler raises, it is not mended yet
            return False

    def _without_stopped(self, records: Sequence[Record]) -> Sequence[Record]:
        if not self._assignment.stopped:
            return records
        stopped = self._assignment.stopped
        return [record for record in records if TopicPartition(record.topic, record.partition) not in stopped]

    def _stop_floods(self, records: Sequence[Record], poison: Sequence[Poison]) -> bool:
        """Count a batch before anything of it is set aside; stop partitions with a flood of what cannot be read."""
        flooded = False
        for place, first, last in spans(records):
            guilty = [item for item in poison if (item.record.topic, item.record.partition) == place]
            if self.floods.see(place, last - first + 1, [item.record.offset for item in guilty]):
                begin = next(record for record in records if (record.topic, record.partition) == place)
                reason = f"{len(guilty)} of {last - first + 1} records are poison: {guilty[0].reason}"
                self._stop(Stop(begin.offset, begin.timestamp, reason, guilty[0].record))
                flooded = True
        return flooded

    async def _handle(self, records: Sequence[Record], reading: Reading) -> None:
        """Apply records in one transaction; where one is guilty, halve until it stands alone."""
        try:
            with tracing.handling(self._service, self._group, records) as traces:
                await self._apply(reading, traces)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a handler raises, nothing may be lost
            if len(records) == 1:
                await self._judge(records[0], error)
                return
        else:
            return
        middle = len(records) // 2
        for half in (records[:middle], records[middle:]):
            open_half = self._without_stopped(half)
            await self._handle(open_half, await self.reader.read(open_half))

    async def _apply(self, reading: Reading, traces: Mapping[bytes, str]) -> None:
        metrics.DUPLICATES.labels(self._group).inc(reading.duplicates)
        metrics.IGNORED.labels(self._group).inc(reading.ignored)
        if not reading.events and not reading.poison:
            return
        async with self._database.work() as tx:
            tx.traces = traces
            poison = [*reading.poison]
            for heard, events in reading.events:
                poison += await heard.handler(tx, events) or ()
            await self._set_aside(tx, poison)
        reading.committed()
        self._tell(poison)

    async def _judge(self, record: Record, error: Exception) -> None:
        """Decide about a record that fails alone: poison, a flood of it, or not yet."""
        reason = f"{type(error).__name__}: {error}"
        if not isinstance(error, Rejected):
            async with self._database.work() as tx:
                attempts = await dead_letters.note_attempt(tx, self._group, record)
            if attempts < UNKNOWN_ATTEMPTS:
                place = f"{record.topic}/{record.partition} at {record.offset}"
                raise Unavailable(f"{place}: {reason} (attempt {attempts} of {UNKNOWN_ATTEMPTS})") from error
            self._given_up.append(record)
        if self.floods.see(TopicPartition(record.topic, record.partition), 0, [record.offset]):
            reason = f"too many records are poison; this one: {reason}"
            self._stop(Stop(record.offset, record.timestamp, reason, record))
            return
        poison = [Poison(record, reason)]
        async with self._database.work() as tx:
            await self._set_aside(tx, poison)
        self._tell(poison)

    async def _set_aside(self, tx: Transaction, poison: Sequence[Poison]) -> None:
        await dead_letters.set_aside(tx, self._service, self._group, poison)
        for item in poison:
            for subscription in self._told_of_aside:
                if subscription.on_set_aside is not None and item.record.topic in subscription.topics:
                    await subscription.on_set_aside(tx, item.record)

    def _stop(self, stop: Stop) -> None:
        self._assignment.stop(stop)
        place = f"{stop.guilty.topic}/{stop.guilty.partition}"
        _log.error("partition stopped", group=self._group, partition=place, offset=stop.offset)

    def _tell(self, poison: Sequence[Poison]) -> None:
        for item in poison:
            record = item.record
            metrics.SET_ASIDE.labels(self._group, record.topic).inc()
            place = f"{record.topic}/{record.partition}"
            _log.warning("record set aside", group=self._group, partition=place, offset=record.offset)
