"""The whole system in processes of its own, on servers of the tests, so that it can be killed and started again.

With `ACTIVITIES_APART=1` every test runs against a process for each service behind the gateway that `up --apart` has.
"""

import asyncio
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest

from cli import fleet
from cli.fleet import GATEWAY, Part
from libs.access.keys import generate_key
from libs.embedded import processes
from libs.embedded.kafka import KafkaServer
from libs.embedded.postgres import PostgresServer

ROOT = Path(__file__).resolve().parents[2]
READY_S = 180.0
STOP_S = 90.0
APART = os.environ.get("ACTIVITIES_APART") == "1"
BOTH_WAYS = [
    pytest.param(APART, id="apart" if APART else "together"),
    *([] if APART else [pytest.param(True, id="apart")]),
]
"""For fixtures whose tests run both ways every time: `params=BOTH_WAYS`, and `System(…, apart=request.param)`."""
ONE_WAY = pytest.mark.parametrize("system", BOTH_WAYS[:1], indirect=True, scope="module")
"""For tests to which it makes no difference, or that take long: together, and apart by `./activities test --apart`."""


@dataclass
class Servers:
    """PostgreSQL and Kafka of one test run, in a directory that is thrown away."""

    directory: Path
    kafka_properties: str = ""
    postgres: PostgresServer = field(init=False)
    kafka: KafkaServer = field(init=False)

    def __post_init__(self) -> None:
        self.postgres = PostgresServer(self.directory / "postgres", throwaway=True)
        self.kafka = KafkaServer(self.directory / "kafka", more=self.kafka_properties)

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

    @property
    def patient(self) -> dict[str, str]:
        """The headers of one who waits for a `min_version` on a slow machine too."""
        return {**self.headers, "Prefer": "wait=30"}


class System:
    """All services (or those named) in one child process, or apart; `kill` and `start` as often as a test likes.

    `root` holds the code: ours, or that of another release. `replicas` says how many processes of a service there are
    (and that they are apart); with a `KAFKA_INSTANCE` in `extra` each has one of its own.
    """

    def __init__(
        self, servers: Servers, *, name: str = "all", extra: Mapping[str, str] | None = None, root: Path = ROOT,
        apart: bool | None = None, replicas: Mapping[str, int] | None = None,
    ) -> None:  # fmt: skip
        chosen = apart if apart is not None else APART and name == "all" and root == ROOT
        self.apart = chosen or replicas is not None
        self.servers = servers
        self.root = root
        self.name = name
        self.port = _free_port(servers.directory)
        self.url = f"http://127.0.0.1:{self.port}"
        self.operator_key = generate_key("operator").text
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
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
        # not below pytest's own directory: another run of pytest closes that to the account that nginx runs as
        self.gateway = Path(tempfile.gettempdir()) / f"activities-gateway-{self.port}"
        self.parts = self._plan(replicas or {})

    def _plan(self, replicas: Mapping[str, int]) -> list[Part]:
        if not self.apart:
            return [Part(self.name, self.name, self.port, ("run", self.name, "--port", str(self.port)), {})]
        instance = self.environment.get("KAFKA_INSTANCE")
        parts = fleet.apart(
            self.port, replicas, self.gateway, instance or "", lambda name: _free_port(self.servers.directory)
        )
        if instance:
            return parts
        return [replace(part, more={k: v for k, v in part.more.items() if k != "KAFKA_INSTANCE"}) for part in parts]

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `python -m services …` to its end."""
        return subprocess.run(
            [sys.executable, "-m", "services", *arguments],
            cwd=self.root, env=self.environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    async def prepare(self) -> None:
        """Migrate and make topics."""
        await self.do("prepare")

    async def do(self, name: str, *services: str) -> None:
        """Run a command to its end, for several services at once."""
        doing = [asyncio.to_thread(self.command, name, each) for each in services]
        for done in await asyncio.gather(*(doing or [asyncio.to_thread(self.command, name)])):
            assert done.returncode == 0, done.stderr

    async def start(self, failpoints: str = "") -> None:
        """Start what does not run, and anew what the failpoints are about; wait until all of it is ready."""
        for part in self.parts:
            if self.running(part.name):
                if not f",{failpoints}".count(f",{part.service.replace('-', '_')}."):
                    continue
                await self.kill(part.name)
            self._spawn(part, failpoints)
        try:
            await self.until_ready()
        except BaseException:
            await self.kill()
            raise

    def _spawn(self, part: Part, failpoints: str = "") -> None:
        with self.log.open("ab") as log:
            self.processes[part.name] = subprocess.Popen(
                [sys.executable, "-m", "services", *part.arguments], cwd=self.root, stdout=log, stderr=log,
                env={**self.environment, **part.more, "ACTIVITIES_FAILPOINTS": failpoints},
            )  # fmt: skip

    async def until_ready(self) -> None:
        async with httpx.AsyncClient(base_url=self.url, timeout=5) as client:
            await eventually(lambda: self._ready(client), READY_S, "the system is ready", self.tail)

    async def _ready(self, client: httpx.AsyncClient) -> bool:
        codes = [process.poll() for process in self.processes.values()]
        if any(code not in (None, -signal.SIGKILL) for code in codes):
            raise AssertionError(f"a process ended: {codes}\n{self.tail()}")
        if -signal.SIGKILL in codes:
            return True
        try:
            return (await client.get("/readyz")).status_code == 200
        except httpx.TransportError:
            return False

    def tail(self, size: int = 4_000) -> str:
        """The end of the processes' log."""
        return self.log.read_bytes()[-size:].decode(errors="replace")

    def _of(self, name: str | None) -> list[subprocess.Popen[bytes]]:
        """The processes that are meant: of a service, one of them (`ingest-1`), or all. The gateway is the first."""
        found = [
            self.processes[part.name]
            for part in reversed(self.parts)
            if part.name in self.processes and name in (None, part.name, part.service)
        ]
        return found if found or name is None or self.apart else self._of(None)

    def running(self, name: str | None = None) -> bool:
        """Say whether all of it (or all processes of a service) run."""
        found = self._of(name)
        return bool(found) and all(process.poll() is None for process in found)

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The process at the system's port: all services, or the gateway."""
        return self.processes.get(self.parts[-1].name)

    @process.setter
    def process(self, started: subprocess.Popen[bytes]) -> None:
        self.processes[self.parts[-1].name] = started

    def codes(self, name: str | None = None) -> list[int | None]:
        """With which codes the processes ended; None for one that runs."""
        return [process.poll() for process in self._of(name)]

    def signal(self, number: int, name: str | None = None) -> None:
        for process in self._of(name):
            process.send_signal(number)

    async def ended(self, seconds: float, name: str | None = None) -> list[int]:
        """Wait until the processes have ended, and return their codes. Raises TimeoutExpired."""
        return [await asyncio.to_thread(process.wait, seconds) for process in self._of(name)]

    async def kill(self, name: str | None = None) -> None:
        """End it (or the processes of a service) at once, as a crash would."""
        for process in self._of(name):
            process.kill()
        for process in self._of(name):
            await asyncio.to_thread(process.wait)

    async def stop(self) -> None:
        """End it cleanly: the gateway first, then the services."""
        for gateway in (True, False):
            ending = [each for name, each in self.processes.items() if (name == GATEWAY) is gateway]
            for process in ending:
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)
            try:
                for process in ending:
                    await asyncio.to_thread(process.wait, STOP_S)
            except subprocess.TimeoutExpired:
                await self.kill()
                raise
        self.processes.clear()
        shutil.rmtree(self.gateway, ignore_errors=True)

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

        await eventually(known, 60, "every service knows the key", self.tail)
        return business


@contextmanager
def thrown_away(name: str) -> Iterator[Path]:
    """Give a directory that the servers' account can reach, and remove it afterwards.

    Not one of pytest's: a second run of pytest closes their common parent to that account.
    """
    with tempfile.TemporaryDirectory(prefix=f"activities-{name}-", ignore_cleanup_errors=True) as text:
        directory = Path(text)
        directory.chmod(0o755)
        yield directory


@asynccontextmanager
async def running_servers(directory: Path, kafka_properties: str = "") -> AsyncIterator[Servers]:
    """Start PostgreSQL and Kafka and stop them again."""
    servers = Servers(directory, kafka_properties)
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


def _free_port(directory: Path) -> int:
    """Choose a port that the kernel does not give to outgoing connections meanwhile."""
    return processes.choose_ports(directory / f"{secrets.token_hex(4)}.port", 1)[0]
