"""How fast lifecycle admits when it is alone: reports that ingest has accepted and published before.

Once in two processes, a consumer each, as it would be run on two processors, and once in one, which one of them bounds.
"""

import asyncio
import time
from collections.abc import Callable
from uuid import UUID

import asyncpg

from bench.figures import Figure
from bench.load import make_batch, send, session_of
from bench.postgres import make_wal_files, vacuum
from bench.processes import cpu_figures
from bench.system import System, Tenant, alone
from cli.place import Trouble

REPORTS, AT_ONCE = 100_000, 4
FROM_SHARE, TO_SHARE = 0.2, 0.85
"""What is measured is the stretch in which all processes work. They begin one after the other: the second has waited
for 2 s when the first gives it half of the partitions; and one is through with its own 2 s before the other."""
ADMITTED_PER_S = 8_000.0
LOOK_S, PATIENCE_S = 0.05, 300.0
ROWS_EACH = 2
"""Each report leaves a version and an answer in the outbox."""


async def fill(system: System, tenant: Tenant, name: str, advance: Callable[[], None]) -> None:
    """Have ingest accept 100,000 reports, and wait until its relay has published them.

    What that leaves to be done in the database is done here too: autovacuum came to it when lifecycle was measured.
    """
    async with session_of(tenant) as session:
        await send(session, make_batch(name, REPORTS, name).bodies, AT_ONCE, advance)
    count = """select count(*) from outbox cross join outbox_cursor
        where not pg_visible_in_snapshot(xid, done) and (seen is null or id > after_id)"""
    await until(system, "activities_ingest", count, lambda left: left == 0)
    for database in ("activities_ingest", "activities_lifecycle"):
        await vacuum(system.database_url(database))
    await make_wal_files(system.database_url("postgres"))


async def measure(system: System, tenant: Tenant, count: int, advance: Callable[[], None]) -> list[Figure]:
    """Let so many processes of lifecycle admit what is waiting for it.

    The outbox tells how far they are: counting 100,000 rows 20 times a second was a load of its own.
    """
    rows = "select last_value from outbox_id_seq"
    admitted = f"select count(*) from admission where business_id = '{UUID(tenant.business_id)}'"  # noqa: S608
    before = await until(system, "activities_lifecycle", admitted, lambda _: True)
    rows_before = await until(system, "activities_lifecycle", rows, lambda _: True)
    settings = {"LIFECYCLE_CONSUMERS": "1"} if count > 1 else {}
    with alone(system, "lifecycle", tenant, settings, count) as (_, groups):
        enough = rows_before + ROWS_EACH * REPORTS * FROM_SHARE
        await until(system, "activities_lifecycle", rows, lambda found: found >= enough)
        began, used = time.perf_counter(), [group.cpu_s() for group in groups]
        first = await until(system, "activities_lifecycle", admitted, lambda _: True)
        nearly = rows_before + ROWS_EACH * REPORTS * TO_SHARE
        await until(system, "activities_lifecycle", rows, lambda found: found >= nearly, advance)
        last = await until(system, "activities_lifecycle", admitted, lambda _: True)
        seconds = time.perf_counter() - began
        step = f"lifecycle, {count} process{'es' if count > 1 else ''}"
        cpu = cpu_figures(step, groups, used, last - first)
        await until(system, "activities_lifecycle", admitted, lambda done: done >= before + REPORTS, advance)
    target = ADMITTED_PER_S if count > 1 else None
    return [Figure(step, "reports admitted, alone", (last - first) / seconds, "/s", target), *cpu]


async def until(
    system: System, database: str, sql: str, enough: Callable[[int], bool], advance: Callable[[], None] = lambda: None
) -> int:
    """Ask a database for a number until it is enough. Raises Trouble after 5 minutes."""
    connection = await asyncpg.connect(system.database_url(database))
    try:
        deadline = time.perf_counter() + PATIENCE_S
        while not enough(found := await connection.fetchval(sql)):
            if time.perf_counter() > deadline:
                raise Trouble(f"{database}: {found} after {PATIENCE_S:g} s")
            advance()
            await asyncio.sleep(LOOK_S)
        return int(found)
    finally:
        await connection.close()
