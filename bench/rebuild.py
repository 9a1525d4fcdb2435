"""How fast a projection that was emptied hears everything again, against how fast it came live."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from uuid import UUID

from bench import walk
from bench.figures import Figure
from bench.lifecycle import until
from bench.processes import Group
from bench.system import System, Tenant, alone
from cli.place import ROOT, Trouble

REPORTS, ACTIVITIES = 30_000, 25_000
"""Of twelve reports ten are an activity's first."""
RATIO = 2.0
COMMAND_S = 120.0
PROJECTIONS = {"reporting": "fact", "timeline-projector": "activity_head"}


async def live(system: System, tenant: Tenant, groups: Sequence[Group], advance: Callable[[], None]) -> float:
    """Walk 30,000 reports; return how many a second were through."""
    figures = await walk.measure(tenant, groups, advance, apart=system.apart, reports=REPORTS)
    return next(figure.value for figure in figures if figure.name == walk.THROUGH)


async def measure(
    system: System, service: str, tenant: Tenant, live_per_s: float, advance: Callable[[], None]
) -> list[Figure]:
    """Empty a projection and let it hear everything again, by itself."""
    system.stop()
    system.start_servers()
    command = [sys.executable, "-m", "services", "rebuild", service]
    done = subprocess.run(  # noqa: ASYNC221 - nothing else is going on
        command, cwd=ROOT, env=dict(system.place.environment()), capture_output=True, text=True, timeout=COMMAND_S,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise Trouble(f"rebuild {service} ended with code {done.returncode}:\\n{done.stderr[-1_000:]}")
    table, package = PROJECTIONS[service], service.replace("-", "_")
    count = f"select count(*) from {table} where business_id = '{UUID(tenant.business_id)}'"  # noqa: S608 - our names
    with alone(system, service, tenant):
        first = await until(system, f"activities_{package}", count, lambda rows: rows > 0)
        began = time.perf_counter()
        last = await until(system, f"activities_{package}", count, lambda rows: rows >= ACTIVITIES, advance)
        seconds = time.perf_counter() - began
    per_s = (last - first) / seconds * REPORTS / ACTIVITIES
    return [
        Figure("rebuild", f"{service}: of reports", per_s, "/s"),
        Figure("rebuild", f"{service}: against live", per_s / live_per_s, "times", RATIO),
    ]
