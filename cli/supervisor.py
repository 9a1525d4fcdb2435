"""`up`: starts PostgreSQL, Kafka and the services, keeps them running, stops them in order."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from cli import http, output, status
from cli.place import ROOT, Place, Trouble, Working, read_json
from libs.embedded import processes
from libs.embedded.processes import ServerFailed

PORT = 8080
TOKEN_S = 365 * 86_400
PREPARE_S = 120.0
READY_S = 60.0
STOP_S = 25.0
LOOK_S = 1.0
RESTART_WAIT_MAX_S = 15.0


@dataclass
class Supervisor:
    """The process that owns a running installation. It holds the lock of its data directory while it lives."""

    place: Place
    port: int
    child: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def run(self, silent: bool) -> None:
        """Start everything, print the keys (`silent`: no, a log holds none), look after it until a signal, stop it."""
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, _interrupt)
        try:
            self.start()
            if not silent:
                output.print_credentials(status.credentials(self.place))
            output.say(f"Logs are in {self.place.directory / 'logs'}. Ctrl-C ends everything.")
            self.look_after()
        except KeyboardInterrupt:
            output.say("stopping")
        finally:
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            self.stop()

    def start(self) -> None:
        """Return when every service is ready and knows the sample keys."""
        began = time.monotonic()
        self.place.note("supervisor", Working.of(os.getpid(), self.port))
        stop_services(self.place)
        self.start_servers()
        self._prepare()
        self._spawn()
        self._await(None, "the services are ready")
        if not self.place.credentials.exists():
            make_sample_business(self.place, self.port)
        kept = read_json(self.place.credentials) or {}
        self._await(kept["api_key"], "every service knows the sample keys")
        self._await(kept["bearer_token"], "every service knows the sample token")
        output.say(f"ready after {time.monotonic() - began:.1f} s")

    def start_servers(self) -> None:
        """Start PostgreSQL and Kafka of our own side by side, where no others are named."""
        with ThreadPoolExecutor() as pool:
            work = []
            if not os.environ.get("DATABASE_URL"):
                output.say("starting PostgreSQL")
                work.append(pool.submit(self.place.postgres.start))
            if not os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
                output.say("starting Kafka")
                work.append(pool.submit(self.place.kafka.start))
            for each in work:
                each.result()

    def look_after(self) -> NoReturn:
        """Start again what ends: the services with a growing wait, the servers at once."""
        wait, began = 0.5, time.monotonic()
        while True:
            assert self.child is not None
            try:
                code = self.child.wait(LOOK_S)
            except subprocess.TimeoutExpired:
                self._revive_servers()
                continue
            wait = 0.5 if time.monotonic() - began > 60 else min(wait * 2, RESTART_WAIT_MAX_S)
            output.say(f"the services ended with code {code}; starting them again in {wait:g} s, see {self._log}")
            time.sleep(wait)
            self._revive_servers()
            self._spawn()
            began = time.monotonic()

    def stop(self) -> None:
        """Stop the services, then Kafka, then PostgreSQL."""
        if self.child is not None and self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(STOP_S)
            except subprocess.TimeoutExpired:
                output.say(f"the services did not end within {STOP_S:g} s and are killed")
                self.child.kill()
                self.child.wait()
        stop_all(self.place)
        self.place.note("supervisor", None)

    @property
    def _log(self) -> Path:
        return self.place.services_log

    def _revive_servers(self) -> None:
        gone = []
        if not os.environ.get("DATABASE_URL") and self.place.postgres.pid is None:
            gone.append("PostgreSQL")
        if not os.environ.get("KAFKA_BOOTSTRAP_SERVERS") and self.place.kafka.pid is None:
            gone.append("Kafka")
        if gone:
            output.say(f"{' and '.join(gone)} ended and is started again")
            try:
                self.start_servers()
            except ServerFailed as error:
                output.say(f"{error}\ntrying again")
                time.sleep(LOOK_S)

    def _prepare(self) -> None:
        """Bring databases and topics up to date."""
        command = [sys.executable, "-m", "services", "prepare", "all"]
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                env=self.place.environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=PREPARE_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Trouble(f"databases and topics were not prepared within {PREPARE_S:g} s") from error
        if done.returncode != 0:
            words = "\n".join((done.stdout + done.stderr).strip().splitlines()[-20:])
            raise Trouble(f"preparing databases and topics failed with code {done.returncode}:\n{words}")

    def _spawn(self) -> None:
        """Start the services as one process that ends when we do, even when we are killed."""
        run = [sys.executable, "-m", "services", "run", "all", "--port", str(self.port)]
        out = processes.open_log(self._log)
        try:
            self.child = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *run],
                cwd=ROOT,
                env=self.place.environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                process_group=0,
            )
        finally:
            os.close(out)
        self.place.note("services", Working.of(self.child.pid, self.port))

    def _await(self, key: str | None, what: str) -> None:
        child = self.child
        assert child is not None
        if not processes.wait_until(lambda: child.poll() is not None or http.is_ready(self.port, key), READY_S):
            waiting = http.ask(self.port, "GET", "/readyz", key)[1]
            raise Trouble(f"not within {READY_S:g} s: {what} ({waiting}). The end of {self._log}:\n{self._tail()}")
        if child.poll() is not None:
            raise Trouble(f"the services ended with code {child.returncode}. The end of {self._log}:\n{self._tail()}")

    def _tail(self) -> str:
        return processes.read_tail(self._log)


def make_sample_business(place: Place, port: int) -> None:
    """Make the sample business through the public interface and keep its keys."""
    output.say("making the sample business")
    body = {"name": "Sample business", "zone": "Europe/Berlin"}
    made = http.make(port, "/api/directory/businesses", place.secrets()["operator_key"], body)
    lasting = {"expires_in_s": TOKEN_S}
    token = http.make(port, f"/api/directory/members/{made['user_id']}/tokens", made["api_key"], lasting)
    kept = {
        "business_id": made["id"],
        "user_id": made["user_id"],
        "api_key": made["api_key"],
        "bearer_token": token["token"],
        "port": port,
    }
    processes.write_private(place.credentials, json.dumps(kept, indent=2) + "\n")


def choose_port(place: Place, wanted: int | None) -> int:
    """Return the wanted port, or the first free one from 8080 on; say so when it is another than usual."""
    if wanted is not None:
        if not is_free_for_us(place, wanted):
            raise Trouble(f"port {wanted} is taken by another program; name another with --port, or end that program")
        return wanted
    port = next((each for each in range(PORT, PORT + 100) if is_free_for_us(place, each)), None)
    if port is None:
        raise Trouble(f"no free port from {PORT} to {PORT + 99}; name one with --port")
    if port != PORT:
        output.say(f"port {PORT} is taken by another program; using {port}")
    return port


def is_free_for_us(place: Place, port: int) -> bool:
    """Say whether a port is free, or held by the services of this data directory."""
    left = place.find("services")
    return (left is not None and left.port == port) or processes.is_free(port)


def stop_services(place: Place) -> None:
    """End services that a killed supervisor left behind."""
    left = place.find("services")
    if left is not None:
        output.say(f"ending services that were left running (process {left.pid})")
        processes.end(left.pid, [(signal.SIGTERM, STOP_S), (signal.SIGKILL, 5.0)])
    place.note("services", None)


def stop_all(place: Place) -> None:
    """End whatever of this data directory still runs: services, Kafka, PostgreSQL, in that order."""
    stop_services(place)
    for server in (place.kafka, place.postgres):
        server.stop()


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt
