"""How batches come from Kafka through FastStream to us: nothing is decoded, nothing sleeps, offsets are explicit."""

import time
from collections.abc import Awaitable, Callable, Set
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.message import KafkaAckableMessage
from faststream.message import AckStatus

from libs.messaging.assignment import Assignment
from libs.messaging.broker import Batch, BrokerSettings, Raw, Record
from libs.messaging.fetching import Sessions

FETCH_WAIT_MS = 1_000
"""How long the broker holds a fetch open while there is nothing, up to the next beat (longer where all is calm); what
comes ends it at once."""
PATIENCE_MS = 10_000
"""How long the client waits for what wakes it up. By default its fetching looks five times a second for nothing."""
GRACEFUL_S = 30.0


class PatientConsumer(AIOKafkaConsumer):  # type: ignore[misc]
    """Waits until there is something. FastStream sleeps after an empty poll: 10 ms cost 2 % of a core, 50 ms delay."""

    broken: str | None = None
    stir: Callable[[], None] | None = None
    """Called when nothing will come any more."""
    sessions: Sessions | None = None
    taken_under: Set[TopicPartition] = frozenset()
    """The assignment under which the last records were taken: each is an object of its own, also with equal places."""

    async def start(self) -> None:
        """Connect, and fetch in sessions."""
        await super().start()
        self.sessions = Sessions(self._fetcher)
        self._fetcher._fetch_task.add_done_callback(self._end)  # noqa: SLF001

    def silent_s(self) -> float:
        """Tell for how long the broker has answered nothing, or no fetch though it was to; 0 before it did at all."""
        if self.sessions is None or not self.sessions.answered_at:
            return 0.0
        heard_at = max([each._last_action for each in self._client._conns.values()], default=0.0)  # noqa: SLF001
        return time.monotonic() - max(self.sessions.answered_at, min(self.sessions.due_at, heard_at))

    def ended(self) -> str | None:
        """Say why nothing will come any more, if so: it was told, or one of the client's own tasks has ended."""
        fetching = self._fetcher and self._fetcher._fetch_task  # noqa: SLF001 - there is no other way to see it
        if fetching is not None and fetching.done():
            return self.broken or "the client has stopped fetching"
        return self.broken

    def _end(self, _: object = None) -> None:
        if self.stir is not None:
            self.stir()

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[Record]]:
        """Return records as soon as there are any."""
        try:
            while True:
                found = await super().getmany(*partitions, timeout_ms=PATIENCE_MS, max_records=max_records)
                self.taken_under = self.assignment()
                if found:
                    break
        except KafkaError as error:
            self.broken = f"{type(error).__name__}: {error}"
            self._end()
            raise
        if self.sessions is not None:
            self.sessions.flow.note(sum(map(len, found.values())))
        return found  # type: ignore[no-any-return]


class BatchMessage(KafkaAckableMessage):
    """A batch whose offsets are committed explicitly, unless partitions were assigned anew since it was taken.

    Then it comes again from what was committed, here or at another member, who may be further by now: to acknowledge
    it would take the group's offsets back, and nobody would move them on before the next record.
    """

    def __init__(self, records: Batch, assignment: Assignment, acknowledge: Callable[[Batch], Awaitable[None]]) -> None:
        super().__init__(
            raw_message=records, body=b"", consumer=assignment.consumer, correlation_id="-", message_id="-"
        )
        self._records = records
        self._assignment = assignment
        self._acknowledge = acknowledge
        self._reader = assignment.consumer
        self._taken_under = self._reader.taken_under if isinstance(self._reader, PatientConsumer) else None

    async def ack(self) -> None:
        """Let Kafka's offsets follow."""
        await self._acknowledge(self._records if self._stands() else ())
        self.committed = AckStatus.ACKED

    async def nack(self) -> None:
        """Have the batch come again."""
        if self._stands():
            self._assignment.put_back(self._records)
        self.committed = AckStatus.NACKED

    def _stands(self) -> bool:
        if self._reader is not self._assignment.consumer or self._reader is None:
            return False
        return self._reader.assignment() is self._taken_under


async def connect(
    settings: BrokerSettings,
    assignment: Assignment,
    group: str,
    receive: Callable[[Batch], Awaitable[None]],
    subscribe: tuple[list[str], Callable[[Batch], Awaitable[None]]],
) -> KafkaBroker:
    """Start one batch subscriber. `subscribe`: the topics, and how to acknowledge. Raises KafkaError, OSError."""
    topics, acknowledge = subscribe

    async def parse(records: Batch) -> BatchMessage:
        return BatchMessage(records, assignment, acknowledge)

    broker = _make_broker(settings, group)
    broker.subscriber(
        *topics,
        batch=True,
        max_records=settings.records_max,
        batch_timeout_ms=10,
        group_id=group,
        group_instance_id=settings.instance_of(group, topics),
        ack_policy=AckPolicy.NACK_ON_ERROR,
        auto_offset_reset="earliest",
        parser=parse,
        listener=assignment,
        check_crcs=False,
        consumer_timeout_ms=PATIENCE_MS,
        fetch_max_bytes=settings.fetch_max_bytes,
        fetch_max_wait_ms=FETCH_WAIT_MS,
        max_partition_fetch_bytes=settings.partition_fetch_max_bytes,
        session_timeout_ms=settings.session_timeout_ms,
        heartbeat_interval_ms=settings.session_timeout_ms // 3,
        no_reply=True,
    )(receive)
    await broker.connect()
    _read_patiently(broker, assignment)
    try:
        await broker.start()
    except BaseException:
        await broker.stop()
        raise
    return broker


def _make_broker(settings: BrokerSettings, group: str) -> KafkaBroker:
    return KafkaBroker(
        settings.bootstrap_servers,
        codec=Raw(),
        client_id=group,
        consumer_only=True,
        allow_auto_create_topics=False,
        apply_types=False,
        serializer=None,
        logger=None,
        graceful_timeout=GRACEFUL_S,
        metadata_max_age_ms=60_000,
    )


def _read_patiently(broker: KafkaBroker, assignment: Assignment) -> None:
    """Have the broker read with a `PatientConsumer`, which the assignment then knows."""
    configuration = broker.config.broker_config
    build = configuration.builder

    def build_patient(**options: Any) -> PatientConsumer:
        consumer = PatientConsumer(**(build.keywords | options))  # type: ignore[attr-defined]
        assignment.consumer = consumer
        consumer.stir = assignment.stirred.set
        return consumer

    configuration.builder = build_patient
