"""The system that is measured: one of our own, or one that runs already."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from bench.processes import Group, children_of
from cli import http, status
from cli.place import ROOT, Place, Trouble
from libs.embedded import processes

UNLIMITED = {"RATE_REQUESTS_PER_S": "1000000", "RATE_BURST": "1000000"}
"""One business alone sends more than a business may by default."""
UP_S, DOWN_S, READY_S = 300.0, 120.0, 60.0


@dataclass(frozen=True)
class Tenant:
    """A business with its key, and where it is served."""

    url: str
    business_id: str
    api_key: str

    @property
    def headers(self) -> dict[str, str]:
        """Say who is calling."""
        return {"x-api-key": self.api_key}


@dataclass(frozen=True)
class System:
    """A system in a data directory. `own`: started by us, to be stopped and removed; `apart`: a process per service."""

    place: Place
    own: bool
    apart: bool = False

    @property
    def url(self) -> str:
        """Where it is served."""
        return str(status.credentials(self.place)["url"])

    def make_tenant(self, name: str) -> Tenant:
        """Make a business and wait until every service knows its key."""
        found, port = status.credentials(self.place), int(self.url.rpartition(":")[2])
        body = {"name": name, "zone": "UTC"}
        made = http.make(port, "/api/directory/businesses", found["operator_key"], body)
        if not processes.wait_until(lambda: http.is_ready(port, made["api_key"]), READY_S):
            raise Trouble(f"a new key is not known everywhere within {READY_S:g} s")
        return Tenant(found["url"], made["id"], made["api_key"])

    def groups(self) -> list[Group]:
        """Name the processes: ours, PostgreSQL, Kafka (those that are embedded); apart, each of ours besides."""
        found = {each["name"]: (each["pid"],) for each in status.status(self.place)["processes"]}
        if "gateway" in found:
            found["gateway"] += tuple(children_of(found["gateway"][0]))
        ours = Group("ours", tuple(pid for pids in found.values() for pid in pids))
        each = [Group(f"ours: {name}", pids) for name, pids in found.items()] if self.apart else []
        return [ours, *self.servers(), *each]

    def servers(self) -> list[Group]:
        """Name PostgreSQL and Kafka, those that are embedded."""
        found = (("PostgreSQL", self.place.postgres.pid, True), ("Kafka", self.place.kafka.pid, False))
        return [Group(name, (pid,), family) for name, pid, family in found if pid]

    def stop(self) -> None:
        """End everything of the data directory."""
        _activities("down", self.place, DOWN_S)

    def start_servers(self) -> None:
        """Start PostgreSQL and Kafka alone."""
        self.place.postgres.start()
        self.place.kafka.start()

    def database_url(self, database: str) -> str:
        """Address a database as its server's superuser."""
        return urlunsplit(urlsplit(self.place.database_url())._replace(path=f"/{database}"))


@contextmanager
def measured_system(data_dir: Path | None, apart: bool) -> Iterator[System]:
    """Give the system in `data_dir`, or start one and remove it afterwards. Raises Trouble when it does not run."""
    if data_dir is not None:
        place = Place(data_dir.absolute())
        system = System(place, own=False, apart=place.find("gateway") is not None)
        if not status.status(system.place)["ready"]:
            raise Trouble(f"nothing is ready in {data_dir}; ./activities up --detach --data-dir {data_dir} first")
        yield system
        return
    directory = Path(tempfile.mkdtemp(prefix="activities-bench-", dir="/var/tmp"))  # on a disk, not in memory
    directory.chmod(0o711)
    system = System(Place(directory), own=True, apart=apart)
    try:
        more = ["--apart"] if apart else []
        _activities("up", system.place, UP_S, "--detach", "--port", str(free_port()), *more)
        yield system
    finally:
        system.stop()
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def alone(
    system: System, service: str, tenant: Tenant, settings: Mapping[str, str] | None = None, count: int = 1
) -> Iterator[tuple[Tenant, list[Group]]]:
    """Stop a system of our own and run one service (or `all`) by itself on the same servers, with more `settings`.

    `count`: so many processes of it; the first is the one to ask.
    """
    system.stop()
    system.start_servers()
    with ExitStack() as running:
        served = [
            running.enter_context(_serve(system.place, service, {**(settings or {}), **instance}))
            for instance in ({}, *({"KAFKA_INSTANCE": f"more-{number}"} for number in range(1, count)))
        ]
        for _, port in served:
            if not processes.wait_until(partial(http.is_ready, port, tenant.api_key), READY_S):
                logs = f"{system.place.directory}/logs/{service}.log"
                raise Trouble(f"{service} alone is not ready within {READY_S:g} s; see {logs}")
        where = Tenant(f"http://127.0.0.1:{served[0][1]}", tenant.business_id, tenant.api_key)
        yield where, [Group("ours", tuple(pid for pid, _ in served)), *system.servers()]


@contextmanager
def _serve(place: Place, service: str, settings: Mapping[str, str]) -> Iterator[tuple[int, int]]:
    """Run a process of a service, and give its id and port."""
    port = free_port()
    log = processes.open_log(place.directory / "logs" / f"{service}.log")
    command = [sys.executable, "-m", "services", "run", service, "--port", str(port)]
    environment = {**place.environment(), **UNLIMITED, **settings}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        yield process.pid, port
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _activities(command: str, place: Place, seconds: float, *more: str) -> None:
    """Run a command of the launcher quietly. Raises Trouble with its last words."""
    whole = [sys.executable, "-m", "cli", command, "--data-dir", str(place.directory), *more]
    environment = {**os.environ, **UNLIMITED}
    done = subprocess.run(
        whole, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=seconds, check=False
    )
    if done.returncode:
        words = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise Trouble(f"activities {command} ended with code {done.returncode}:\n{words}")
