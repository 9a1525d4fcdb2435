"""PostgreSQL and Kafka of their own, each behind proxies, and the services as one process or one each."""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import asyncpg

from libs.embedded.kafka import QUICK_SESSION, KafkaServer
from libs.embedded.postgres import PostgresServer
from services.__main__ import NAMES
from tests.faults.proxy import Proxy
from tests.faults.receivers import Receivers
from tests.support.system import ROOT, Business, Servers, System, eventually

PACKAGES = tuple(name.replace("-", "_") for name in NAMES)
SETTINGS = {
    "WEBHOOK_SCHEDULE_S": "[0.5,0.5,1,1,2,2,4,4,8,8,8,8]",
    "WEBHOOK_TIMEOUT_S": "3",
    "WEBHOOK_CONNECT_TIMEOUT_S": "2",
    "WEBHOOK_LEASE_EXTRA_S": "2",
    "KAFKA_INSTANCE": "faults",
}
PREFIXES = {
    "ingest": "ingest",
    "v1": "lifecycle",
    "activities": "lifecycle",
    "timeline": "timeline-projector",
    "grid": "timeline-projector",
    "interactions": "timeline-projector",
    "calendar": "timeline-projector",
    "reports": "reporting",
    "webhooks": "webhook-dispatcher",
    "directory": "directory",
}
KNOWN_S = 60.0
HEALTHY_S = 120.0


class ProxiedKafka(KafkaServer):
    """A broker that tells its clients the proxy's port."""

    proxy_port = 0

    def _write_properties(self) -> Path:
        path = super()._write_properties()
        own = f"advertised.listeners=PLAINTEXT://{self.bootstrap_servers}"
        text = path.read_text()
        assert own in text
        path.write_text(text.replace(own, f"advertised.listeners=PLAINTEXT://127.0.0.1:{self.proxy_port}"))
        return path

    @property
    def broker_port(self) -> int:
        """Where it really listens."""
        return int(self.bootstrap_servers.rpartition(":")[2])


class Process(System):
    """Services in a process that may be started with a planted bug."""

    planted: str | None = None

    async def start(self, failpoints: str = "") -> None:
        """Start and wait until it is ready, or has been killed by a failpoint."""
        own = {"ACTIVITIES_FAILPOINTS": failpoints, "ACTIVITIES_PLANTED": self.planted or ""}
        module = "tests.faults.process" if self.planted else "services"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, "run", self.name, "--port", str(self.port)],
                cwd=self.root, env={**self.environment, **own}, stdout=log, stderr=log,
            )  # fmt: skip
        await self.until_ready()


class Installation:
    """Everything that a fault can act on. `apart`: a process per service."""

    def __init__(self, directory: Path, *, apart: bool = False, extra: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        self.apart = apart
        self.servers = Servers(directory)
        self.kafka = ProxiedKafka(directory / "kafka", more=QUICK_SESSION)
        self.servers.kafka = self.kafka
        self.kafka_proxy = Proxy(lambda: self.kafka.broker_port)
        self.postgres_proxies = {package: Proxy(lambda: self.postgres.port) for package in PACKAGES}
        self.sink = Receivers()
        self.sink_proxy = Proxy(lambda: self.sink.port)
        self.processes: dict[str, Process] = {}
        self.doing = ""
        self.counts = {"kills": 0, "interruptions": 0, "broker": 0}
        self._extra = {**SETTINGS, **(extra or {})}
        self._session: aiohttp.ClientSession | None = None
        self._listening: asyncio.Server | None = None

    @property
    def postgres(self) -> PostgresServer:
        """The database server in use; a restored one takes its place."""
        return self.servers.postgres

    @postgres.setter
    def postgres(self, server: PostgresServer) -> None:
        self.servers.postgres = server

    @property
    def session(self) -> aiohttp.ClientSession:
        """The HTTP client of load and checker."""
        assert self._session is not None
        return self._session

    @property
    def proxies(self) -> list[Proxy]:
        """All of them."""
        return [self.kafka_proxy, *self.postgres_proxies.values(), self.sink_proxy]

    @property
    def direct(self) -> dict[str, str]:
        """The environment for commands and checks, around the proxies of PostgreSQL."""
        some = self.process_of("ingest").environment
        own = {f"{package.upper()}_DATABASE_URL" for package in PACKAGES}
        return {name: value for name, value in some.items() if name not in own} | {
            "DATABASE_URL": self.postgres.admin_url
        }

    def url(self, path: str) -> str:
        """Name the address of a route: that of its service's process."""
        words = path.lstrip("/").split("/")
        name = PREFIXES.get(words[1] if words[0] == "api" else words[0].partition("?")[0], "directory")
        process = self.processes[name if self.apart else "all"]
        return f"{process.url}{path}"

    def process_of(self, package: str) -> Process:
        """Name the process that a service runs in."""
        return self.processes[package.replace("_", "-") if self.apart else "all"]

    async def open(self) -> None:
        """Start servers and proxies, migrate, start the services."""
        await self.kafka_proxy.start()
        self.kafka.proxy_port = self.kafka_proxy.port
        await self.servers.start()
        await self.sql("alter role all set synchronous_commit = on")  # else the tests' server forgets when killed
        for proxy in (*self.postgres_proxies.values(), self.sink_proxy):
            await proxy.start()
        self._listening = await asyncio.start_server(self.sink._serve, "127.0.0.1", 0, backlog=512)
        self.sink.port = self._listening.sockets[0].getsockname()[1]
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=6), connector=aiohttp.TCPConnector(limit=0, force_close=False)
        )
        names = NAMES if self.apart else ("all",)
        operator_key = None
        for name in names:
            process = Process(self.servers, name=name, extra=self._environment())
            operator_key = operator_key or process.operator_key
            process.operator_key = process.environment["OPERATOR_KEY"] = operator_key
            self.processes[name] = process
        prepared = await self.command("prepare")
        assert prepared.returncode == 0, prepared.stderr
        await self.start_all()

    def _environment(self) -> dict[str, str]:
        own = {f"{package.upper()}_DATABASE_URL": self._through(package) for package in PACKAGES}
        return {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{self.kafka_proxy.port}", **own, **self._extra}

    def _through(self, package: str) -> str:
        parts = urlsplit(self.postgres.admin_url)
        login = parts.netloc.rpartition("@")[0]
        place = f"{login}@127.0.0.1:{self.postgres_proxies[package].port}"
        return urlunsplit(parts._replace(netloc=place, path=f"/activities_{package}"))

    async def start_all(self) -> None:
        """Start what does not run."""
        await asyncio.gather(*(each.start() for each in self.processes.values() if not each.running()))

    async def stop_all(self) -> None:
        """Stop every process in order."""
        await asyncio.gather(*(process.stop() for process in self.processes.values()))

    async def close(self) -> None:
        """End everything."""
        if self._session is not None:
            await self._session.close()
        for process in self.processes.values():
            if process.running():
                process.signal(signal.SIGCONT)
                await process.kill()
        for proxy in self.proxies:
            proxy.clear()
            await proxy.stop()
        if self._listening is not None:
            self._listening.close()
        for task in self.sink._open:
            task.cancel()
        await asyncio.gather(*self.sink._open, return_exceptions=True)
        await asyncio.to_thread(self.kafka.kill)
        await asyncio.to_thread(self.postgres.kill)

    async def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run `python -m services …` to its end, around the proxies."""
        return await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "services", *arguments],
            cwd=ROOT, env=self.direct, capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip

    async def sql(self, statement: str, database: str = "postgres") -> str:
        """Run a statement as the superuser, around the proxies."""
        address = urlsplit(self.postgres.admin_url)._replace(path=f"/{database}")
        connection = await asyncpg.connect(urlunsplit(address), timeout=20)
        try:
            return await connection.execute(statement)
        finally:
            await connection.close()

    async def make_businesses(self, count: int) -> list[Business]:
        """Make businesses and wait until every process knows their keys."""
        made = []
        key = next(iter(self.processes.values())).operator_key
        for _ in range(count):
            async with self.session.post(
                self.url("/api/directory/businesses"),
                headers={"X-API-KEY": key},
                json={"name": f"Business {secrets.token_hex(3)}", "zone": "Europe/Berlin"},
            ) as answer:
                assert answer.status == 201, await answer.text()
                found = await answer.json()
            made.append(Business(found["id"], found["api_key"], found["user_id"]))

        async def known() -> bool:
            return all([await self._answers("/readyz", each, 200) for each in made])

        await eventually(known, KNOWN_S, "every service knows the keys")
        return made

    async def _answers(self, path: str, business: Business, status: int) -> bool:
        for process in self.processes.values():
            async with self.session.get(process.url + path, headers={"X-API-KEY": business.api_key}) as answer:
                if answer.status != status:
                    return False
        return True

    async def problems(self) -> list[str]:
        """List what /healthz of every process says."""
        found: list[str] = []
        for process in self.processes.values():
            try:
                async with self.session.get(f"{process.url}/healthz") as answer:
                    services = (await answer.json())["services"]
                    found += [text for texts in services.values() for text in texts]
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                found.append(f"{process.name}: {type(error).__name__}: {error}")
        return found

    async def until_healthy(self, within_s: float = HEALTHY_S) -> None:
        """Wait until no service says that anything is wrong."""
        last: list[str] = []

        async def healthy() -> bool:
            nonlocal last
            last = await self.problems()
            return not last

        await eventually(healthy, within_s, "all services say that all is well", lambda: last)

    def logs(self) -> Sequence[Path]:
        """The log files of the processes."""
        return [process.log for process in self.processes.values()]

    async def heal(self) -> None:
        """Undo whatever may still be broken: weather, servers, processes, receivers."""
        for proxy in self.proxies:
            proxy.clear()
        self.sink.manner = Receivers().manner
        for process in self.processes.values():
            if process.running():
                process.signal(signal.SIGCONT)
        await self.servers.start()
        await self.start_all()


@asynccontextmanager
async def installed(directory: Path, *, apart: bool = False) -> AsyncIterator[Installation]:
    """Open an installation in an empty directory, and end it."""
    directory.mkdir(parents=True, exist_ok=True)
    os.chmod(directory, 0o755)  # the servers run as an account of their own
    installation = Installation(directory, apart=apart)
    try:
        await installation.open()
        yield installation
    finally:
        await installation.close()
