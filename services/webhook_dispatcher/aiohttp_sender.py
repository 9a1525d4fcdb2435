"""The sender on aiohttp. It is imported where it is chosen (`WEBHOOK_SENDER`): with it a process starts 0.2 s later."""

import asyncio
import errno
import socket
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from libs.errors import Rejected
from services.webhook_dispatcher import resolver
from services.webhook_dispatcher.domain.addresses import AddressRules, may_connect_text
from services.webhook_dispatcher.domain.urls import read_url
from services.webhook_dispatcher.resolver import BlockedAddress, Lookup
from services.webhook_dispatcher.sender import (
    ANSWER_MAX_BYTES,
    FIXED_HEADERS,
    HEADER_LENGTH_MAX,
    HEADERS_MAX,
    KEEP_ALIVE_S,
    WITHDRAWN,
    Result,
    always,
    class_of_status,
)


@dataclass(slots=True)
class _Exchange:
    """Where an exchange is; the connector notes it here."""

    started: float
    stage: str = "connect"
    address: str | None = None
    refused: str | None = None
    wanted: Callable[[], bool] = always
    phases: dict[str, float] = field(default_factory=dict)

    def reach(self, phase: str, stage: str) -> None:
        self.phases[phase] = round((asyncio.get_running_loop().time() - self.started) * 1000, 2)
        self.stage = stage


_exchange: ContextVar[_Exchange] = ContextVar("_exchange")


class _Resolver(AbstractResolver):
    """Gives aiohttp the checked addresses of a name, for every new connection anew."""

    def __init__(self, rules: AddressRules, lookup: Lookup) -> None:
        self._rules, self._lookup = rules, lookup

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        exchange = _exchange.get()
        exchange.stage = "dns"
        try:
            answers = await resolver.resolve(host, port, self._rules, self._lookup)
        except BlockedAddress:
            exchange.refused = "blocked_address"
            raise
        exchange.reach("dns", "connect")
        return [
            ResolveResult(
                hostname=host, host=address, port=port, proto=socket.IPPROTO_TCP, flags=socket.AI_NUMERICHOST,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
            )
            for address in answers
        ]  # fmt: skip

    async def close(self) -> None:
        """Nothing is held."""


class _Connector(aiohttp.TCPConnector):
    """Makes sockets to allowed addresses only, and compares the peer once connected."""

    def __init__(self, rules: AddressRules, lookup: Lookup) -> None:
        self._rules = rules
        super().__init__(
            resolver=_Resolver(rules, lookup),
            use_dns_cache=False,
            limit=0,
            keepalive_timeout=KEEP_ALIVE_S,
            socket_factory=self._make_socket,
        )

    def _make_socket(self, info: Any) -> socket.socket:
        family, kind, protocol, _, where = info
        if not may_connect_text(str(where[0]), self._rules):
            _exchange.get().refused = "blocked_address"
            raise BlockedAddress("address not allowed")
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made

    async def connect(
        self, req: aiohttp.ClientRequest, traces: Any, timeout: aiohttp.ClientTimeout
    ) -> aiohttp.connector.Connection:
        """Connect, or take an idle connection, and compare its peer.

        One on which something came while it was idle is not used: that would be taken for the next answer.
        """
        exchange = _exchange.get()
        connection = await super().connect(req, traces, timeout)
        while connection.protocol is not None and connection.protocol.should_close:
            connection.close()
            connection = await super().connect(req, traces, timeout)
        peer = connection.transport.get_extra_info("peername") if connection.transport else None
        exchange.address = str(peer[0]) if peer else None
        if exchange.address is None or not may_connect_text(exchange.address, self._rules):
            exchange.refused = "blocked_address"
            connection.close()
            raise aiohttp.ClientConnectionError("connected to another address")
        if not exchange.wanted():
            exchange.refused = WITHDRAWN
            connection.close()
            raise aiohttp.ClientConnectionError("not wanted any more")
        exchange.reach("connect", "answer")
        return connection


class AiohttpSender:
    """A sender on aiohttp. Sits on one connection pool; open it in a running loop, close it last.

    aiohttp connects and secures in one step: the phase `connect` holds the TLS handshake, and there is no phase `tls`.
    """

    def __init__(
        self, rules: AddressRules, timeout_s: float, connect_timeout_s: float, lookup: Lookup = resolver.ask_system
    ) -> None:
        self._rules = rules
        self._timeout_s = timeout_s
        self._session = aiohttp.ClientSession(
            connector=_Connector(rules, lookup),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, connect=min(connect_timeout_s, timeout_s)),
            headers=FIXED_HEADERS,
            auto_decompress=False,
            trust_env=False,
            read_bufsize=ANSWER_MAX_BYTES,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def send(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        timeout_s: float | None = None,
        wanted: Callable[[], bool] = always,
    ) -> Result:
        """POST the body and say what came of it; the URL is judged again."""
        loop = asyncio.get_running_loop()
        timeout_s = timeout_s or self._timeout_s
        exchange = _Exchange(loop.time(), wanted=wanted)
        _exchange.set(exchange)
        try:
            target = read_url(url, self._rules)
            async with asyncio.timeout(timeout_s):
                response = await self._session.post(
                    URL(target.url, encoded=True), data=body, headers=headers, allow_redirects=False
                )
        except Rejected:
            return self._failed(exchange, "blocked_address")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return self._failed(exchange, _class_of(error, exchange))
        exchange.reach("answer", "body")
        answer = await _read_bounded(response, exchange.started + timeout_s)
        exchange.reach("total", "done")
        return Result(
            class_of_status(response.status),
            response.status,
            exchange.address,
            int(exchange.phases["total"]),
            exchange.phases,
            _kept_headers(response),
            answer,
        )

    def _failed(self, exchange: _Exchange, error: str) -> Result:
        exchange.reach("total", exchange.stage)
        return Result(
            error, address=exchange.address, duration_ms=int(exchange.phases["total"]), phases=exchange.phases
        )


async def _read_bounded(response: aiohttp.ClientResponse, deadline: float) -> bytes:
    """Read the first 16 KiB; what is longer, late or broken is cut off and the connection closed: the status counts."""
    answer = bytearray()
    try:
        async with asyncio.timeout_at(deadline):
            while len(answer) < ANSWER_MAX_BYTES:
                chunk = await response.content.read(ANSWER_MAX_BYTES - len(answer))
                if not chunk:
                    response.release()
                    return bytes(answer)
                answer += chunk
    except (aiohttp.ClientError, OSError):
        pass
    response.close()
    return bytes(answer)


def _kept_headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    pairs = list(response.headers.items())[:HEADERS_MAX]
    return {name.lower()[:HEADER_LENGTH_MAX]: _clean(value)[:HEADER_LENGTH_MAX] for name, value in pairs}


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\x00", "")


def _class_of(error: Exception, exchange: _Exchange) -> str:
    """Name the class of a failure before there was an answer."""
    if exchange.refused is not None:
        return exchange.refused
    if isinstance(error, TimeoutError):
        return f"timeout:{exchange.stage}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "dns"
    if isinstance(error, aiohttp.ClientSSLError):
        return "tls"
    if isinstance(error, aiohttp.ClientConnectorError):
        if isinstance(error.os_error, ConnectionResetError | ConnectionAbortedError | BrokenPipeError):
            return "reset"  # in the handshake
        return "refused" if error.os_error.errno == errno.ECONNREFUSED else "unreachable"
    if isinstance(error, aiohttp.ClientResponseError | aiohttp.ClientPayloadError | ValueError):
        return "protocol"
    return "reset"
