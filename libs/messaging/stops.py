"""Stopped partitions: kept in the database, so that an operator sees the record that decided it, and their way back.

A stopped partition is tried again with growing waits: when the record that decided it can be handled, it goes on. It
keeps its count of poison then, so that the next poison stops it at once. An operator can ask for more (`ask`): to count
anew, or to set everything aside that is poison up to the partition's present end. The record is kept for 7 days (the
relay's housekeeping): after that the partition counts anew, as if an operator had asked.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from aiokafka import TopicPartition

from libs.database import Database, Transaction
from libs.errors import NotFound
from libs.messaging.assignment import Assignment, Stop
from libs.messaging.broker import Record
from libs.messaging.dead_letters import sound_headers
from libs.messaging.floods import Floods

TRY_FIRST_S = 5.0
TRY_MAX_S = 300.0

Wish = Literal["resume", "set_aside"]


@dataclass(slots=True)
class KeptRecord:
    """A record as it was when it stopped its partition."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class StoppedPartition:
    """A stopped partition of a group, as it is kept; `asked` is what an operator wants."""

    group: str
    stop: Stop
    asked: Wish | None


class Stops:
    """The stopped partitions of one consumer and when each is tried again."""

    def __init__(self, database: Database, group: str, assignment: Assignment, floods: Floods) -> None:
        self._database = database
        self._group = group
        self._assignment = assignment
        self._floods = floods
        self._tries: dict[TopicPartition, tuple[float, float]] = {}
        self._open: set[TopicPartition] = set()

    def problems(self) -> list[str]:
        """Name each stopped partition, where, why, and when it is tried again."""
        return [
            f"{self._group}: {place.topic}/{place.partition} is stopped at {stop.offset}: {stop.reason}; "
            f"tried again {self._when(place)}, `stops` shows the record, `resume` goes on"
            for place, stop in self._assignment.stopped.items()
        ]

    async def take_up(self) -> None:
        """Keep stopped what another process had stopped. Raises Unavailable, KafkaError."""
        async with self._database.work() as tx:
            kept = await list_stops(tx, self._group)
        consumer = self._assignment.consumer
        for each in kept:
            place = TopicPartition(each.stop.guilty.topic, each.stop.guilty.partition)
            if consumer is None or place not in consumer.assignment() or place in self._assignment.stopped:
                continue
            committed = await consumer.committed(place)  # less than the stop after a rewind
            offset = each.stop.offset if committed is None else min(committed, each.stop.offset)
            self._assignment.stop(replace(each.stop, offset=offset))
            self._tries[place] = time.monotonic(), TRY_FIRST_S

    async def keep(self) -> None:
        """Keep what has stopped since the last time. Raises Unavailable."""
        self._tries = {place: each for place, each in self._tries.items() if place in self._assignment.stopped}
        for place, stop in list(self._assignment.stopped.items()):
            if place not in self._tries:
                async with self._database.work() as tx:
                    await save_stop(tx, self._group, stop)
                self._tries[place] = time.monotonic() + TRY_FIRST_S, TRY_FIRST_S

    async def turn(self, can_handle: Callable[[Record], Awaitable[bool]]) -> None:
        """Keep what has stopped, hear what operators ask for, try what is due. Raises Unavailable, KafkaError."""
        stopped = self._assignment.stopped
        if not stopped:
            return
        await self.keep()
        async with self._database.work() as tx:
            wishes = {_place(each.stop): each.asked for each in await list_stops(tx, self._group)}
        for place, stop in list(stopped.items()):
            if place in self._open or place not in self._tries:
                continue  # it goes on already: what was granted stands
            if place not in wishes or wishes[place]:  # nobody keeps it any more, or somebody asked
                await self._grant(place, wishes.get(place))
            elif time.monotonic() >= self._tries[place][0]:
                await self._try(place, stop, can_handle)

    async def reopen(self) -> list[TopicPartition]:
        """Go on with what may, and name it; only while no batch waits for its acknowledgement. Raises Unavailable."""
        ready = list(self._open)
        if ready:
            async with self._database.work() as tx:
                await remove_stops(tx, self._group, ready)
        for place in ready:
            self._assignment.reopen(place)
            self._tries.pop(place, None)
        self._open.difference_update(ready)
        return ready

    async def _grant(self, place: TopicPartition, wish: Wish | None) -> None:
        consumer = self._assignment.consumer
        if wish == "set_aside" and consumer is not None:
            ends = await consumer.end_offsets([place])
            self._floods.tolerate(place, ends[place])
        else:
            self._floods.forget(place)
        self._open.add(place)

    async def _try(self, place: TopicPartition, stop: Stop, can_handle: Callable[[Record], Awaitable[bool]]) -> None:
        if await can_handle(stop.guilty):
            self._open.add(place)
            return
        _, waited_s = self._tries.get(place, (0.0, TRY_FIRST_S))
        wait_s = min(waited_s * 2, TRY_MAX_S)
        self._tries[place] = time.monotonic() + wait_s, wait_s

    def _when(self, place: TopicPartition) -> str:
        if place not in self._tries:
            return "soon"
        return f"in {max(0.0, self._tries[place][0] - time.monotonic()):.0f} s"


async def save_stop(tx: Transaction, group: str, stop: Stop) -> None:
    """Keep a stop with the record that decided it."""
    guilty = stop.guilty
    headers = sound_headers(guilty)
    await tx.execute(
        """insert into consumer_stop (consumer_group, topic, part, record_offset, since_ms, reason, guilty_offset,
                                      guilty_ms, key, value, header_names, header_values)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::text[], $12::bytea[])
        on conflict (consumer_group, topic, part) do update
        set record_offset = excluded.record_offset, since_ms = excluded.since_ms, reason = excluded.reason,
            guilty_offset = excluded.guilty_offset, guilty_ms = excluded.guilty_ms, key = excluded.key,
            value = excluded.value, header_names = excluded.header_names, header_values = excluded.header_values,
            stopped_at = now(), asked = null""",
        group, guilty.topic, guilty.partition, stop.offset, stop.since_ms, stop.reason.replace("\x00", "\ufffd"),
        guilty.offset, guilty.timestamp, guilty.key, guilty.value,
        [name for name, _ in headers], [content for _, content in headers],
    )  # fmt: skip


async def list_stops(tx: Transaction, group: str | None = None) -> list[StoppedPartition]:
    """List the stopped partitions of a group, or of all groups of this service."""
    rows = await tx.fetch(
        """select * from consumer_stop where $1::text is null or consumer_group = $1
        order by consumer_group, topic, part""",
        group,
    )
    return [_stopped(row) for row in rows]


async def remove_stops(tx: Transaction, group: str, places: Sequence[TopicPartition]) -> None:
    """Forget stops whose partitions go on."""
    await tx.execute(
        """delete from consumer_stop where consumer_group = $1
        and (topic, part) in (select * from unnest($2::text[], $3::int[]))""",
        group,
        [place.topic for place in places],
        [place.partition for place in places],
    )


async def ask(tx: Transaction, wish: Wish, place: tuple[str, int] | None = None) -> int:
    """Ask the process that holds a stopped partition (None: all of this service) to go on; return how many were asked.

    Raises NotFound where nothing is stopped there.
    """
    asked = await tx.execute(
        "update consumer_stop set asked = $1 where $2::text is null or (topic = $2 and part = $3)",
        wish,
        *(place or (None, None)),
    )
    if not asked and place is not None:
        raise NotFound(f"{place[0]}/{place[1]} is not stopped")
    return asked


def _place(stop: Stop) -> TopicPartition:
    return TopicPartition(stop.guilty.topic, stop.guilty.partition)


def _stopped(row: Any) -> StoppedPartition:
    headers = list(zip(row["header_names"], row["header_values"], strict=True))
    guilty = KeptRecord(
        row["topic"], row["part"], row["guilty_offset"], row["guilty_ms"], row["key"], row["value"], headers
    )
    stop = Stop(row["record_offset"], row["since_ms"], row["reason"], guilty)
    return StoppedPartition(row["consumer_group"], stop, row["asked"])
