"""Receivers that are slow, hang, drip, talk garbage or refuse."""

import asyncio

from tests.faults.named import fault
from tests.faults.proxy import Weather
from tests.faults.rig import Rig
from tests.support.sink import Answer

BAD_S = 6.0


async def _manner(rig: Rig, answer: Answer, seconds: float = BAD_S) -> None:
    rig.installation.sink.manner = answer
    await asyncio.sleep(seconds)
    rig.installation.sink.manner = Answer()


@fault("receivers-slow", "receivers take 2 s to answer")
async def receivers_slow(rig: Rig) -> None:
    await _manner(rig, Answer(delay_s=2.0))


@fault("receivers-hanging", "receivers take webhooks and never answer")
async def receivers_hanging(rig: Rig) -> None:
    await _manner(rig, Answer(hang=True))


@fault("receivers-dripping", "receivers answer a byte at a time")
async def receivers_dripping(rig: Rig) -> None:
    await _manner(rig, Answer(body=b"x" * 50, drip_s=0.05))


@fault("receivers-garbage", "receivers answer what is not HTTP")
async def receivers_garbage(rig: Rig) -> None:
    await _manner(rig, Answer(status=999_999, headers={"content-length": "nonsense", "\x01": "\x02"}))


@fault("receivers-closing", "receivers close the connection instead of answering")
async def receivers_closing(rig: Rig) -> None:
    await _manner(rig, Answer(close=True))


@fault("retry-storm", "all receivers refuse with 503, then everything owed is due at once")
async def retry_storm(rig: Rig) -> None:
    await _manner(rig, Answer(status=503, headers={"retry-after": "1"}))


@fault("2xx-lost", "a fifth of the receivers' 2xx is lost on the way back: they are told twice, the same")
async def two_hundred_lost(rig: Rig) -> None:
    rig.installation.sink_proxy.weather = Weather(lose_share=0.2, lose_holding=b"post ")
    await asyncio.sleep(BAD_S)
    rig.installation.sink_proxy.clear()
