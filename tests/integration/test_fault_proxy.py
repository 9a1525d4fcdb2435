"""The proxy of the fault suite does to connections what it says."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.faults.proxy import Proxy, Weather


@asynccontextmanager
async def through() -> AsyncIterator[tuple[Proxy, list[bytes]]]:
    """An echo server behind a proxy; the list is what reached the server, chunk by chunk."""
    heard: list[bytes] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65_536):
            heard.append(chunk)
            writer.write(chunk)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    proxy = Proxy(lambda: port)
    await proxy.start()
    try:
        yield proxy, heard
    finally:
        await proxy.stop()
        server.close()


async def dial(proxy: Proxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", proxy.port)


async def test_bytes_pass_unchanged_in_both_directions() -> None:
    async with through() as (proxy, _):
        reader, writer = await dial(proxy)
        sent = bytes(range(256)) * 2_000
        writer.write(sent)
        assert await reader.readexactly(len(sent)) == sent
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()


async def test_slices_arrive_whole() -> None:
    async with through() as (proxy, heard):
        proxy.weather = Weather(slice_bytes=3)
        reader, writer = await dial(proxy)
        writer.write(b"in small pieces")
        assert await reader.readexactly(15) == b"in small pieces"
        assert len(heard) > 1
        writer.close()


async def test_latency_and_bandwidth_delay() -> None:
    async with through() as (proxy, _):
        reader, writer = await dial(proxy)
        proxy.weather = Weather(latency_s=0.1, rate_bytes_s=1_000)
        began = time.monotonic()
        writer.write(b"x" * 100)
        await reader.readexactly(100)
        assert time.monotonic() - began >= 0.2
        writer.close()


async def test_a_black_hole_delivers_nothing_until_it_is_cleared() -> None:
    async with through() as (proxy, heard):
        reader, writer = await dial(proxy)
        proxy.weather = Weather(black_hole=True)
        writer.write(b"anybody?")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.2)
        assert heard == []
        proxy.clear()
        assert await asyncio.wait_for(reader.readexactly(8), 5) == b"anybody?"
        writer.close()


async def test_a_cut_resets_what_is_open_and_new_connections_work() -> None:
    async with through() as (proxy, _):
        reader, writer = await dial(proxy)
        writer.write(b"a")
        assert await reader.readexactly(1) == b"a"
        assert proxy.cut() == 1
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(reader.readexactly(1), 5)
        writer.close()
        reader, writer = await dial(proxy)
        writer.write(b"b")
        assert await reader.readexactly(1) == b"b"
        writer.close()


async def test_half_open_says_nothing_until_it_is_cleared() -> None:
    async with through() as (proxy, heard):
        reader, writer = await dial(proxy)
        writer.write(b"a")
        await reader.readexactly(1)
        assert proxy.half_open() == 1
        writer.write(b"lost")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.2)
        assert heard == [b"a"]
        proxy.clear()
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(reader.readexactly(1), 5)
        writer.close()


async def test_refused_connections_are_reset() -> None:
    async with through() as (proxy, _):
        proxy.weather = Weather(refusing=True)
        reader, writer = await dial(proxy)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 5)
        writer.close()


async def test_a_lost_answer_was_done_and_is_reported_as_failed() -> None:
    async with through() as (proxy, heard):
        proxy.weather = Weather(lose_share=1.0, lose_holding=b"commit")
        reader, writer = await dial(proxy)
        writer.write(b"select")
        assert await reader.readexactly(6) == b"select"
        writer.write(b"COMMIT")
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(6), 5)
        assert heard[-1] == b"COMMIT"
        assert proxy.lost_answers == 1
        writer.close()
