"""A process behind a gateway, for tests: says what came, and breaks in the ways that processes break."""

import asyncio
from dataclasses import dataclass, field


@dataclass
class Upstream:
    """Answers each request with its name, or as `mode` says: break (after the request), silent, unready, stream."""

    name: str
    port: int
    mode: str = ""
    requests: list[bytes] = field(default_factory=list)
    server: asyncio.Server | None = None
    open: set[asyncio.StreamWriter] = field(default_factory=set)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def stop(self) -> None:
        if self.server is not None:
            self.server.close()
            self.server = None
        for writer in self.open:
            writer.close()

    def asked(self) -> list[bytes]:
        """What came, but for questions whether it is ready."""
        return [request for request in self.requests if not request.startswith(b"GET /readyz")]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await self._answer(head, await _body(head, reader), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open.discard(writer)
            writer.close()

    async def _answer(self, head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
        self.requests.append(head + body)
        probe = head.startswith(b"GET /readyz")
        if self.mode == "silent":
            await asyncio.Event().wait()
        if self.mode == "break" and not probe:
            raise ConnectionError
        if self.mode == "stream" and not probe:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
            await writer.drain()
            await self.go_on.wait()
            writer.write(b"4\r\nlast\r\n0\r\n\r\n")
            return
        status = b"503 Not now" if probe and self.mode == "unready" else b"200 OK"
        content = self.name.encode()
        lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(content), b"X-Own: kept", b"Connection: X-Hop"]
        writer.write(b"\r\n".join([*lines, b"X-Hop: left out", b"", content]))
        await writer.drain()


async def _body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
    if fields.get(b"transfer-encoding") != b"chunked":
        return await reader.readexactly(int(fields.get(b"content-length", b"0")))
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)
    return body
