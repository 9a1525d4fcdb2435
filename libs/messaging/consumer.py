"""The consumer: one batch, one transaction, and the three kinds of trouble decided in one place.

Poison (undecodable, wrong, `Rejected`) is found by halving the batch and set aside; the rest goes on. Unavailable is
waited for, nothing is skipped; so is what nobody planned for, until it has failed five times, then it is poison. A
flood of poison stops its partition, until what stopped it can be handled (stops.py). Offsets are bookmarks: correctness
comes from versions, a batch may come again.
"""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from faststream.kafka import KafkaBroker

from libs import failpoints, tracing
from libs.database import Database, Transaction
from libs.errors import Rejected, Unavailable
from libs.messaging import admin, dead_letters, metrics
from libs.messaging.assignment import Assignment, Stop, spans
from libs.messaging.broker import Batch, BrokerSettings, Record, spare_logs
from libs.messaging.dead_letters import UNKNOWN_ATTEMPTS
from libs.messaging.delivery import PatientConsumer, connect
from libs.messaging.floods import Floods
from libs.messaging.inbound import Inbound, InboundReader
from libs.messaging.reading import Poison, Reader, Reading
from libs.messaging.stops import Stops
from libs.messaging.subscription import Handler, Subscription

__all__ = ["Consumer", "Handler", "Subscription"]

WAIT_MIN_S = 0.1
WAIT_MAX_S = 10.0
WATCH_S = 1.0
SILENT_S = 3.0
"""The broker answers a fetch within half a second, also when there is nothing."""

_log = structlog.get_logger(__name__)


class _Trial(Exception):
    """Rolls back what was done for a trial."""


class Consumer:
    """Hears a service's topics as one member of a group."""

    def __init__(
        self,
        service: str,
        database: Database,
        broker: BrokerSettings,
        subscriptions: Sequence[Subscription] | Inbound,
        *,
        group: str,
    ) -> None:
        self._service = service
        self._database = database
        self._settings = broker
        self._group = group
        self._reader: Reader | InboundReader
        self._told_of_aside: list[Subscription] = []
        if isinstance(subscriptions, Inbound):
            self._reader = InboundReader(subscriptions)
        else:
            self._reader = Reader(subscriptions)
            self._told_of_aside = [each for each in subscriptions if each.on_set_aside is not None]
        self._floods = Floods()
        self._assignment = Assignment()
        self._stops = Stops(database, group, self._assignment, self._floods)
        self._broker: KafkaBroker | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._trouble: str | None = None
        self._disconnected: str | None = "not connected yet"
        self._wait_s = WAIT_MIN_S
        self._in_hand: tuple[Batch, float] = ((), 0.0)
        self._unacknowledged = False
        self._given_up: list[Record] = []

    async def start(self) -> None:
        """Begin to hear; returns at once, also while the broker is away."""
        spare_logs()
        self._stopping.clear()
        self._supervisor = asyncio.create_task(self._supervise())

    async def stop(self) -> None:
        """Finish the batch in hand and leave the group."""
        self._stopping.set()
        if self._supervisor is not None:
            await self._supervisor
            self._supervisor = None

    def problems(self) -> list[str]:
        """Say what keeps events from being handled."""
        problems = self._stops.problems()
        if self._assignment.gap:
            problems.append(f"{self._group}: stopped: {self._assignment.gap}")
        if self._disconnected:
            problems.append(f"{self._group}: Kafka: {self._disconnected}")
        elif self._assignment.silent_s() > SILENT_S and not self._in_hand[0]:
            problems.append(f"{self._group}: Kafka: no answer for {self._assignment.silent_s():.0f} s")
        elif not self._assignment.assigned:
            problems.append(f"{self._group}: no partitions assigned yet")
        if self._supervisor is not None and self._supervisor.done() and not self._stopping.is_set():
            problems.append(f"{self._group}: the consumer has died; the log says why, a restart may help")
        if self._trouble:
            problems.append(f"{self._group}: waiting: {self._trouble}")
        records, since = self._in_hand
        if records and time.monotonic() - since > self._settings.stuck_s:
            problems.append(f"{self._group}: one batch has taken {time.monotonic() - since:.0f} s")
        return problems

    def lag_s(self) -> float:
        """Tell the age of the oldest event not handled yet."""
        return self._assignment.lag_s(self._in_hand[0])

    async def _supervise(self) -> None:
        """Keep connected until stopped: FastStream gives up at once when the broker is away at the start."""
        wait_s = WAIT_MIN_S
        try:
            while not self._stopping.is_set():
                try:
                    if self._broker is None:
                        await self._find_inbound()
                        subscribe = self._reader.topics, self._acknowledge
                        self._broker = await connect(
                            self._settings, self._assignment, self._group, self._receive, subscribe
                        )
                    self._disconnected, wait_s = None, WAIT_MIN_S
                    await self._watch()
                except Exception as error:  # noqa: BLE001 - whatever a client raises, hearing goes on
                    self._disconnected = f"{type(error).__name__}: {error}"
                    if not isinstance(error, KafkaError | OSError | Unavailable):
                        _log.exception("connection given up", group=self._group)
                    await self._sleep(wait_s)
                    wait_s = min(wait_s * 2, WAIT_MAX_S)
        finally:
            await self._disconnect()

    async def _find_inbound(self) -> None:
        """Wait with a topic of others until it is there: a client that asks for it does not stop for 30 s."""
        if isinstance(self._reader, InboundReader):
            await admin.partitions_of(self._settings, self._reader.topics)

    async def _watch(self) -> None:
        """Look at the connection each second; come back when it has to be made again."""
        while not self._stopping.is_set():
            if self._assignment.assigned:
                with suppress(Unavailable):  # the database; each batch says so
                    await self._assignment.check(self._stops.take_up)
                    await self._stops.turn(self._can_handle)
                    if not self._unacknowledged:
                        await self._go_on()
                await self._assignment.commit()
            metrics.LAG.labels(self._group).set(self.lag_s())
            consumer = self._assignment.consumer
            if isinstance(consumer, PatientConsumer) and (end := consumer.ended()):
                self._disconnected = end
                await self._disconnect()
                return
            await self._sleep(WATCH_S)

    async def _disconnect(self) -> None:
        broker, self._broker = self._broker, None
        try:
            if broker is not None:
                with suppress(KafkaError, OSError):
                    await self._assignment.commit()
                await broker.stop()
        finally:
            self._assignment.consumer = None
            self._assignment.assigned = False
            self._unacknowledged = False

    async def _receive(self, records: Batch) -> None:
        """Handle a batch, or wait and have it come again."""
        self._in_hand, self._unacknowledged = (records, time.monotonic()), True
        counted = self._floods.counted()
        try:
            await self._go_on()  # a partition that was stopped before this batch is not in it
            await self._assignment.check(self._stops.take_up)
            if self._assignment.gap:
                await self._stopping.wait()
                raise Unavailable("stopped")
            await self._handle_all(records)
            await self._forget_attempts()
            await self._stops.keep()
        except Exception as error:
            going_on = [place for place, _, _ in spans(records) if place not in self._assignment.stopped]
            self._floods.count_again(counted, going_on)
            self._trouble = str(error) or type(error).__name__
            metrics.WAITS.labels(self._group).inc()
            _log.warning("batch put back", group=self._group, records=len(records), error=self._trouble)
            await self._sleep(random.uniform(0.5, 1.0) * self._wait_s)  # noqa: S311
            self._wait_s = min(self._wait_s * 2, WAIT_MAX_S)
            self._unacknowledged = False
            raise
        finally:
            self._in_hand = (), 0.0
        self._trouble, self._wait_s = None, WAIT_MIN_S
        metrics.BATCHES.labels(self._group).inc()
        metrics.HANDLED.labels(self._group).inc(len(records))

    async def _acknowledge(self, records: Batch) -> None:
        failpoints.reach(f"{self._service}.acknowledge.before")
        await self._assignment.acknowledge(records, at_once=self._stopping.is_set())
        self._unacknowledged = False
        failpoints.reach(f"{self._service}.acknowledge.after")
        failpoints.reach(f"{self._service}.acknowledge.reported")

    async def _handle_all(self, records: Sequence[Record]) -> None:
        """Handle what is not stopped; where a partition has to stop on the way, go on with the others."""
        while True:
            open_records = self._without_stopped(records)
            stopped = len(self._assignment.stopped)
            reading = self._reader.read(open_records)
            if not self._stop_floods(open_records, reading.poison):
                await self._handle(open_records, reading)
            if len(self._assignment.stopped) == stopped:
                return

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
            if self._floods.see(place, last - first + 1, len(guilty), last):
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
            await self._handle(open_half, self._reader.read(open_half))

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
        if self._floods.see(TopicPartition(record.topic, record.partition), 0, 1, record.offset):
            reason = f"too many records are poison; this one: {reason}"
            self._stop(Stop(record.offset, record.timestamp, reason, record))
            return
        poison = [Poison(record, reason)]
        async with self._database.work() as tx:
            await self._set_aside(tx, poison)
        self._tell(poison)

    async def _forget_attempts(self) -> None:
        """Forget the failures of records given up, once their whole batch is done: till then it may come again."""
        if self._given_up:
            async with self._database.work() as tx:
                await dead_letters.forget_attempts(tx, self._group, self._given_up)
            self._given_up.clear()

    async def _set_aside(self, tx: Transaction, poison: Sequence[Poison]) -> None:
        await dead_letters.set_aside(tx, self._service, self._group, poison)
        for item in poison:
            for subscription in self._told_of_aside:
                if subscription.on_set_aside is not None and item.record.topic in subscription.topics:
                    await subscription.on_set_aside(tx, item.record)

    def _stop(self, stop: Stop) -> None:
        self._assignment.stop(stop)
        metrics.STOPPED.labels(self._group).set(len(self._assignment.stopped))
        place = f"{stop.guilty.topic}/{stop.guilty.partition}"
        _log.error("partition stopped", group=self._group, partition=place, offset=stop.offset)

    async def _can_handle(self, record: Record) -> bool:
        """Handle a record for a trial: nothing of it stays."""
        reading = self._reader.read([record])
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

    async def _go_on(self) -> None:
        for place in await self._stops.reopen():
            _log.warning("partition goes on", group=self._group, partition=f"{place.topic}/{place.partition}")
        metrics.STOPPED.labels(self._group).set(len(self._assignment.stopped))

    def _tell(self, poison: Sequence[Poison]) -> None:
        for item in poison:
            record = item.record
            metrics.SET_ASIDE.labels(self._group, record.topic).inc()
            place = f"{record.topic}/{record.partition}"
            _log.warning("record set aside", group=self._group, partition=place, offset=record.offset)

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass
