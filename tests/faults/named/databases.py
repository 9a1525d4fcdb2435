"""PostgreSQL that dies, restarts, freezes, slows down or cannot be reached."""

import asyncio
import os
import signal

from libs.embedded import processes
from tests.faults.named import fault
from tests.faults.proxy import Weather
from tests.faults.rig import Rig

AWAY_S = 3.0
HALF_ENDED = """
    select pg_terminate_backend(pid) from pg_stat_activity where datname like 'activities_%' and random() < 0.5
"""


@fault("postgres-killed", "PostgreSQL is killed and starts again")
async def postgres_killed(rig: Rig) -> None:
    await asyncio.to_thread(rig.installation.postgres.kill)
    rig.installation.counts["interruptions"] += 1
    await asyncio.sleep(rig.chance.uniform(0.1, AWAY_S))
    await asyncio.to_thread(rig.installation.postgres.start)


@fault("postgres-restarted", "PostgreSQL is stopped in order and starts again")
async def postgres_restarted(rig: Rig) -> None:
    await asyncio.to_thread(rig.installation.postgres.stop)
    rig.installation.counts["interruptions"] += 1
    await asyncio.to_thread(rig.installation.postgres.start)


@fault("postgres-frozen", "the whole server stands still")
async def postgres_frozen(rig: Rig) -> None:
    rig.installation.counts["interruptions"] += 1
    await _stand_still(rig, share=1.0, seconds=6.0)


@fault("backend-frozen", "some backends stand still while the others go on")
async def backend_frozen(rig: Rig) -> None:
    await _stand_still(rig, share=0.3, seconds=8.0)


async def _stand_still(rig: Rig, share: float, seconds: float) -> None:
    server = rig.installation.postgres
    found = sorted(processes.find_in(server._data, "postgres"))
    chosen = [pid for pid in found if share >= 1 or (pid != server.pid and rig.chance.random() < share)]
    for pid in chosen:
        os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        for pid in chosen:
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                continue


@fault("backends-ended", "the server ends half of its connections")
async def backends_ended(rig: Rig) -> None:
    for _ in range(3):
        await rig.installation.sql(HALF_ENDED)
        await asyncio.sleep(0.7)


@fault("postgres-cut", "every connection to one service's database is reset, several times")
async def postgres_cut(rig: Rig) -> None:
    proxy = rig.chance.choice(list(rig.installation.postgres_proxies.values()))
    rig.installation.counts["interruptions"] += 1
    for _ in range(5):
        proxy.cut()
        await asyncio.sleep(0.4)


@fault("postgres-unreachable", "the databases take connections and never answer")
async def postgres_unreachable(rig: Rig) -> None:
    await _weather(rig, Weather(black_hole=True), 5.0)


@fault("postgres-half-open", "connections to the databases are lost, and nobody is told")
async def postgres_half_open(rig: Rig) -> None:
    rig.installation.counts["interruptions"] += 1
    for proxy in rig.installation.postgres_proxies.values():
        proxy.half_open()
    await asyncio.sleep(6.0)


@fault("postgres-slow", "every answer of the databases takes 40 ms")
async def postgres_slow(rig: Rig) -> None:
    await _weather(rig, Weather(latency_s=0.04), 6.0)


@fault("postgres-sliced", "the databases' bytes come in pieces of seven")
async def postgres_sliced(rig: Rig) -> None:
    await _weather(rig, Weather(slice_bytes=7), 3.0)


@fault("commit-reported-failed", "1 % of commits are done, and their answer is lost with the connection")
async def commit_reported_failed(rig: Rig) -> None:
    await _weather(rig, Weather(lose_share=0.01, lose_holding=b"commit"), 8.0)


@fault("commit-often-reported-failed", "20 % of commits are done, and their answer is lost with the connection")
async def commit_often_reported_failed(rig: Rig) -> None:
    await _weather(rig, Weather(lose_share=0.2, lose_holding=b"commit"), 3.0)


async def _weather(rig: Rig, weather: Weather, seconds: float) -> None:
    rig.installation.counts["interruptions"] += 1
    for proxy in rig.installation.postgres_proxies.values():
        proxy.weather = weather
    await asyncio.sleep(seconds)
    for proxy in rig.installation.postgres_proxies.values():
        proxy.clear()
