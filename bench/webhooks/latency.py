"""From an event on the topic to the sink's log: W2 at steady rates, W3 with fan-out, W4 beside one that hangs."""

import asyncio
import time
from collections.abc import Collection, Sequence

from aiokafka import AIOKafkaProducer

from bench.figures import Figure, percentile
from bench.webhooks.business import Tenant, make_endpoints, make_row, retire
from bench.webhooks.ground import Ground
from libs.contracts.ids import partition_of, uuid7
from libs.database import Database

WARM_S, SECONDS = 3, 15
TARGETS_MS = {50: (4.0, 8.0), 200: (4.0, 10.0), 1_000: (None, 40.0)}
FAN, FAN_RATE, FAN_P99_MS = 10, 100, 40.0
HANGING_RATE, HEALTHY = 200, 19
TIMES_MAX = 1.2
PATIENCE_S = 30.0
HEADERS = [
    ("ce_specversion", b"1.0"), ("ce_type", b"activity.completed"), ("ce_source", b"/activities/lifecycle"),
    ("ce_version", b"1"),
]  # fmt: skip
Sent = dict[str, tuple[float, float]]
"""By activity: when it was given to the producer, when the broker had it."""


async def send(ground: Ground, rate: float, seconds: float, tenants: Sequence[Tenant]) -> Sent:
    """Put events on their topic at a steady rate that waits for nothing, for these businesses in turn."""
    producer = AIOKafkaProducer(bootstrap_servers=ground.broker.bootstrap_servers, acks="all", linger_ms=0)
    await producer.start()
    partitions, sent = ground.broker.partitions, Sent()
    rows = [make_row(tenants[n % len(tenants)].business_id, n) for n in range(int(rate * seconds))]
    began = time.monotonic() + 0.1

    async def one(row: dict[str, object]) -> None:
        key = bytes(row["key"])  # type: ignore[call-overload]
        given = time.monotonic()
        arriving = await producer.send(
            "activity.completed", row["value"], key=key, partition=partition_of(key, partitions), headers=HEADERS
        )
        await arriving
        sent[str(row["of"])] = given, time.monotonic()

    try:
        async with asyncio.TaskGroup() as tasks:
            for number, row in enumerate(rows):
                await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
                tasks.create_task(one(row))
    finally:
        await producer.stop()
    return sent


async def run(
    ground: Ground, rate: float, tenants: Sequence[Tenant], *, fan: int = 1, silent: Collection[Tenant] = ()
) -> tuple[list[float], list[float]]:
    """Send at a rate; return the seconds from the topic, and from the producer, to the sink, without `silent` ones."""
    await send(ground, rate, WARM_S, tenants)
    await ground.ask_sink("clear")
    sent = await send(ground, rate, SECONDS, tenants)
    expected = fan * sum(tenants[n % len(tenants)] not in silent for n in range(int(rate * SECONDS)))
    deadline, found = time.monotonic() + PATIENCE_S, []
    while time.monotonic() < deadline:
        found = [line for line in await ground.log() if line[4].startswith("/ok") and line[3] in sent]
        if len({line[2] for line in found}) >= expected:
            break
        await asyncio.sleep(0.1)
    first: dict[str, tuple[float, str]] = {}
    for line in found:
        first.setdefault(line[2], (line[0], line[3]))
    pairs = [(at, *sent[activity]) for at, activity in first.values()]
    return [max(0.0, at - there) for at, _, there in pairs], [at - given for at, given, _ in pairs]


async def steady(ground: Ground, database: Database) -> list[Figure]:
    """W2: 50, 200 and 1,000 events a second, one endpoint."""
    tenant, found = Tenant(uuid7()), list[Figure]()
    await make_endpoints(ground, database, tenant, ["/ok/0"])
    for rate, (p50_ms, p99_ms) in TARGETS_MS.items():
        there, given = await run(ground, rate, [tenant])
        broker = [whole - part for whole, part in zip(given, there, strict=True)]
        found += [
            _figure("W2", f"{rate}/s: p50", there, 0.5, p50_ms),
            _figure("W2", f"{rate}/s: p95", there, 0.95, None),
            _figure("W2", f"{rate}/s: p99", there, 0.99, p99_ms),
            _figure("W2", f"{rate}/s, from the producer: p50", given, 0.5, None),
            _figure("W2", f"{rate}/s, from the producer: p99", given, 0.99, None),
            _figure("W2", f"{rate}/s, the broker's acknowledgement alone: p99", broker, 0.99, None),
        ]
    await retire(database)
    return found


async def fanned(ground: Ground, database: Database) -> list[Figure]:
    """W3: 100 events a second, 10 endpoints each."""
    tenant = Tenant(uuid7())
    await make_endpoints(ground, database, tenant, [f"/ok/{n}" for n in range(FAN)])
    there, _ = await run(ground, FAN_RATE, [tenant], fan=FAN)
    await retire(database)
    return [_figure("W3", "p50", there, 0.5, None), _figure("W3", "p99", there, 0.99, FAN_P99_MS)]


async def hanging(ground: Ground, database: Database) -> list[Figure]:
    """W4: one of 20 endpoints never answers and gets 5 %, then 20 % of 200 a second; the others against the same load
    with nobody hanging, in one run."""
    found: list[Figure] = []
    healthy = [Tenant(uuid7()) for _ in range(HEALTHY)]
    for number, tenant in enumerate(healthy):
        await make_endpoints(ground, database, tenant, [f"/ok/{number}"])
    alone, _ = await run(ground, HANGING_RATE, healthy)
    base = percentile(alone, 0.99)
    found += [
        _figure("W4", "nobody hangs: p50", alone, 0.5, None),
        _figure("W4", "nobody hangs: p99", alone, 0.99, None),
    ]
    sick = Tenant(uuid7())
    await make_endpoints(ground, database, sick, ["/hang/0"])
    for share, tenants in (
        (5, [sick, *healthy]),
        (20, [each for n in range(5) for each in (sick, *_four(healthy, n))]),
    ):
        there, _ = await run(ground, HANGING_RATE, tenants, silent=[sick])
        worst = percentile(there, 0.99)
        found += [
            _figure("W4", f"{share} % hang: the others' p50", there, 0.5, None),
            _figure("W4", f"{share} % hang: the others' p99", there, 0.99, None),
            Figure("W4", f"{share} % hang: p99 against nobody", worst / base, "times", TIMES_MAX, most=True),
        ]
    await retire(database)
    return found


def _four(tenants: Sequence[Tenant], turn: int) -> Sequence[Tenant]:
    return [tenants[(4 * turn + n) % len(tenants)] for n in range(4)]


def _figure(step: str, name: str, seconds: Sequence[float], share: float, target_ms: float | None) -> Figure:
    return Figure(step, name, percentile(seconds, share) * 1000, "ms", target_ms, most=True)
