"""Whether one business's reads stay quick beside another's bulk."""

import asyncio
import time
from collections.abc import Callable

import aiohttp

from bench.callers import Caller, request_of
from bench.figures import Figure, percentile
from bench.load import Batch, make_batch, make_records, send, session_of
from bench.overload import count_in_report
from bench.system import Tenant
from cli.place import Trouble

RATE, ALONE_S, CONNECTIONS = 100, 20, 16
RECORDS, READ_REPORTS, BULK_REPORTS, AT_ONCE = 20, 1_000, 100_000, 4
RATIO = 1.2


async def measure(reader: Tenant, other: Tenant, advance: Callable[[], None]) -> list[Figure]:
    """Read timelines of one business at 100/s for 20 s alone, then while 100,000 of another walk through."""
    async with session_of(reader) as session:
        records = (await make_records(session, "fair", {"contact": RECORDS}))["contact"]
        await send(session, make_batch("fair", READ_REPORTS, "fair").bodies, 1, lambda: None)
    await asyncio.sleep(3)  # they are on the timelines by then
    requests = [request_of(reader, "GET", f"/api/timeline/contact/{record}?limit=20") for record in records]
    batch = make_batch("bulk", BULK_REPORTS, "bulk")
    async with session_of(other) as session, asyncio.TaskGroup() as tasks:
        await _read(reader, requests, tasks.create_task(asyncio.sleep(2)))
        alone = await _read(reader, requests, tasks.create_task(asyncio.sleep(ALONE_S)))
        beside = await _read(reader, requests, tasks.create_task(_walk(session, other, batch, advance)))
    alone_ms, beside_ms = percentile(alone, 0.99) * 1000, percentile(beside, 0.99) * 1000
    return [
        Figure("fairness", f"{RATE} reads/s alone: p50", percentile(alone, 0.5) * 1000, "ms"),
        Figure("fairness", f"{RATE} reads/s alone: p99", alone_ms, "ms"),
        Figure("fairness", "beside a bulk of 100,000: p50", percentile(beside, 0.5) * 1000, "ms"),
        Figure("fairness", "beside a bulk of 100,000: p99", beside_ms, "ms"),
        Figure("fairness", "p99 beside / p99 alone", beside_ms / alone_ms, "times", RATIO, most=True),
    ]


async def _walk(session: aiohttp.ClientSession, tenant: Tenant, batch: Batch, advance: Callable[[], None]) -> None:
    """Send a bulk and wait until the report shows all of it. Raises Trouble where it does not."""
    await send(session, batch.bodies, AT_ONCE, advance)
    if (counted := await count_in_report(tenant, batch.activities)) < batch.activities:
        raise Trouble(f"{counted} of {batch.activities} activities of the bulk are in the report")


async def _read(tenant: Tenant, requests: list[bytes], until: "asyncio.Task[object]") -> list[float]:
    """Read on a fixed schedule until a task is done; durations count from the scheduled instant."""
    callers: asyncio.Queue[Caller] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        callers.put_nowait(await Caller.connect(tenant))
    took: list[float] = []

    async def read(due: float, request: bytes) -> None:
        caller = await callers.get()
        status, said = await caller.ask(request)
        callers.put_nowait(caller)
        if status != 200:
            raise Trouble(f"a timeline was answered {status}: {said[:300]!r}")
        took.append(time.perf_counter() - due)

    began, number = time.perf_counter(), 0
    async with asyncio.TaskGroup() as tasks:
        while not until.done():
            due = began + number / RATE
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.create_task(read(due, requests[number % len(requests)]))
            number += 1
    while not callers.empty():
        callers.get_nowait().close()
    return took
