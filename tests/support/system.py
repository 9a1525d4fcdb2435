"""The whole system in one process of its own, on servers of the tests, so that it can be killed and started again."""

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from libs.access.keys import generate_key
from libs.embedded.kafka import KafkaServer
from libs.embedded.postgres import PostgresServer

ROOT = Path(__file__).resolve().parents[2]
READY_S = 60.0
STOP_S = 30.0


@dataclass
class Servers:
    """PostgreSQL and Kafka of one test run, in a directory that is thrown away."""

    directory: Path
    postgres: PostgresServer = field(init=False)
    kafka: KafkaServer = field(init=False)

    def __post_init__(self) -> None:
        self.postgres = PostgresServer(self.directory / "postgres", throwaway=True)
        self.kafka = KafkaServer(self.directory / "kafka")

    async def start(self) -> None:
        await asyncio.gather(asyncio.to_thread(self.postgres.start), asyncio.to_thread(self.kafka.start))

    async def stop(self) -> None:
        await asyncio.gather(asyncio.to_thread(self.postgres.stop), asyncio.to_thread(self.kafka.stop))


@dataclass(frozen=True)
class Business:
    """A business of the running system with its keys."""

    id: str
    api_key: str
    user_id: str

    @property
    def headers(self) -> dict[str, str]:
        return {"X-API-KEY": self.api_key, "X-BUSINESS-ID": self.id, "X-USER-ID": self.user_id}


class System:
    """All services (or those named) in one child process; `kill` and `start` as often as a test likes.

    `root` holds the code: ours, or that of another release.
    """

    def __init__(
        self, servers: Servers, *, name: str = "all", extra: Mapping[str, str] | None = None, root: Path = ROOT
    ) -> None:
        self.servers = servers
        self.root = root
        self.name = name
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.operator_key = generate_key("operator").text
        self.process: subprocess.Popen[bytes] | None = None
        self.log = servers.directory / f"system-{self.port}.log"
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(root),
            "DATABASE_URL": servers.postgres.admin_url,
            "KAFKA_BOOTSTRAP_SERVERS": servers.kafka.bootstrap_servers,
            "DATABASE_ROLES_SECRET": "secret-of-the-tests",
            "OPERATOR_KEY": self.operator_key,
            "WEBHOOK_MASTER_KEY": "master-key-of-the-tests",
            "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8,::1/128",
            "WEBHOOK_ALLOW_HTTP": "1",
            "WEBHOOK_ANY_PORT": "1",
            "LOG_LEVEL": "warning",
            **(extra or {}),
        }

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `python -m services …` to its end."""
        return subprocess.run(
            [sys.executable, "-m", "services", *arguments],
            cwd=self.root, env=self.environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    async def prepare(self) -> None:
        """Migrate and make topics."""
        done = await asyncio.to_thread(self.command, "prepare")
        assert done.returncode == 0, done.stderr

    async def start(self, failpoints: str = "") -> None:
        """Start the process and wait until it is ready."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services", "run", self.name, "--port", str(self.port)],
                cwd=self.root, env={**self.environment, "ACTIVITIES_FAILPOINTS": failpoints}, stdout=log, stderr=log,
            )  # fmt: skip
        await self.until_ready()

    async def until_ready(self) -> None:
        async with httpx.AsyncClient(base_url=self.url, timeout=5) as client:
            await eventually(lambda: self._ready(client), READY_S, "the system is ready", self.tail)

    async def _ready(self, client: httpx.AsyncClient) -> bool:
        assert self.process is not None
        if self.process.poll() is not None and self.process.returncode != -signal.SIGKILL:
            raise AssertionError(f"the process ended with {self.process.returncode}:\n{self.tail()}")
        if self.process.poll() is not None:
            return True
        try:
            return (await client.get("/readyz")).status_code == 200
        except httpx.TransportError:
            return False

    def tail(self, size: int = 4_000) -> str:
        """The end of the process's log."""
        return self.log.read_bytes()[-size:].decode(errors="replace")

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def kill(self) -> None:
        """End it at once, as a crash would."""
        assert self.process is not None
        self.process.kill()
        await asyncio.to_thread(self.process.wait)

    async def stop(self) -> None:
        """End it cleanly."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            try:
                await asyncio.to_thread(self.process.wait, STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise
        self.process = None

    async def make_business(self, client: httpx.AsyncClient, zone: str = "Europe/Berlin") -> Business:
        """Make a business and wait until every service knows its key."""
        answer = await client.post(
            f"{self.url}/api/directory/businesses",
            headers={"X-API-KEY": self.operator_key},
            json={"name": f"Business {secrets.token_hex(3)}", "zone": zone},
        )
        assert answer.status_code == 201, answer.text
        made = answer.json()
        business = Business(made["id"], made["api_key"], made["user_id"])

        async def known() -> bool:
            return (await client.get(f"{self.url}/readyz", headers={"X-API-KEY": business.api_key})).status_code == 200

        await eventually(known, 20, "every service knows the key", self.tail)
        return business


@asynccontextmanager
async def running_servers(directory: Path) -> AsyncIterator[Servers]:
    """Start PostgreSQL and Kafka and stop them again."""
    servers = Servers(directory)
    await servers.start()
    try:
        yield servers
    finally:
        await servers.stop()


async def eventually(holds: object, seconds: float, what: str, more: object = None) -> None:
    """Wait until `holds()` is true, at most `seconds`; then fail saying what was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        if await holds():  # type: ignore[operator]
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}\n{more() if callable(more) else ''}")
        await asyncio.sleep(0.03)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
