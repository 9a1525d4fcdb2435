"""Kafka that dies, stays away, or cannot be reached. Acceptance goes on all the while."""

import asyncio
import time

from tests.faults.named import fault
from tests.faults.proxy import Weather
from tests.faults.rig import Rig

AWAY_S = 20.0
LONG_AWAY_S = 600.0


@fault("kafka-killed", "the broker is killed and starts again")
async def kafka_killed(rig: Rig) -> None:
    await asyncio.to_thread(rig.installation.kafka.kill)
    rig.installation.counts["broker"] += 1
    await asyncio.to_thread(rig.installation.kafka.start)


@fault("kafka-restarted", "the broker stops in order and starts again")
async def kafka_restarted(rig: Rig) -> None:
    await asyncio.to_thread(rig.installation.kafka.stop)
    rig.installation.counts["broker"] += 1
    await asyncio.to_thread(rig.installation.kafka.start)


@fault("kafka-away", "the broker is away for 20 s (600 s with --long); reports are accepted all the while")
async def kafka_away(rig: Rig) -> None:
    await asyncio.to_thread(rig.installation.kafka.kill)
    rig.installation.counts["broker"] += 1
    gone = time.monotonic()
    accepted = sum(len(tenant.acknowledged) for tenant in rig.tenants)
    try:
        while time.monotonic() - gone < (LONG_AWAY_S if rig.long else AWAY_S):
            await asyncio.sleep(2.0)
            for tenant in rig.tenants:
                silent_s = time.monotonic() - max(tenant.accepted_at, gone)
                assert silent_s < 10, f"no report of {tenant.business.id} was accepted for {silent_s:.0f} s"
        more = sum(len(tenant.acknowledged) for tenant in rig.tenants) - accepted
        assert more > 0, "nothing was accepted while Kafka was away"
    finally:
        await asyncio.to_thread(rig.installation.kafka.start)


@fault("kafka-half-open", "connections to the broker are lost, and nobody is told")
async def kafka_half_open(rig: Rig) -> None:
    rig.installation.counts["broker"] += 1
    rig.installation.kafka_proxy.half_open()
    await asyncio.sleep(8.0)


@fault("kafka-unreachable", "the broker takes connections and never answers")
async def kafka_unreachable(rig: Rig) -> None:
    rig.installation.counts["broker"] += 1
    await _weather(rig, Weather(black_hole=True), 12.0)


@fault("kafka-cut", "every connection to the broker is reset, several times")
async def kafka_cut(rig: Rig) -> None:
    rig.installation.counts["broker"] += 1
    for _ in range(6):
        rig.installation.kafka_proxy.cut()
        await asyncio.sleep(0.5)


@fault("kafka-refusing", "the broker resets every new connection, and those there are")
async def kafka_refusing(rig: Rig) -> None:
    rig.installation.counts["broker"] += 1
    rig.installation.kafka_proxy.cut()
    await _weather(rig, Weather(refusing=True), 5.0)


@fault("kafka-slow", "every answer of the broker takes 50 ms, at 200 KiB a second")
async def kafka_slow(rig: Rig) -> None:
    await _weather(rig, Weather(latency_s=0.05, rate_bytes_s=200 * 1024), 8.0)


@fault("kafka-sliced", "the broker's bytes come in pieces of eleven")
async def kafka_sliced(rig: Rig) -> None:
    await _weather(rig, Weather(slice_bytes=11), 4.0)


@fault("publish-reported-failed", "5 % of what is published arrives, and its acknowledgement is lost")
async def publish_reported_failed(rig: Rig) -> None:
    await _weather(rig, Weather(lose_share=0.05, lose_holding=b"-relay"), 8.0)


async def _weather(rig: Rig, weather: Weather, seconds: float) -> None:
    rig.installation.kafka_proxy.weather = weather
    await asyncio.sleep(seconds)
    rig.installation.kafka_proxy.clear()
