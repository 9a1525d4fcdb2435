"""The processes of an installation: all services in one, or one or several of each behind a gateway."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cli import output
from cli.place import ROOT, Place, Trouble, Working
from libs.embedded import processes
from services import NAMES

STOP_S = 25.0
DRAIN_S = 3.0
"""How long a process that is restarted still answers: longer than the gateway keeps an unused connection to it."""
REPLICAS_MAX = 8
WAIT_S, WAIT_MAX_S = 0.5, 15.0
STEADY_S = 60.0
GATEWAY, TOGETHER = "gateway", "services"


@dataclass(frozen=True)
class Part:
    """One process: what it is called, what it runs and with which variables besides those of all."""

    name: str
    service: str
    port: int
    arguments: Sequence[str]
    more: Mapping[str, str]

    @property
    def called(self) -> str:
        """Name it in a sentence."""
        return "the services" if self.name == TOGETHER else self.name


def together(port: int) -> list[Part]:
    """Plan all services in one process."""
    return [Part(TOGETHER, "all", port, ("run", "all", "--port", str(port)), {})]


def apart(
    port: int, replicas: Mapping[str, int], directory: Path, instance: str, choose: Callable[[str], int]
) -> list[Part]:
    """Plan a process, or several, of each service, directory first, and the gateway on `port` last.

    `choose` gives each its port by its name. The first of each service has the instance of all services in one
    process, so that its partitions are at home in either.
    """
    parts = []
    for service in NAMES:
        for number in range(1, replicas.get(service, 1) + 1):
            name = f"{service}-{number}"
            named = instance if number == 1 else f"{instance}-{number}"
            where = choose(name)
            more = {"KAFKA_INSTANCE": named, "DRAIN_S": f"{DRAIN_S:g}"}
            parts.append(Part(name, service, where, ("run", service, "--port", str(where)), more))
    upstreams = [word for part in parts for word in ("--upstream", f"{part.service}=127.0.0.1:{part.port}")]
    words = ("gateway", "--listen", f"127.0.0.1:{port}", "--directory", str(directory), *upstreams)
    return [*parts, Part(GATEWAY, GATEWAY, port, words, {})]


def read_replicas(words: Sequence[str]) -> dict[str, int]:
    """Read `service=number`. Raises Trouble."""
    found = {}
    for word in words:
        service, _, number = word.partition("=")
        service = service.replace("_", "-")
        if service not in NAMES or not number.isdigit() or not 1 <= int(number) <= REPLICAS_MAX:
            raise Trouble(
                f"--replicas {word}: write service=number, such as timeline-projector=2, with a service of "
                f"{', '.join(NAMES)} and a number from 1 to {REPLICAS_MAX}"
            )
        found[service] = int(number)
    return found


@dataclass
class Child:
    """A part that runs, or is to run again at `due`."""

    part: Part
    process: subprocess.Popen[bytes]
    began: float
    wait_s: float = WAIT_S
    due: float | None = field(default=None, init=False)


class Fleet:
    """The processes that a supervisor looks after."""

    def __init__(self, place: Place, parts: Sequence[Part]) -> None:
        self._place = place
        self.parts = parts
        self._children: dict[str, Child] = {}

    def log_of(self, part: Part) -> Path:
        """Where a process says what it does."""
        return self._place.directory / "logs" / f"{part.name}.log"

    def start(self) -> None:
        """Start every process."""
        for part in self.parts:
            self._children[part.name] = Child(part, self._spawn(part), time.monotonic())

    def ended(self) -> Iterator[tuple[Part, int]]:
        """Name each process that does not run, with its code."""
        for child in self._children.values():
            code = child.process.poll()
            if code is not None:
                yield child.part, code

    def revive(self) -> None:
        """Start again what has ended, each after a wait that grows while it keeps ending."""
        now = time.monotonic()
        for child in self._children.values():
            code = child.process.poll()
            if code is None:
                continue
            if child.due is None:
                child.wait_s = WAIT_S if now - child.began > STEADY_S else min(child.wait_s * 2, WAIT_MAX_S)
                child.due = now + child.wait_s
                log = self.log_of(child.part)
                what = f"{child.part.called} ended with code {code}"
                output.say(f"{what}; starting again in {child.wait_s:g} s, see {log}")
            elif now >= child.due:
                child.process, child.began, child.due = self._spawn(child.part), now, None

    def replace(self, part: Part) -> None:
        """Let a process finish what it has in hand, and start it again."""
        child = self._children[part.name]
        if child.process.poll() is None:
            child.process.terminate()
            self._end(child, STOP_S + DRAIN_S)
        child.process, child.began, child.due = self._spawn(part), time.monotonic(), None

    def stop(self) -> None:
        """Stop the gateway, so that nothing new comes, then all services at once."""
        children = list(self._children.values())
        for group in ([c for c in children if c.part.name == GATEWAY], [c for c in children if c.part.name != GATEWAY]):
            for child in group:
                child.process.send_signal(signal.SIGINT)  # SIGTERM would wait for a gateway to notice
            for child in group:
                self._end(child, STOP_S)

    def _end(self, child: Child, seconds: float) -> None:
        try:
            child.process.wait(seconds)
        except subprocess.TimeoutExpired:
            output.say(f"{child.part.called} did not end within {seconds:g} s and is killed")
            child.process.kill()
            child.process.wait()

    def _spawn(self, part: Part) -> subprocess.Popen[bytes]:
        """Start a process that ends when we do, even when we are killed."""
        out = processes.open_log(self.log_of(part))
        try:
            child = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "services", *part.arguments],
                cwd=ROOT,
                env={**self._place.environment(), **part.more},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                process_group=0,
            )
        finally:
            os.close(out)
        with suppress(OSError):  # a full disk: it runs all the same, and is ended by us
            self._place.note(part.name, Working.of(child.pid, part.port))
        return child
