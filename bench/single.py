"""Single reports: how many a second from 64 connections that each wait for their answers."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

import orjson

from bench.callers import Caller, request_of
from bench.figures import Figure, latencies
from bench.load import NOTES
from bench.processes import Group, cpu_figures
from bench.system import Tenant
from cli.place import Trouble

CONNECTIONS, SECONDS, WARM_S = 64, 15, 3
SINGLE_PER_S, ANSWER_MS = 2_000.0, 100.0
REFUSED_WAIT_S = 0.1


@dataclass
class Answers:
    """What callers were told: seconds until each acceptance, how many were refused, how many have no known end."""

    accepted_in: list[float] = field(default_factory=list)
    refused: int = 0
    unknown: int = 0


async def measure(tenant: Tenant, groups: Sequence[Group], advance: Callable[[], None]) -> list[Figure]:
    """Report from 64 connections for 15 s, after some seconds to get warm. Raises Trouble when one is not accepted."""
    bodies = bodies_of("single")
    await call(tenant, bodies, CONNECTIONS, WARM_S)
    used = [group.cpu_s() for group in groups]
    answers = await call(tenant, bodies, CONNECTIONS, SECONDS, advance)
    accepted = len(answers.accepted_in)
    if answers.refused or answers.unknown:
        raise Trouble(f"{answers.refused} single reports were refused, {answers.unknown} had no answer")
    return [
        Figure("single", f"{CONNECTIONS} connections", accepted / SECONDS, "/s", SINGLE_PER_S),
        *latencies("single", "answer", answers.accepted_in, ANSWER_MS),
        *cpu_figures("single", groups, used, accepted),
    ]


def bodies_of(prefix: str) -> Iterator[bytes]:
    """Make reports of direct logs without end, each with a name of its own."""
    body = {"source": "bench", "action": "log", "type": "call", "subject": "Renewal call", "notes": NOTES}
    for number in count():
        yield orjson.dumps({**body, "source_ref": f"{prefix}-{time.time_ns()}-{number}", "direction": "outbound"})


async def call(
    tenant: Tenant, bodies: Iterator[bytes], connections: int, seconds: float, advance: Callable[[], None] | None = None
) -> Answers:
    """Report from so many connections for some seconds; who is refused or cut off waits 0.1 s."""
    answers, end = Answers(), time.perf_counter() + seconds
    async with asyncio.TaskGroup() as tasks:
        for _ in range(connections):
            tasks.create_task(_repeat(tenant, bodies, end, answers))
        if advance is not None:
            for _ in range(int(seconds)):
                await asyncio.sleep(1)
                advance()
    return answers


async def _repeat(tenant: Tenant, bodies: Iterator[bytes], end: float, answers: Answers) -> None:
    """Report from one connection until `end`."""
    connection: Caller | None = None
    while (began := time.perf_counter()) < end:
        try:
            connection = connection or await Caller.connect(tenant)
        except OSError:
            await asyncio.sleep(REFUSED_WAIT_S)
            continue
        status, _ = await connection.ask(request_of(tenant, "POST", "/ingest/activities", next(bodies)))
        if status == 202:
            answers.accepted_in.append(time.perf_counter() - began)
            continue
        answers.refused += status != 0
        answers.unknown += status == 0
        connection = connection if status else None
        await asyncio.sleep(REFUSED_WAIT_S)
    if connection is not None:
        connection.close()
