"""A line: a connection on which processes tell each other something at once (LISTEN and NOTIFY)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg

from libs.errors import Unavailable

CONNECT_S, SAY_S = 5.0, 5.0
_GONE = (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError, asyncpg.PostgresError, TimeoutError)


class Line:
    """What is said on a channel reaches all who listen at that moment, the one who says it too."""

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record], channel: str) -> None:
        self._connection = connection
        self._channel = channel
        self._heard: asyncio.Queue[str | None] = asyncio.Queue()
        connection.add_termination_listener(lambda *_: self._heard.put_nowait(None))

    async def listen(self) -> None:
        """Begin to hear. Raises Unavailable."""
        with _unavailable():
            await self._connection.add_listener(self._channel, lambda *said: self._heard.put_nowait(str(said[3])))

    async def next(self) -> str:
        """Wait for the next thing said. Raises Unavailable when the connection is lost."""
        said = await self._heard.get()
        if said is None:
            raise Unavailable("the connection to the database was lost")
        return said

    async def say(self, text: str) -> None:
        """Say something. Raises Unavailable."""
        with _unavailable():
            await self._connection.execute("select pg_notify($1, $2)", self._channel, text, timeout=SAY_S)


@asynccontextmanager
async def open_line(url: str, channel: str, settings: dict[str, str]) -> AsyncIterator[Line]:
    """Open a connection of its own that hears what is said on a channel. Raises Unavailable."""
    with _unavailable():
        connection: Any = await asyncpg.connect(url, timeout=CONNECT_S, server_settings=settings)
    try:
        line = Line(connection, channel)
        await line.listen()
        yield line
    finally:
        connection.terminate()


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except _GONE as error:
        raise Unavailable(f"the database does not answer ({type(error).__name__}: {error})") from error
