"""`restart`: processes of a service end and start again one after another, while the others answer.

Before the first of them databases and topics are brought up to date: the code that starts may be a new release's.
"""

import time

from cli import http, output, preparing
from cli.fleet import GATEWAY, TOGETHER, Fleet, Part
from cli.place import Place, Trouble, read_json, write_json
from libs.embedded import processes
from services import NAMES

FILE = "restart.json"
READY_S = 120.0
SETTLE_S = 1.5
"""The gateway tries a process that refused it again after a second; the next one goes when it has."""
ASKED_S = 600.0
OLDER = "what runs was started by an older release, which brought no database up to date; ./activities down, then up"


def restart(place: Place, service: str) -> None:
    """Ask the supervisor for it, and return when it is done. Raises Trouble."""
    service = service.replace("_", "-")
    if service not in (*NAMES, "all"):
        raise Trouble(f"{service!r} is not a service; there are {', '.join(NAMES)}, or all")
    supervisor = place.find("supervisor")
    if supervisor is None:
        raise Trouble(f"nothing runs in {place.directory}; ./activities up starts it")
    path = place.directory / FILE
    write_json(path, {"service": service})
    answered = processes.wait_until(lambda: "done" in (read_json(path) or {}) or not supervisor.alive, ASKED_S)
    answer = read_json(path) or {}
    path.unlink(missing_ok=True)
    if not answered or "done" not in answer:
        raise Trouble("the supervisor did not answer; see ./activities status")
    for each in answer.get("prepared", [OLDER]):
        output.say(each)
    if answer["done"]:
        raise Trouble(answer["done"])
    output.say(f"{'all services are' if service == 'all' else f'{service} is'} restarted and ready")


def do_what_is_asked(place: Place, fleet: Fleet) -> None:
    """Do in the supervisor what `restart` asks for, and answer: an empty text, or what went wrong."""
    path = place.directory / FILE
    asked = read_json(path)
    if asked is None or "done" in asked:
        return
    prepared, wrong = _prepare(place)
    for part in fleet.parts if not wrong else ():
        if part.name == TOGETHER or (part.name != GATEWAY and asked["service"] in (part.service, "all")):
            output.say(f"restarting {part.called}")
            fleet.replace(part)
            wrong = _await(place, fleet, part)
            if wrong:
                output.say(wrong)
                break
    write_json(path, {"done": wrong, "prepared": prepared})


def _prepare(place: Place) -> tuple[list[str], str]:
    """Bring databases and topics up to date; return what was done, and what is wrong."""
    output.say("bringing databases and topics up to date")
    try:
        prepared = preparing.prepare(place)
    except Trouble as error:
        output.say(str(error))
        return [], f"{error}\nnothing was restarted"
    for each in prepared:
        output.say(each)
    return prepared, ""


def _await(place: Place, fleet: Fleet, part: Part) -> str:
    """Wait until a process is ready with the sample key; return what is wrong when it is not."""
    key = (read_json(place.credentials) or {}).get("api_key")

    def over() -> bool:
        return any(ended == part for ended, _ in fleet.ended()) or http.is_ready(part.port, key)

    processes.wait_until(over, READY_S)
    if not http.is_ready(part.port, key):
        return f"{part.called} is not ready after its restart; no other was restarted. See {fleet.log_of(part)}"
    time.sleep(SETTLE_S)
    return ""
