"""`test`: the static checks, then pytest with PostgreSQL and Kafka that are thrown away afterwards."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from cli import images, output
from cli.place import ROOT, Working, read_json
from libs.embedded import processes
from libs.embedded.kafka import KafkaServer
from libs.embedded.postgres import PostgresServer

PREFIX = "activities-test-"
FAULTS = "about 15 minutes more"
BESIDE = "tests/e2e"
SHOW_S = 0.5
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


def run(arguments: Sequence[str], faults: bool, containers: bool, apart: bool) -> int:
    """Return pytest's code, or that of the first check that fails. With arguments the checks are left out.

    `apart`: the end-to-end tests alone, each against a process for each service behind the gateway.
    """
    if not arguments and not apart and not _check():
        return 1
    command = [sys.executable, "-m", "pytest", *arguments]
    if apart and not arguments:
        command.append(BESIDE)
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
            return _run_both([*command, *SLOWEST], surroundings)
        return subprocess.run(command, cwd=ROOT, env=surroundings, check=False).returncode


def _run_both(command: Sequence[str], surroundings: Mapping[str, str]) -> int:
    """Run the end-to-end tests beside the others, since they wait more than they work; their words follow at the end.

    Return the code of the first that failed.
    """
    output.say(f"{BESIDE} runs beside the others and is shown after them")
    with tempfile.TemporaryFile() as words:
        beside = subprocess.Popen(
            [*command, BESIDE, "-o", "cache_dir=.pytest_cache/e2e"],
            cwd=ROOT, env=surroundings, stdin=subprocess.DEVNULL, stdout=words, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            code = subprocess.run([*command, "tests", f"--ignore={BESIDE}"], cwd=ROOT, env=surroundings, check=False)
            _show(beside, words.fileno())
        finally:
            if beside.poll() is None:
                beside.send_signal(signal.SIGINT)
                beside.wait()
    return code.returncode or beside.returncode


def _show(running: subprocess.Popen[bytes], words: int) -> None:
    """Write what a process has written to a file, until it ends."""
    shown = 0
    while True:
        ended = running.poll() is not None
        while part := os.pread(words, 1 << 16, shown):
            shown += len(part)
            sys.stdout.buffer.write(part)
            sys.stdout.flush()
        if ended:
            return
        time.sleep(SHOW_S)


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
