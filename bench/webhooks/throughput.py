"""How many a second: W1 (draining what is owed), fan-out, taking in and delivering at once, several workers."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from bench.figures import Figure
from bench.webhooks import exchanges
from bench.webhooks.business import Tenant, all_noted, make_endpoints, make_row, owe, publish, retire
from bench.webhooks.ground import Ground, statements_of
from libs.contracts.ids import uuid7
from libs.database import Database
from services.webhook_dispatcher.app import sender_named

DRAINED, WARM = 20_000, 2_000
FANNED, FAN = 1_000, 20
AT_ONCE = 20_000
PATIENCE_S = 120.0
WORKERS, SHARED_OUT_S = (1, 2, 4), 4.0
DRAIN_PER_S, FAN_PER_S, AT_ONCE_PER_S = 4_000.0, 5_000.0, 3_000.0
SERVICE_US, ALL_US, STATEMENTS = 200.0, 300.0, 0.05


@dataclass
class Meter:
    """CPU and statements since a moment."""

    ground: Ground
    used: list[float]
    statements: float

    @classmethod
    async def started(cls, ground: Ground) -> "Meter":
        """Begin to count."""
        return cls(ground, [group.cpu_s() for group in ground.groups()], await statements_of(ground))

    async def figures(self, step: str, deliveries: int, *, judged: bool = True) -> list[Figure]:
        """Say what was used for a delivery; with `judged` against the targets."""
        groups = self.ground.groups()
        used = [(group.cpu_s() - before) / deliveries * 1e6 for group, before in zip(groups, self.used, strict=True)]
        made = await statements_of(self.ground) - self.statements
        each = [Figure(step, f"CPU of {group.name}", us, "µs/delivery") for group, us in zip(groups, used, strict=True)]
        if not judged:
            return [*each, Figure(step, "statements", made / deliveries * 1000, "per 1,000")]
        return [
            Figure(step, "CPU of the service", used[0], "µs/delivery", SERVICE_US, most=True),
            *each[1:],
            Figure(step, "CPU of all processes", sum(used), "µs/delivery", ALL_US, most=True),
            Figure(step, "statements", made / deliveries * 1000, "per 1,000", STATEMENTS * 1000, most=True),
        ]


async def drain(ground: Ground, database: Database, endpoints: int, count: int = DRAINED) -> list[Figure]:
    """W1: so many are owed at once to 1 or 20 endpoints; from the first at the sink to the last one noted."""
    step = f"W1, {endpoints} endpoint{'s' * (endpoints > 1)}"
    tenant = Tenant(uuid7())
    ids = await make_endpoints(ground, database, tenant, [f"/ok/{n}" for n in range(endpoints)])
    await _drained(ground, database, (tenant, ids), WARM)
    meter = await Meter.started(ground)
    seconds = await _drained(ground, database, (tenant, ids), count)
    figures = [Figure(step, "drained", count / seconds, "/s", DRAIN_PER_S), *await meter.figures(step, count)]
    await retire(database)
    return figures


async def _drained(ground: Ground, database: Database, to: tuple[Tenant, Sequence[object]], count: int) -> float:
    await ground.ask_sink("clear")
    await owe(database, *to, count)  # type: ignore[arg-type]
    await ground.received(count, PATIENCE_S)
    await all_noted(database, PATIENCE_S)
    ended = time.monotonic()
    return ended - (await ground.log())[0][0]


async def fan_out(ground: Ground, database: Database) -> list[Figure]:
    """1,000 events on the topic, 20 endpoints hear each; from the first event published to the last webhook."""
    return await _heard(ground, database, ("fan-out 1,000 × 20", FANNED, FAN, FAN_PER_S))


async def at_once(ground: Ground, database: Database) -> list[Figure]:
    """20,000 events on the topic, one endpoint hears each; from the first event published to the last webhook."""
    return await _heard(ground, database, ("taken in and delivered", AT_ONCE, 1, AT_ONCE_PER_S))


async def _heard(ground: Ground, database: Database, plan: tuple[str, int, int, float]) -> list[Figure]:
    step, events, fan, target = plan
    tenant = Tenant(uuid7())
    await make_endpoints(ground, database, tenant, [f"/ok/{n}" for n in range(fan)])
    figures: list[Figure] = []
    for count, judged in ((events // 10, False), (events, True)):
        rows = [make_row(tenant.business_id, n) for n in range(count)]
        await ground.ask_sink("clear")
        meter, began = await Meter.started(ground), time.monotonic()
        await publish(ground, rows)
        await ground.received(count * fan, PATIENCE_S)
        last = (await ground.log())[-1][0]
        await all_noted(database, PATIENCE_S)
        found = len({line[2] for line in await ground.log()})
        if judged:
            figures = [
                Figure(step, "deliveries", found / (last - began), "/s", target),
                *await meter.figures(step, found, judged=False),
            ]
    await retire(database)
    return figures


async def senders(ground: Ground, database: Database) -> list[Figure]:
    """W1 with 20 endpoints by the lean sender and by aiohttp, in turns; and an exchange of each alone."""
    drained: dict[str, list[tuple[float, float]]] = {"lean": [], "aiohttp": []}
    for sender in ("lean", "aiohttp", "aiohttp", "lean"):
        await asyncio.to_thread(ground.end_workers)
        number = await asyncio.to_thread(ground.start_worker, {"WEBHOOK_SENDER": sender})
        figures = await drain(ground, database, FAN)
        drained[sender].append((figures[0].value, figures[1].value))
        await asyncio.to_thread(ground.end_worker, number)
    means = {name: [mean(values) for values in zip(*found, strict=True)] for name, found in drained.items()}
    alone_us = {name: await exchanges.cpu_us(sender_named(name), ground.url("/ok/0")) for name in drained}
    return [
        *(Figure("senders", f"{name}: W1 drained", rate, "/s") for name, (rate, _) in means.items()),
        *(Figure("senders", f"{name}: W1, CPU of the service", us, "µs/delivery") for name, (_, us) in means.items()),
        *(Figure("senders", f"{name}: an exchange alone, CPU", us, "µs") for name, us in alone_us.items()),
        Figure("senders", "an exchange: lean against aiohttp", alone_us["lean"] / alone_us["aiohttp"], "times"),
    ]


async def scaled(ground: Ground, database: Database) -> list[Figure]:
    """W1 with 20 endpoints and 1, 2, 4 workers."""
    found: list[Figure] = []
    for living in WORKERS:
        while sum(each.poll() is None for each in ground.workers) < living:
            await asyncio.to_thread(ground.start_worker)
        await asyncio.sleep(SHARED_OUT_S)
        figures = await drain(ground, database, FAN)
        found += [
            Figure("workers", f"{living}: drained", figures[0].value, "/s"),
            Figure("workers", f"{living}: CPU of the service", figures[1].value, "µs/delivery"),
        ]
    for number in range(len(ground.workers)):
        await asyncio.to_thread(ground.end_worker, number)
    return found
