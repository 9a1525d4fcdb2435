"""What each sender makes of receivers of every kind: one suite that every sender passes.

All cases of a sender run at once; each test looks at one of them.
"""

import asyncio
import gzip
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from services.webhook_dispatcher import aiohttp_sender, lean
from services.webhook_dispatcher.aiohttp_sender import AiohttpSender
from services.webhook_dispatcher.domain.addresses import AddressRules, read_networks
from services.webhook_dispatcher.lean import LeanSender
from services.webhook_dispatcher.resolver import ask_system
from services.webhook_dispatcher.sender import ANSWER_MAX_BYTES, KEEP_ALIVE_S, Result, Sender
from tests.support.hostile import HOLD, Authority, Hostile, Step, drip, endless, reset
from tests.support.sink import Answer, Sink

SENDERS = {"aiohttp": AiohttpSender, "lean": LeanSender}
TIMEOUT_S = 4.0
LATE_S = 5.0
HOST = "hooks.example.com"
BODY = b'{"type":"activity.logged"}'
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@dataclass(frozen=True)
class Case:
    """What a receiver does, which classes of failure (None: delivered) may come of it, and what is kept."""

    steps: Sequence[Step]
    errors: tuple[str | None, ...] = (None,)
    status: int | None = None
    answer: bytes | None = None


def ok(
    head: bytes, body: bytes = b"", *, answer: bytes | None = None, errors: tuple[str | None, ...] = (None,)
) -> Case:
    """An answer with this head after the status line."""
    return Case([b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + body], errors, answer=answer)


def status(code: int, *more: bytes, error: str | None) -> Case:
    lines = b"".join(line + b"\r\n" for line in more)
    return Case([b"HTTP/1.1 %d X\r\ncontent-length: 1\r\n%s\r\nx" % (code, lines)], (error,), code)


BAD = ("protocol",)
BOMB = gzip.compress(b"0" * 10_000_000)
CUT = ("reset", "protocol")
CHUNKED = b"transfer-encoding: chunked\r\n"
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"
LATE: list[Step] = [LATE_S, OK]
CASES: dict[str, Case] = {
    "plain": Case([OK], status=200, answer=b"ok"),
    "no-content": Case([b"HTTP/1.1 204 No Content\r\n\r\n"], status=204),
    "until-closed": ok(b"connection: close\r\n", b"the end", answer=b"the end"),
    "http-1.0": Case([b"HTTP/1.0 200 OK\r\n\r\nold"], status=200, answer=b"old"),
    "no-reason": Case([b"HTTP/1.1 200 \r\ncontent-length: 0\r\n\r\n"], status=200),
    "long-reason": Case([b"HTTP/1.1 200 " + b"x" * 2_000 + b"\r\ncontent-length: 0\r\n\r\n"], status=200),
    "in-single-bytes": Case([OK[n : n + 1] for n in range(len(OK))], status=200, answer=b"ok"),
    "in-pieces-but-in-time": Case([OK[:9], 0.05, OK[9:30], 0.05, OK[30:]], status=200, answer=b"ok"),
    "upper-case": ok(b"CONTENT-LENGTH: 2\r\n", b"ok", answer=b"ok"),
    "hundred-headers": ok(b"".join(b"x-%d: y\r\n" % n for n in range(90)) + b"content-length: 2\r\n", b"ok"),
    "binary-body": ok(b"content-length: 4\r\n", b"\x00\xff\xfe\r", answer=b"\x00\xff\xfe\r"),
    "every-2xx-is-a-success": status(299, error=None),
    "accepted": status(202, error=None),
    # chunked
    "chunked": ok(CHUNKED, b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n", answer=b"onetwo"),
    "chunked-extension": ok(CHUNKED, b"2;a=b;c\r\nok\r\n0\r\n\r\n", answer=b"ok"),
    "chunked-trailer": ok(CHUNKED, b"2\r\nok\r\n0\r\nx-t: 1\r\n\r\n", answer=b"ok"),
    "chunked-upper-hex": ok(CHUNKED, b"A\r\n0123456789\r\n0\r\n\r\n", answer=b"0123456789"),
    "chunked-empty": ok(CHUNKED, b"0\r\n\r\n", answer=b""),
    "chunked-single-bytes": ok(CHUNKED, b"1\r\no\r\n1\r\nk\r\n0\r\n\r\n", answer=b"ok"),
    "chunked-bad-size": ok(CHUNKED, b"zz\r\nok\r\n0\r\n\r\n", errors=(None, "protocol")),
    "chunked-negative": ok(CHUNKED, b"-1\r\nok\r\n0\r\n\r\n", errors=(None, "protocol")),
    "chunked-overflow": ok(CHUNKED, b"fffffffffffffffff\r\nok\r\n", errors=(None, "protocol")),
    "chunked-cut": ok(CHUNKED, b"ff\r\nok", errors=(None, "protocol", "reset")),
    "chunked-endless": Case([b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n", endless(b"1000\r\n" + b"x" * 4096 + b"\r\n")]),
    "chunked-extension-flood": Case(
        [b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n2;", endless(b"a" * 4096)], (None, "protocol")
    ),
    # informational answers
    "continue-first": Case([b"HTTP/1.1 100 Continue\r\n\r\n" + OK], status=200, answer=b"ok"),
    "early-hints-first": Case([EARLY_HINTS * 3 + OK], status=200, answer=b"ok"),
    "continue-then-nothing": Case([b"HTTP/1.1 100 Continue\r\n\r\n"], CUT),
    "informational-flood": Case([endless(EARLY_HINTS * 50, 400)], ("protocol", "reset", "timeout:answer")),
    "switching-protocols": Case([b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"], CUT),
    # statuses
    "bad-request": status(400, error="http_4xx"), "not-found": status(404, error="http_4xx"),
    "gone": status(410, error="http_4xx"), "too-many": status(429, b"retry-after: 9", error="http_4xx"),
    "failing": status(500, error="http_5xx"), "unavailable": status(503, error="http_5xx"),
    "not-modified": Case([b"HTTP/1.1 304 Not Modified\r\n\r\n"], ("redirect",), 304),
    **{
        f"redirect-{code}": status(code, b"location: http://127.0.0.1:9/", error="redirect")
        for code in (300, 301, 302, 303, 307, 308)
    },
    # what is no answer
    "closed-at-once": Case([b""], CUT), "reset-at-once": Case([reset], CUT),
    "closed-in-status": Case([b"HTTP/1.1 20"], CUT), "closed-in-headers": Case([b"HTTP/1.1 200 OK\r\ncont"], CUT),
    "reset-in-headers": Case([b"HTTP/1.1 200 OK\r\ncont", 0.05, reset], CUT),
    "closed-in-body": ok(b"content-length: 9\r\n", b"cut", errors=(None, "protocol", "reset")),
    "reset-in-body": Case([OK.replace(b": 2", b": 9"), 0.05, reset], (None, "protocol", "reset")),
    "words": Case([b"hello there\r\n\r\n"], BAD), "banner": Case([b"SSH-2.0-OpenSSH_9.9\r\n"], CUT),
    "noise": Case([bytes(range(256)) * 4], BAD), "empty-lines": Case([b"\r\n" * 50], CUT),
    "http-2": Case([b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + b"\x00" * 18], BAD),
    "status-of-letters": Case([b"HTTP/1.1 abc OK\r\n\r\n"], BAD),
    "status-of-two": Case([b"HTTP/1.1 99 X\r\n\r\n"], CUT),
    "status-of-four": Case([b"HTTP/1.1 2000 X\r\n\r\n"], BAD),
    "status-600": Case([b"HTTP/1.1 600 X\r\ncontent-length: 0\r\n\r\n"], BAD),
    "version-9.9": Case([b"HTTP/9.9 200 OK\r\ncontent-length: 0\r\n\r\n"], (None, "protocol")),
    # what two readers might read differently
    "two-lengths": ok(b"content-length: 2\r\ncontent-length: 3\r\n", b"okx", errors=BAD),
    "length-list": ok(b"content-length: 2, 2\r\n", b"ok", errors=BAD),
    "length-signed": ok(b"content-length: +2\r\n", b"ok", errors=BAD),
    "length-negative": ok(b"content-length: -2\r\n", b"ok", errors=BAD),
    "length-hex": ok(b"content-length: 0x2\r\n", b"ok", errors=BAD),
    "length-overflow": ok(b"content-length: 99999999999999999999999\r\n", b"ok", errors=BAD),
    "length-and-chunked": ok(b"content-length: 4\r\n" + CHUNKED, b"2\r\nok\r\n0\r\n\r\n", errors=(None, "protocol")),
    "chunked-twice": ok(b"transfer-encoding: chunked, chunked\r\n", b"2\r\nok\r\n0\r\n\r\n", errors=(None, "protocol")),
    "encoding-unknown": ok(b"transfer-encoding: xchunked\r\n", b"ok", errors=(None, "protocol")),
    "space-before-colon": ok(b"content-length : 2\r\n", b"ok", errors=(None, "protocol")),
    "no-colon": ok(b"nonsense\r\ncontent-length: 2\r\n", b"ok", errors=BAD),
    "folded": ok(b"x-a: b\r\n c\r\ncontent-length: 2\r\n", b"ok", errors=(None, "protocol")),
    "nul-in-header": ok(b"x-a: b\x00c\r\ncontent-length: 2\r\n", b"ok", errors=BAD),
    "bare-newlines": Case([b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok"], (None, "protocol")),
    "bare-return": Case([b"HTTP/1.1 200 OK\rx-a: b\r\n\r\n"], BAD),
    # too much of it
    "header-flood": Case([b"HTTP/1.1 200 OK\r\n", endless(b"x-a: b\r\n" * 100, 1_000)], BAD),
    "long-header": Case([b"HTTP/1.1 200 OK\r\nx-a: ", endless(b"y" * 4_096, 1_000)], BAD),
    "long-status": Case([b"HTTP/1.1 200 ", endless(b"y" * 4_096, 1_000)], BAD),
    "gzip-bomb": ok(b"content-encoding: gzip\r\n", BOMB, answer=BOMB),
    "declared-200-mb": Case([b"HTTP/1.1 200 OK\r\ncontent-length: 209715200\r\n\r\n", endless(b"z" * 65_536)]),
    "endless-body": Case([b"HTTP/1.1 200 OK\r\n\r\n", endless(b"z" * 65_536)]),
    # too slow
    "silent": Case([HOLD], ("timeout:answer",)), "late": Case(LATE, ("timeout:answer",)),
    "dripping-status": Case(drip(b"HTTP/1.1 200 OK\r\n" * 9, 0.2), ("timeout:answer",)),
    "dripping-headers": Case([b"HTTP/1.1 200 OK\r\n", *drip(b"x-a: b\r\n" * 9, 0.2)], ("timeout:answer",)),
    "dripping-body": Case([b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n", *drip(b"y" * 90, 0.2)], status=200),
    "body-never-ends": Case([b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\ny", HOLD], status=200, answer=b"y"),
}  # fmt: skip
TLS_CASES: dict[str, tuple[str | None, ...]] = {
    "trusted": (None,), "unknown-authority": ("tls",), "self-signed": ("tls",), "expired": ("tls",),
    "not-yet-valid": ("tls",), "another-name": ("tls",), "address-for-name": ("tls",), "speaks-no-tls": ("tls",),
    "closes-in-handshake": ("tls", "reset"), "resets-in-handshake": ("tls", "reset"),
    "silent-in-handshake": ("timeout:connect", "timeout:tls"), "no-common-cipher": ("tls", "reset"),
}  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """What came of every case with one sender."""

    results: dict[str, Result]
    took_s: dict[str, float]


async def _resolve(host: str, port: int) -> Sequence[str]:
    return ["127.0.0.1"] if host == HOST else await ask_system(host, port)


def make_sender(name: str, rules: AddressRules | None = None, lookup: Any = _resolve) -> Sender:
    made: Any = SENDERS[name]
    rules = rules or AddressRules(read_networks("127.0.0.0/8"), allow_http=True, any_port=True)
    sender: Sender = made(rules, TIMEOUT_S, TIMEOUT_S, lookup)
    return sender


async def send(sender: Sender, url: str) -> Result:
    return await sender.send(url, {"webhook-id": "m"}, BODY)


@pytest.fixture(scope="module")
async def seen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Run all cases of a sender at once."""
    results: dict[str, Result] = {}
    took_s: dict[str, float] = {}

    async def run(case: str, sender: Sender, url: str) -> None:
        began = time.monotonic()
        results[case] = await send(sender, url)
        took_s[case] = time.monotonic() - began

    async with AsyncExitStack() as stack:
        hostile = await stack.enter_async_context(
            Hostile({name: case.steps for name, case in CASES.items()}).listening()
        )
        urls = {name: f"http://127.0.0.1:{hostile.port}/{name}" for name in CASES}
        urls |= await _tls_urls(stack, tmp_path_factory.mktemp("certificates"))
        sender = make_sender(request.param)
        stack.push_async_callback(sender.close)
        _trust(sender, tmp_path_factory.getbasetemp())
        await asyncio.gather(*(run(name, sender, url) for name, url in urls.items()))
    return Seen(results, took_s)


async def _tls_urls(stack: AsyncExitStack, directory: Path) -> dict[str, str]:
    theirs, ours = Authority(directory), Authority(directory)
    _AUTHORITIES[:] = [ours.path]
    old = ours.context(HOST)
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2
    old.set_ciphers("NULL:@SECLEVEL=0")
    contexts: dict[str, ssl.SSLContext | None] = {
        "trusted": ours.context(HOST), "unknown-authority": theirs.context(HOST),
        "self-signed": ours.context(HOST, own=True), "expired": ours.context(HOST, (-3, -1)),
        "not-yet-valid": ours.context(HOST, (1, 3)), "another-name": ours.context("other.example.com"),
        "address-for-name": ours.context(HOST, (-1, 2)), "speaks-no-tls": None, "closes-in-handshake": None,
        "resets-in-handshake": None, "silent-in-handshake": None, "no-common-cipher": old,
    }  # fmt: skip
    doing: dict[str, Sequence[Step]] = {
        "speaks-no-tls": [b"220 ready\r\n", 0.2], "closes-in-handshake": [b""], "resets-in-handshake": [reset],
        "silent-in-handshake": [HOLD],
    }  # fmt: skip
    urls = {}
    for name, context in contexts.items():
        if name in doing:
            port = await _raw(stack, doing[name])
        else:
            port = (await stack.enter_async_context(Hostile({name: [OK]}).listening(context))).port
        host = "127.0.0.1" if name == "address-for-name" else HOST
        urls[name] = f"https://{host}:{port}/{name}"
    return urls


_AUTHORITIES: list[Path] = []


def _trust(sender: Any, directory: Path) -> None:
    """Let a sender trust the authority of the tests as it trusts the public ones."""
    import aiohttp.connector  # noqa: PLC0415

    context = getattr(sender, "_tls", None) or aiohttp.connector._SSL_CONTEXT_VERIFIED
    context.load_verify_locations(_AUTHORITIES[0])


async def _raw(stack: AsyncExitStack, steps: Sequence[Step]) -> int:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        for step in steps:
            if isinstance(step, bytes):
                writer.write(step)
            elif isinstance(step, float):
                await asyncio.sleep(min(step, LATE_S))
            else:
                await step(writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    stack.callback(server.close)
    return int(server.sockets[0].getsockname()[1])


every_sender = pytest.mark.parametrize("seen", SENDERS, indirect=True, scope="module")
by_name = pytest.mark.parametrize("name", SENDERS)


@every_sender
@pytest.mark.parametrize("case", CASES)
async def test_answer_is_classed_as_the_table_says(seen: Seen, case: str) -> None:
    wanted, result = CASES[case], seen.results[case]
    assert result.error in wanted.errors, result
    if wanted.status is not None:
        assert result.http_status == wanted.status
    if wanted.answer is not None:
        assert result.answer == wanted.answer[:ANSWER_MAX_BYTES]
    assert len(result.answer) <= ANSWER_MAX_BYTES
    assert len(result.headers) <= 50
    assert result.address == "127.0.0.1"
    assert "total" in result.phases
    assert seen.took_s[case] < TIMEOUT_S + 6, "the deadline is for the whole exchange: what drips takes 12 s and more"


@every_sender
@pytest.mark.parametrize("case", TLS_CASES)
async def test_certificate_is_judged_as_the_table_says(seen: Seen, case: str) -> None:
    assert seen.results[case].error in TLS_CASES[case], seen.results[case]


def test_there_are_at_least_60_cases() -> None:
    assert len(CASES) + len(TLS_CASES) >= 60


@by_name
async def test_what_comes_behind_an_answer_is_never_taken_for_the_next_one(name: str) -> None:
    forged = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged"
    scripts: dict[str, Sequence[Step]] = {
        "two-keep": [OK + forged], "long-keep": [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok" + b"x" * 500],
        "later-keep": [OK, 0.1, forged], "own-keep": [b"HTTP/1.1 500 X\r\ncontent-length: 3\r\n\r\nown"],
    }  # fmt: skip
    sender = make_sender(name)
    async with Hostile(scripts).listening() as hostile:
        for path in ("two-keep", "long-keep", "later-keep"):
            first = await send(sender, f"http://127.0.0.1:{hostile.port}/{path}")
            assert (first.error, first.answer) in ((None, b"ok"), ("protocol", b"")), path
            if path == "later-keep":
                await asyncio.sleep(0.3)
            second = await send(sender, f"http://127.0.0.1:{hostile.port}/own-keep")
            assert (second.error, second.answer) == ("http_5xx", b"own"), path
        await sender.close()


@by_name
async def test_requests_carry_what_they_must_and_nothing_that_a_receiver_left(name: str) -> None:
    cookie: list[Step] = [b"HTTP/1.1 200 OK\r\nset-cookie: a=b\r\ncontent-length: 2\r\n\r\nok"]
    sender = make_sender(name)
    async with Hostile({"keep": cookie}).listening() as hostile:
        for _ in range(3):
            assert (await send(sender, f"http://127.0.0.1:{hostile.port}/keep")).error is None
        await sender.close()
    assert hostile.connections == 1, "an idle connection is used again"
    for head in map(str.lower, hostile.heads):
        assert head.startswith("post /keep http/1.1\r\n")
        assert f"host: 127.0.0.1:{hostile.port}\r\n" in head
        for line in ("content-type: application/json", "accept-encoding: identity", f"content-length: {len(BODY)}"):
            assert f"{line}\r\n" in head
        assert "user-agent: activities-webhooks/" in head
        assert "cookie" not in head
        assert "transfer-encoding" not in head


@by_name
async def test_failures_before_an_answer_have_their_class(name: str) -> None:
    async def lookup(host: str, port: int) -> Sequence[str]:
        if host == "nowhere.example.com":
            raise OSError("no such name")
        await asyncio.Event().wait()
        return []

    async with Sink.started() as sink:
        refused = sink.url()
    sender = make_sender(name, lookup=lookup)
    began = time.monotonic()
    urls = refused, "http://nowhere.example.com/", "http://hangs.example.com/", "https://10.0.0.1/"
    results = await asyncio.gather(*(send(sender, url) for url in urls))
    assert [one.error for one in results] == ["refused", "dns", "timeout:dns", "blocked_address"]
    assert time.monotonic() - began < TIMEOUT_S, "names have a deadline of their own"
    await sender.close()


@pytest.fixture
async def listener() -> AsyncIterator[Sink]:
    """Somebody who may never be connected to."""
    async with Sink.started() as sink:
        yield sink
        assert sink.connections == 0


@by_name
async def test_no_way_leads_to_an_address_that_is_not_allowed(
    name: str, listener: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    flips = [
        ["93.184.216.34", "127.0.0.1"],
        ["127.0.0.1"],
        ["::ffff:127.0.0.1"],
        ["::1"],
        ["0.0.0.0"],
        [],
        ["1.1.1.1"] * 17,
    ]

    async def flipping(host: str, port: int) -> Sequence[str]:
        return flips.pop(0)

    rules = AddressRules(allow_http=True, any_port=True)
    for variable in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, listener.url(""))
    sender = make_sender(name, rules, flipping)
    while flips:
        result = await send(sender, f"http://rebind.example.com:{listener.port}/")
        assert result.error == "blocked_address", result
    for host in (
        "127.0.0.1",
        "[::1]",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0.0.0.0",
        "localhost",
        "[::ffff:127.0.0.1]",
    ):
        assert (await send(sender, f"http://{host}:{listener.port}/")).error == "blocked_address", host
    await sender.close()


@by_name
async def test_redirects_and_proxies_of_the_environment_are_not_followed(
    name: str, listener: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(variable, listener.url(""))
    sender = make_sender(name)
    async with Sink.started() as sink:
        sink.script = [Answer(status, {"location": listener.url()}) for status in (301, 302, 303, 307, 308)]
        for _ in range(5):
            assert (await send(sender, sink.url())).error == "redirect"
        assert (await send(sender, sink.url())).error is None
        refresh = {"refresh": f"0; url={listener.url()}", "link": f"<{listener.url()}>; rel=preload"}
        sink.script = [Answer(200, refresh)]
        assert (await send(sender, sink.url())).error is None
    await sender.close()


async def test_four_connections_to_a_receiver_are_kept_for_what_comes_next() -> None:
    sender = make_sender("lean")
    async with Sink.started() as sink, asyncio.timeout(60):
        sink.by_path["/hook"] = Answer(delay_s=0.2)
        await asyncio.gather(*(send(sender, sink.url()) for _ in range(10)))
        assert sink.connections == 10
        while sink.open != 4:
            await asyncio.sleep(0.02)
        await asyncio.gather(*(send(sender, sink.url()) for _ in range(4)))
        assert sink.connections == 10, "those that were kept are used"
        await asyncio.gather(*(send(sender, sink.url()) for _ in range(10)))
        assert sink.connections == 16
        while sink.open != 4:
            await asyncio.sleep(0.02)
        await sender.close()
        while sink.open:
            await asyncio.sleep(0.02)


@by_name
async def test_idle_connection_is_used_again_for_55_s_and_closed_then(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert KEEP_ALIVE_S == 55
    for module in (lean, aiohttp_sender):
        monkeypatch.setattr(module, "KEEP_ALIVE_S", 1.0)
    monkeypatch.setattr(lean, "SWEEP_S", 0.1)
    sender = make_sender(name)
    async with Sink.started() as sink, asyncio.timeout(30):
        for _ in range(2):
            assert (await send(sender, sink.url())).error is None
        used_at = time.monotonic()
        assert (sink.connections, sink.open) == (1, 1)
        while sink.open:
            await asyncio.sleep(0.02)
        assert time.monotonic() - used_at > 0.9
        assert (await send(sender, sink.url())).error is None
        assert sink.connections == 2
        await sender.close()


def shrink(sender: Any, rules: AddressRules) -> None:
    """Let a sender that has connections allow less from now on."""
    sender._rules = rules
    if hasattr(sender, "_session"):
        sender._session.connector._rules = sender._session.connector._resolver._rules = rules


@by_name
async def test_idle_connection_is_not_used_again_once_its_address_is_not_allowed(name: str) -> None:
    sender = make_sender(name)
    async with Sink.started() as sink:
        assert (await send(sender, f"http://{HOST}:{sink.port}/")).error is None
        shrink(sender, AddressRules(allow_http=True, any_port=True))
        assert (await send(sender, f"http://{HOST}:{sink.port}/")).error == "blocked_address"
        assert (await send(sender, sink.url())).error == "blocked_address"
        assert (len(sink.requests), sink.connections) == (1, 1)
    await sender.close()


@by_name
async def test_hostile_receivers_take_nothing_from_the_others(name: str) -> None:
    async with (
        Sink.started() as sink,
        Hostile(
            {"a": [HOLD], "b": [b"HTTP/1.1 200 OK\r\n\r\n", endless(b"z" * 65_536)], "c": drip(OK, 0.5)}
        ).listening() as hostile,
    ):
        sender = make_sender(name)
        bad = [asyncio.create_task(send(sender, f"http://127.0.0.1:{hostile.port}/{path}")) for path in "abc" * 20]
        good = await asyncio.gather(*(send(sender, sink.url()) for _ in range(200)))
        assert not any(one.error for one in good)
        assert not all(task.done() for task in bad), "the good ones did not wait for the bad ones"
        await asyncio.gather(*bad)
        await sender.close()
