"""The ground for the figures: PostgreSQL, Kafka, workers and a sink in processes of their own, endpoints, events."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from bench.postgres import make_wal_files
from bench.processes import Group
from bench.system import free_port
from cli.place import ROOT, Trouble
from libs.database import Database, Urls, migrations
from libs.embedded import processes
from libs.embedded.kafka import KafkaServer
from libs.embedded.postgres import PostgresServer
from libs.messaging import admin
from libs.messaging.broker import BrokerSettings, spare_logs
from services import NAMES

PACKAGE, NAME = "webhook_dispatcher", "webhook-dispatcher"
MASTER_KEY, ROLES_SECRET = "master-key-of-the-bench", "secret-of-the-bench"
READY_S, LOOK_S = 60.0, 0.02
Line = tuple[float, int, str, str, str]


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
    others: list[subprocess.Popen[bytes]] = field(default_factory=list)

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
        self.sink, self.sink_port = self._start_sink()

    def start_other_sink(self) -> str:
        """Start a receiver beside it, whose work does not hold that one up; return its URL."""
        process, port = self._start_sink()
        self.others.append(process)
        return f"http://127.0.0.1:{port}"

    def _start_sink(self) -> tuple[subprocess.Popen[bytes], int]:
        port = free_port()
        process = subprocess.Popen([sys.executable, "-m", "bench.webhooks.sink", str(port)], cwd=ROOT)
        if not processes.wait_until(lambda: self._answers(f"http://127.0.0.1:{port}/-/count"), READY_S):
            raise Trouble("the sink does not answer")
        return process, port

    @contextmanager
    def beside(self, module: str, *arguments: str) -> Iterator[None]:
        """Run a module of the bench beside everything; it gets the sink's port and says when it is ready."""
        command = [sys.executable, "-m", module, *arguments, str(self.sink_port)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout is not None
                if not process.stdout.readline():
                    raise Trouble(f"{module} has ended")
                yield
            finally:
                process.kill()

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
        """Name a URL of the sink; one of another receiver is one already."""
        return path if path.startswith("http") else f"http://127.0.0.1:{self.sink_port}{path}"

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
        await make_wal_files(ground.postgres.admin_url)
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
        for sink in (ground.sink, *ground.others):
            if sink is not None:
                sink.kill()
                sink.wait()
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


async def statements_of(ground: Ground, *, without: str = "") -> float:
    """Tell how many statements the service has made so far (`begin` and `commit` are some), but not those that match
    the regular expression `without`; NaN: not counted."""
    admin_ = await asyncpg.connect(ground.postgres.admin_url)
    try:
        return float(
            await admin_.fetchval(
                """select sum(s.calls) from pg_stat_statements s join pg_roles r on r.oid = s.userid
                    where r.rolname in ('webhook_dispatcher_worker', 'webhook_dispatcher_routes')
                      and ($1 = '' or s.query !~* $1)""",
                without,
            )
            or 0
        )
    except asyncpg.UndefinedTableError:
        return float("nan")
    finally:
        await admin_.close()
