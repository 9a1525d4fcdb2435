"""Ten times the callers: what is still accepted, and that nothing acknowledged is lost."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from bench.figures import Figure, latencies
from bench.load import ask, session_of
from bench.single import CONNECTIONS, bodies_of, call
from bench.system import Tenant

TIMES, USUAL_S, SECONDS = 10, 20, 60
GOODPUT_SHARE, ANSWER_MS = 90.0, 5_000.0
LOOK_S, PATIENCE_S = 1.0, 600.0


async def measure(tenant: Tenant, advance: Callable[[], None]) -> list[Figure]:
    """Report from 64 connections for 20 s, then from 640 for 60 s; then count what has arrived in the reports."""
    bodies = bodies_of("overload")
    usual = await call(tenant, bodies, CONNECTIONS, USUAL_S, advance)
    crowd = await call(tenant, bodies, CONNECTIONS * TIMES, SECONDS, advance)
    usual_per_s, crowd_per_s = len(usual.accepted_in) / USUAL_S, len(crowd.accepted_in) / SECONDS
    acknowledged = len(usual.accepted_in) + len(crowd.accepted_in)
    counted = await count_in_report(tenant, acknowledged)
    return [
        Figure("overload", f"{CONNECTIONS} callers: accepted", usual_per_s, "/s"),
        Figure("overload", f"{CONNECTIONS * TIMES} callers for {SECONDS} s: accepted", crowd_per_s, "/s"),
        Figure("overload", "of what it takes otherwise", 100 * crowd_per_s / usual_per_s, "%", GOODPUT_SHARE),
        *latencies("overload", "answer to an accepted one", crowd.accepted_in, ANSWER_MS),
        Figure("overload", "refused with 429 or 503", crowd.refused, "reports"),
        Figure("overload", "acknowledged", acknowledged, "reports"),
        Figure("overload", "acknowledged and lost", max(0, acknowledged - counted), "reports", 0, most=True),
    ]


async def count_in_report(tenant: Tenant, expected: int) -> int:
    """Wait until as many activities are in the report, or none has come for a while; return how many there are."""
    today = datetime.now(UTC).date()
    volume = f"/api/reports/volume?from={today - timedelta(days=40)}&to={today + timedelta(days=2)}&granularity=month"
    counted, deadline = -1, time.perf_counter() + PATIENCE_S
    async with session_of(tenant) as session:
        while counted < expected and time.perf_counter() < deadline:
            await asyncio.sleep(LOOK_S)
            counted = int((await ask(session, "GET", f"{volume}&source=bench"))["total"])
    return counted
