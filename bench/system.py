"""The system that is measured: one of our own, or one that runs already."""

import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.processes import Group
from cli import http, status
from cli.place import ROOT, Place, Trouble
from libs.embedded import processes

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
    """A system in a data directory. `own`: started by us, to be stopped and removed."""

    place: Place
    own: bool

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
        """Name the processes: ours, PostgreSQL, Kafka (those that are embedded)."""
        ours = tuple(process["pid"] for process in status.status(self.place)["processes"])
        servers = (("PostgreSQL", self.place.postgres.pid, True), ("Kafka", self.place.kafka.pid, False))
        return [Group("ours", ours), *(Group(name, (pid,), family) for name, pid, family in servers if pid)]

    def stop(self) -> None:
        """End everything of the data directory."""
        _activities("down", self.place, DOWN_S)


@contextmanager
def measured_system(data_dir: Path | None) -> Iterator[System]:
    """Give the system in `data_dir`, or start one and remove it afterwards. Raises Trouble when it does not run."""
    if data_dir is not None:
        system = System(Place(data_dir.absolute()), own=False)
        if not status.status(system.place)["ready"]:
            raise Trouble(f"nothing is ready in {data_dir}; ./activities up --detach --data-dir {data_dir} first")
        yield system
        return
    directory = Path(tempfile.mkdtemp(prefix="activities-bench-", dir="/var/tmp"))  # on a disk, not in memory
    directory.chmod(0o711)
    system = System(Place(directory), own=True)
    try:
        _activities("up", system.place, UP_S, "--detach", "--port", str(free_port()))
        yield system
    finally:
        system.stop()
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def ingest_alone(system: System, tenant: Tenant) -> Iterator[tuple[Tenant, list[Group]]]:
    """Stop the services of a system of our own and run ingest by itself on the same servers."""
    system.stop()
    place, port = system.place, free_port()
    place.postgres.start()
    place.kafka.start()
    log = processes.open_log(place.directory / "logs" / "ingest.log")
    command = [sys.executable, "-m", "services", "run", "ingest", "--port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, env=dict(place.environment()), stdout=log, stderr=log)
    try:
        if not processes.wait_until(lambda: http.is_ready(port, tenant.api_key), READY_S):
            raise Trouble(f"ingest alone is not ready within {READY_S:g} s; see {place.directory}/logs/ingest.log")
        servers = [group for group in system.groups() if group.name != "ours"]
        alone = Tenant(f"http://127.0.0.1:{port}", tenant.business_id, tenant.api_key)
        yield alone, [Group("ours", (process.pid,)), *servers]
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
    done = subprocess.run(whole, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False)
    if done.returncode:
        words = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise Trouble(f"activities {command} ended with code {done.returncode}:\n{words}")
