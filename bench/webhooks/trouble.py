"""What goes wrong: W5 a fifth fails once, W6 workers are killed, W8 hostile receivers, W11 the database restarts; and a
worker that freezes."""

import asyncio
import signal
import time
from collections import Counter

from bench.figures import Figure, percentile
from bench.webhooks import latency
from bench.webhooks.business import Tenant, all_noted, make_endpoints, owe, retire
from bench.webhooks.ground import Ground
from bench.webhooks.latency import Load
from bench.webhooks.sink import HOSTILE
from libs.contracts.ids import uuid7
from libs.database import Database

FLAKY = 5_000
KILLED, KILLS = 20_000, 3
AGAIN_S, GROWTH_MIB = 4.0, 50.0
RESTART_RATE, RESTART_S, FIRST_S = 200, 12, 1
PATIENCE_S = 120.0


async def failing(ground: Ground, database: Database) -> list[Figure]:
    """W5: of 5,000 a fifth fails at its first attempt; every attempt is counted, at the sink and in the store."""
    tenant = Tenant(uuid7())
    ids = await make_endpoints(ground, database, tenant, ["/flaky"])
    await ground.ask_sink("clear")
    await owe(database, tenant, ids, FLAKY)
    await all_noted(database, PATIENCE_S)
    log = await ground.log()
    tries = Counter(line[2] for line in log)
    failed = {line[2]: line[0] for line in log if line[1] == 500}
    wrong = sum(count != 1 + (identity in failed) for identity, count in tries.items())
    async with database.work() as tx:
        rows = await tx.fetch(
            """select id::text, attempts from delivery where business_id = $1 and status = 'delivered'""",
            tenant.business_id,
        )
        kept = int(await tx.value("select count(*) from attempt where business_id = $1", tenant.business_id))
    wrong += sum(row[1] != tries[row[0]] for row in rows) + abs(FLAKY - len(rows)) + abs(kept - len(log))
    late = [line[0] - failed[line[2]] - 5.0 for line in log if line[1] == 200 and line[2] in failed]
    await retire(database)
    return [
        Figure("W5", "failed once", len(failed) / FLAKY * 100, "%"),
        Figure("W5", "attempts that are not as they should be", wrong, "", 0, most=True),
        Figure("W5", "retry after 5 s (or up to 20 % sooner), late: p99", percentile(late, 0.99) * 1000, "ms"),
    ]


async def killed(ground: Ground, database: Database) -> list[Figure]:
    """W6: while 20,000 are drained the worker is killed three times and started again at once."""
    tenant = Tenant(uuid7())
    ids = await make_endpoints(ground, database, tenant, [f"/ok/{n}" for n in range(20)])
    await ground.ask_sink("clear")
    number = next(n for n, each in enumerate(ground.workers) if each.poll() is None)
    await owe(database, tenant, ids, KILLED)
    gaps = []
    for kill in range(KILLS):
        await ground.received(int(KILLED * (kill + 1) / (KILLS + 2)), PATIENCE_S)
        await asyncio.to_thread(ground.end_worker, number, signal.SIGKILL)
        at = time.monotonic()
        number = await asyncio.to_thread(ground.start_worker, wait=False)
        await ground.received(int(await ground.ask_sink("count")) + 1, PATIENCE_S)
        gaps.append(next(line[0] for line in await ground.log() if line[0] > at) - at)
    await all_noted(database, PATIENCE_S)
    tries = Counter(line[2] for line in await ground.log())
    async with database.work() as tx:
        rows = await tx.fetch("select id::text from delivery where business_id = $1", tenant.business_id)
    lost = sum(row[0] not in tries for row in rows)
    await retire(database)
    return [
        Figure("W6", f"lost of {KILLED:,} with {KILLS} kills", lost, "", 0, most=True),
        Figure("W6", "sent twice", sum(count - 1 for count in tries.values()), "", KILLS * 512.0, most=True),
        Figure("W6", "going again after, at most", max(gaps), "s", AGAIN_S, most=True),
    ]


async def frozen(ground: Ground, database: Database) -> list[Figure]:
    """A worker of two is stopped (SIGSTOP) in the middle and goes on later: the other takes over, nothing changes."""
    second = await asyncio.to_thread(ground.start_worker)
    first = next(n for n, each in enumerate(ground.workers) if each.poll() is None)
    tenant = Tenant(uuid7())
    ids = await make_endpoints(ground, database, tenant, [f"/ok/{n}" for n in range(20)])
    await asyncio.sleep(3)  # shards are shared out
    await ground.ask_sink("clear")
    await owe(database, tenant, ids, KILLED)
    await ground.received(KILLED // 10, PATIENCE_S)
    ground.workers[first].send_signal(signal.SIGSTOP)
    at = time.monotonic()
    try:
        await all_noted(database, PATIENCE_S)
        seconds = time.monotonic() - at
    finally:
        ground.workers[first].send_signal(signal.SIGCONT)
    before = await _rows(database, tenant)
    await asyncio.sleep(3)
    changed = len(set(before) ^ set(await _rows(database, tenant)))
    await asyncio.to_thread(ground.end_worker, second)
    tries = Counter(line[2] for line in await ground.log())
    await retire(database)
    return [
        Figure("frozen", "all delivered by the other after", seconds, "s"),
        Figure("frozen", "lost", KILLED - len(tries), "", 0, most=True),
        Figure("frozen", "sent twice", sum(count - 1 for count in tries.values()), ""),
        Figure("frozen", "rows changed by the one that woke up", changed, "", 0, most=True),
    ]


async def _rows(database: Database, tenant: Tenant) -> list[tuple[object, ...]]:
    async with database.work() as tx:
        rows = await tx.fetch(
            "select id, status, attempts, lease_no, finished_at from delivery where business_id = $1",
            tenant.business_id,
        )
    return [tuple(row) for row in rows]


async def hostile(ground: Ground, database: Database) -> list[Figure]:
    """W8: a receiver of each hostile kind, in a process of their own, gets events beside healthy ones; in turns with as
    many for as many receivers there that behave."""
    service, there = ground.groups()[0], await asyncio.to_thread(ground.start_other_sink)
    healthy, bad, good = Tenant(uuid7()), [Tenant(uuid7()) for _ in HOSTILE], [Tenant(uuid7()) for _ in HOSTILE]
    await make_endpoints(ground, database, healthy, ["/ok/0"])
    for number, kind in enumerate(HOSTILE):
        await make_endpoints(ground, database, good[number], [f"{there}/ok/{number}"])
        await make_endpoints(ground, database, bad[number], [f"{there}/{kind}/0"])
    beside_good = Load(200, [each for one in good for each in (healthy, one)], good)
    beside_bad = Load(200, [each for one in bad for each in (healthy, one)], bad)
    alone = await latency.run(ground, Load(100, [healthy]))
    await latency.run(ground, beside_good)
    before = service.memory_mib("Rss")
    pairs = await latency.in_turns(
        latency.PAIRS, lambda: latency.run(ground, beside_good), lambda: latency.run(ground, beside_bad)
    )
    grown, arrived = service.memory_mib("Rss") - before, sum(len(beside.there) for _, beside in pairs)
    await retire(database)
    return [
        Figure("W8", "memory grows by", grown, "MiB", GROWTH_MIB, most=True),
        Figure("W8", "healthy alone: p99", percentile(alone.there, 0.99) * 1000, "ms"),
        *latency.compared("W8", "beside hostile ones", pairs),
        Figure("W8", "healthy ones lost", 100 * latency.TURN_S * len(pairs) - arrived, "", 0, most=True),
    ]


async def restarted(ground: Ground, database: Database) -> list[Figure]:
    """W11: the database restarts while 200 events a second are delivered.

    The worker of before may have been killed: until Kafka gives its partitions to this one there is nothing to see.
    """
    tenant = Tenant(uuid7())
    await make_endpoints(ground, database, tenant, ["/ok/0"])
    await ground.ask_sink("clear")
    first = await latency.send(ground, Load(RESTART_RATE, [tenant]), FIRST_S)
    await ground.received(len(first), PATIENCE_S)
    await ground.ask_sink("clear")
    sending = asyncio.create_task(latency.send(ground, Load(RESTART_RATE, [tenant]), RESTART_S))
    await asyncio.sleep(RESTART_S / 3)
    began = time.monotonic()
    await asyncio.to_thread(ground.postgres.stop)
    await asyncio.to_thread(ground.postgres.start)
    back = time.monotonic()
    sent = await sending
    await ground.received(len(sent), PATIENCE_S)
    await asyncio.sleep(1)
    log = await ground.log()
    arrived = {line[3] for line in log}
    again = next(line[0] for line in sorted(log) if line[0] > back) - back
    return [
        Figure("W11", "database away for", back - began, "s"),
        Figure("W11", f"lost of {len(sent):,}", len(sent.keys() - arrived), "", 0, most=True),
        Figure("W11", "sent twice", len(log) - len({line[2] for line in log}), ""),
        Figure("W11", "going again after the database was back", again, "s", AGAIN_S, most=True),
    ]
