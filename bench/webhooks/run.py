"""The figures by name, each with what it needs, alone or together."""

import asyncio
import os
import subprocess
import time
from collections.abc import Awaitable, Callable, Sequence

import uvloop

from bench.figures import Figure
from bench.webhooks import addresses, latency, quiet, signatures, throughput, trouble
from bench.webhooks.business import retire
from bench.webhooks.ground import Ground, prepared
from cli.place import Trouble
from libs.database import Database

Measure = Callable[[Ground, Database], Awaitable[list[Figure]]]


async def _w1(ground: Ground, database: Database) -> list[Figure]:
    return [*await throughput.drain(ground, database, 1), *await throughput.drain(ground, database, 20)]


FIGURES: dict[str, Measure] = {
    "W7": quiet.idle, "W1": _w1, "fan-out": throughput.fan_out, "at-once": throughput.at_once, "W2": latency.steady,
    "W3": latency.fanned, "W4": latency.hanging, "W5": trouble.failing, "W8": trouble.hostile,
    "W9": addresses.refused, "W10": signatures.verified, "W6": trouble.killed, "W11": trouble.restarted,
    "frozen": trouble.frozen, "senders": throughput.senders, "workers": throughput.scaled, "history": quiet.history,
}  # fmt: skip
"""In the order in which they are measured: first what load leaves traces in (vacuum), last what hurts the worker."""


def measure(only: Sequence[str], say: Callable[[str], None]) -> list[Figure]:
    """Measure what is named, or everything."""
    return uvloop.run(_measure(only or [*FIGURES], say))


async def _measure(only: Sequence[str], say: Callable[[str], None]) -> list[Figure]:
    """Measure each; one that cannot be measured is said so, and the others go on."""
    found: list[Figure] = []
    async with prepared(keep="BENCH_KEEP" in os.environ) as (ground, database):
        for name in [name for name in FIGURES if name in only]:
            began = time.monotonic()
            try:
                if all(each.poll() is not None for each in ground.workers):
                    await asyncio.to_thread(ground.start_worker)
                found += await FIGURES[name](ground, database)
                say(f"{name} done in {time.monotonic() - began:.0f} s")
            except (Trouble, OSError, subprocess.TimeoutExpired, ExceptionGroup) as error:
                found.append(Figure(name, "could not be measured", 1, "", 0, most=True))
                say(f"{name} could not be measured: {error}")
                await asyncio.to_thread(ground.end_workers)
                await retire(database)
    return found
