"""Dead letters in an operator's hands: list, replay to where they came from, or drop.

A topic cannot forget single records. What has been dealt with is noted on the same topic, by records whose header
`settles` names the letters (`partition:offset`), with how, when and why; such letters are not open any more.
A replay puts the record back first and notes it then: cut off between the two it is put back again, and handling a
record twice is harmless.

Listing goes through the topic without keeping the bytes; those of one letter are read by its place.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from uuid import UUID

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from libs import failpoints
from libs.contracts.topics import dead_letter_topic
from libs.errors import Conflict, NotFound, Unavailable
from libs.messaging.admin import partitions_of, reading
from libs.messaging.broker import BrokerSettings, Headers, Record
from libs.messaging.dead_letters import CUT, ORIGIN, sound_headers

SETTLES = "settles"
WHY = "why"
REPLAYED = "replayed"
WHY_MAX = 500


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a letter: `replayed` or `dropped`, when (milliseconds), and why."""

    how: str
    at_ms: int
    why: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that was set aside: the original, where it came from, and why. `cut`: its whole length, if too long.

    `value` is left out of lists; `size` is the length of what was kept.
    """

    id: str
    topic: str
    partition: int
    offset: int
    group: str
    reason: str
    at_ms: int
    key: bytes | None
    headers: Headers
    size: int
    value: bytes | None = None
    cut: int | None = None
    settled: Settled | None = None

    @property
    def business_id(self) -> UUID | None:
        """The business that the key names, if it names one."""
        try:
            return UUID((self.key or b"")[:36].decode())
        except ValueError:
            return None


async def list_letters(
    broker: BrokerSettings, service: str, *, business_id: UUID | None = None, settled: bool = False
) -> list[DeadLetter]:
    """List what a service (name with underscores) has set aside and nobody has dealt with yet, oldest first.

    `business_id`: that business's alone; `settled`: those that were dealt with instead. Raises Unavailable.
    """
    found = await _read_letters(broker, service)
    return [
        letter
        for letter in sorted(found.values(), key=lambda letter: letter.at_ms)
        if (letter.settled is not None) == settled and business_id in (None, letter.business_id)
    ]


async def get_letter(broker: BrokerSettings, service: str, identity: str) -> DeadLetter:
    """Get one letter with its bytes, dealt with or not. Raises NotFound, Unavailable."""
    letter = (await _read_letters(broker, service)).get(identity)
    if letter is None:
        raise NotFound(f"there is no dead letter {identity}")
    async with reading(broker, None) as reader:
        return await _with_bytes(reader, service, letter)


async def replay(
    broker: BrokerSettings, service: str, ids: Sequence[str] | None = None, *, business_id: UUID | None = None
) -> int:
    """Send letters (all open ones, or those named) back: same topic, partition, key, bytes, headers, and `replayed`.

    Raises NotFound for an id that is not open, Conflict for one whose bytes were too long to be kept, Unavailable.
    """
    letters = _chosen(await list_letters(broker, service, business_id=business_id), ids)
    for letter in letters:
        if letter.cut is not None:
            message = f"{letter.id} has {letter.cut} bytes, too many to be kept; the record is on {letter.topic} alone"
            raise Conflict(message, "letter_cut")
    if not letters:
        return 0
    async with _sending(broker) as producer, reading(broker, None) as reader:
        for each in letters:
            letter = await _with_bytes(reader, service, each)
            headers = [(name, content) for name, content in letter.headers if name != REPLAYED]
            await producer.send_and_wait(
                letter.topic,
                letter.value,
                letter.key,
                letter.partition,
                headers=[*headers, (REPLAYED, letter.id.encode())],
            )
            failpoints.reach(f"{service}.replay.sent")
            await _settle(producer, service, letter.id, "replayed", "")
    return len(letters)


async def drop(broker: BrokerSettings, service: str, ids: Sequence[str], why: str) -> int:
    """Give letters up, noting why. Raises NotFound for an id that is not open, Unavailable."""
    letters = _chosen(await list_letters(broker, service), ids)
    async with _sending(broker) as producer:
        for letter in letters:
            await _settle(producer, service, letter.id, "dropped", why)
    return len(letters)


def _chosen(letters: Sequence[DeadLetter], ids: Sequence[str] | None) -> list[DeadLetter]:
    if ids is None:
        return list(letters)
    by_id = {letter.id: letter for letter in letters}
    missing = [identity for identity in ids if identity not in by_id]
    if missing:
        raise NotFound(f"no open dead letter {', '.join(missing)}; list shows those that are open")
    return [by_id[identity] for identity in dict.fromkeys(ids)]


async def _settle(producer: AIOKafkaProducer, service: str, identity: str, how: str, why: str) -> None:
    headers = [(SETTLES, identity.encode()), (WHY, why[:WHY_MAX].encode())]
    await producer.send_and_wait(dead_letter_topic(service), how.encode(), None, 0, headers=headers)


async def _read_letters(broker: BrokerSettings, service: str) -> dict[str, DeadLetter]:
    letters: dict[str, DeadLetter] = {}
    settled: dict[str, Settled] = {}
    async with reading(broker, None) as reader:
        async for record in _read_all(reader, await partitions_of(broker, [dead_letter_topic(service)])):
            if _is_letter(record):
                letter = _letter(record)
                letters[letter.id] = replace(letter, value=None)
            else:
                settled |= _settled(record)
    return {identity: replace(letter, settled=settled.get(identity)) for identity, letter in letters.items()}


def _settled(record: Record) -> dict[str, Settled]:
    headers = {name: (content or b"").decode(errors="replace") for name, content in record.headers}
    if SETTLES not in headers:
        return {}
    settled = Settled((record.value or b"").decode(errors="replace"), record.timestamp, headers.get(WHY, ""))
    return dict.fromkeys(headers[SETTLES].split(","), settled)


async def _read_all(reader: AIOKafkaConsumer, partitions: Sequence[TopicPartition]) -> AsyncIterator[Record]:
    reader.assign(partitions)
    begins = await reader.beginning_offsets(partitions)
    ends = await reader.end_offsets(partitions)
    for partition in partitions:
        reader.seek(partition, begins[partition])
    for partition in partitions:
        while await reader.position(partition) < ends[partition]:
            for found in (await reader.getmany(partition, timeout_ms=500)).values():
                for record in found:
                    yield record


async def _with_bytes(reader: AIOKafkaConsumer, service: str, letter: DeadLetter) -> DeadLetter:
    """Read a letter's record again, by its place. Raises NotFound where retention has taken it meanwhile."""
    number, _, offset = letter.id.partition(":")
    partition = TopicPartition(dead_letter_topic(service), int(number))
    reader.assign([partition])
    begins = await reader.beginning_offsets([partition])
    if begins[partition] > int(offset):
        raise NotFound(f"dead letter {letter.id} is older than its topic is kept")
    reader.seek(partition, int(offset))
    record = await reader.getone(partition)
    return replace(_letter(record), settled=letter.settled)


def _is_letter(record: Record) -> bool:
    return any(name == ORIGIN[0] for name, _ in record.headers)


def _letter(record: Record) -> DeadLetter:
    named = (*ORIGIN, CUT)
    origin = {name: (content or b"").decode(errors="replace") for name, content in record.headers if name in named}
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
        size=len(record.value or b""),
        value=record.value,
        headers=[(name, content) for name, content in sound_headers(record) if name not in named],
        cut=int(origin[CUT]) if CUT in origin else None,
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
