"""A partition that has lost its leader, with two real brokers: its events wait, all others go on."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from libs.contracts.activity import ActivityEvent
from libs.contracts.ids import key_of, partition_of, uuid7
from libs.contracts.topics import BY_TYPE, Topic
from libs.database import Database
from libs.embedded import processes
from libs.embedded.kafka import KafkaServer
from libs.embedded.kafka_files import Program
from libs.messaging.broker import BrokerSettings
from libs.messaging.outbox import Outgoing, append
from tests.support.kafka import eventually
from tests.support.relays import relaying
from tests.support.system import thrown_away

MakeDatabase = Callable[[str], Awaitable[Database]]
BUSINESS = uuid7()
TOPIC = "leaderless.happened"
BY_BROKER = {0: [1], 1: [2]}


class Second(KafkaServer):
    """A broker in the cluster of another."""

    first: KafkaServer

    def _write_properties(self) -> Path:
        path = super()._write_properties()
        _, controller = (self.directory / "ports").read_text().split()
        lead = (self.first.directory / "ports").read_text().split()[1]
        text = path.read_text().replace("process.roles=broker,controller\nnode.id=1", "process.roles=broker\nnode.id=2")
        text = text.replace(f"voters=1@127.0.0.1:{controller}", f"voters=1@127.0.0.1:{lead}")
        path.write_text(text.replace(f",CONTROLLER://127.0.0.1:{controller}", "", 1))
        assert "node.id=2" in path.read_text()
        return path

    def _format(self, program: Program, properties: Path) -> None:
        if not (self._home / "logs" / "meta.properties").exists():
            lines = (self.first._home / "logs" / "meta.properties").read_text().splitlines()
            cluster = next(line.partition("=")[2] for line in lines if line.startswith("cluster.id="))
            tool = [
                "-cp",
                program.class_path,
                "kafka.tools.StorageTool",
                "format",
                "-t",
                cluster,
                "-c",
                str(properties),
            ]
            processes.run([str(program.java), *tool], 60.0, self._account)


@pytest.fixture
async def brokers() -> AsyncIterator[tuple[KafkaServer, KafkaServer]]:
    with thrown_away("leaderless") as directory:
        first, second = KafkaServer(directory / "first"), Second(directory / "second")
        second.first = first
        try:
            await asyncio.to_thread(first.start)
            await asyncio.to_thread(second.start)
            yield first, second
        finally:
            await asyncio.to_thread(second.kill)
            await asyncio.to_thread(first.kill)


@pytest.fixture
def topic() -> Iterator[Topic]:
    BY_TYPE[TOPIC] = Topic(TOPIC, ActivityEvent, (TOPIC,), 1)
    yield BY_TYPE[TOPIC]
    del BY_TYPE[TOPIC]


def subject_on(partition: int) -> UUID:
    return next(one for one in iter(uuid7, None) if partition_of(key_of(BUSINESS, one), len(BY_BROKER)) == partition)


async def test_partition_without_a_leader_holds_up_no_other_and_keeps_its_order(
    make_database: MakeDatabase, brokers: tuple[KafkaServer, KafkaServer], topic: Topic
) -> None:
    first, second = brokers
    database = await make_database("probe")
    broker = BrokerSettings(first.bootstrap_servers, partitions=2, publish_timeout_s=2.0)
    client = AIOKafkaAdminClient(bootstrap_servers=first.bootstrap_servers)
    await client.start()
    made = await client.create_topics([NewTopic(TOPIC, -1, -1, replica_assignments=BY_BROKER)])
    await client.close()
    assert not [error for error in made.topic_errors if error[1]], made
    here, there = subject_on(0), subject_on(1)
    reader = AIOKafkaConsumer(bootstrap_servers=first.bootstrap_servers, auto_offset_reset="earliest")
    await reader.start()
    reader.assign([TopicPartition(TOPIC, partition) for partition in BY_BROKER])
    heard: dict[int, list[bytes]] = {partition: [] for partition in BY_BROKER}

    async def write(*versions: int) -> None:
        for version in versions:
            async with database.work() as tx:
                await append(tx, [Outgoing((TOPIC,), key_of(BUSINESS, one), b"{}", version) for one in (here, there)])

    async def until(partition: int, versions: list[bytes]) -> None:
        async def there_too() -> bool:
            for place, records in (await reader.getmany(timeout_ms=50)).items():
                for record in records:
                    version = dict(record.headers)["ce_version"]
                    if version not in heard[place.partition]:  # at least once
                        heard[place.partition].append(version)
            return heard[partition] == versions

        await eventually(there_too, f"partition {partition} has {versions}")

    try:
        async with relaying(database, broker) as relay:
            await write(1)
            await until(0, [b"1"])
            await until(1, [b"1"])
            await asyncio.to_thread(second.kill)
            await write(2, 3)
            await until(0, [b"1", b"2", b"3"])
            said = f"relay: partition {TOPIC}/1 takes no events (no acknowledgement within 2 s)"
            await eventually(lambda: said in " ".join(relay.problems()), "it is said")
        async with relaying(database, broker) as relay:  # another process goes on holding it back
            await write(4)
            await until(0, [b"1", b"2", b"3", b"4"])
            await asyncio.to_thread(second.start)
            await write(5)
            await until(1, [b"1", b"2", b"3", b"4", b"5"])
            await eventually(lambda: not relay.problems(), "no problem is left")
    finally:
        await reader.stop()
    assert heard[0] == heard[1]
