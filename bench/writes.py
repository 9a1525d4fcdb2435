"""Writes over HTTP: schedule, log, complete, from 64 connections that each wait for their answers."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count

import orjson

from bench.callers import Caller, request_of, user_of
from bench.figures import Figure, latencies
from bench.load import NOTES
from bench.processes import Group, cpu_figures
from bench.system import Tenant
from cli.place import Trouble

CONNECTIONS, SECONDS, WARM_S = 64, 10, 2
WRITES_PER_S, ANSWER_MS = 1_200.0, 100.0
PLANNED_MAX = 40_000
SCHEDULE, LOG = "/api/activities/scheduled-activity", "/api/activities/call/log-activity"
Request = tuple[str, bytes]


async def measure(tenant: Tenant, groups: Sequence[Group], advance: Callable[[], None]) -> list[Figure]:
    """Schedule, log, complete what was scheduled; 10 s each after 2 s to get warm. Raises Trouble for a refusal."""
    planned: list[str] = []
    found: list[Figure] = []
    for name, requests in (("schedule", _schedules()), ("log", _logs()), ("complete", _completions(planned))):
        kept = planned if name == "schedule" else []
        await _call(tenant, requests, WARM_S, kept)
        used = [group.cpu_s() for group in groups]
        took = await _call(tenant, requests, SECONDS, kept, advance)
        found.append(Figure("writes", f"{name}, {CONNECTIONS} connections", len(took) / SECONDS, "/s", WRITES_PER_S))
        found += latencies("writes", name, took, ANSWER_MS)
        found += cpu_figures("writes", groups, used, len(took))
    return found


def _schedules() -> Iterator[Request]:
    for number in count():
        body = {
            "activity_object_name": "call",
            "due_datetime": "2031-01-01T10:00:00Z",
            "note": NOTES,
            "subject": "Call",
        }
        yield SCHEDULE, orjson.dumps(body | {"duration_min": number % 90})


def _logs() -> Iterator[Request]:
    for number in count():
        body = {"related_objects": [], "notes": NOTES, "subject": "Renewal call", "direction": "outbound"}
        yield LOG, orjson.dumps(body | {"duration_min": number % 90})


def _completions(planned: list[str]) -> Iterator[Request]:
    while True:
        identity = planned.pop()
        yield LOG, orjson.dumps({"related_objects": [], "scheduled_activity_id": identity, "notes": NOTES})


async def _call(
    tenant: Tenant, requests: Iterator[Request], seconds: float, kept: list[str],
    advance: Callable[[], None] | None = None,
) -> list[float]:  # fmt: skip
    """Write for some seconds; returns what each took, and keeps the ids of what was made."""
    took: list[float] = []
    user, end = await user_of(tenant), time.perf_counter() + seconds

    async def repeat() -> None:
        connection = await Caller.connect(tenant)
        while (began := time.perf_counter()) < end:
            path, body = next(requests)
            status, said = await connection.ask(request_of(tenant, "POST", path, body, user))
            if status != 201:
                raise Trouble(f"POST {path} answered {status}: {said[:300]!r}")
            took.append(time.perf_counter() - began)
            if len(kept) < PLANNED_MAX:
                kept.append(orjson.loads(said)["id"])
        connection.close()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(CONNECTIONS):
            tasks.create_task(repeat())
        if advance is not None:
            for _ in range(int(seconds)):
                await asyncio.sleep(1)
                advance()
    return took
