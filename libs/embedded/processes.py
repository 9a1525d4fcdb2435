"""Processes by identity: which one is ours, who may own it, how it is ended. A stranger is never signalled."""

import fcntl
import logging
import os
import pwd
import secrets
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger("libs.embedded")

POLL_S = 0.02
LOG_BYTES_MAX = 16 * 1024 * 1024


class ServerFailed(Exception):
    """An embedded server cannot be started or stopped; the message says why and what to do."""


@dataclass(frozen=True)
class Account:
    """The account a server runs as."""

    name: str
    uid: int
    gid: int


def server_account() -> Account | None:
    """Return the unprivileged account for servers when we are root; None when we are not: they run as we do."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise ServerFailed("no account 'postgres' or 'nobody' to run servers as; PostgreSQL refuses to run as root")


def find_barrier(directory: Path, account: Account | None) -> Path | None:
    """Return the first directory on the way to `directory` that `account` may not enter, or None."""
    if account is None:
        return None
    path = directory.absolute()
    for parent in [*reversed(path.parents), path]:
        if not parent.exists():
            return None
        found = parent.stat()
        bit = stat.S_IXOTH
        if found.st_uid == account.uid:
            bit = stat.S_IXUSR
        elif found.st_gid == account.gid:
            bit = stat.S_IXGRP
        if not found.st_mode & bit:
            return parent
    return None


def make_reachable(directory: Path, account: Account | None) -> None:
    """Make `directory`; raise ServerFailed when `account` could not enter it."""
    directory.mkdir(mode=0o711, parents=True, exist_ok=True)
    refuse_barrier(directory, account)


def refuse_barrier(directory: Path, account: Account | None) -> None:
    """Raise ServerFailed when `account` may not enter `directory` or what exists on the way to it."""
    barrier = find_barrier(directory, account)
    if barrier is not None and account is not None:
        raise ServerFailed(
            f"the account '{account.name}', which runs the servers, may not enter {barrier} "
            f"(on the way to {directory}); choose another --data-dir, for example /var/lib/activities, "
            f"or allow it: chmod o+x {barrier}"
        )


def make_owned(directory: Path, account: Account | None) -> None:
    """Make `directory` private to `account` (to ourselves when None)."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if account is not None:
        os.chown(directory, account.uid, account.gid)


def write_private(path: Path, text: str) -> None:
    """Write a file only we can read, whole or not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)


def open_log(path: Path) -> int:
    """Open a log for appending and return its descriptor; a long one is kept aside as `.1` first."""
    with suppress(FileNotFoundError):
        if path.stat().st_size > LOG_BYTES_MAX:
            path.rename(path.with_name(path.name + ".1"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)


def read_tail(path: Path, lines: int = 15) -> str:
    """Return the last lines of a log, for an error message."""
    with suppress(FileNotFoundError):
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    return "(no log)"


def start_ticks(pid: int) -> int | None:
    """Return when a living process began, in clock ticks since boot; None when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def memory_mib(pid: int) -> float:
    """Return the memory a process holds (resident, shared pages counted with each), 0 when it is gone."""
    with suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
    return 0.0


def works_in(pid: int, directory: Path, name: str) -> bool:
    """Say whether a living process is called `name` and has `directory` as its own: an id used again does not."""
    with suppress(OSError):
        process = Path(f"/proc/{pid}")
        return (process / "cwd").readlink() == directory.resolve() and (process / "comm").read_text().strip() == name
    return False


def find_in(directory: Path, name: str) -> list[int]:
    """Return the living processes called `name` that have `directory` as their own, lowest id first."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return sorted(pid for pid in pids if works_in(pid, directory, name))


def spawn(command: Sequence[str], directory: Path, log_path: Path, account: Account | None) -> subprocess.Popen[bytes]:
    """Start a server in a session of its own, so that a Ctrl-C meant for us does not reach it."""
    out = open_log(log_path)
    try:
        return subprocess.Popen(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    finally:
        os.close(out)


def run(command: Sequence[str], seconds: float, account: Account | None) -> None:
    """Run a tool to its end; raise ServerFailed with its words when it fails or takes too long."""
    try:
        done = subprocess.run(
            command,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            umask=0o022,  # what a tool fetches is read by the servers' account, too
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    except subprocess.TimeoutExpired as error:
        raise ServerFailed(f"{command[0]} did not end within {seconds:.0f} s") from error
    except OSError as error:
        raise ServerFailed(f"{command[0]} cannot be run: {error}") from error
    if done.returncode != 0:
        words = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise ServerFailed(f"{command[0]} failed with code {done.returncode}:\n{words}")


def release(process: subprocess.Popen[bytes]) -> None:
    """Let a started server outlive the object that started it: from now on it is found by its directory."""
    process.returncode = 0


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Ask until `condition` holds or the time is over; return whether it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def end(pid: int, steps: Sequence[tuple[signal.Signals, float]]) -> None:
    """Send each signal in turn, waiting its seconds, until the process is gone; its identity is checked before each."""
    began = start_ticks(pid)
    for number, seconds in steps:
        if began is None or start_ticks(pid) != began:
            return
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        if wait_until(lambda: reap(pid) or start_ticks(pid) != began, seconds):
            return
    raise ServerFailed(f"process {pid} does not end, even when killed; see `ps -p {pid} -o stat,wchan,cmd`")


def reap(pid: int) -> bool:
    """Collect a child of ours that has ended; False when it lives or is not our child."""
    with suppress(ChildProcessError):
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    return False


def is_free(port: int) -> bool:
    """Say whether a port of 127.0.0.1 can be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def find_free_port() -> int:
    """Return a free port below the range the kernel gives to outgoing connections: it is still free next time."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        if is_free(port):
            return port


def choose_ports(path: Path, count: int) -> list[int]:
    """Return the ports kept in `path` when all are free, else new ones, which are kept."""
    with suppress(FileNotFoundError, ValueError):
        kept = [int(word) for word in path.read_text().split()]
        if len(kept) == count and all(is_free(port) for port in kept):
            return kept
    chosen: set[int] = set()
    while len(chosen) < count:
        chosen.add(find_free_port())
    path.write_text(" ".join(map(str, sorted(chosen))) + "\n")
    return sorted(chosen)


@contextmanager
def locked(path: Path, seconds: float) -> Iterator[None]:
    """Hold a file lock, so that two of us at once do not spoil what it guards."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not wait_until(lambda: _try_lock(descriptor), seconds):
            raise ServerFailed(f"somebody else has held {path} for {seconds:.0f} s; end that process and try again")
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
