"""One connection to a receiver: an exchange at a time, every bound kept while the answer is read."""

import asyncio
from typing import Any, cast

import httptools

from services.webhook_dispatcher.domain.addresses import AddressRules, may_connect_text
from services.webhook_dispatcher.sender import ANSWER_MAX_BYTES, HEADER_LENGTH_MAX, HEADERS_MAX, Result

HEAD_MAX_BYTES = 64 << 10
"""Of an answer until its body begins, informational answers (1xx) among it."""
FIELDS_MAX = 1_000
"""Header fields of an answer; each costs a call."""
INTERIM_MAX = 8


class Enough(Exception):
    """Stops the parser: the exchange has ended, whatever else is in what was read."""


class Exchange:
    """A request and what has come of it so far."""

    __slots__ = ("address", "body", "headers", "phases", "stage", "started", "status", "timeout_s")

    def __init__(self, timeout_s: float) -> None:
        self.started = asyncio.get_running_loop().time()
        self.timeout_s = timeout_s
        self.stage = "connect"
        self.address: str | None = None
        self.status = 0
        self.phases: dict[str, float] = {}
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = bytearray()

    def begin(self, address: str | None) -> None:
        """Go on over a connection that was there."""
        self.address = address
        self.reach("connect", "answer")

    def reach(self, phase: str, stage: str) -> None:
        """Note when a phase ended, in milliseconds since the beginning."""
        self.phases[phase] = round((asyncio.get_running_loop().time() - self.started) * 1000, 2)
        self.stage = stage

    def failed(self, error: str) -> Result:
        """Say that it came to nothing."""
        self.reach("total", self.stage)
        return Result(error, address=self.address, duration_ms=int(self.phases["total"]), phases=self.phases)

    def kept_headers(self) -> dict[str, str]:
        """Return the first headers of the answer, cut, as text that can be stored; none if it broke off before."""
        kept = self.headers[:HEADERS_MAX] if self.status else []
        return {_text(name.lower()[:HEADER_LENGTH_MAX]): _text(value[:HEADER_LENGTH_MAX]) for name, value in kept}


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace").replace("\x00", "")


class Connection(asyncio.Protocol):
    """What llhttp finds comes back by the `on_…` methods. Registers itself in `among` while it is open."""

    def __init__(self, among: set["Connection"], rules: AddressRules) -> None:
        self.transport: asyncio.Transport | None = None
        self.address: str | None = None
        self.reusable = False
        self.idle_since = 0.0
        self._among = among
        self._networks = rules.allowed_networks
        self._closed = False
        self._exchange: Exchange | None = None
        self._waiter: asyncio.Future[str | None] | None = None
        self._parser: Any = None
        self._head_bytes = self._field_bytes = self._fields = self._interim = 0
        self._in_head = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note who is at the other end."""
        self.transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if peer else None
        self._among.add(self)

    def usable(self, rules: AddressRules) -> bool:
        """Tell whether it may carry an exchange: open, and to an address that is allowed still."""
        if self._closed or self.transport is None or self.transport.is_closing():
            return False
        return rules.allowed_networks is self._networks or may_connect_text(self.address or "", rules)

    def abort(self) -> None:
        """Close it at once."""
        self._closed = True
        self._among.discard(self)
        if self.transport is not None:
            self.transport.abort()

    async def exchange(self, request: bytes, exchange: Exchange) -> str | None:
        """Send a request and read the answer; return the class of its failure, None when it has a status.

        With a status that counts, whatever becomes of the body.
        """
        if self._closed or self.transport is None:
            return "reset"
        loop = asyncio.get_running_loop()
        self._exchange, self._waiter = exchange, loop.create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._head_bytes = self._field_bytes = self._fields = self._interim = 0
        self._in_head, self.reusable = True, False
        self.transport.write(request)
        left_s = exchange.timeout_s - (loop.time() - exchange.started)
        timer = loop.call_later(max(0.0, left_s), self._expire)
        try:
            return await self._waiter
        finally:
            timer.cancel()
            self._exchange = self._waiter = None
            self.idle_since = loop.time()

    def data_received(self, data: bytes) -> None:
        """Read on; what comes unasked ends the connection."""
        exchange = self._exchange
        if exchange is None or self._waiter is None or self._waiter.done():
            self.reusable = False
            self.abort()
            return
        if self._in_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._end("protocol")
            return
        if self._in_head and self._head_bytes > HEAD_MAX_BYTES:
            self._end("protocol")

    def eof_received(self) -> None:
        """Take the end of the stream as the end of the connection."""
        self.connection_lost(None)

    def connection_lost(self, error: Exception | None) -> None:
        """End an exchange that is going on: with what there is, if there is a status."""
        self._closed = True
        self.reusable = False
        self._among.discard(self)
        self._end("reset")

    def on_message_begin(self) -> None:
        """See whether a second answer follows the one that was asked for."""
        if self._waiter is None or self._waiter.done():
            self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; what follows the body is not kept."""
        exchange = self._exchange
        if not self._in_head or exchange is None:
            return
        self._field_bytes += len(name) + len(value) + 4
        self._fields += 1
        if self._field_bytes > HEAD_MAX_BYTES or self._fields > FIELDS_MAX:
            self._end("protocol")
            raise Enough
        if len(exchange.headers) < HEADERS_MAX:
            exchange.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Take the status, unless it is an informational one."""
        exchange, status = self._exchange, self._parser.get_status_code()
        if exchange is None or self._waiter is None or self._waiter.done():
            return
        if status < 200:
            self._interim += 1
            exchange.headers.clear()
            if status < 100 or status == 101 or self._interim > INTERIM_MAX:
                self._end("protocol")
            return
        exchange.status = status
        self._in_head = False
        exchange.reach("answer", "body")

    def on_body(self, data: bytes) -> None:
        """Keep the first 16 KiB; more than that ends the exchange."""
        exchange = self._exchange
        if exchange is None or self._waiter is None or self._waiter.done():
            return
        exchange.body += data[: ANSWER_MAX_BYTES - len(exchange.body)]
        if len(exchange.body) >= ANSWER_MAX_BYTES:
            self._end(None)
            raise Enough

    def on_message_complete(self) -> None:
        """End the exchange, unless that was an informational answer."""
        if self._in_head or self._waiter is None or self._waiter.done():
            return
        self.reusable = bool(self._parser.should_keep_alive())
        self._end(None)

    def _expire(self) -> None:
        exchange = self._exchange
        self.reusable = False
        self._end(f"timeout:{exchange.stage}" if exchange is not None else None)

    def _end(self, error: str | None) -> None:
        """End the exchange; with a status its error does not count."""
        if self._waiter is None or self._waiter.done():
            return
        exchange = self._exchange
        self._waiter.set_result(None if exchange is not None and exchange.status else error)
