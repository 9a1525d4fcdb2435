"""Callers that cost little themselves: one connection each, one request at a time, over bare sockets."""

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httptools
import orjson

from bench.system import Tenant


class Caller(asyncio.Protocol):
    """One connection. `ask` returns the status and the body of each answer; 0 when the connection was cut."""

    def __init__(self) -> None:
        self._parser: Any = None
        self._transport: Any = None
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._body: list[bytes] = []

    @classmethod
    async def connect(cls, tenant: Tenant) -> "Caller":
        """Open a connection. Raises OSError."""
        place = urlsplit(tenant.url)
        _, caller = await asyncio.get_running_loop().create_connection(cls, place.hostname or "", place.port or 80)
        return caller

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send a whole request and wait for its answer."""
        if self._transport is None:
            return 0, b""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: Any) -> None:
        self._transport, self._parser = transport, httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._tell(0)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._tell(self._parser.get_status_code())

    def _tell(self, status: int) -> None:
        answer, self._answer = self._answer, None
        body = b"".join(self._body)
        self._body.clear()
        if answer is not None and not answer.done():
            answer.set_result((status, body))


async def user_of(tenant: Tenant) -> dict[str, str]:
    """Name the business and its first member, as S1's routes want it."""
    connection = await Caller.connect(tenant)
    _, said = await connection.ask(request_of(tenant, "GET", "/api/directory/members"))
    connection.close()
    return {"x-business-id": tenant.business_id, "x-user-id": orjson.loads(said)["results"][0]["id"]}


def request_of(
    tenant: Tenant, method: str, path: str, body: bytes = b"", more: Mapping[str, str] | None = None
) -> bytes:
    """Write a request as it goes over the wire."""
    headers: Mapping[str, str] = {
        "host": urlsplit(tenant.url).netloc, **tenant.headers, **(more or {}),
        "content-type": "application/json", "content-length": str(len(body)),
    }  # fmt: skip
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body
