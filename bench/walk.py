"""The walk: accepted → on the timeline, in the report, delivery owed."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import aiohttp

from bench.figures import Figure
from bench.load import OBJECTS, PER_OBJECT, Batch, ask, make_batch, make_records, send, session_of
from bench.processes import Group, cpu_figures
from bench.system import Tenant
from cli.place import Trouble

REPORTS, AT_ONCE = 100_000, 4
LOOK_S, PATIENCE_S = 0.5, 300.0
WALK_PER_S, ACCEPT_PER_S, MEMORY_MIB = 3_500.0, 7_000.0, 400.0
APART_PER_S, APART_BEHIND_S, APART_MEMORY_MIB = 4_500.0, 10.0, 800.0
CPU_MAX_US = {"ours": 230.0, "PostgreSQL": 170.0}
THROUGH = "reports through"
OWED = "webhook_deliveries_owed_total"


@dataclass(frozen=True)
class Run:
    """What is walked: where, which reports, the records, the endpoint that is owed deliveries and owed so far."""

    session: aiohttp.ClientSession
    batch: Batch
    records: dict[str, list[str]]
    owed_before: float


async def measure(
    tenant: Tenant, groups: Sequence[Group], advance: Callable[[], None], *, apart: bool = False, reports: int = REPORTS
) -> list[Figure]:
    """Walk 100,000 reports. Raises Trouble when they are not through in 5 minutes or a count is wrong."""
    groups = [replace(group, cpu_max_us=CPU_MAX_US.get(group.name)) for group in groups]
    async with session_of(tenant) as session:
        records = await make_records(session, "walk", dict.fromkeys(OBJECTS, PER_OBJECT))
        body = {"url": "http://127.0.0.1:9/", "event_types": ["activity.logged"]}
        endpoint = (await ask(session, "POST", "/api/webhooks/endpoints", body))["id"]
        await ask(session, "PATCH", f"/api/webhooks/endpoints/{endpoint}", {"paused": True})
        batch = make_batch("walk", reports, "walk")
        await asyncio.sleep(2)  # what was told about these before is heard by now
        run = Run(session, batch, records, await _owed(session))
        used, own = [group.cpu_s() for group in groups], time.process_time()
        began = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            accepting = tasks.create_task(send(session, batch.bodies, AT_ONCE, advance))
            tasks.create_task(_await_all(run))
        seconds = time.perf_counter() - began
        behind_s = seconds - accepting.result()
        figures = [
            Figure("accept", "bulk, all consumers on", batch.reports / accepting.result(), "/s", ACCEPT_PER_S),
            Figure("walk", THROUGH, batch.reports / seconds, "/s", APART_PER_S if apart else WALK_PER_S),
            Figure("walk", "behind the last answer", behind_s, "s", APART_BEHIND_S if apart else None, most=True),
            Figure("walk", "a report is", batch.bytes_each, "bytes"),
            *cpu_figures("walk", groups, used, batch.reports),
            Figure("walk", "CPU of the load itself", (time.process_time() - own) / batch.reports * 1e6, "µs/report"),
        ]
        await _count_deliveries(session, endpoint, batch.logged)
    ours, most = groups[0], APART_MEMORY_MIB if apart else MEMORY_MIB
    return [
        *figures,
        Figure("memory", f"ours after {batch.reports:,}, RSS", ours.memory_mib("Rss"), "MiB", most, most=True),
        Figure("memory", f"ours after {batch.reports:,}, PSS", ours.memory_mib("Pss"), "MiB"),
    ]


async def _await_all(run: Run) -> None:
    """Return when report, deliveries owed and badges show everything; the cheap ones are looked at first."""
    deadline = time.perf_counter() + PATIENCE_S
    today = datetime.now(UTC).date()
    volume = f"/api/reports/volume?from={today - timedelta(days=40)}&to={today + timedelta(days=2)}&granularity=month"
    while True:
        await asyncio.sleep(LOOK_S)
        counted = (await ask(run.session, "GET", f"{volume}&source=bench&type=call"))["total"]
        owed = await _owed(run.session) - run.owed_before
        if counted >= run.batch.activities and owed >= run.batch.logged:
            lines = await _badges(run)
            if lines >= run.batch.links:
                break
        if time.perf_counter() > deadline:
            raise Trouble(
                f"not through after {PATIENCE_S:g} s: {counted} of {run.batch.activities} activities in the report, "
                f"{owed:g} of {run.batch.logged} deliveries owed"
            )
    if counted > run.batch.activities or lines > run.batch.links:
        raise Trouble(f"too many: {counted} activities in the report, {lines} lines on timelines")


async def _badges(run: Run) -> int:
    total = 0
    for name, record_ids in run.records.items():
        counts = await ask(run.session, "POST", "/api/timeline/badges", {"object": name, "record_ids": record_ids})
        total += sum(counts["counts"].values())
    return total


async def _owed(session: aiohttp.ClientSession) -> float:
    lines = (await ask(session, "GET", "/metrics")).splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{OWED} ", f"{OWED}{{")))


async def _count_deliveries(session: aiohttp.ClientSession, endpoint: str, expected: int) -> None:
    """Count what is owed one by one. Raises Trouble when it is another number."""
    count, cursor = 0, ""
    while True:
        path = f"/api/webhooks/deliveries?endpoint_id={endpoint}&limit=200{cursor}"
        page = await ask(session, "GET", path)
        count += len(page["results"])
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    if count != expected:
        raise Trouble(f"{count} deliveries are owed; {expected} activities were logged")
