"""From an event on the topic to the sink's log: W2 at steady rates beside the floor, W3 with fan-out, W4 beside one
that hangs. What is compared is measured in turns, a few seconds each, whose order is drawn."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median

from aiokafka import AIOKafkaProducer

from bench.figures import Figure, percentile
from bench.webhooks import floor
from bench.webhooks.business import Tenant, make_endpoints, make_row, retire
from bench.webhooks.ground import Ground
from libs.contracts.ids import partition_of, uuid7
from libs.database import Database

WARM_S, SECONDS, TURN_S = 1, 15, 5
TURNS, PAIRS = 3, 8
SEED = 4
TARGETS_MS = {50: (4.0, 8.0), 200: (4.0, 10.0), 1_000: (None, 40.0)}
FAN, FAN_RATE, FAN_P99_MS = 10, 100, 40.0
HANGING_RATE, HEALTHY = 200, 19
TIMES_MAX = 1.2
PATIENCE_S = 30.0
HEARD = "activity.completed"
HEADERS = [
    ("ce_specversion", b"1.0"), ("ce_type", b"activity.completed"), ("ce_source", b"/activities/lifecycle"),
    ("ce_version", b"1"),
]  # fmt: skip
Sent = dict[str, tuple[float, float]]
"""By activity: when it was given to the producer, when the broker had it."""


@dataclass(frozen=True)
class Load:
    """Events a second on a topic, for these businesses in turn; what is for `silent` ones is not waited for."""

    rate: int
    tenants: Sequence[Tenant]
    silent: Collection[Tenant] = ()
    fan: int = 1
    topic: str = HEARD


@dataclass
class Seen:
    """How long each took that arrived, in seconds: from the broker's acknowledgement, and from the producer."""

    there: list[float] = field(default_factory=list)
    given: list[float] = field(default_factory=list)

    def add(self, other: "Seen") -> None:
        """Add what was seen in another turn."""
        self.there += other.there
        self.given += other.given


async def send(ground: Ground, load: Load, seconds: float) -> Sent:
    """Put events on their topic at a steady rate that waits for nothing."""
    producer = AIOKafkaProducer(bootstrap_servers=ground.broker.bootstrap_servers, acks="all", linger_ms=0)
    await producer.start()
    partitions, sent, rate, tenants = ground.broker.partitions, Sent(), load.rate, load.tenants
    rows = [make_row(tenants[n % len(tenants)].business_id, n) for n in range(int(rate * seconds))]
    began = time.monotonic() + 0.1

    async def one(row: dict[str, object]) -> None:
        key = bytes(row["key"])  # type: ignore[call-overload]
        given = time.monotonic()
        arriving = await producer.send(
            load.topic, row["value"], key=key, partition=partition_of(key, partitions), headers=HEADERS
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


async def run(ground: Ground, load: Load, seconds: float = TURN_S) -> Seen:
    """Send for a second to get warm, then for as long as is measured; return what arrived."""
    await send(ground, load, WARM_S)
    await ground.ask_sink("clear")
    sent = await send(ground, load, seconds)
    expected = load.fan * sum(load.tenants[n % len(load.tenants)] not in load.silent for n in range(len(sent)))
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
    return Seen([max(0.0, at - there) for at, _, there in pairs], [at - given for at, given, _ in pairs])


async def in_turns(
    turns: int, one: Callable[[], Awaitable[Seen]], other: Callable[[], Awaitable[Seen]]
) -> list[tuple[Seen, Seen]]:
    """Measure both in turns, so that what changes on the machine hits both. Which comes first is drawn: with a fixed
    order what comes at regular intervals hits the same of the two each time (a new file of the WAL did)."""
    pairs, dice = [], random.Random(SEED)
    for _ in range(turns):
        if dice.random() < 0.5:
            second = await other()
            pairs.append((await one(), second))
        else:
            first = await one()
            pairs.append((first, await other()))
    return pairs


async def steady(ground: Ground, database: Database) -> list[Figure]:
    """W2: 50, 200 and 1,000 events a second, one endpoint; in turns with the floor."""
    tenant, found = Tenant(uuid7()), list[Figure]()
    await make_endpoints(ground, database, tenant, ["/ok/0"])
    with ground.beside("bench.webhooks.floor", ground.kafka.bootstrap_servers, ground.postgres.admin_url):
        for rate, targets_ms in TARGETS_MS.items():
            found += await _steady(ground, Load(rate, [tenant]), targets_ms)
    await retire(database)
    return found


async def _steady(ground: Ground, load: Load, targets_ms: tuple[float | None, float]) -> list[Figure]:
    service, used = ground.groups()[0], 0.0

    async def ours() -> Seen:
        nonlocal used
        before = service.cpu_s()
        seen = await run(ground, load)
        used += service.cpu_s() - before
        return seen

    least = Load(load.rate, load.tenants, topic=floor.TOPIC)
    pairs = await in_turns(TURNS, ours, lambda: run(ground, least))
    seen, bare = Seen(), Seen()
    for one, other in pairs:
        seen.add(one)
        bare.add(other)
    acknowledged = [whole - part for whole, part in zip(seen.given, seen.there, strict=True)]
    times, name = load.rate * (TURN_S + WARM_S) * TURNS, f"{load.rate}/s"
    above = median(percentile(one.there, 0.99) - percentile(other.there, 0.99) for one, other in pairs)
    return [
        _figure("W2", f"{name}: p50", seen.there, 0.5, targets_ms[0]),
        _figure("W2", f"{name}: p95", seen.there, 0.95, None),
        _figure("W2", f"{name}: p99", seen.there, 0.99, targets_ms[1]),
        _figure("W2", f"{name}, the floor: p50", bare.there, 0.5, None),
        _figure("W2", f"{name}, the floor: p99", bare.there, 0.99, None),
        Figure("W2", f"{name}, p99 above the floor's, median of {TURNS} pairs", above * 1000, "ms"),
        _figure("W2", f"{name}, from the producer: p99", seen.given, 0.99, None),
        _figure("W2", f"{name}, the broker's acknowledgement alone: p99", acknowledged, 0.99, None),
        Figure("W2", f"{name}, CPU of the service", used / times * 1e6, "µs/delivery"),
    ]


async def fanned(ground: Ground, database: Database) -> list[Figure]:
    """W3: 100 events a second, 10 endpoints each."""
    tenant = Tenant(uuid7())
    await make_endpoints(ground, database, tenant, [f"/ok/{n}" for n in range(FAN)])
    seen = await run(ground, Load(FAN_RATE, [tenant], fan=FAN), SECONDS)
    await retire(database)
    return [_figure("W3", "p50", seen.there, 0.5, None), _figure("W3", "p99", seen.there, 0.99, FAN_P99_MS)]


async def hanging(ground: Ground, database: Database) -> list[Figure]:
    """W4: one of 20 endpoints never answers and gets 5 %, then 20 % of 200 a second; the others against the same load
    with nothing for that one, in turns."""
    found: list[Figure] = []
    healthy, sick = [Tenant(uuid7()) for _ in range(HEALTHY)], Tenant(uuid7())
    for number, tenant in enumerate(healthy):
        await make_endpoints(ground, database, tenant, [f"/ok/{number}"])
    await make_endpoints(ground, database, sick, ["/hang/0"])
    alone = Load(HANGING_RATE, healthy)
    for share, tenants in (
        (5, [sick, *healthy]),
        (20, [each for n in range(5) for each in (sick, *_four(healthy, n))]),
    ):
        load = Load(HANGING_RATE, tenants, [sick])
        pairs = await in_turns(PAIRS, lambda: run(ground, alone), lambda load=load: run(ground, load))  # type: ignore[misc]
        found += compared("W4", f"{share} % hang", pairs)
    await retire(database)
    return found


def compared(step: str, what: str, pairs: Sequence[tuple[Seen, Seen]]) -> list[Figure]:
    """Say how p99 with something is against p99 without it. Of both kinds the worst quarter of the turns is left out: a
    stall of the machine or its disk, 8 late ones in a turn of 800, would decide it. How far the turns without it lie
    apart, every other one against the rest, is among the figures: what is nearer to 1 than that may be chance."""
    alone, beside = [one for one, _ in pairs], [other for _, other in pairs]
    all_alone, all_beside = _together(alone), _together(beside)
    itself = _times(alone[::2], alone[1::2])
    return [
        _figure(step, f"{what}: the others without, p99", all_alone.there, 0.99, None),
        _figure(step, f"{what}: the others' p50", all_beside.there, 0.5, None),
        _figure(step, f"{what}: the others' p99", all_beside.there, 0.99, None),
        Figure(step, f"{what}: p99 against without, all turns", _p99(all_beside) / _p99(all_alone), "times"),
        Figure(step, f"{what}: without against itself", max(itself, 1 / itself), "times"),
        Figure(step, f"{what}: p99 against without", _times(beside, alone), "times", TIMES_MAX, most=True),
    ]


def _times(some: Sequence[Seen], others: Sequence[Seen]) -> float:
    return _p99(_together(_quiet(some))) / _p99(_together(_quiet(others)))


def _quiet(turns: Sequence[Seen]) -> Sequence[Seen]:
    return sorted(turns, key=_p99)[: len(turns) - len(turns) // 4]


def _together(turns: Iterable[Seen]) -> Seen:
    found = Seen()
    for turn in turns:
        found.add(turn)
    return found


def _p99(seen: Seen) -> float:
    return percentile(seen.there, 0.99)


def _four(tenants: Sequence[Tenant], turn: int) -> Sequence[Tenant]:
    return [tenants[(4 * turn + n) % len(tenants)] for n in range(4)]


def _figure(step: str, name: str, seconds: Sequence[float], share: float, target_ms: float | None) -> Figure:
    return Figure(step, name, percentile(seconds, share) * 1000, "ms", target_ms, most=True)
