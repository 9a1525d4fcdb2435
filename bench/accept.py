"""How fast ingest accepts when it is alone."""

import time
from collections.abc import Callable, Sequence

from bench.figures import Figure
from bench.load import make_batch, send, session_of
from bench.processes import Group, cpu_figures
from bench.system import Tenant

REPORTS, WARM_REPORTS, AT_ONCE = 100_000, 5_000, 4
ACCEPT_PER_S = 20_000.0


async def measure(tenant: Tenant, groups: Sequence[Group], advance: Callable[[], None]) -> list[Figure]:
    """Send 100,000 reports to ingest, after some to get warm."""
    async with session_of(tenant) as session:
        await send(session, make_batch("warm", WARM_REPORTS, "alone").bodies, AT_ONCE, lambda: None)
        batch = make_batch("alone", REPORTS, "alone")
        used, own = [group.cpu_s() for group in groups], time.process_time()
        seconds = await send(session, batch.bodies, AT_ONCE, advance)
    return [
        Figure("accept", "bulk, ingest alone", batch.reports / seconds, "/s", ACCEPT_PER_S),
        *cpu_figures("accept", groups, used, batch.reports),
        Figure("accept", "CPU of the load itself", (time.process_time() - own) / batch.reports * 1e6, "µs/report"),
    ]
