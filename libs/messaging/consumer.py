"""The consumer: it keeps connected, takes batches in hand and waits where one cannot be handled (handling.py).

Offsets are bookmarks: correctness comes from versions, a batch may come again.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import suppress

import structlog
from aiokafka.errors import KafkaError
from faststream.kafka import KafkaBroker

from libs import failpoints
from libs.beat import to_next
from libs.database import Database
from libs.errors import Unavailable
from libs.messaging import admin, metrics
from libs.messaging.assignment import COMMIT_S, Assignment, spans
from libs.messaging.broker import Batch, BrokerSettings, spare_logs
from libs.messaging.delivery import PatientConsumer, connect
from libs.messaging.handling import Handling
from libs.messaging.inbound import Inbound, InboundReader
from libs.messaging.stops import Stops
from libs.messaging.subscription import Handler, Subscription

__all__ = ["Consumer", "Handler", "Subscription"]

WAIT_MIN_S = 0.1
WAIT_MAX_S = 10.0
WATCH_S, CALM_S = 1.0, 15.0
"""Where all is well nothing is to be done until somebody says that something has happened."""
SILENT_S = 5.0
"""The broker is asked for a sign of life every `session_timeout_ms` / 3."""

_log = structlog.get_logger(__name__)


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
        self._settings = broker
        self._group = group
        self._labels = group, str(broker.member)
        self._assignment = Assignment()
        self._handling = Handling(service, group, database, subscriptions, self._assignment)
        self._floods = self._handling.floods
        self._stops = Stops(database, group, self._assignment, self._floods)
        self._broker: KafkaBroker | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._committing: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._trouble: str | None = None
        self._disconnected: str | None = "not connected yet"
        self._wait_s = WAIT_MIN_S
        self._in_hand: tuple[Batch, float] = ((), 0.0)
        self._unacknowledged = False

    async def start(self) -> None:
        """Begin to hear; returns at once, also while the broker is away."""
        spare_logs()
        self._stopping.clear()
        metrics.LAG.labels(*self._labels).set_function(self.lag_s)
        metrics.STOPPED.labels(*self._labels).set_function(lambda: len(self._assignment.stopped))
        self._supervisor = asyncio.create_task(self._supervise())
        self._committing = asyncio.create_task(self._let_offsets_follow())

    async def stop(self) -> None:
        """Finish the batch in hand and leave the group."""
        self._stopping.set()
        self._assignment.stirred.set()
        if self._committing is not None:
            self._committing.cancel()  # what is left is committed at the end
        if self._supervisor is not None:
            await self._supervisor
            self._supervisor = None
        for gauge in (metrics.LAG, metrics.STOPPED):
            gauge.remove(*self._labels)

    def problems(self) -> list[str]:
        """Say what keeps events from being handled."""
        problems = self._stops.problems()
        if self._assignment.gap:
            problems.append(f"{self._group}: stopped: {self._assignment.gap}")
        if self._disconnected:
            problems.append(f"{self._group}: Kafka: {self._disconnected}")
        elif (silent_s := self._silent_s()) > SILENT_S and not self._in_hand[0]:
            problems.append(f"{self._group}: Kafka: no answer for {silent_s:.0f} s")
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

    def _silent_s(self) -> float:
        consumer = self._assignment.consumer
        return consumer.silent_s() if isinstance(consumer, PatientConsumer) else 0.0

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
                        subscribe = self._handling.reader.topics, self._acknowledge
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
        if isinstance(self._handling.reader, InboundReader):
            await admin.partitions_of(self._settings, self._handling.reader.topics)

    async def _watch(self) -> None:
        """Look after the connection, seldom where all is calm; come back when it has to be made again."""
        while not self._stopping.is_set():
            self._assignment.stirred.clear()
            if self._assignment.assigned:
                with suppress(Unavailable):  # the database; each batch says so
                    await self._assignment.check(self._stops.take_up)
                    await self._stops.turn(self._handling.can_handle)
                    if not self._unacknowledged:
                        await self._go_on()
                await self._assignment.commit()
            consumer = self._assignment.consumer
            if isinstance(consumer, PatientConsumer) and (end := consumer.ended()):
                self._disconnected = end
                await self._disconnect()
                return
            await _until(self._assignment.stirred, to_next(CALM_S if self._assignment.calm() else WATCH_S))

    async def _let_offsets_follow(self) -> None:
        """Commit what is acknowledged, now and then, while the next batches are handled."""
        while not self._stopping.is_set():
            await self._assignment.acknowledged.wait()
            self._assignment.acknowledged.clear()
            try:
                await self._assignment.commit()
            except (KafkaError, OSError):
                self._assignment.stirred.set()  # the watch tries again, and says so
            await self._sleep(COMMIT_S)

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
            if gap := self._assignment.gap:
                while self._assignment.gap and not self._stopping.is_set():
                    await self._sleep(WATCH_S)  # until partitions are assigned anew, perhaps that one to another member
                raise Unavailable(gap)
            await self._handling.handle_all(records)
            await self._handling.forget_attempts()
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

    async def _go_on(self) -> None:
        for place in await self._stops.reopen():
            _log.warning("partition goes on", group=self._group, partition=f"{place.topic}/{place.partition}")

    async def _sleep(self, seconds: float) -> None:
        await _until(self._stopping, seconds)


async def _until(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
