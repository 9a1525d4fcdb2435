"""One Kafka broker in one directory (it is its own controller): made, started, adopted, stopped."""

import os
import secrets
import signal
import socket
import string
import struct
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from libs.embedded import kafka_files, packages, processes
from libs.embedded.kafka_files import Program
from libs.embedded.processes import ServerFailed, log

START_S = 60.0

_JVM = ["-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
_QUIET = [
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.controller.QuorumController=error",
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.clients.NetworkClient=error",
]

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=2
background.threads=2
log.segment.bytes=67108864
log.cleaner.dedupe.buffer.size=4194304
log.cleaner.threads=1
"""

QUICK_SESSION = """\
broker.session.timeout.ms=1000
broker.heartbeat.interval.ms=250
"""
"""For a broker that is killed and is to be back in 2 s, not 12; but then one that the machine holds up for a second is
fenced: until its next heartbeat its clients find no live broker. So Kafka's own 9 s, unless a test asks for this."""


class KafkaServer:
    """A Kafka broker that owns `directory`; its program is in the cache, shared by all directories.

    `more` are lines for its properties.
    """

    def __init__(self, directory: Path, cache: Path | None = None, more: str = "") -> None:
        self.directory = directory.absolute()
        self.log_path = self.directory / "kafka.log"
        self._home = self.directory / "home"
        self._cache = cache or packages.cache_directory()
        self._more = more
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
        """The broker's process, None when it does not run: the Java that works in our directory."""
        return next(iter(processes.find_in(self._home, "java")), None)

    @property
    def bootstrap_servers(self) -> str:
        """The address for clients."""
        return f"127.0.0.1:{(self.directory / 'ports').read_text().split()[0]}"

    def start(self) -> None:
        """Return when the broker answers and takes part in its cluster: started, or found running already."""
        processes.make_reachable(self.directory, self._account)
        processes.make_owned(self._home, self._account)
        program = kafka_files.find_program(self._cache)
        if not program.archive.exists():
            self._archive_classes(program)
        with processes.locked(self.directory / "lock", START_S):
            self._check_version()
            pid = self.pid
            if pid is not None:
                processes.wait_until(lambda: self._answers() or processes.start_ticks(pid) is None, START_S / 2)
                if self._answers():
                    log.info("Kafka runs already (process %s, %s)", pid, self.bootstrap_servers)
                    return
                self._end(signal.SIGTERM)
            for _ in range(3):
                if self._launch(program):
                    return
            raise ServerFailed(f"Kafka does not start; its last words:\n{processes.read_tail(self.log_path)}")

    def stop(self) -> None:
        """End the broker in order. Nothing happens when it is down."""
        if not self.directory.exists():
            return
        with processes.locked(self.directory / "lock", START_S):
            self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Take the broker away without a word, as a crash would."""
        self._end(signal.SIGKILL)

    def _end(self, first: signal.Signals) -> None:
        pid = self.pid
        if pid is not None:
            processes.end(pid, [(first, 20.0), (signal.SIGKILL, 5.0)])

    def _check_version(self) -> None:
        """Refuse data of another version: Kafka would change them for good, or not understand them."""
        path = self.directory / "kafka.version"
        if not path.exists():
            path.write_text(kafka_files.VERSION + "\n")
        kept = path.read_text().strip()
        if kept != kafka_files.VERSION:
            raise ServerFailed(
                f"the data in {self.directory} were made by Kafka {kept or 'unknown'}, this is "
                f"{kafka_files.VERSION}; use the release of activities that made them, or begin anew (reset)"
            )

    def _launch(self, program: Program) -> bool:
        properties = self._write_properties()
        self._format(program, properties)
        process = self._spawn(program, _shared(program), properties)
        up = processes.wait_until(lambda: process.poll() is not None or self._answers(), START_S)
        if process.poll() is not None:
            return False
        if not up:
            processes.end(process.pid, [(signal.SIGKILL, 5.0)])
            raise ServerFailed(f"Kafka was not ready in {START_S:.0f} s; see {self.log_path}")
        processes.release(process)
        return True

    def _spawn(self, program: Program, share: list[str], properties: Path) -> subprocess.Popen[bytes]:
        command = [str(program.java), *_JVM, *share, *_QUIET, "-cp", program.class_path, "kafka.Kafka", str(properties)]
        return processes.spawn(command, self._home, self.log_path, self._account)

    def _write_properties(self) -> Path:
        broker, controller = processes.choose_ports(self.directory / "ports", 2)
        path = self.directory / "server.properties"
        path.write_text(_PROPERTIES.format(broker=broker, controller=controller, data=self._home / "logs") + self._more)
        path.chmod(0o644)
        return path

    def _format(self, program: Program, properties: Path) -> None:
        """Give the data directory its cluster id, unless it has one; a half formatted one is begun anew."""
        if (self._home / "logs" / "meta.properties").exists():
            return
        letters = string.ascii_letters + string.digits
        cluster = "".join(secrets.choice(letters) for _ in range(21)) + "A"  # 16 bytes in base 64: the last has 2 bits
        tool = ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties)]
        command = [str(program.java), *_JVM, *_shared(program), "-cp", program.class_path, *tool]
        processes.run(command, START_S, self._account)

    def _archive_classes(self, program: Program) -> None:
        """Make the class-data archive by running a broker to ready and down again: later starts take half the time."""
        with processes.locked(program.archive.with_suffix(".lock"), START_S * 2):
            if program.archive.exists():
                return
            log.info("preparing Kafka for quick starts (once)")
            with tempfile.TemporaryDirectory(prefix="activities-kafka-") as name:
                place = Path(name)
                place.chmod(0o711)
                broker = KafkaServer(place, self._cache)
                processes.make_owned(broker._home, broker._account)
                properties = broker._write_properties()
                broker._format(program, properties)
                made = broker._home / "classes.jsa"
                process = broker._spawn(program, [f"-XX:ArchiveClassesAtExit={made}"], properties)
                processes.wait_until(lambda: process.poll() is not None or broker._answers(), START_S)
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(START_S)
                processes.end(process.pid, [(signal.SIGKILL, 5.0)])
                if not made.exists():
                    log.warning(
                        "Kafka runs, but starts slowly: no class-data archive\n%s", processes.read_tail(broker.log_path)
                    )
                    return
                self._keep(made, program.archive)

    def _keep(self, made: Path, archive: Path) -> None:
        beside = archive.with_suffix(f".{os.getpid()}")
        beside.write_bytes(made.read_bytes())
        beside.chmod(0o644)
        beside.rename(archive)

    def _answers(self) -> bool:
        return answers(self.bootstrap_servers)


def _shared(program: Program) -> list[str]:
    """Take the classes that are loaded already, if there are any."""
    return [f"-XX:SharedArchiveFile={program.archive}"] if program.archive.exists() else []


def answers(server: str) -> bool:
    """Ask a broker for metadata (version 1, no topics) and see whether there is a live broker in its cluster."""
    host, _, port = server.strip().rpartition(":")
    request = struct.pack(">hhihi", 3, 1, 1, -1, 0)
    with suppress(OSError, struct.error), socket.create_connection((host, int(port)), timeout=1.0) as client:
        client.sendall(struct.pack(">i", len(request)) + request)
        return int(struct.unpack_from(">i", client.recv(64), 8)[0]) > 0
    return False
