"""The gateway before processes that break: nginx and the proxy of our own do the same."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from libs.embedded import processes
from libs.gateway import nginx
from libs.gateway.proxy import BODY_MAX_BYTES
from libs.gateway.table import FILE, Program, Table
from services import NAMES
from tests.support.system import ROOT, eventually
from tests.support.upstream import Upstream

PROGRAMS: list[Program] = ["own", "nginx"] if nginx.find_program() else ["own"]
PREFIXES = {"a": ["/a"], "b": ["/api/b"]}


@dataclass
class World:
    """A gateway before two processes of service `a` and one of `b`."""

    client: httpx.AsyncClient
    program: Program
    port: int
    first: Upstream
    second: Upstream
    other: Upstream
    process: subprocess.Popen[bytes]
    log: Path


@pytest.fixture(params=PROGRAMS)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    first, second, other = [
        Upstream(name, processes.choose_ports(tmp_path / f"{name}.port", 1)[0]) for name in ("first", "second", "other")
    ]
    (port,) = processes.choose_ports(tmp_path / "port", 1)
    named = [f"a=127.0.0.1:{first.port}", f"a=127.0.0.1:{second.port}", f"b=127.0.0.1:{other.port}"]
    directory, log = Path(tempfile.mkdtemp(prefix="activities-gateway-")), tmp_path / "log"
    directory.chmod(0o711)  # nginx runs as an account of its own
    Table("127.0.0.1", port, request.param, named, PREFIXES, {"paths": {}}).write(directory / FILE)
    async with AsyncExitStack() as stack:
        for each in (first, second, other):
            await each.start()
            stack.push_async_callback(each.stop)
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "libs.gateway", str(directory)], cwd=ROOT, stdout=out, stderr=out
            )
        stack.callback(shutil.rmtree, directory)
        stack.callback(process.wait, 20)
        stack.callback(process.terminate)
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10))
        yield await started(World(client, request.param, port, first, second, other, process, log))


async def started(world: World) -> World:
    async def listening() -> bool:
        assert world.process.poll() is None, world.log.read_text()
        try:
            return (await world.client.get("/readyz")).status_code == 200
        except httpx.TransportError:
            return False

    await eventually(listening, 60, "the gateway listens", world.log.read_text)
    return world


async def test_requests_go_by_path_and_in_turn(world: World) -> None:
    answers = [(await world.client.get("/a/x")).text for _ in range(4)]
    assert set(answers) == {"first", "second"}
    for path in ("/api/b", "/api/b/c?d=%2F..%2F&e"):
        assert (await world.client.get(path)).text == "other"
    assert world.other.asked()[-1].startswith(b"GET /api/b/c?d=%2F..%2F&e HTTP/1.1\r\n")


async def test_bodies_and_headers_arrive_as_sent_but_for_those_of_the_hop(world: World) -> None:
    headers = {"Connection": "X-Mine", "X-Mine": "hop", "X-Own": "end", "TE": "trailers", "X-Request-ID": "r-1"}
    body = bytes(range(256)) * 4_000
    answer = await world.client.post("/api/b/c", content=body, headers=headers)
    assert (answer.status_code, answer.text, answer.headers["x-own"]) == (200, "other", "kept")
    head, _, sent = world.other.asked()[-1].partition(b"\r\n\r\n")
    named = {line.split(b": ")[0].lower(): line.split(b": ", 1)[1] for line in head.split(b"\r\n")[1:]}
    assert sent == body
    assert named[b"x-own"] == b"end"
    assert named[b"x-request-id"] == b"r-1"
    assert named[b"host"] == f"127.0.0.1:{world.port}".encode()
    assert named[b"x-forwarded-for"] == b"127.0.0.1"
    assert b"te" not in named
    if world.program == "own":  # nginx leaves out the headers of the hop, not those that Connection names besides
        assert b"x-mine" not in named
        assert "x-hop" not in answer.headers


async def test_a_body_of_unknown_size_arrives_whole(world: World) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 5_000

    assert (await world.client.post("/api/b", content=parts())).text == "other"
    assert world.other.asked()[-1].endswith(b"x" * 100_000)


async def test_an_answer_is_passed_on_while_it_comes(world: World) -> None:
    world.other.mode = "stream"
    async with world.client.stream("GET", "/api/b") as answer:
        chunks = answer.aiter_raw()
        assert await anext(chunks) == b"first"
        world.other.go_on.set()
        assert b"".join([chunk async for chunk in chunks]) == b"last"


async def test_get_is_tried_elsewhere_when_a_process_breaks_off(world: World) -> None:
    world.first.mode = "break"
    for _ in range(4):
        assert (await world.client.get("/a")).text == "second"


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "DELETE"])
async def test_a_write_that_a_process_breaks_off_is_sent_once_and_told_as_such(world: World, method: str) -> None:
    world.first.mode = world.second.mode = "break"
    answer = await world.client.request(method, "/a", content=None if method == "DELETE" else b"once")
    assert (answer.status_code, answer.json()["code"]) == (502, "broken_off")
    assert len(world.first.asked()) + len(world.second.asked()) == 1


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_write_goes_elsewhere_when_nobody_listens_and_waits_for_a_better_time_when_nobody_is_left(
    world: World, method: str
) -> None:
    await world.first.stop()
    for _ in range(6):
        answer = await world.client.request(method, "/a", content=b"x" * 100_000)
        assert (answer.status_code, answer.text) == (200, "second")
    await world.second.stop()
    answer = await world.client.request(method, "/a", content=b"x", headers={"X-Request-ID": "r-2"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "r-2"
    assert answer.json()["code"] == "unavailable"
    await world.second.start()

    async def back() -> bool:
        return (await world.client.post("/a", content=b"x")).text == "second"

    await eventually(back, 60, "it is found again")


@pytest.mark.parametrize("mode", ["unready", "silent"])
async def test_one_that_is_not_ready_gets_no_requests_until_it_is(world: World, mode: str) -> None:
    world.first.mode = mode

    async def left_out() -> bool:
        return b"taking" in world.log.read_bytes()

    await eventually(left_out, 90, "it is left out", world.log.read_text)

    async def settled() -> bool:  # nginx takes a moment for another configuration
        before = len(world.first.asked())
        answers = {await posted(world) for _ in range(6)}
        return answers == {"second"} and len(world.first.asked()) == before

    await eventually(settled, 90, "the other answers alone")
    waiting = (await world.client.get("/readyz")).json()
    assert waiting["ready"] is False
    assert [word.split()[0] for word in waiting["waiting_for"]] == ["a-1"]
    world.first.mode = ""

    async def again() -> bool:
        return await posted(world) == "first"

    await eventually(again, 90, "it takes requests again", world.log.read_text)


async def posted(world: World) -> str:
    """Ask over a connection of its own: nginx closes those that are idle when it takes another configuration."""
    try:
        return (await world.client.post("/a", content=b"x", headers={"Connection": "close"}, timeout=3)).text
    except httpx.ReadTimeout:
        return "no answer"


async def test_what_is_too_large_or_unreadable_is_refused_as_a_problem(world: World) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    writer.write(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (BODY_MAX_BYTES + 1))
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"application/problem+json" in head
    writer.close()
    assert world.first.asked() == world.second.asked() == []


async def test_it_finishes_what_it_has_in_hand_when_it_ends(world: World) -> None:
    world.other.mode = "stream"
    async with world.client.stream("GET", "/api/b") as answer:
        chunks = answer.aiter_raw()
        assert await anext(chunks) == b"first"
        world.process.send_signal(signal.SIGTERM)

        async def refused() -> bool:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", world.port)
            except OSError:
                return True
            writer.close()
            return False

        await eventually(refused, 60, "it takes nothing new")
        world.other.go_on.set()
        assert b"".join([chunk async for chunk in chunks]) == b"last"
    assert await asyncio.to_thread(world.process.wait, 20) == 0


@pytest.mark.skipif(nginx.find_program() is None, reason="nginx is not installed")
async def test_the_configuration_that_is_printed_serves_from_an_nginx_without_a_gateway(tmp_path: Path) -> None:
    port, upstream_port = processes.choose_ports(tmp_path / "ports", 2)
    directory, upstream = Path(tempfile.mkdtemp(prefix="activities-printed-")), Upstream("service", upstream_port)
    words = [f"--upstream={name}=127.0.0.1:{upstream_port}" for name in NAMES]
    words += [f"--listen=127.0.0.1:{port}", f"--directory={directory}", "--print"]
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-m", "services", "gateway", *words],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
        env={**os.environ, "WEBHOOK_ALLOW_HTTP": "1"},  # which is warned of
    )  # fmt: skip
    server = nginx.Nginx(str(nginx.find_program()), directory)
    await upstream.start()
    try:
        await asyncio.to_thread(server.start, done.stdout)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:

            async def alive() -> bool:
                try:
                    return (await client.get("/livez")).json() == {"alive": True}
                except httpx.TransportError:
                    return False

            await eventually(alive, 60, "nginx listens")
            for method in ("GET", "POST", "PUT", "DELETE"):
                assert (await client.request(method, "/api/directory/members")).text == "service"
            assert (await client.get("/nowhere")).json()["code"] == "no_such_route"
    finally:
        await asyncio.to_thread(server.stop)
        await upstream.stop()
        shutil.rmtree(directory)
