"""How fast lifecycle admits when it is alone: reports that ingest has accepted and published before."""

import asyncio
import time
from collections.abc import Callable
from uuid import UUID

import asyncpg

from bench.figures import Figure
from bench.load import make_batch, send, session_of
from bench.processes import cpu_figures
from bench.system import System, Tenant, alone
from cli.place import Trouble

REPORTS, AT_ONCE, WARM_SHARE = 100_000, 4, 0.1
ADMITTED_PER_S = 8_000.0
LOOK_S, PATIENCE_S = 0.05, 300.0
LOOKING_SHARE = 0.1
"""Of the time; counting 100,000 reports takes PostgreSQL some 10 ms, and should not be what is measured."""


async def fill(system: System, tenant: Tenant, advance: Callable[[], None]) -> None:
    """Have ingest accept 100,000 reports, and wait until its relay has published them."""
    async with session_of(tenant) as session:
        await send(session, make_batch("admit", REPORTS, "admit").bodies, AT_ONCE, advance)
    count = """select count(*) from outbox cross join outbox_cursor
        where not pg_visible_in_snapshot(xid, done) and (seen is null or id > after_id)"""
    await until(system, "activities_ingest", count, lambda left: left == 0)


async def measure(system: System, tenant: Tenant, advance: Callable[[], None]) -> list[Figure]:
    """Let lifecycle admit what is waiting for it; the clock starts when a tenth is through."""
    count = f"select count(*) from admission where business_id = '{UUID(tenant.business_id)}'"  # noqa: S608
    with alone(system, "lifecycle", tenant) as (_, groups):
        first = await until(system, "activities_lifecycle", count, lambda done: done >= REPORTS * WARM_SHARE)
        began, used = time.perf_counter(), [group.cpu_s() for group in groups]
        last = await until(system, "activities_lifecycle", count, lambda done: done >= REPORTS, advance)
        seconds = time.perf_counter() - began
        cpu = cpu_figures("lifecycle", groups, used, last - first)
    return [Figure("lifecycle", "reports admitted, alone", (last - first) / seconds, "/s", ADMITTED_PER_S), *cpu]


async def until(
    system: System, database: str, sql: str, enough: Callable[[int], bool], advance: Callable[[], None] = lambda: None
) -> int:
    """Ask a database for a number until it is enough. Raises Trouble after 5 minutes."""
    connection = await asyncpg.connect(system.database_url(database))
    try:
        deadline = time.perf_counter() + PATIENCE_S
        looked = time.perf_counter()
        while not enough(found := await connection.fetchval(sql)):
            if (now := time.perf_counter()) > deadline:
                raise Trouble(f"{database}: {found} after {PATIENCE_S:g} s")
            advance()
            await asyncio.sleep(max(LOOK_S, (now - looked) / LOOKING_SHARE))
            looked = time.perf_counter()
        return int(found)
    finally:
        await connection.close()
