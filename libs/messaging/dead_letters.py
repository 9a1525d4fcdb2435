"""Setting records aside: original bytes and headers, where they came from, and why."""

from collections.abc import Sequence

from libs.contracts.topics import dead_letter_topic
from libs.database import Transaction
from libs.messaging import outbox
from libs.messaging.broker import VALUE_MAX_BYTES, Record
from libs.messaging.reading import Poison

ORIGIN = ("dead_topic", "dead_partition", "dead_offset", "dead_group", "dead_reason")
CUT = "dead_cut"
"""Says how long the value was of which only the beginning is kept: compressed by its sender it passed any bound."""
REASON_MAX_BYTES = 2_000
KEY_MAX_BYTES = 8_192
HEADERS_MAX_BYTES = 32_768
"""Headers beyond it are left out: a letter that no topic takes would hold up the outbox."""
UNKNOWN_ATTEMPTS = 5
"""After how many failures that nobody planned for a record counts as poison."""


async def set_aside(tx: Transaction, service: str, group: str, poison: Sequence[Poison]) -> None:
    """Put poisoned records into the service's dead letters, with the transaction that goes on without them."""
    await outbox.append_letters(
        tx,
        [
            outbox.Letter(
                dead_letter_topic(service),
                item.record.key[:KEY_MAX_BYTES] if item.record.key is not None else None,
                item.record.value[:VALUE_MAX_BYTES] if item.record.value is not None else None,
                [*_bounded(sound_headers(item.record)), *_origin(item, group)],
            )
            for item in poison
        ],
    )


async def note_attempt(tx: Transaction, group: str, record: Record) -> int:
    """Count a failure of a record; return how often it has failed."""
    attempts: int = await tx.value(
        """insert into consumer_attempt (consumer_group, topic, part, record_offset) values ($1, $2, $3, $4)
        on conflict (consumer_group, topic, part, record_offset)
        do update set attempts = consumer_attempt.attempts + 1, failed_at = now() returning attempts""",
        group,
        record.topic,
        record.partition,
        record.offset,
    )
    return attempts


async def forget_attempts(tx: Transaction, group: str, records: Sequence[Record]) -> None:
    """Forget the failures of records that were set aside."""
    await tx.execute(
        """delete from consumer_attempt where consumer_group = $1 and (topic, part, record_offset) in
        (select * from unnest($2::text[], $3::int[], $4::bigint[]))""",
        group,
        [record.topic for record in records],
        [record.partition for record in records],
        [record.offset for record in records],
    )


def sound_headers(record: Record) -> list[tuple[str, bytes]]:
    """Copy the headers a record came with; one without content gets an empty one, NUL cannot be stored."""
    return [(name.replace("\x00", "\ufffd"), content or b"") for name, content in record.headers]


def _bounded(headers: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    kept: list[tuple[str, bytes]] = []
    size = 0
    for name, content in headers:
        size += len(name.encode()) + len(content)
        if size <= HEADERS_MAX_BYTES:
            kept.append((name, content))
    return kept


def _origin(item: Poison, group: str) -> list[tuple[str, bytes]]:
    record = item.record
    contents = (record.topic, str(record.partition), str(record.offset), group, item.reason)
    origin = [
        (name, content.encode(errors="replace")[:REASON_MAX_BYTES])
        for name, content in zip(ORIGIN, contents, strict=True)
    ]
    length = len(record.value or b"")
    cut = length > VALUE_MAX_BYTES or len(record.key or b"") > KEY_MAX_BYTES
    return [*origin, (CUT, str(length).encode())] if cut else origin
