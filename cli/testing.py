"""`test`: the static checks, then pytest with PostgreSQL and Kafka that are thrown away afterwards."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cli import images, output
from cli.place import ROOT, Working, read_json
from libs.embedded import processes
from libs.embedded.kafka import KafkaServer
from libs.embedded.postgres import PostgresServer

PREFIX = "activities-test-"
FAULTS = "about 15 minutes more"
E2E = "tests/e2e"
ALONE = {"the plan of faults": ("faults",), "e2e, on servers of their own": ("health", "outages", "rebuild", "upgrade")}
"""End-to-end files that share nothing with the others."""
INTEGRATION_SHARES = 3
LOOK_S = 0.2
SLOWEST = ("--durations=15", "--durations-min=2")
"""What takes longest is named after a whole run, since its time is bounded."""
NOT_APART = {
    "tests/e2e/test_faults.py": "its installation is its own; apart: ./activities faults soak --apart",
}
"""What `--apart` leaves out, and why."""
CHECKS: dict[str, Sequence[str]] = {
    "format": ("ruff", "format", "--check", "."),
    "lint": ("ruff", "check", "."),
    "import contracts": ("lint-imports",),
    "types": ("mypy",),
}


@dataclass
class Share:
    """A run of pytest over some of the tests, and what it says."""

    name: str
    process: subprocess.Popen[bytes]
    words: IO[bytes]
    began: float
    seconds: float = 0.0


def run(arguments: Sequence[str], faults: bool, containers: bool, apart: bool) -> int:
    """Return pytest's code, or that of the first check that fails. With arguments the checks are left out.

    `apart`: the end-to-end tests alone, each against a process for each service behind the gateway.
    """
    if not arguments and not apart and not _check():
        return 1
    command = [sys.executable, "-m", "pytest", *arguments]
    if apart and not arguments:
        command.append(E2E)
        for path, reason in NOT_APART.items():
            output.say(f"left out: {path} ({reason})")
            command.append(f"--ignore={path}")
    command += [] if faults else ["-m", "not faults"] if "-m" not in arguments else []
    with _servers(containers) as servers:
        output.say(
            "tiers: unit, contracts, integration, e2e"
            + (f", faults {FAULTS}" if faults else f" (faults: with --faults, {FAULTS})")
        )
        surroundings = {**os.environ, **servers} | ({"ACTIVITIES_APART": "1"} if apart else {})
        if not arguments and not apart:
            return _run_all([*command, *SLOWEST], surroundings)
        return subprocess.run(command, cwd=ROOT, env=surroundings, check=False).returncode


def _run_all(command: Sequence[str], surroundings: Mapping[str, str]) -> int:
    """Run all shares, some beside others, since they wait nearly as much as they work; return the first bad code."""
    waiting, running, ended = deque(_shares()), list[Share](), list[Share]()
    at_once = len(os.sched_getaffinity(0)) + 1
    output.say(f"{len(waiting)} runs of pytest, {at_once} at a time; each is shown when it has ended")
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                running.append(_begin(*waiting.popleft(), command, surroundings))
            for share in [each for each in running if each.process.poll() is not None]:
                running.remove(share)
                ended.append(share)
                _show(share)
            time.sleep(LOOK_S)
    finally:
        for share in running:
            share.process.send_signal(signal.SIGINT)
        for share in running:
            share.process.wait()
    for share in ended:
        output.say(f"{share.name}: {'passed' if share.process.returncode == 0 else 'FAILED'} ({share.seconds:.0f} s)")
    return next((share.process.returncode for share in ended if share.process.returncode), 0)


def _shares() -> Iterator[tuple[str, Sequence[str]]]:
    """Deal out the tests to runs of pytest that take about as long, the longest first; each file is in one of them."""
    alone = {name: [f"tests/e2e/test_{each}.py" for each in files] for name, files in ALONE.items()}
    yield from alone.items()
    yield "e2e", ["tests/e2e", *(f"--ignore={path}" for paths in alone.values() for path in paths)]
    files = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "integration").glob("test_*.py"))
    for number in range(INTEGRATION_SHARES):
        yield f"integration, {number + 1} of {INTEGRATION_SHARES}", files[number::INTEGRATION_SHARES]
    yield "all others", ["tests", "--ignore=tests/e2e", "--ignore=tests/integration"]


def _begin(name: str, paths: Sequence[str], command: Sequence[str], surroundings: Mapping[str, str]) -> Share:
    words = tempfile.TemporaryFile()  # noqa: SIM115 closed when it is shown
    process = subprocess.Popen(
        [*command, *paths, "-o", f"cache_dir=.pytest_cache/{name.replace(' ', '-')}"],
        cwd=ROOT, env=surroundings, stdin=subprocess.DEVNULL, stdout=words, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return Share(name, process, words, time.monotonic())


def _show(share: Share) -> None:
    """Write what a share has said, which has ended."""
    share.seconds = time.monotonic() - share.began
    output.say(f"{share.name}:")
    with share.words as words:
        words.seek(0)
        shutil.copyfileobj(words, sys.stdout.buffer)
    sys.stdout.flush()


def _check() -> bool:
    """Run all static checks, so that one run shows everything; say which failed."""
    passed = True
    for name, (tool, *words) in CHECKS.items():
        began = time.monotonic()
        code = subprocess.run([Path(sys.executable).with_name(tool), *words], cwd=ROOT, check=False).returncode
        output.say(f"{name}: {'passed' if code == 0 else 'FAILED'} ({time.monotonic() - began:.1f} s)")
        passed = passed and code == 0
    return passed


@contextmanager
def _servers(containers: bool) -> Iterator[Mapping[str, str]]:
    """Give the addresses of the servers for the tests: those named in the environment, else new ones."""
    given = {name: os.environ[name] for name in ("TEST_DATABASE_URL", "TEST_KAFKA") if os.environ.get(name)}
    if len(given) == 2:
        output.say("using the servers named by TEST_DATABASE_URL and TEST_KAFKA")
        yield given
        return
    if containers:
        with images.servers() as found:
            yield {**found, **given}
        return
    _sweep()
    directory = Path(tempfile.mkdtemp(prefix=PREFIX))
    directory.chmod(0o711)
    own = Working.of(os.getpid(), 0)
    assert own is not None, "we are alive"
    processes.write_private(directory / "owner.json", f'{{"pid": {own.pid}, "ticks": {own.ticks}, "port": 0}}')
    postgres, kafka = PostgresServer(directory / "postgres", throwaway=True), KafkaServer(directory / "kafka")
    try:
        output.say("starting PostgreSQL and Kafka for the tests")
        with ThreadPoolExecutor() as pool:
            for started in [pool.submit(postgres.start), pool.submit(kafka.start)]:
                started.result()
        yield {"TEST_DATABASE_URL": postgres.admin_url, "TEST_KAFKA": kafka.bootstrap_servers, **given}
    finally:
        _throw_away(directory)


def _sweep() -> None:
    """Throw away what runs that were killed left behind."""
    for directory in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        kept = read_json(directory / "owner.json")
        if kept is not None and not Working(**kept).alive:
            output.say(f"removing {directory}, left behind by a test run that was killed")
            _throw_away(directory)


def _throw_away(directory: Path) -> None:
    for server in (KafkaServer(directory / "kafka"), PostgresServer(directory / "postgres")):
        server.kill()
    shutil.rmtree(directory, ignore_errors=True)
