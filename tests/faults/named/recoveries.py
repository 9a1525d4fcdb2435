"""What operators do when it has come to the worst: topics from zero, rebuilt projections, a restored backup."""

import asyncio
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.structs import TopicPartition

from cli.check import groups, surroundings
from libs.embedded.postgres import PostgresServer, find_binaries
from libs.messaging import admin
from libs.messaging.broker import BrokerSettings
from tests.faults.named import fault
from tests.faults.rig import Rig
from tests.support.system import eventually

PROJECTIONS = ("timeline-projector", "reporting")
GROUP_FREE_S = 40.0


async def _rewind(rig: Rig, group: str, topics: list[str]) -> None:
    broker = BrokerSettings(rig.installation.kafka.bootstrap_servers)

    async def rewound() -> bool:
        try:
            await admin.rewind(broker, group, topics)
        except admin.GroupBusy:
            await asyncio.sleep(1)
            return False
        return True

    await eventually(rewound, GROUP_FREE_S, f"the group {group} has no members")


@fault("topics-from-zero", "every group hears its topics again from the beginning: nothing changes, nobody is told")
async def topics_from_zero(rig: Rig) -> None:
    with surroundings(rig.installation.direct):
        heard = groups()
    await rig.installation.stop_all()
    for group, topics in heard.items():
        await _rewind(rig, group, list(topics))
    await rig.installation.start_all()


@fault("projections-rebuilt", "timeline and reports are emptied and hear everything again")
async def projections_rebuilt(rig: Rig) -> None:
    await rig.installation.stop_all()
    for name in PROJECTIONS:
        done = await rig.installation.command("rebuild", name)
        assert done.returncode == 0, done.stderr
    await rig.installation.start_all()


@fault("retention-gap", "retention was shorter than an outage: the projection stops loudly, and is rebuilt", "alone")
async def retention_gap(rig: Rig) -> None:
    """Only a projection that runs by itself can be away; in one process all of them are."""
    place = rig.installation
    await place.process_of("reporting").stop()
    await asyncio.sleep(3)
    broker = BrokerSettings(place.kafka.bootstrap_servers)
    partitions = await admin.partitions_of(broker, ["activity.created", "activity.completed", "activity.changed"])
    async with admin.reading(broker, None) as reader:
        ends = await reader.end_offsets(partitions)
    client = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    await client.start()
    try:
        await client.delete_records(
            {TopicPartition(*each): RecordsToDelete(before_offset=end) for each, end in ends.items() if end}
        )
    finally:
        await client.close()
    await place.process_of("reporting").start()

    async def loud() -> bool:
        return any("rebuild" in problem for problem in await place.problems())

    await eventually(loud, 30, "reporting says that it has to be rebuilt")
    await place.stop_all()
    for name in PROJECTIONS:
        done = await place.command("rebuild", name)
        assert done.returncode == 0, done.stderr
    for name in ("directory", "lifecycle"):
        done = await place.command("republish", name)
        assert done.returncode == 0, done.stderr
    await place.start_all()


@fault("backup-restored", "a backup is restored into another cluster while services are down; outboxes go on", "alone")
async def backup_restored(rig: Rig) -> None:
    place = rig.installation
    await place.stop_all()
    binaries = find_binaries()
    dump = place.directory / "backup.sql"
    dumping = [str(binaries / "pg_dumpall"), "-d", place.postgres.admin_url, "-f", str(dump)]
    password = (place.directory / "postgres" / "password").read_text()
    await asyncio.to_thread(_run, dumping, {"PGPASSWORD": password.strip()})
    other = PostgresServer(place.directory / "restored", throwaway=True)
    await asyncio.to_thread(other.start)
    psql = [str(binaries / "psql"), "-q", "-d"]
    own, kept = other.admin_url, place.directory / "restored" / "password"
    await asyncio.to_thread(_run, [*psql, own, "-c", f"alter role postgres password '{password.strip()}'"])
    restored = own.replace(f":{kept.read_text().strip()}@", f":{password.strip()}@")
    await asyncio.to_thread(_run, [*psql, restored, "-f", str(dump)])
    kept.write_text(password)
    await asyncio.to_thread(place.postgres.stop)
    place.postgres = other
    Path(dump).unlink()
    await place.start_all()
    for name in ("directory", "lifecycle"):
        done = await place.command("republish", name)
        assert done.returncode == 0, done.stderr


def _run(command: list[str], more: Mapping[str, str] | None = None) -> None:
    environment = {**os.environ, **(more or {})}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
