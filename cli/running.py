"""Who runs an installation: taking it over, finding it running, starting it aside, ending it."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping

from cli import output, status, supervisor
from cli.http import is_ready
from cli.place import ROOT, Place, Trouble, read_json
from cli.supervisor import Supervisor
from libs.embedded import processes
from libs.embedded.processes import ServerFailed

UP_S = 300.0
DOWN_S = 90.0


Replicas = Mapping[str, int] | None
"""How many processes of each service run apart; None: all services in one process."""


def up(place: Place, port: int | None, replicas: Replicas, detach: bool, silent: bool = False) -> None:
    """Run the installation in this process (or aside); when it runs already, say where. `silent`: without the keys."""
    place.make()
    if _is_held(place) and _joins(place, port, replicas):
        output.print_credentials(status.credentials(place))
        return
    if detach:
        _start_aside(place, port, replicas)
        output.print_credentials(status.credentials(place))
        return
    try:
        with processes.locked(place.lock, 1.0):
            Supervisor(place, supervisor.choose_port(place, port), replicas).run(silent)
    except ServerFailed as error:
        raise Trouble(str(error)) from error


def down(place: Place) -> None:
    """End everything of this data directory; what is down already stays so."""
    if not place.directory.exists():
        output.say(f"nothing runs in {place.directory}")
        return
    running = place.find("supervisor")
    if running is not None and _is_held(place):
        output.say(f"ending process {running.pid}")
        os.kill(running.pid, signal.SIGTERM)
        if not processes.wait_until(lambda: not running.alive, DOWN_S):
            raise Trouble(f"process {running.pid} did not end within {DOWN_S:g} s; kill it, then try again")
    with processes.locked(place.lock, DOWN_S):
        supervisor.stop_all(place)
        place.note("supervisor", None)
    output.say("down")


def reset(place: Place) -> None:
    """End everything and remove the data directory, if it is one of ours."""
    if not place.directory.exists():
        output.say(f"there is nothing in {place.directory}")
        return
    names = {path.name for path in place.directory.iterdir()}
    if names and not names & {"secrets.json", "supervisor.lock", "postgres", "kafka"}:
        raise Trouble(f"{place.directory} does not look like a data directory of activities; nothing was removed")
    down(place)
    shutil.rmtree(place.directory)
    output.say(f"removed {place.directory}")


def _is_held(place: Place) -> bool:
    try:
        with processes.locked(place.lock, 0.0):
            return False
    except ServerFailed:
        return True


def _start_aside(place: Place, port: int | None, replicas: Replicas) -> None:
    """Start `up` in a session of its own, with nothing of ours open, and wait until it is ready."""
    command = [sys.executable, "-m", "cli", "up", "--silent", "--data-dir", str(place.directory)]
    command += ["--port", str(port)] if port else []
    if replicas is not None:
        command += ["--apart", *(f"--replicas={service}={number}" for service, number in replicas.items())]
    place.supervisor_log.unlink(missing_ok=True)  # so that its end tells of this start
    out = processes.open_log(place.supervisor_log)
    try:
        aside = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            close_fds=True,
        )
    finally:
        os.close(out)
    output.say(f"starting as process {aside.pid}, log in {place.supervisor_log}")
    _wait_for_ready(place, aside)
    processes.release(aside)


def _joins(place: Place, port: int | None, replicas: Replicas) -> bool:
    """Wait until the one that runs is ready; False when it ends instead, and its place is free."""
    output.say(f"it runs already, or is about to, in {place.directory}")
    if not processes.wait_until(lambda: _is_ready(place) or not _is_held(place), UP_S):
        raise Trouble(f"the one that runs is not ready within {UP_S:g} s; ./activities status says more, down ends it")
    if not _is_ready(place):
        return False
    front = place.front()
    if port is not None and front is not None and front.port != port:
        output.say(f"it runs on port {front.port}, not {port}; ./activities down first, to change that")
    wanted = replicas is not None and {f"{service}-{number}" for service, number in replicas.items()}
    if wanted is not False and (place.find("gateway") is None or not wanted <= place.working().keys()):
        output.say("it does not run apart in that way; ./activities down first, to change that")
    return True


def _wait_for_ready(place: Place, aside: subprocess.Popen[bytes]) -> None:
    if not processes.wait_until(lambda: _is_ready(place) or aside.poll() is not None, UP_S):
        raise Trouble(f"not ready within {UP_S:g} s; the end of {place.supervisor_log}:\n{_tail(place)}")
    if aside.poll() is not None:
        raise Trouble(f"it ended before it was ready; the end of {place.supervisor_log}:\n{_tail(place)}")


def _is_ready(place: Place) -> bool:
    front, kept = place.front(), read_json(place.credentials)
    if front is None or kept is None:
        return False
    return all(is_ready(front.port, kept[name]) for name in ("api_key", "bearer_token"))


def _tail(place: Place) -> str:
    return processes.read_tail(place.supervisor_log, 25)
