"""A TCP proxy of our own: everything that a network can do to a connection, switched on and off by a test.

It runs in the test's event loop and needs no rights. What happens to bytes is said by `weather`, which may be changed
at any time and holds for the connections there are as well.
"""

import asyncio
import random
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

CHUNK_BYTES = 64 * 1024
LOOK_S = 0.02
"""How often a held connection looks whether the weather has changed."""


@dataclass(frozen=True)
class Weather:
    """How connections fare. The default is a network that does nothing.

    `latency_s` delays each chunk, `slice_bytes` passes so many bytes at a time, `rate_bytes_s` bounds a direction,
    `black_hole` takes everything and delivers nothing, `refusing` resets every new connection. Of the requests that
    hold `lose_holding`, the share `lose_share` reaches the server, and its answer never comes back: the connection is
    reset instead. That is "done, but reported failed".
    """

    latency_s: float = 0.0
    slice_bytes: int = 0
    rate_bytes_s: float = 0.0
    black_hole: bool = False
    refusing: bool = False
    lose_share: float = 0.0
    lose_holding: bytes = b""


CLEAR = Weather()


@dataclass(eq=False)
class _Pipe:
    """One client's connection and ours to the server."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    doomed: bool = False
    deaf: bool = False
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)


class Proxy:
    """Listens on a port of its own and passes on to `target`, which may change (a restored server elsewhere)."""

    def __init__(self, target: Callable[[], int], seed: int = 0) -> None:
        self.weather = CLEAR
        self.port = 0
        self.accepted = 0
        self.lost_answers = 0
        self._target = target
        self._chance = random.Random(seed)
        self._server: asyncio.Server | None = None
        self._pipes: set[_Pipe] = set()

    async def start(self, port: int = 0) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and end every connection."""
        if self._server is not None:
            self._server.close()
        self.cut()
        await asyncio.sleep(0)

    @property
    def open(self) -> int:
        """How many connections there are."""
        return len(self._pipes)

    def cut(self, share: float = 1.0) -> int:
        """Reset connections, all or a share of them; return how many."""
        chosen = [pipe for pipe in self._pipes if share >= 1 or self._chance.random() < share]
        for pipe in chosen:
            self._reset(pipe)
        return len(chosen)

    def half_open(self) -> int:
        """Lose every connection without telling the clients: what they send vanishes, nothing ever comes back."""
        for pipe in self._pipes:
            pipe.deaf = True
            _abort(pipe.server)
        return len(self._pipes)

    def clear(self) -> None:
        """Heal: good weather, and what was half open is reset, as a network does that finds its way back."""
        self.weather = CLEAR
        for pipe in [pipe for pipe in self._pipes if pipe.deaf]:
            self._reset(pipe)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self.weather.refusing:
            _abort(writer)
            return
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._target())
        except OSError:
            _abort(writer)
            return
        pipe = _Pipe(writer, to_server)
        self._pipes.add(pipe)
        there = asyncio.create_task(self._pass(pipe, reader, to_server, to_the_server=True))
        back = asyncio.create_task(self._pass(pipe, from_server, writer, to_the_server=False))
        pipe.tasks = [there, back]
        with suppress(asyncio.CancelledError):
            await asyncio.gather(there, back)
        self._pipes.discard(pipe)
        for each in (writer, to_server):
            each.close()

    async def _pass(
        self, pipe: _Pipe, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, to_the_server: bool
    ) -> None:
        with suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                if not await self._let_through(pipe, writer, chunk, to_the_server=to_the_server):
                    return
        if pipe.deaf and not to_the_server:
            await asyncio.Event().wait()  # the client is not told; `clear` or the client ends it
        await self._while_held()
        with suppress(OSError, RuntimeError):
            writer.write_eof()
        if not to_the_server:
            for task in pipe.tasks:
                task.cancel()

    async def _let_through(
        self, pipe: _Pipe, writer: asyncio.StreamWriter, chunk: bytes, *, to_the_server: bool
    ) -> bool:
        """Pass a chunk on as the weather is; tell whether the connection goes on."""
        if pipe.deaf:
            return True
        if to_the_server:
            pipe.doomed = pipe.doomed or self._is_to_be_lost(chunk)
        elif pipe.doomed:
            self.lost_answers += 1
            self._reset(pipe)
            return False
        await self._write(writer, chunk)
        return True

    async def _write(self, writer: asyncio.StreamWriter, chunk: bytes) -> None:
        await self._while_held()
        weather = self.weather
        if weather.latency_s:
            await asyncio.sleep(weather.latency_s)
        size = weather.slice_bytes or len(chunk)
        for start in range(0, len(chunk), size):
            await self._while_held()
            writer.write(chunk[start : start + size])
            await writer.drain()
            if self.weather.slice_bytes:
                await asyncio.sleep(0)
        if weather.rate_bytes_s:
            await asyncio.sleep(len(chunk) / weather.rate_bytes_s)

    async def _while_held(self) -> None:
        while self.weather.black_hole:
            await asyncio.sleep(LOOK_S)

    def _is_to_be_lost(self, chunk: bytes) -> bool:
        weather = self.weather
        return bool(
            weather.lose_share
            and weather.lose_holding.lower() in chunk.lower()
            and self._chance.random() < weather.lose_share
        )

    def _reset(self, pipe: _Pipe) -> None:
        _abort(pipe.client)
        _abort(pipe.server)
        for task in pipe.tasks:
            task.cancel()


def _abort(writer: asyncio.StreamWriter) -> None:
    """Close with a reset, as a crashed machine's successor would."""
    opened = writer.get_extra_info("socket")
    if opened is not None:
        with suppress(OSError):
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
