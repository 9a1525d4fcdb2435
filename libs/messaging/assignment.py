"""The partitions a consumer holds: what may be acknowledged, what is stopped, how far behind it is."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from libs.messaging.broker import Record

COMMIT_S = 0.25
"""Offsets follow at most so often: they are bookmarks, and a commit costs as much as handling a small batch."""

_place = attrgetter("topic", "partition")


@dataclass(frozen=True, slots=True)
class Stop:
    """A partition that was stopped at an offset, why, and the record that decided it."""

    offset: int
    since_ms: int
    reason: str
    guilty: Record


class Assignment(ConsumerRebalanceListener):  # type: ignore[misc]
    """Follows the group's assignments; partitions may come and go while a batch is in hand."""

    def __init__(self) -> None:
        self.consumer: AIOKafkaConsumer | None = None
        self.stopped: dict[TopicPartition, Stop] = {}
        self.gap: str | None = None
        self.assigned = False
        self.times = 0  # partitions were assigned
        self._unchecked = True
        self._checking = asyncio.Lock()
        self._handled_ms = 0
        self.acknowledged = asyncio.Event()  # there are offsets to be committed
        self.stirred = asyncio.Event()  # the watch has something to do
        self._pending: dict[TopicPartition, int] = {}
        self._committing = asyncio.Lock()
        self._positions: dict[TopicPartition, int] = {}

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Commit what is handled, for the next owner; expect to check again."""
        self._unchecked = True
        with suppress(KafkaError, OSError):
            await self.commit()

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Keep stopped what is stopped and still ours; reading begins at what is committed, whoever did that."""
        self._unchecked = self.assigned = True
        self.stirred.set()
        self.times += 1
        self.gap = None
        self._pending.clear()
        self._positions.clear()
        kept = set(assigned)
        self.stopped = {partition: stop for partition, stop in self.stopped.items() if partition in kept}
        self._hold(kept)

    async def check(self, then: Callable[[], Awaitable[None]]) -> None:
        """Look whether records were lost that were never handled, and do `then`: once after each assignment.

        `earliest` would go over the gap without a word. Raises KafkaError, OSError, and what `then` raises.
        """
        async with self._checking:
            if not self._unchecked or self.consumer is None:
                return
            self._unchecked, times = False, self.times
            try:
                partitions = sorted(self.consumer.assignment())
                begins = await self.consumer.beginning_offsets(partitions)
                committed = await asyncio.gather(*map(self.consumer.committed, partitions))
                await then()
            except BaseException:
                self._unchecked = True
                raise
            if times != self.times:
                return  # what was found is of partitions from before
            for partition, offset in zip(partitions, committed, strict=True):
                self._positions.setdefault(partition, begins[partition] if offset is None else offset)
                if offset is not None and offset < begins[partition]:
                    self.gap = (
                        f"{partition.topic}/{partition.partition}: records {offset} to {begins[partition] - 1} were "
                        "dropped by retention before they were handled; rebuild this service"
                    )

    async def acknowledge(self, records: Sequence[Record], *, at_once: bool = False) -> None:
        """Note the offsets behind these records, as far as their partitions are ours and not stopped.

        Committed are they `at_once`, or beside what comes next: a commit takes up to 20 ms [measured].
        """
        if not records:
            return
        consumer = self._held()
        assigned = consumer.assignment()
        offsets: dict[TopicPartition, int] = {}
        for partition, first, last in spans(records):
            if partition not in assigned:
                continue
            stop = self.stopped.get(partition)
            if stop is None:
                offsets[partition] = last + 1
            elif stop.offset > first:
                offsets[partition] = stop.offset
        self._positions.update(offsets)
        self._pending.update(offsets)
        self._handled_ms = max([record.timestamp for record in records])
        self.acknowledged.set()
        if at_once:
            await self.commit()

    async def commit(self) -> None:
        """Let Kafka's offsets follow, for the partitions that are still ours. Raises KafkaError, OSError."""
        async with self._committing:
            consumer = self.consumer
            if consumer is None:
                self._pending.clear()
                return
            assigned = consumer.assignment()
            offsets = {partition: offset for partition, offset in self._pending.items() if partition in assigned}
            self._pending.clear()
            if not offsets:
                return
            try:
                await consumer.commit(offsets)
            except BaseException:
                if consumer.assignment() is assigned:
                    self._pending = offsets | self._pending
                raise

    def put_back(self, records: Sequence[Record]) -> None:
        """Go back to the first of these records in each partition that is still ours."""
        consumer = self._held()
        assigned = consumer.assignment()
        for partition, first, _ in spans(records):
            if partition in assigned:
                consumer.seek(partition, first)

    def calm(self) -> bool:
        """Tell whether nothing waits to be checked, committed or opened again."""
        return self.assigned and not (self._unchecked or self._pending or self.stopped or self.gap)

    def stop(self, stop: Stop) -> None:
        """Stop the guilty record's partition; nothing from the stop's offset on is handled until it is opened again."""
        partition = TopicPartition(stop.guilty.topic, stop.guilty.partition)
        self.stopped[partition] = stop
        self.stirred.set()
        self._hold([partition])

    def reopen(self, partition: TopicPartition) -> None:
        """Go on with a stopped partition where it was stopped. Only while no batch waits for its acknowledgement."""
        stop = self.stopped.pop(partition, None)
        if stop is not None and self.consumer is not None and partition in self.consumer.assignment():
            self.consumer.seek(partition, stop.offset)
            self.consumer.resume(partition)

    def lag_s(self, in_hand: Sequence[Record]) -> float:
        """Tell the age of the oldest record not handled: in hand, stopped, or (about) waiting at the broker."""
        oldest = [stop.since_ms for stop in self.stopped.values()]
        if in_hand:
            oldest.append(min(record.timestamp for record in in_hand))
        elif self._handled_ms and self._behind():
            oldest.append(self._handled_ms)
        return max(0.0, time.time() - min(oldest) / 1000) if oldest else 0.0

    def _behind(self) -> bool:
        consumer = self.consumer
        if consumer is None:
            return True
        assigned = consumer.assignment()
        return any(
            partition not in self.stopped and (consumer.highwater(partition) or 0) > position
            for partition, position in self._positions.items()
            if partition in assigned
        )

    def _hold(self, partitions: Iterable[TopicPartition]) -> None:
        if self.consumer is None:
            return
        assigned = self.consumer.assignment()
        for partition in partitions:
            if partition in self.stopped and partition in assigned:
                self.consumer.pause(partition)

    def _held(self) -> AIOKafkaConsumer:
        assert self.consumer is not None, "a batch came before the consumer"
        return self.consumer


def spans(records: Sequence[Record]) -> list[tuple[TopicPartition, int, int]]:
    """Tell the first and last offset of each partition in a batch."""
    found: dict[tuple[str, int], tuple[int, int]] = {}
    for place, run in groupby(records, _place):
        offsets = [record.offset for record in run]
        first = found[place][0] if place in found else offsets[0]
        found[place] = first, offsets[-1]
    return [(TopicPartition(*place), first, last) for place, (first, last) in found.items()]
