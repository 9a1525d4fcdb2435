"""Whatever a receiver answers, in whatever pieces: an exchange ends, within its bounds, and says what came of it."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.webhook_dispatcher.connection import Connection, Exchange
from services.webhook_dispatcher.domain.addresses import AddressRules
from services.webhook_dispatcher.sender import ANSWER_MAX_BYTES, HEADERS_MAX

Outcome = tuple[str | None, int, bytes, dict[str, str], bool]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
WORDS = [
    b"HTTP/1.1 ", b"HTTP/1.0 ", b"HTTP/9.9 ", b"200 OK", b"100 Continue", b"101 Switching", b"204", b"304 x", b"500 no",
    b"\r\n", b"\n", b"\r", b" ", b":", b"content-length: 5", b"content-length: 0", b"content-length: -1",
    b"content-length: 99999999999999999999", b"transfer-encoding: chunked", b"transfer-encoding: gzip, chunked",
    b"connection: close", b"connection: keep-alive", b"upgrade: h2c", b"x: y", b"5\r\nhello\r\n", b"0\r\n\r\n",
    b"ffffffffffffffff\r\n", b"hello", b"\x00", b"\xff" * 9, b"a" * 20_000,
]  # fmt: skip
answers = st.one_of(
    st.binary(max_size=300),
    st.lists(st.sampled_from(WORDS), max_size=24).map(b"".join),
    st.lists(st.sampled_from(WORDS), max_size=12).map(lambda words: b"HTTP/1.1 200 OK\r\n" + b"".join(words)),
)
cuts = st.lists(st.integers(0, 400), max_size=8)


class Wire:
    """A transport that goes nowhere."""

    def __init__(self) -> None:
        self.aborted = False

    def get_extra_info(self, name: str) -> Any:
        return ("192.0.2.1", 80)

    def write(self, data: bytes) -> None:
        return

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


def pieces_of(answer: bytes, places: Sequence[int]) -> list[bytes]:
    at = [0, *sorted(place for place in places if place < len(answer)), len(answer)]
    return [answer[begin:end] for begin, end in pairwise(at) if begin < end]


async def exchanged(pieces: Sequence[bytes], *, closed: bool = True) -> Outcome:
    connection, wire = Connection(set(), AddressRules()), Wire()
    connection.connection_made(cast(asyncio.Transport, wire))
    exchange = Exchange(5.0)
    going = asyncio.ensure_future(connection.exchange(b"POST", exchange))
    await asyncio.sleep(0)
    for piece in pieces:
        if not wire.aborted:
            connection.data_received(piece)
    if closed and not going.done():
        connection.connection_lost(None)
    error = await asyncio.wait_for(going, 1)
    return error, exchange.status, bytes(exchange.body), exchange.kept_headers(), connection.reusable


@settings(max_examples=400, deadline=None)
@given(answer=answers, places=cuts)
@example(answer=b"HTTP/1.0 000 \x00\x00\r\n!:\t\t      \r\n!\x00", places=[26])
def test_any_answer_in_any_pieces_ends_within_its_bounds_and_means_the_same(answer: bytes, places: list[int]) -> None:
    whole = asyncio.run(exchanged([answer]))
    error, status, body, headers, _ = whole
    assert (error is None) == (status >= 200)
    assert error in (None, "protocol", "reset")
    assert len(body) <= ANSWER_MAX_BYTES
    assert len(headers) <= HEADERS_MAX
    assert "\x00" not in "".join([*headers, *headers.values()])
    cut = asyncio.run(exchanged(pieces_of(answer, places)))
    assert cut[:4] == whole[:4]


@pytest.mark.parametrize(
    ("answer", "wanted", "reusable"),
    [
        (OK, (None, 200, b"ok"), True),
        (OK + OK, (None, 200, b"ok"), False),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, (None, 200, b"ok"), True),
        (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * 8 + OK, (None, 200, b"ok"), True),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 9 + OK, ("protocol", 0, b""), False),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", ("protocol", 0, b""), False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", (None, 204, b""), True),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", (None, 200, b"ok"), False),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", (None, 200, b"until the end"), False),
        (CHUNKED + b"2\r\nok\r\n0\r\n\r\n", (None, 200, b"ok"), True),
        (CHUNKED + b"2\r\nok\r\n0\r\nx-trailer: 1\r\n\r\n", (None, 200, b"ok"), True),
        (CHUNKED + b"zz\r\nok", (None, 200, b""), False),
        (CHUNKED + b"2\r\nok", (None, 200, b"ok"), False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok", ("protocol", 0, b""), False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\nok", ("protocol", 0, b""), False),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 11_000 + b"\r\n", ("protocol", 0, b""), False),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1_001 + b"\r\n", ("protocol", 0, b""), False),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 999 + OK[17:], (None, 200, b"ok"), True),
        (b"HTTP/1.1 200 OK\r\na: " + b"x" * 70_000, ("protocol", 0, b""), False),
        (b"HTTP/1.1 200", ("reset", 0, b""), False),
        (b"", ("reset", 0, b""), False),
        (b"SSH-2.0-x\r\n", ("protocol", 0, b""), False),
    ],
)
async def test_answers_mean_what_they_mean(
    answer: bytes, wanted: tuple[str | None, int, bytes], reusable: bool
) -> None:
    found = await exchanged([answer], closed=not reusable)
    assert (found[:3], found[4]) == (wanted, reusable)
    slowly = await exchanged([answer[n : n + 1_000] for n in range(0, len(answer), 1_000)], closed=not reusable)
    assert slowly[:3] == wanted


async def test_endless_body_is_cut_and_the_connection_not_used_again() -> None:
    answer = CHUNKED + (b"400\r\n" + b"x" * 1024 + b"\r\n") * 64
    error, status, body, _, reusable = await exchanged([answer])
    assert (error, status, len(body), reusable) == (None, 200, ANSWER_MAX_BYTES, False)


async def test_what_comes_unasked_ends_the_connection() -> None:
    connection, wire = Connection(set(), AddressRules()), Wire()
    connection.connection_made(cast(asyncio.Transport, wire))
    connection.data_received(OK)
    assert wire.aborted
    assert not connection.usable(AddressRules())


async def test_exchange_that_takes_too_long_ends_with_the_phase_it_was_in() -> None:
    connection = Connection(set(), AddressRules())
    connection.connection_made(cast(asyncio.Transport, Wire()))
    exchange = Exchange(0.01)
    exchange.begin("192.0.2.1")
    assert await connection.exchange(b"POST", exchange) == "timeout:answer"
