"""Kafka for tests: topics of their own, and reading what came."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from libs.contracts.activity import ActivityEvent
from libs.contracts.ids import uuid7
from libs.contracts.topics import BY_NAME, BY_TYPE, Topic, dead_letter_topic
from libs.messaging.broker import BrokerSettings, Record

PARTITIONS = 2
DEADLINE_S = 60.0


@dataclass(frozen=True, slots=True)
class Place:
    """A topic of one test, its event type, the service that sets aside, and the group that hears."""

    topic: str
    service: str
    broker: BrokerSettings

    @property
    def dead(self) -> str:
        """Name the topic of the dead letters."""
        return dead_letter_topic(self.service)

    @property
    def group(self) -> str:
        """Name the group."""
        return self.service


def broker_settings() -> BrokerSettings:
    """Say where the tests' Kafka is."""
    return BrokerSettings(os.environ["TEST_KAFKA"], partitions=PARTITIONS, session_timeout_ms=6_000)


@asynccontextmanager
async def fresh_topic() -> AsyncIterator[Place]:
    """Give a topic with a type of its own (the activity event's shape), and one for its dead letters."""
    name = f"test_{uuid7().hex[-12:]}"
    broker = replace(broker_settings(), publish_timeout_s=5.0)
    place = Place(f"{name}.happened", name, broker)
    topic = Topic(place.topic, ActivityEvent, (place.topic,), 1)
    BY_NAME[place.topic] = BY_TYPE[place.topic] = topic
    async with admin(broker) as client:
        sizes = {"max.message.bytes": str(broker.message_max_bytes)}
        names = (place.topic, place.dead)
        response = await client.create_topics([NewTopic(name, PARTITIONS, 1, topic_configs=sizes) for name in names])
        assert not [error for error in response.topic_errors if error[1]]
        try:
            yield place
        finally:
            del BY_NAME[place.topic], BY_TYPE[place.topic]
            await client.delete_topics([place.topic, place.dead])


@asynccontextmanager
async def admin(broker: BrokerSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    """Give an admin client."""
    client = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def producing(broker: BrokerSettings) -> AsyncIterator[AIOKafkaProducer]:
    """Give a producer."""
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def read_until(place: Place, topic: str, enough: Callable[[Sequence[Record]], bool]) -> list[Record]:
    """Read a topic from its beginning until there is enough; by partition in log order."""
    reader = AIOKafkaConsumer(
        bootstrap_servers=place.broker.bootstrap_servers, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await reader.start()
    try:
        reader.assign([TopicPartition(topic, partition) for partition in range(PARTITIONS)])
        records: list[Record] = []
        deadline = time.monotonic() + DEADLINE_S
        while not enough(records):
            assert time.monotonic() < deadline, f"{topic}: only {len(records)} records came"
            for found in (await reader.getmany(timeout_ms=100)).values():
                records += found
        return records
    finally:
        await reader.stop()


async def eventually(true: Callable[[], bool | Awaitable[bool]], what: str) -> None:
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        result = true()
        if await result if isinstance(result, Awaitable) else result:
            return
        assert time.monotonic() < deadline, f"never happened: {what}"
        await asyncio.sleep(0.02)
