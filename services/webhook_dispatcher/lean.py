"""A lean sender: HTTP/1.1 on a connection of its own, parsed by llhttp; what it saves: `senders` in bench/.

It does what `AiohttpSender` does and passes the same conformance suite. A connection carries one exchange at a time and
is used again only if the answer ended as it should and nothing came after it.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Mapping
from functools import lru_cache
from math import inf

from libs.errors import Rejected
from services.webhook_dispatcher import resolver
from services.webhook_dispatcher.connection import Connection, Exchange
from services.webhook_dispatcher.domain.addresses import AddressRules, may_connect_text
from services.webhook_dispatcher.domain.urls import Target, read_url
from services.webhook_dispatcher.resolver import BlockedAddress, Lookup
from services.webhook_dispatcher.sender import (
    FIXED_HEADERS,
    KEEP_ALIVE_S,
    WITHDRAWN,
    Result,
    always,
    class_of_status,
)

IDLE_MAX = 4
"""Of one receiver, kept longer than a sweep."""
SWEEP_S = 1.0
UNREAD_MAX_BYTES = 64 << 10
"""Of an answer, held by the system: what a receiver can send before it has to wait, of which no more is wanted."""
Place = tuple[str, str, int]


class LeanSender:
    """Open it in a running loop, close it last."""

    def __init__(
        self, rules: AddressRules, timeout_s: float, connect_timeout_s: float, lookup: Lookup = resolver.ask_system
    ) -> None:
        self._rules, self._lookup = rules, lookup
        self._timeout_s, self._connect_timeout_s = timeout_s, connect_timeout_s
        self._idle: dict[Place, list[Connection]] = {}
        self._open: set[Connection] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        self._sweep_at = inf
        self._read, self._read_with = lru_cache(4_096)(lambda url: read_url(url, rules)), rules.allowed_networks
        self._tls = ssl.create_default_context()
        self._tls.set_alpn_protocols(["http/1.1"])

    async def close(self) -> None:
        """Close all connections."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._idle.clear()
        for connection in list(self._open):
            connection.abort()
        self._open.clear()

    async def send(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        timeout_s: float | None = None,
        wanted: Callable[[], bool] = always,
    ) -> Result:
        """POST the body and say what came of it; the URL is judged again."""
        timeout_s = timeout_s or self._timeout_s
        exchange = Exchange(timeout_s)
        try:
            target = self._judge(url)
            request = _request(target, headers, body)
        except Rejected:
            return exchange.failed("blocked_address")
        except ValueError:
            return exchange.failed("protocol")
        place = target.scheme, target.host, target.port
        try:
            error = await self._exchange(place, request, exchange, wanted)
        except BlockedAddress:
            return exchange.failed("blocked_address")
        except TimeoutError:
            return exchange.failed(f"timeout:{exchange.stage}")
        except ssl.SSLError:
            return exchange.failed("tls")
        except OSError as failure:
            return exchange.failed(_class_of(failure, exchange.stage))
        if error is not None:
            return exchange.failed(error)
        exchange.reach("total", "done")
        total = exchange.phases["total"]
        return Result(
            class_of_status(exchange.status), exchange.status, exchange.address, int(total), exchange.phases,
            exchange.kept_headers(), bytes(exchange.body),
        )  # fmt: skip

    def _judge(self, url: str) -> Target:
        """Read a URL, or remember what it was while the rules are the same. Raises Rejected."""
        if self._rules.allowed_networks is not self._read_with:
            self._read_with = self._rules.allowed_networks
            self._read.cache_clear()
        return self._read(url)

    async def _exchange(
        self, place: Place, request: bytes, exchange: Exchange, wanted: Callable[[], bool]
    ) -> str | None:
        """Make the exchange on an idle connection or a new one; return its error.

        One that was closed just as it was used again is a failed attempt: the receiver may have had the request.
        """
        idle = self._idle.get(place)
        while idle:
            connection = idle.pop()
            if connection.usable(self._rules):
                exchange.begin(connection.address)
                return self._keep(place, connection, await connection.exchange(request, exchange))
        async with asyncio.timeout(min(self._connect_timeout_s, exchange.timeout_s)):
            connection = await self._connect(place, exchange)
        if not wanted():
            connection.abort()
            return WITHDRAWN
        return self._keep(place, connection, await connection.exchange(request, exchange))

    def _keep(self, place: Place, connection: Connection, error: str | None) -> str | None:
        """Keep a connection for the next exchange, if it may be used again."""
        if connection.reusable:
            self._idle.setdefault(place, []).append(connection)
            if self._sweep_at > connection.idle_since + SWEEP_S:
                self._sweep_again(connection.idle_since + SWEEP_S)
        else:
            connection.abort()
        return error

    async def _connect(self, place: Place, exchange: Exchange) -> Connection:
        """Connect to a checked address of the receiver. Raises OSError, TimeoutError, BlockedAddress."""
        scheme, host, port = place
        exchange.stage = "dns"
        if may_connect_text(host, self._rules):  # it is an address, and an allowed one
            answers = [host]
        else:
            answers = list(await resolver.resolve(host, port, self._rules, self._lookup))
            exchange.reach("dns", "connect")
        exchange.stage = "connect"
        loop, failure = asyncio.get_running_loop(), OSError("no address")
        for address in answers:
            try:
                _, connection = await loop.create_connection(lambda: Connection(self._open, self._rules), address, port)
            except TimeoutError:
                raise
            except OSError as error:
                failure = error
                continue
            if connection.address != address:
                connection.abort()
                raise BlockedAddress("connected to another address")
            assert connection.transport is not None
            reader = connection.transport.get_extra_info("socket")
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UNREAD_MAX_BYTES)
            exchange.address = address
            exchange.reach("connect", "tls")
            if scheme == "https":
                await self._secure(connection, host)
                exchange.reach("tls", "answer")
            exchange.stage = "answer"
            return connection
        raise failure

    async def _secure(self, connection: Connection, host: str) -> None:
        assert connection.transport is not None
        try:
            transport = await asyncio.get_running_loop().start_tls(
                connection.transport, connection, self._tls, server_hostname=host
            )
        except BaseException:
            connection.abort()
            raise
        if transport is None:
            raise ConnectionResetError("closed in the handshake")
        connection.transport = transport

    def _sweep(self) -> None:
        """Close what has been idle too long, and what is more than a receiver's share."""
        now = asyncio.get_running_loop().time()
        for place, idle in list(self._idle.items()):
            kept = [one for one in idle if one.idle_since > now - SWEEP_S]
            older = [one for one in idle if now - KEEP_ALIVE_S < one.idle_since <= now - SWEEP_S]
            keeping = [*older[-IDLE_MAX:], *kept]
            for one in idle:
                if one not in keeping:
                    one.abort()
            self._idle[place] = [one for one in keeping if one.usable(self._rules)]
            if not self._idle[place]:
                del self._idle[place]
        since = [one.idle_since for idle in self._idle.values() for one in idle]
        self._sweep_at = inf
        if since:
            fresh = max(since) > now - SWEEP_S
            self._sweep_again(now + SWEEP_S if fresh else min(since) + KEEP_ALIVE_S)

    def _sweep_again(self, at: float) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._sweep_at = at
        self._sweeping = asyncio.get_running_loop().call_at(at, self._sweep)


def _class_of(error: OSError, stage: str) -> str:
    if stage == "dns":
        return "dns"
    if stage == "connect":
        return "refused" if error.errno == errno.ECONNREFUSED else "unreachable"
    return "reset"


@lru_cache(4_096)
def _head(target: Target) -> str:
    url = target.url
    authority = url.split("/", 3)[2]
    fixed = "".join(f"{name}: {value}\r\n" for name, value in FIXED_HEADERS.items())
    return f"POST {target.path} HTTP/1.1\r\nhost: {authority}\r\n{fixed}"


def _request(target: Target, headers: Mapping[str, str], body: bytes) -> bytes:
    """Write a request. Raises ValueError for what no header may hold."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers) or "\x00" in lines:
        raise ValueError("a header holds a line's end")
    return f"{_head(target)}{lines}content-length: {len(body)}\r\n\r\n".encode("latin-1") + body
