"""The ground for the figures: PostgreSQL, Kafka, workers and a sink in processes of their own, endpoints, events."""

import asyncio
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from bench.processes import Group
from bench.system import free_port
from cli.place import ROOT, Trouble
from libs.contracts import activity as contract
from libs.contracts.decoding import decoder_of, struct_of
from libs.contracts.ids import key_of, uuid7
from libs.database import Database, Urls, migrations
from libs.embedded import processes
from libs.embedded.kafka import KafkaServer
from libs.embedded.postgres import PostgresServer
from libs.messaging import admin
from libs.messaging.broker import BrokerSettings, spare_logs
from libs.messaging.publisher import Publisher
from services import NAMES
from services.webhook_dispatcher import signing
from services.webhook_dispatcher.domain.bodies import body_of
from services.webhook_dispatcher.sealing import Sealer
from services.webhook_dispatcher.store import endpoints, queue
from services.webhook_dispatcher.store.endpoints import EndpointState
from services.webhook_dispatcher.store.queue import Owed, OwedEvent

PACKAGE, NAME = "webhook_dispatcher", "webhook-dispatcher"
MASTER_KEY, ROLES_SECRET = "master-key-of-the-bench", "secret-of-the-bench"
READY_S, LOOK_S = 60.0, 0.02
NOTES = "Spoke about the renewal, the open claim and the documents still missing; call back next week."
SLICE = 1_000
Line = tuple[float, int, str, str, str]
_decode = decoder_of(contract.ActivityEvent)


@dataclass(frozen=True)
class Tenant:
    """A business as the store wants it."""

    business_id: UUID


@dataclass
class Ground:
    """Everything that runs. `workers` are processes of the service."""

    directory: Path
    postgres: PostgresServer
    kafka: KafkaServer
    sink_port: int = 0
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    sink: subprocess.Popen[bytes] | None = None

    @property
    def broker(self) -> BrokerSettings:
        """Where Kafka is."""
        return BrokerSettings(self.kafka.bootstrap_servers)

    @property
    def urls(self) -> Urls:
        """Where the database is."""
        return Urls.on_server(PACKAGE, self.postgres.admin_url, ROLES_SECRET)

    def environment(self, instance: int) -> Mapping[str, str]:
        """Return what a worker runs with."""
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DATABASE_URL": self.postgres.admin_url,
            "DATABASE_ROLES_SECRET": ROLES_SECRET,
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            "KAFKA_INSTANCE": f"bench-{instance}",
            "WEBHOOK_MASTER_KEY": MASTER_KEY,
            "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
            "WEBHOOK_ALLOW_HTTP": "1",
            "WEBHOOK_ANY_PORT": "1",
            "LOG_LEVEL": os.environ.get("BENCH_LOG_LEVEL", "warning"),
        }

    def start_sink(self) -> None:
        """Start the receiver."""
        self.sink_port = free_port()
        self.sink = subprocess.Popen([sys.executable, "-m", "bench.webhooks.sink", str(self.sink_port)], cwd=ROOT)
        if not processes.wait_until(lambda: self._answers(f"http://127.0.0.1:{self.sink_port}/-/count"), READY_S):
            raise Trouble("the sink does not answer")

    def start_worker(self, settings: Mapping[str, str] | None = None, *, wait: bool = True) -> int:
        """Start a worker; return its number."""
        number, port = len(self.workers), free_port()
        with (self.directory / f"worker-{number}.log").open("ab") as log:
            command = [sys.executable, *PROFILER, "-m", "services", "run", NAME, "--port", str(port)]
            environment = {**self.environment(number), **(settings or {})}
            self.workers.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log))
        self.ports.append(port)
        if wait and not processes.wait_until(lambda: self._answers(self.health(number)), READY_S):
            raise Trouble(f"worker {number} is not ready; see {self.directory}/worker-{number}.log")
        return number

    def health(self, number: int) -> str:
        """Name the page that answers 200 when a worker makes progress."""
        return f"http://127.0.0.1:{self.ports[number]}/healthz/{NAME}"

    def end_worker(self, number: int, how: signal.Signals = signal.SIGTERM) -> None:
        """End a worker and wait for it."""
        process = self.workers[number]
        if process.poll() is None:
            process.send_signal(how)
            process.wait(40)

    def end_workers(self) -> None:
        """End all that run."""
        for number in range(len(self.workers)):
            self.end_worker(number)

    def groups(self) -> list[Group]:
        """Name the processes: the service, PostgreSQL, Kafka, the sink."""
        assert self.sink is not None
        living = tuple(each.pid for each in self.workers if each.poll() is None)
        servers = [Group(name, (pid,), family) for name, pid, family in (
            ("PostgreSQL", self.postgres.pid, True), ("Kafka", self.kafka.pid, False)) if pid]  # fmt: skip
        return [Group("the service", living), *servers, Group("the sink", (self.sink.pid,))]

    def url(self, path: str) -> str:
        """Name a URL of the sink."""
        return f"http://127.0.0.1:{self.sink_port}{path}"

    async def ask_sink(self, what: str) -> bytes:
        """Ask the sink for `count`, `log` or `clear`."""
        return await asyncio.to_thread(_get, self.url(f"/-/{what}"))

    async def log(self) -> list[Line]:
        """Return what the sink has noted: moment, status, webhook id, activity, path."""
        lines = (line.split(" ") for line in (await self.ask_sink("log")).decode().splitlines())
        return [(float(at), int(status), identity, activity, path) for at, status, identity, activity, path in lines]

    async def received(self, count: int, within_s: float) -> None:
        """Wait until the sink has noted so many. Raises Trouble."""
        deadline = time.monotonic() + within_s
        while (found := int(await self.ask_sink("count"))) < count:
            if time.monotonic() > deadline:
                raise Trouble(f"{found} of {count} webhooks arrived within {within_s:g} s; logs: {self.directory}")
            await asyncio.sleep(LOOK_S)

    @staticmethod
    def _answers(url: str) -> bool:
        try:
            _get(url)
        except (OSError, urllib.error.HTTPError):
            return False
        return True


PROFILER: tuple[str, ...] = tuple(os.environ.get("BENCH_PROFILER", "").split())


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 - ours
        return bytes(answer.read())


@asynccontextmanager
async def prepared(keep: bool = False) -> AsyncIterator[tuple[Ground, Database]]:
    """Start servers and a sink, migrate; end and remove all of it afterwards."""
    spare_logs()
    directory = Path(tempfile.mkdtemp(prefix="activities-webhooks-", dir="/var/tmp"))  # on a disk, not in memory
    directory.chmod(0o711)  # noqa: ASYNC240 - once
    ground = Ground(directory, PostgresServer(directory / "postgres"), KafkaServer(directory / "kafka"))
    try:
        await asyncio.gather(asyncio.to_thread(ground.postgres.start), asyncio.to_thread(ground.kafka.start))
        await count_statements(ground)
        await migrations.migrate(ground.urls, migrations.folders_of(PACKAGE))
        await admin.create_topics(ground.broker, NAMES)
        ground.start_sink()
        database = Database(ground.urls)
        await database.open()
        try:
            yield ground, database
        finally:
            await database.close()
    finally:
        await asyncio.to_thread(ground.end_workers)
        if ground.sink is not None:
            ground.sink.kill()
            ground.sink.wait()
        await asyncio.gather(asyncio.to_thread(ground.kafka.stop), asyncio.to_thread(ground.postgres.stop))
        if not keep:
            shutil.rmtree(directory, ignore_errors=True)


async def count_statements(ground: Ground) -> None:
    """Have PostgreSQL count statements; without its contributed modules they are not counted."""
    admin_ = await asyncpg.connect(ground.postgres.admin_url)
    try:
        found = await admin_.fetchval("select count(*) from pg_available_extensions where name = 'pg_stat_statements'")
        if not found:
            return
        await admin_.execute("alter system set shared_preload_libraries = 'pg_stat_statements'")
    finally:
        await admin_.close()
    await asyncio.to_thread(ground.postgres.stop)
    await asyncio.to_thread(ground.postgres.start)
    admin_ = await asyncpg.connect(ground.postgres.admin_url)
    await admin_.execute("create extension pg_stat_statements")
    await admin_.close()


async def statements_of(ground: Ground) -> float:
    """Tell how many statements the service has made so far (`begin` and `commit` are some); NaN: not counted."""
    admin_ = await asyncpg.connect(ground.postgres.admin_url)
    try:
        return float(
            await admin_.fetchval(
                """select sum(s.calls) from pg_stat_statements s join pg_roles r on r.oid = s.userid
                    where r.rolname in ('webhook_dispatcher_worker', 'webhook_dispatcher_routes')"""
            )
            or 0
        )
    except asyncpg.UndefinedTableError:
        return float("nan")
    finally:
        await admin_.close()


async def make_endpoints(ground: Ground, database: Database, tenant: Tenant, paths: Sequence[str]) -> list[UUID]:
    """Make an endpoint for each of these paths of the sink; it hears everything."""
    sealer, made = Sealer(MASTER_KEY), []
    for path in paths:
        id_, key = uuid7(), secrets.token_bytes(signing.SECRET_BYTES)
        state = EndpointState(ground.url(path), "", ("activity.logged",), (), (), "active")
        async with database.transaction(tenant) as tx:
            await endpoints.insert_endpoint(tx, tenant.business_id, id_, state)
            sealed = sealer.seal(key, tenant.business_id, id_)
            await endpoints.insert_secret(tx, tenant.business_id, id_, (uuid7(), sealed))
        made.append(id_)
    return made


async def retire(database: Database) -> None:
    """Have no endpoint left and nothing owed."""
    async with database.work() as tx:
        await tx.execute("update endpoint set status = 'disabled', deleted_at = now() where deleted_at is null")
        await tx.execute("update delivery set status = 'cancelled', next_at = null where status = 'pending'")


def make_row(business_id: UUID, number: int) -> dict[str, Any]:
    """Make an outbox row of an activity that was logged now; about 600 bytes of webhook come of it."""
    at, activity_id = datetime.now(UTC), uuid7()
    activity = struct_of(contract.Activity)(
        business_id=business_id, activity_id=activity_id, version=1, type="call", type_id=uuid7(), type_name="Call",
        at=at, created_at=at, recorded_at=at, occurred_at=at, logged_at=at, subject="Renewal call", notes=NOTES,
        source="bench", source_ref=f"webhooks-{number}",
    )  # fmt: skip
    event = struct_of(contract.ActivityEvent)(
        activity=activity, change=struct_of(contract.Change)(type="activity.completed")
    )
    value = msgspec.json.encode(event, enc_hook=lambda shape: shape.model_dump())
    row = dict.fromkeys(("topic", "event_id", "header_names", "header_values"))
    key = key_of(business_id, activity_id)
    return row | {
        "id": number, "types": "activity.completed", "key": key, "value": value, "version": 1, "of": str(activity_id),
    }  # fmt: skip


async def publish(ground: Ground, rows: Sequence[dict[str, Any]]) -> None:
    """Put events on their topic, as lifecycle's relay does, 500 at a time."""
    publisher = Publisher("lifecycle", ground.broker)
    for start in range(0, len(rows), 500):
        await publisher.publish(rows[start : start + 500])
    await publisher.close()


async def owe(database: Database, tenant: Tenant, endpoint_ids: Sequence[UUID], count: int) -> None:
    """Owe so many deliveries, to these endpoints in turn, all at once."""
    async with database.work() as tx:
        for start in range(0, count, SLICE):
            owed = [
                _owed(make_row(tenant.business_id, n), endpoint_ids[n % len(endpoint_ids)], tenant)
                for n in range(start, min(start + SLICE, count))
            ]
            await queue.insert_deliveries(tx, owed, 0.0)


def _owed(row: Mapping[str, Any], endpoint_id: UUID, tenant: Tenant) -> Owed:
    event: Any = _decode(row["value"])
    activity = event.activity
    told = OwedEvent(
        tenant.business_id, uuid7(), "activity.logged", activity.activity_id, 1, activity.logged_at,
        body_of(event, "activity.logged"),
    )  # fmt: skip
    return Owed(uuid7(), endpoint_id, told)


async def all_noted(database: Database, within_s: float) -> None:
    """Wait until nothing is pending any more. Raises Trouble."""
    deadline = time.monotonic() + within_s
    while True:
        async with database.work() as tx:
            if not await tx.value("select exists (select from delivery where status = 'pending')"):
                return
        if time.monotonic() > deadline:
            raise Trouble(f"deliveries are pending still after {within_s:g} s")
        await asyncio.sleep(LOOK_S)
