"""A receiver of webhooks for tests and benches: writes down each request, answers as it is told.

async with Sink.started() as sink:
    sink.script = [Answer(500), Answer(200)]      # in this order, then 200 for good
    … sink.url("/hook") … sink.requests …
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came; `at` is the wall clock in seconds, header names are in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float


@dataclass(frozen=True, slots=True)
class Answer:
    """How to answer. `hang`: never. `close`: cut the connection instead. `drip_s`: a byte at a time with that pause."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay_s: float = 0.0
    drip_s: float = 0.0
    hang: bool = False
    close: bool = False


class Sink:
    """The receiver. `script` is used up answer by answer; `by_path` decides for a path whatever the script says.

    `connections` were made so far, `open` are; `at_once_max`: by path, how many requests were in hand at the most.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.at_once_max: Counter[str] = Counter()
        self._in_hand: Counter[str] = Counter()
        self.script: list[Answer] = []
        self.by_path: dict[str, Answer] = {}
        self.port = 0
        self._arrived = asyncio.Condition()
        self._open: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def started(cls, host: str = "127.0.0.1") -> AsyncIterator["Sink"]:
        """Listen on a free port of that address."""
        sink = cls()
        server = await asyncio.start_server(sink._serve, host, 0, backlog=512)
        sink.port = server.sockets[0].getsockname()[1]
        try:
            yield sink
        finally:
            server.close()
            for task in sink._open:
                task.cancel()
            await asyncio.gather(*sink._open, return_exceptions=True)

    @property
    def open(self) -> int:
        """How many connections are open."""
        return len(self._open)

    def url(self, path: str = "/hook") -> str:
        """Name a URL of this receiver."""
        return f"http://127.0.0.1:{self.port}{path}"

    async def received(self, count: int, within_s: float = 60.0) -> list[Request]:
        """Wait until there have been `count` requests. Raises TimeoutError."""
        return await self.until(lambda requests: len(requests) >= count, within_s)

    async def until(self, holds: Callable[[list[Request]], bool], within_s: float = 60.0) -> list[Request]:
        """Wait until something holds for what was received. Raises TimeoutError."""
        async with asyncio.timeout(within_s), self._arrived:
            await self._arrived.wait_for(lambda: holds(self.requests))
        return self.requests

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            self._open.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        request = await _read(reader)
        self.requests.append(request)
        self._in_hand[request.path] += 1
        self.at_once_max[request.path] = max(self.at_once_max[request.path], self._in_hand[request.path])
        async with self._arrived:
            self._arrived.notify_all()
        try:
            return await self._answer(request, writer)
        finally:
            self._in_hand[request.path] -= 1

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        answer = self.by_path.get(request.path) or (self.script.pop(0) if self.script else Answer())
        if answer.hang:
            await asyncio.Event().wait()
        if answer.delay_s:
            await asyncio.sleep(answer.delay_s)
        if answer.close:
            return False
        await _write(writer, answer)
        return True


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(head[0].split(" ")[1], headers, body, time.time())


async def _write(writer: asyncio.StreamWriter, answer: Answer) -> None:
    fields = {"content-length": str(len(answer.body)), **answer.headers}
    head = f"HTTP/1.1 {answer.status} X\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    text = head.encode("latin-1") + b"\r\n" + answer.body
    if not answer.drip_s:
        writer.write(text)
        await writer.drain()
        return
    for place in range(len(text)):
        writer.write(text[place : place + 1])
        await writer.drain()
        await asyncio.sleep(answer.drip_s)
