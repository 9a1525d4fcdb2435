"""The data directory: where everything an installation keeps is, who works in it, its secrets."""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from libs.embedded import processes
from libs.embedded.kafka import KafkaServer
from libs.embedded.postgres import PostgresServer

ROOT = Path(__file__).resolve().parents[1]
FORMAT = 1  # of the data directory; PostgreSQL and Kafka keep their own versions beside their data
DISK_MIN_BYTES = 256 << 20  # an empty installation takes 150 MiB
DISK_AGAIN_MIN_BYTES = (
    64 << 20
)  # for one that is there: a segment of PostgreSQL's log and Kafka's indexes are written at once


class Trouble(Exception):
    """A command cannot do what it was asked; the message says why and what to do."""


@dataclass(frozen=True)
class Working:
    """A process of ours, by identity: an id alone may name a stranger by now."""

    pid: int
    ticks: int
    port: int

    @classmethod
    def of(cls, pid: int, port: int) -> "Working | None":
        """Take down a living process."""
        ticks = processes.start_ticks(pid)
        return None if ticks is None else cls(pid, ticks, port)

    @property
    def alive(self) -> bool:
        """Say whether it is still that process."""
        return processes.start_ticks(self.pid) == self.ticks


@dataclass(frozen=True)
class Place:
    """One data directory and the names of what is in it."""

    directory: Path

    @property
    def lock(self) -> Path:
        """Held by the supervisor as long as it lives."""
        return self.directory / "supervisor.lock"

    @property
    def credentials(self) -> Path:
        """Keys of the sample business, written once."""
        return self.directory / "credentials.json"

    @property
    def supervisor_log(self) -> Path:
        """What `up --detach` says."""
        return self.directory / "logs" / "supervisor.log"

    @property
    def postgres(self) -> PostgresServer:
        """PostgreSQL of our own."""
        return PostgresServer(self.directory / "postgres")

    @property
    def _secrets(self) -> Path:
        return self.directory / "secrets.json"

    @property
    def kafka(self) -> KafkaServer:
        """Kafka of our own."""
        return KafkaServer(self.directory / "kafka")

    def make(self) -> None:
        """Make the directory, private but passable for the servers' account. Raises Trouble where it cannot be used."""
        self.refuse_unusable()
        self.refuse_full_disk()
        processes.make_reachable(self.directory, processes.server_account())
        (self.directory / "logs").mkdir(mode=0o700, exist_ok=True)
        (self.directory / "format").write_text(f"{FORMAT}\n")

    def refuse_unusable(self) -> None:
        """Raise Trouble (or ServerFailed) where this process or the servers' account cannot work in the directory.

        Nothing is made: what does not exist yet is judged by the directory it would be made in.
        """
        nearest = self._nearest()
        if not nearest.is_dir():
            raise Trouble(f"{nearest} is not a directory; choose another --data-dir")
        if not os.access(nearest, os.W_OK | os.X_OK, effective_ids=True):
            raise Trouble(
                f"user {os.geteuid()} may not write in {nearest}, where the data directory is to be; choose another "
                f"--data-dir, or have it made for you: install -d -o {os.geteuid()} {self.directory}"
            )
        processes.refuse_barrier(self.directory, processes.server_account())
        with suppress(FileNotFoundError):
            kept = (self.directory / "format").read_text().strip()
            if kept != str(FORMAT):
                raise Trouble(
                    f"{self.directory} has format {kept} and was made by another release of activities; this one "
                    f"reads format {FORMAT}. Use that release or another --data-dir, or begin anew: ./activities reset"
                )

    def refuse_full_disk(self) -> None:
        """Raise Trouble when there is too little space to start with."""
        there = os.access(self._secrets, os.F_OK, effective_ids=True)
        needed = DISK_AGAIN_MIN_BYTES if there else DISK_MIN_BYTES
        if self.free_bytes() < needed:
            raise Trouble(
                f"{self._nearest()} has {self.free_bytes() >> 20:,} MiB free, at least {needed >> 20} MiB are needed "
                "to start; free some, or choose another --data-dir. What is stored already stays as it is"
            )

    def free_bytes(self) -> int:
        """Return how much can still be written where the directory is or will be."""
        return shutil.disk_usage(self._nearest()).free

    def _nearest(self) -> Path:
        """Return the directory, or the last one on the way to it that exists."""
        return next(
            path for path in (self.directory, *self.directory.parents) if os.access(path, os.F_OK, effective_ids=True)
        )

    def note(self, name: str, process: Working | None) -> None:
        """Write down who is the `supervisor`, runs the `services` or one of them; None: nobody."""
        path = self.directory / f"{name}.json"
        if process is None:
            path.unlink(missing_ok=True)
        else:
            processes.write_private(path, json.dumps(asdict(process)))

    def find(self, name: str) -> Working | None:
        """Return a living process by its name: `supervisor`, `services`, `gateway`, `ingest-1`; or None."""
        kept = read_json(self.directory / f"{name}.json")
        process = Working(**kept) if kept else None
        return process if process is not None and process.alive else None

    def front(self) -> Working | None:
        """Return the living process at whose port the installation is served: all services, or the gateway."""
        return self.find("gateway") or self.find("services")

    def working(self) -> dict[str, Working]:
        """Return all living processes that serve, by name; the gateway first."""
        apart = sorted(path.stem for path in self.directory.glob("*-[0-9].json"))
        found = {name: self.find(name) for name in ("gateway", "services", *apart)}
        return {name: process for name, process in found.items() if process is not None}

    def port_of(self, name: str) -> int:
        """Return the port kept for a process of that name; a new one is chosen when there is none, or it is taken."""
        return processes.choose_ports(self.directory / f"{name}.port", 1)[0]

    def secrets(self) -> dict[str, str]:
        """Return the installation's secrets; they are made the first time."""
        kept = read_json(self._secrets)
        if kept is None:
            from libs.access.keys import generate_key  # needed once in an installation's life

            kept = {
                "operator_key": generate_key("operator").text,
                "database_roles_secret": secrets.token_urlsafe(32),
                "webhook_master_key": secrets.token_urlsafe(32),
            }
            processes.write_private(self._secrets, json.dumps(kept, indent=2) + "\n")
        return kept

    def database_url(self) -> str:
        """Return the server's address: the one given by DATABASE_URL, else our own."""
        return os.environ.get("DATABASE_URL") or self.postgres.admin_url

    def bootstrap_servers(self) -> str:
        """Return Kafka's address: the one given by KAFKA_BOOTSTRAP_SERVERS, else our own."""
        return os.environ.get("KAFKA_BOOTSTRAP_SERVERS") or self.kafka.bootstrap_servers

    def environment(self) -> Mapping[str, str]:
        """Return the environment in which the services run."""
        kept = self.secrets()
        local = {
            "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8,::1/128",
            "WEBHOOK_ALLOW_HTTP": "1",
            "WEBHOOK_ANY_PORT": "1",
            "KAFKA_INSTANCE": "up",
        }
        return {
            **local,
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DATA_DIR": str(self.directory),
            "DATABASE_URL": self.database_url(),
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap_servers(),
            "OPERATOR_KEY": kept["operator_key"],
            "DATABASE_ROLES_SECRET": kept["database_roles_secret"],
            "WEBHOOK_MASTER_KEY": kept["webhook_master_key"],
        }

    def installed(self) -> Mapping[str, str]:
        """Return the environment of what is here already. Raises Trouble when `up` has not made it yet."""
        if not self._secrets.exists():
            raise Trouble(f"nothing is in {self.directory} yet; ./activities up makes it")
        return self.environment()


def find_place(data_dir: Path | None) -> Place:
    """Return the data directory that is meant.

    Without one named it is `.activities` beside the launcher; where the servers' account may not enter that (a
    checkout under /root), it is a directory in /var/lib/activities that belongs to this checkout.
    """
    if data_dir is not None:
        return Place(data_dir.absolute())
    beside = ROOT / ".activities"
    if processes.find_barrier(ROOT, processes.server_account()) is None:
        return Place(beside)
    return Place(Path("/var/lib/activities") / hashlib.sha256(str(ROOT).encode()).hexdigest()[:12])


def read_json(path: Path) -> dict[str, Any] | None:
    """Return what a small file of ours says, None when there is none or it is not whole."""
    with suppress(FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        found = json.loads(path.read_text())
        if isinstance(found, dict):
            return found
    return None


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a small file of ours, whole or not at all."""
    processes.write_private(path, json.dumps(content))
