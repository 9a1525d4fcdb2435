"""W7: what it costs to have nothing to do; and whether a year of history slows the queue."""

import asyncio
import time

import asyncpg

from bench.figures import Figure
from bench.webhooks import throughput
from bench.webhooks.business import Tenant, make_endpoints
from bench.webhooks.ground import Ground, statements_of
from libs.contracts.ids import uuid7
from libs.database import Database

SECONDS, REST_S = 20, 6
QUERIES_PER_S, CPU_MS_PER_S = 2.0, 3.0
FRAME = "^(begin|commit)"
HISTORY, SLICE, HISTORY_WRITERS = 5_000_000, 50_000, 2
FINISHED = """
    insert into delivery (business_id, id, endpoint_id, event_id, event_type, activity_id, version, logged_at, status,
                          attempts, next_at, lease_no, created_at, finished_at)
    select business_id, id, endpoint_id, id, 'activity.logged', id, 1, at, 'delivered', 1, null, 1, at, at
      from (select ('00000000-0000-7000-8000-0000000000' || lpad((n % 20)::text, 2, '0'))::uuid as business_id,
                   ('00000000-0000-7000-9000-0000000000' || lpad((n % 20)::text, 2, '0'))::uuid as endpoint_id,
                   ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid as id,
                   now() - make_interval(secs => (5000000 - n) * 6) as at
              from generate_series($1::int, $2::int) n) s"""
"""Ids rise with time, as they do in use."""


async def idle(ground: Ground, database: Database) -> list[Figure]:
    """W7: statements and CPU a second with an endpoint and nothing owed; relay, consumers and health included."""
    await make_endpoints(ground, database, Tenant(uuid7()), ["/ok/0"])
    await asyncio.sleep(REST_S)
    service = ground.groups()[0]
    used, made, asked = service.cpu_s(), await statements_of(ground), await statements_of(ground, without=FRAME)
    await asyncio.sleep(SECONDS)
    asked, made = await statements_of(ground, without=FRAME) - asked, await statements_of(ground) - made
    return [
        Figure("W7", "queries, begin and commit not counted", asked / SECONDS, "/s", QUERIES_PER_S, most=True),
        Figure("W7", "statements, begin and commit among them", made / SECONDS, "/s"),
        Figure("W7", "CPU of the process", (service.cpu_s() - used) / SECONDS * 1000, "ms/s", CPU_MS_PER_S, most=True),
    ]


async def history(ground: Ground, database: Database) -> list[Figure]:
    """Drain 20,000 at 20 endpoints with little behind them, then with 5,000,000 finished deliveries."""
    before = await throughput.drain(ground, database, 20)
    began = time.monotonic()
    await asyncio.gather(*(_make_history(ground, part) for part in range(HISTORY_WRITERS)))
    made = time.monotonic()
    owner = await asyncpg.connect(ground.urls.owner)
    await owner.execute("vacuum analyze delivery")
    await owner.close()
    vacuumed = time.monotonic()
    after = await throughput.drain(ground, database, 20)
    return [
        Figure("history", "5,000,000 finished deliveries made by SQL in", made - began, "s"),
        Figure("history", "and vacuumed in", vacuumed - made, "s"),
        Figure("history", "drained with little behind", before[0].value, "/s"),
        Figure("history", "drained with 5,000,000 finished behind", after[0].value, "/s", throughput.DRAIN_PER_S),
        Figure("history", "CPU of PostgreSQL with little behind", before[2].value, "µs/delivery"),
        Figure("history", "CPU of PostgreSQL with 5,000,000 behind", after[2].value, "µs/delivery"),
    ]


async def _make_history(ground: Ground, part: int) -> None:
    """Make every so many-th slice; what is lost in a crash can be made again."""
    owner = await asyncpg.connect(ground.urls.owner, server_settings={"synchronous_commit": "off"})
    try:
        for start in range(part * SLICE, HISTORY, HISTORY_WRITERS * SLICE):
            await owner.execute(FINISHED, start, start + SLICE - 1)
    finally:
        await owner.close()
