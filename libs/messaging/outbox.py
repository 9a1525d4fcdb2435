"""The outbox: events leave with the transaction that made them true, and only so."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from libs import tracing
from libs.contracts.topics import BY_TYPE
from libs.database import Transaction
from libs.errors import TooLarge, Unavailable
from libs.messaging.broker import VALUE_MAX_BYTES, Headers

FULL_RETRY_AFTER_S = 5
COPY_ROWS = 50
"""From so many rows on they are copied, which costs server and client less; below it costs more."""


class Outgoing(NamedTuple):
    """An event on its way: one row, published once per type to that type's topic with the same bytes.

    `version` becomes `ce_version`, and with it `ce_id` follows from the key's subject, the type and the version.
    Where there is no version (reports, answers) `id` is the `ce_id`.
    """

    types: tuple[str, ...]
    key: bytes
    value: bytes
    version: int | None = None
    id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Letter:
    """A record that goes to one topic as it is: bytes and headers."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers


async def append(tx: Transaction, events: Sequence[Outgoing]) -> None:
    """Put events into the outbox; the relay publishes them after the commit, in this order for each key.

    Raises TooLarge for a value over 1 MiB, and Unavailable to routes while the outbox is full.
    """
    if not events:
        return
    _check(tx, events)
    tx.appended = True
    traces = tracing.traces_of([event.key for event in events], tx.traces)
    if traces is not None:
        await _append_traced(tx, events, traces)
        return
    if len(events) >= COPY_ROWS:
        rows = [(",".join(event.types), event.key, event.value, event.version, event.id) for event in events]
        await tx.copy("outbox", ("types", "key", "value", "version", "event_id"), rows)
        return
    await tx.execute(
        """insert into outbox (types, key, value, version, event_id)
        select * from unnest($1::text[], $2::bytea[], $3::bytea[], $4::int[], $5::uuid[])""",
        [",".join(event.types) for event in events],
        [event.key for event in events],
        [event.value for event in events],
        [event.version for event in events],
        [event.id for event in events],
    )


async def _append_traced(tx: Transaction, events: Sequence[Outgoing], traces: Sequence[str | None]) -> None:
    """Put events into the outbox with the header that carries their trace on."""
    rows = [
        (
            ",".join(event.types), event.key, event.value, event.version, event.id,
            *(([tracing.HEADER], [trace.encode()]) if trace else (None, None)),
        )
        for event, trace in zip(events, traces, strict=True)
    ]  # fmt: skip
    columns = ("types", "key", "value", "version", "event_id", "header_names", "header_values")
    await tx.copy("outbox", columns, rows)


async def append_letters(tx: Transaction, letters: Sequence[Letter]) -> None:
    """Put records that are set aside into the outbox."""
    for letter in letters:
        tx.appended = True
        await tx.execute(
            """insert into outbox (types, topic, key, value, header_names, header_values)
            values ('', $1, $2, $3, $4::text[], $5::bytea[])""",
            letter.topic,
            letter.key,
            letter.value,
            [name for name, _ in letter.headers],
            [content for _, content in letter.headers],
        )


async def unpublished(tx: Transaction) -> int:
    """Count the rows that the relay has not published yet."""
    count: int = await tx.value(
        """select count(*) from outbox cross join outbox_cursor
        where xid >= pg_snapshot_xmin(done) and not pg_visible_in_snapshot(xid, done)
            and not (seen is not null and id <= after_id and pg_visible_in_snapshot(xid, seen))"""
    )
    return count


async def keep_days(tx: Transaction, *, ahead: int = 7) -> None:
    """Make the partitions of today and the days ahead, so that an insert always finds its day."""
    await tx.execute("select outbox_keep_days($1)", ahead)


def _check(tx: Transaction, events: Sequence[Outgoing]) -> None:
    if tx.outbox_full:
        raise Unavailable(
            "the outbox is full, because Kafka has not taken events for a while; try again later", FULL_RETRY_AFTER_S
        )
    for event in events:
        if len(event.value) > VALUE_MAX_BYTES:
            raise TooLarge(f"{event.types[0]}: the event has {len(event.value)} bytes; at most {VALUE_MAX_BYTES} pass")
        if event.version is None and event.id is None:
            raise ValueError(f"{event.types[0]}: an event needs a version or an id")
        for event_type in event.types:
            if event_type not in BY_TYPE:
                raise ValueError(f"{event_type!r} has no topic; libs/contracts/topics.py names all types")
