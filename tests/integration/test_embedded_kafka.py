"""Kafka of our own: loses nothing when killed, is found again, runs only what was tested."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from libs.embedded import kafka, kafka_files, packages
from libs.embedded.kafka import QUICK_SESSION, KafkaServer
from libs.embedded.processes import ServerFailed


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaServer]:
    """A broker in a directory that the servers' account may enter."""
    directory = Path(tempfile.mkdtemp(prefix="activities-embedded-"))
    directory.chmod(0o711)
    made = KafkaServer(directory / "kafka", more=QUICK_SESSION)
    yield made
    made.stop()
    shutil.rmtree(directory)


@pytest.fixture
def server(broker: KafkaServer) -> KafkaServer:
    """It runs, whatever was done to it before."""
    broker.start()
    return broker


async def _write(server: KafkaServer, topic: str, count: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=server.bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 1, 1)])
    finally:
        await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=server.bootstrap_servers, acks="all") as producer:
        for number in range(count):
            await producer.send_and_wait(topic, str(number).encode())


async def _read(server: KafkaServer, topic: str, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=server.bootstrap_servers, auto_offset_reset="earliest")
    async with consumer, asyncio.timeout(30):
        return [(await consumer.getone()).value for _ in range(count)]


async def test_records_survive_a_kill(server: KafkaServer) -> None:
    await _write(server, "kept", 50)
    server.kill()
    assert server.pid is None
    await asyncio.to_thread(server.start)
    assert await _read(server, "kept", 50) == [str(number).encode() for number in range(50)]


async def test_running_broker_is_adopted(server: KafkaServer) -> None:
    other = KafkaServer(server.directory)
    await asyncio.to_thread(other.start)
    assert other.pid == server.pid
    assert other.bootstrap_servers == server.bootstrap_servers


async def test_stopped_broker_answers_no_more(server: KafkaServer) -> None:
    assert kafka.answers(server.bootstrap_servers)
    await asyncio.to_thread(server.stop)
    assert server.pid is None
    assert not kafka.answers(server.bootstrap_servers)


async def test_data_of_another_version_are_refused(server: KafkaServer) -> None:
    await asyncio.to_thread(server.stop)
    kept = server.directory / "kafka.version"
    kept.write_text("3.9.0\n")
    with pytest.raises(ServerFailed, match=r"made by Kafka 3\.9\.0"):
        await asyncio.to_thread(server.start)
    kept.write_text(kafka_files.VERSION)


def test_wrong_checksum_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one.jar").write_bytes(b"changed on the way")
    with pytest.raises(ServerFailed, match=r"one\.jar has SHA-256"):
        kafka_files.compare(tmp_path, {"one.jar": "0" * 64})


def test_missing_and_unexpected_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "two.jar").write_bytes(b"")
    with pytest.raises(ServerFailed, match=r"one\.jar is missing; two\.jar is not expected"):
        kafka_files.compare(tmp_path, {"one.jar": "0" * 64})


def test_cached_program_is_the_one_that_was_tested() -> None:
    program = kafka_files.find_program(packages.cache_directory())
    kafka_files.compare(program.jars[0].parent, kafka_files.read_checksums(kafka_files.CHECKSUMS))
