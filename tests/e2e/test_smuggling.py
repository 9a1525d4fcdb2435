"""Requests that two readers could read differently, over raw sockets: refused, and the connection ends with them."""

import asyncio
import re

from tests.support.system import System

PLAIN = b"POST /ingest/activities HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
HIDDEN = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"
AMBIGUOUS = {
    "length and chunks": PLAIN + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "chunks and length": PLAIN + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + HIDDEN,
    "two lengths": PLAIN + b"Content-Length: 2\r\nContent-Length: 40\r\n\r\n{}" + HIDDEN,
    "a list of lengths": PLAIN + b"Content-Length: 2, 40\r\n\r\n{}" + HIDDEN,
    "a signed length": PLAIN + b"Content-Length: +2\r\n\r\n{}" + HIDDEN,
    "a negative length": PLAIN + b"Content-Length: -2\r\n\r\n{}" + HIDDEN,
    "a hexadecimal length": PLAIN + b"Content-Length: 0x2\r\n\r\n{}" + HIDDEN,
    "a huge length": PLAIN + b"Content-Length: 99999999999999999999999\r\n\r\n{}" + HIDDEN,
    "a coding nobody knows": PLAIN + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "chunked twice": PLAIN + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "chunked before another": PLAIN + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + HIDDEN,
    "a space before the colon": PLAIN + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "a folded header": PLAIN + b"X-A: b\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "a bare line feed": PLAIN + b"X-A: b\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "a bare carriage return": PLAIN + b"X-A: b\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "a NUL in a header": PLAIN + b"X-A: b\x00c\r\n\r\n" + HIDDEN,
    "a chunk size with a sign": PLAIN + b"Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n" + HIDDEN,
    "a chunk size that overflows": PLAIN + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n\r\n" + HIDDEN,
    "a chunk without its end": PLAIN + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}XX0\r\n\r\n" + HIDDEN,
    "no version": b"GET /nowhere\r\n\r\n" + HIDDEN,
    "another protocol": b"GET /nowhere RTSP/1.0\r\n\r\n" + HIDDEN,
    "a space in the target": b"GET /nowhere x HTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN,
}

REFUSALS = {400, 401, 404, 405, 411, 413, 414, 415, 431, 501, 505}
TWO_REQUESTS = {"a bare line feed"}
"""A reader may take a bare line feed as the end of a line (RFC 9112, section 2.2), as nginx does: then these are two
requests, and it passes them on as two."""


async def exchange(port: int, sent: bytes) -> bytes:
    """Send bytes, and read what comes until the server ends the connection or is silent for a while."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        await writer.drain()
        received = b""
        while True:
            try:
                piece = await asyncio.wait_for(reader.read(65_536), 1.5)
            except TimeoutError:
                return received
            except ConnectionResetError:
                return received
            if not piece:
                return received
            received += piece
    finally:
        writer.close()


def statuses(received: bytes) -> list[int]:
    return [int(code) for code in re.findall(rb"HTTP/1\.[01] (\d{3})", received)]


async def test_two_plain_requests_on_one_connection_get_two_answers(system: System) -> None:
    assert statuses(await exchange(system.port, HIDDEN + HIDDEN)) == [200, 200]


async def test_hidden_requests_are_never_answered(system: System) -> None:
    received = await asyncio.gather(*(exchange(system.port, sent) for sent in AMBIGUOUS.values()))
    found = {name: statuses(each) for name, each in zip(AMBIGUOUS, received, strict=True)}
    wrong = {name: codes for name, codes in found.items() if not set(codes) <= REFUSALS}
    assert wrong.keys() <= TWO_REQUESTS, f"the hidden request, or what hides it, was taken: {wrong}"
    assert all(codes == [401, 200] for codes in wrong.values()), wrong
    assert statuses(await exchange(system.port, HIDDEN)) == [200], "the server lives on"
