"""`up`: starts PostgreSQL, Kafka and the services, keeps them running, stops them in order."""

import json
import os
import signal
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NoReturn

from cli import fleet, http, output, preparing, restarting, status
from cli.fleet import STOP_S, Fleet
from cli.place import Place, Trouble, Working, read_json
from libs.embedded import processes
from libs.embedded.processes import ServerFailed

PORT = 8080
TOKEN_S = 365 * 86_400
READY_S = 120.0
LOOK_S = 0.5


@dataclass
class Supervisor:
    """The process that owns a running installation. It holds the lock of its data directory while it lives.

    `replicas` says how many processes of each service there are, apart; None: all services in one.
    """

    place: Place
    port: int
    replicas: Mapping[str, int] | None = None
    running: Fleet | None = field(default=None, init=False)

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
        preparing.prepare(self.place)
        self.running = Fleet(self.place, self._plan())
        self.running.start()
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
        """Start again what ends: a service with a growing wait, the servers at once. Restart what is asked for."""
        assert self.running is not None
        while True:
            try:
                self._revive_servers()
                self.running.revive()
                restarting.do_what_is_asked(self.place, self.running)
            except (ServerFailed, OSError) as error:  # a full disk, most likely: it may have room again
                output.say(f"{error}\ntrying again")
                time.sleep(LOOK_S)
            time.sleep(LOOK_S)

    def stop(self) -> None:
        """Stop the gateway, the services, then Kafka, then PostgreSQL."""
        if self.running is not None:
            self.running.stop()
        stop_all(self.place)
        self.place.note("supervisor", None)

    def _plan(self) -> list[fleet.Part]:
        if self.replicas is None:
            return fleet.together(self.port)
        instance = self.place.environment()["KAFKA_INSTANCE"]
        return fleet.apart(self.port, self.replicas, self.place.directory / "gateway", instance, self.place.port_of)

    def _revive_servers(self) -> None:
        gone = []
        if not os.environ.get("DATABASE_URL") and self.place.postgres.pid is None:
            gone.append("PostgreSQL")
        if not os.environ.get("KAFKA_BOOTSTRAP_SERVERS") and self.place.kafka.pid is None:
            gone.append("Kafka")
        if gone:
            output.say(f"{' and '.join(gone)} ended and is started again")
            self.start_servers()

    def _await(self, key: str | None, what: str) -> None:
        running = self.running
        assert running is not None
        if not processes.wait_until(lambda: any(running.ended()) or http.is_ready(self.port, key), READY_S):
            raise Trouble(f"not within {READY_S:g} s: {what} ({self._waiting(key)}), see {self.place.directory}/logs")
        for part, code in running.ended():
            log = running.log_of(part)
            raise Trouble(f"{part.called} ended with code {code}. The end of {log}:\n{processes.read_tail(log)}")

    def _waiting(self, key: str | None) -> object:
        try:
            return http.ask(self.port, "GET", "/readyz", key)[1]
        except OSError as error:
            return f"nobody answers on port {self.port}: {error}"


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
    """Say whether a port is free, or held by what serves this data directory."""
    left = place.front()
    return (left is not None and left.port == port) or processes.is_free(port)


def stop_services(place: Place) -> None:
    """End services that a killed supervisor left behind."""
    left = place.working()
    if left:
        output.say(f"ending what was left running: {', '.join(f'{name} ({left[name].pid})' for name in left)}")
    with ThreadPoolExecutor() as pool:
        steps = [(signal.SIGINT, STOP_S), (signal.SIGKILL, 5.0)]
        for ended in [pool.submit(processes.end, process.pid, steps) for process in left.values()]:
            ended.result()
    for path in [*place.directory.glob("*-[0-9].json"), place.directory / "gateway.json"]:
        path.unlink(missing_ok=True)
    place.note("services", None)


def stop_all(place: Place) -> None:
    """End whatever of this data directory still runs: services, Kafka, PostgreSQL, in that order."""
    stop_services(place)
    for server in (place.kafka, place.postgres):
        server.stop()


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt
