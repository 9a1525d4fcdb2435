"""The figures by name, each with what it needs, alone or together."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence

import uvloop

from bench.figures import Figure
from bench.webhooks import addresses, latency, quiet, signatures, throughput, trouble
from bench.webhooks.ground import Ground, prepared
from libs.database import Database

Measure = Callable[[Ground, Database], Awaitable[list[Figure]]]


async def _w1(ground: Ground, database: Database) -> list[Figure]:
    return [*await throughput.drain(ground, database, 1), *await throughput.drain(ground, database, 20)]


FIGURES: dict[str, Measure] = {
    "W7": quiet.idle, "W1": _w1, "fan-out": throughput.fan_out, "at-once": throughput.at_once, "W2": latency.steady,
    "W3": latency.fanned, "W4": latency.hanging, "W5": trouble.failing, "W8": trouble.hostile,
    "W9": addresses.refused, "W10": signatures.verified,
    "W6": trouble.killed, "W11": trouble.restarted, "frozen": trouble.frozen, "workers": throughput.scaled,
    "history": quiet.history,
}  # fmt: skip
"""In the order in which they are measured: first what load leaves traces in (vacuum), last what hurts the worker."""


def measure(only: Sequence[str], say: Callable[[str], None]) -> list[Figure]:
    """Measure what is named, or everything."""
    return uvloop.run(_measure(only or [*FIGURES], say))


async def _measure(only: Sequence[str], say: Callable[[str], None]) -> list[Figure]:
    found: list[Figure] = []
    async with prepared(keep="BENCH_KEEP" in os.environ) as (ground, database):
        await asyncio.to_thread(ground.start_worker)
        for name, one in FIGURES.items():
            if name not in only:
                continue
            if all(each.poll() is not None for each in ground.workers):
                await asyncio.to_thread(ground.start_worker)
            found += await one(ground, database)
            say(f"{name} done")
    return found
