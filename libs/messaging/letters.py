"""Dead letters in an operator's hands: list, replay to where they came from, or drop.

A topic cannot forget single records. What has been dealt with is noted on the same topic, by records whose header
`settles` names the letters (`partition:offset`); such letters are not listed again.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from libs.contracts.topics import dead_letter_topic
from libs.errors import NotFound, Unavailable
from libs.messaging.admin import partitions_of, reading
from libs.messaging.broker import BrokerSettings, Headers, Record
from libs.messaging.dead_letters import ORIGIN, sound_headers

SETTLES = "settles"
REPLAYED = "replayed"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that was set aside: the original, where it came from, and why."""

    id: str
    topic: str
    partition: int
    offset: int
    group: str
    reason: str
    at_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers


async def list_letters(broker: BrokerSettings, service: str) -> list[DeadLetter]:
    """List what a service has set aside and nobody has replayed or dropped yet, oldest first. Raises Unavailable."""
    async with reading(broker, None) as reader:
        records = await _read_all(reader, await partitions_of(broker, [dead_letter_topic(service)]))
    settled = {
        identity
        for record in records
        for name, content in record.headers
        if name == SETTLES and not _is_letter(record)
        for identity in (content or b"").decode().split(",")
    }
    letters = [_letter(record) for record in records if _is_letter(record)]
    return sorted((letter for letter in letters if letter.id not in settled), key=lambda letter: letter.at_ms)


async def replay(broker: BrokerSettings, service: str, ids: Sequence[str] | None = None) -> int:
    """Send letters (all, or those named) back: same topic, partition, key, bytes and headers, and `replayed`.

    Raises NotFound for an id that is not open, Unavailable.
    """
    letters = _chosen(await list_letters(broker, service), ids)
    async with _sending(broker) as producer:
        for letter in letters:
            await producer.send_and_wait(
                letter.topic,
                letter.value,
                letter.key,
                letter.partition,
                headers=[*letter.headers, (REPLAYED, letter.id.encode())],
            )
            await _settle(producer, service, letter.id, b"replayed")
    return len(letters)


async def drop(broker: BrokerSettings, service: str, ids: Sequence[str]) -> int:
    """Give letters up: they are not listed any more. Raises NotFound for an id that is not open, Unavailable."""
    letters = _chosen(await list_letters(broker, service), ids)
    async with _sending(broker) as producer:
        for letter in letters:
            await _settle(producer, service, letter.id, b"dropped")
    return len(letters)


def _chosen(letters: Sequence[DeadLetter], ids: Sequence[str] | None) -> list[DeadLetter]:
    if ids is None:
        return list(letters)
    by_id = {letter.id: letter for letter in letters}
    missing = [identity for identity in ids if identity not in by_id]
    if missing:
        raise NotFound(f"no open dead letter {', '.join(missing)}; list shows those that are open")
    return [by_id[identity] for identity in ids]


async def _settle(producer: AIOKafkaProducer, service: str, identity: str, how: bytes) -> None:
    await producer.send_and_wait(dead_letter_topic(service), how, None, 0, headers=[(SETTLES, identity.encode())])


async def _read_all(reader: AIOKafkaConsumer, partitions: Sequence[TopicPartition]) -> list[Record]:
    reader.assign(partitions)
    begins = await reader.beginning_offsets(partitions)
    ends = await reader.end_offsets(partitions)
    for partition in partitions:
        reader.seek(partition, begins[partition])
    records: list[Record] = []
    for partition in partitions:
        while await reader.position(partition) < ends[partition]:
            for found in (await reader.getmany(partition, timeout_ms=500)).values():
                records += found
    return records


def _is_letter(record: Record) -> bool:
    return any(name == ORIGIN[0] for name, _ in record.headers)


def _letter(record: Record) -> DeadLetter:
    origin = {name: (content or b"").decode(errors="replace") for name, content in record.headers if name in ORIGIN}
    topic, partition, offset, group, reason = (origin.get(name, "") for name in ORIGIN)
    return DeadLetter(
        id=f"{record.partition}:{record.offset}",
        topic=topic,
        partition=int(partition),
        offset=int(offset),
        group=group,
        reason=reason,
        at_ms=record.timestamp,
        key=record.key,
        value=record.value,
        headers=[(name, content) for name, content in sound_headers(record) if name not in ORIGIN],
    )


@asynccontextmanager
async def _sending(broker: BrokerSettings) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(
        bootstrap_servers=broker.bootstrap_servers,
        acks="all",
        enable_idempotence=True,
        max_request_size=broker.message_max_bytes,
    )
    try:
        await producer.start()
        yield producer
    except (KafkaError, OSError, TimeoutError) as error:
        raise Unavailable(f"Kafka does not answer ({type(error).__name__}: {error})") from error
    finally:
        await producer.stop()
