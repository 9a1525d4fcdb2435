"""A developer's machine: listening through the API, the commands, the page about checking signatures."""

import asyncio
import json
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from shutil import which
from typing import Any
from uuid import UUID

import httpx
import pytest
import standardwebhooks
import uvicorn

from cli import listening
from cli.place import Trouble
from libs.contracts.ids import uuid7
from libs.database import Database
from services.webhook_dispatcher import signing
from services.webhook_dispatcher.health import LISTENER_SILENT_S, end_silent_listeners
from tests.conftest import MakeDatabase
from tests.support.http import Tenant, make_service, served, settle
from tests.support.sink import Answer, Sink
from tests.support.webhooks import deliveries_of, event_of, hear, make_endpoint

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "webhooks.md").read_text()
LISTENERS = "/api/webhooks/listeners"


@pytest.fixture
async def database(make_database: MakeDatabase) -> Database:
    return await make_database("webhook_dispatcher")


async def test_listener_gets_what_happens_signed_and_once(database: Database) -> None:
    tenant = await settle(database)
    async with served("webhook_dispatcher", database) as client:
        client.headers.update(tenant.headers)
        made = (await client.post(LISTENERS, json={"filter": {"expression": "data.type == 'call'"}})).json()
        path = f"{LISTENERS}/{made['id']}/poll"
        assert (await client.post(path, json={"wait_s": 0})).json() == {"results": []}
        waiting = asyncio.create_task(client.post(path, json={"wait_s": 10}))
        event = event_of(tenant.business_id, summary="مرحبا 🙂")
        await hear(database, [event, event_of(tenant.business_id, type="email")])
        [one] = (await waiting).json()["results"]
        document = standardwebhooks.Webhook(made["secret"]).verify(one["body"], one["headers"])
        assert (document["data"]["activity_id"], document["data"]["summary"]) == (
            str(event.activity.activity_id), "مرحبا 🙂",
        )  # fmt: skip
        assert (await client.post(path, json={"wait_s": 0})).json() == {"results": []}
        assert [row["status"] for row in await deliveries_of(database)] == ["delivered"]
        endpoint = f"/api/webhooks/endpoints/{made['id']}"
        for method, where, body in (("PATCH", endpoint, {"paused": False}), ("POST", f"{endpoint}/enable", None)):
            assert (await client.request(method, where, json=body)).json()["code"] == "managed"
        other = await settle(database)
        assert (await client.post(path, json={"wait_s": 0}, headers=other.headers)).status_code == 404
        for _ in range(4):
            assert (await client.post(LISTENERS, json={})).status_code == 201
        assert (await client.post(LISTENERS, json={})).json()["code"] == "too_many_listeners"
        assert (await client.delete(endpoint)).status_code == 204
        assert (await client.post(path, json={"wait_s": 0})).status_code == 404


async def test_listener_that_is_silent_is_ended(database: Database) -> None:
    tenant = await settle(database)
    async with served("webhook_dispatcher", database) as client:
        client.headers.update(tenant.headers)
        ids = [(await client.post(LISTENERS, json={})).json()["id"] for _ in range(2)]
        async with database.work() as tx:
            await tx.execute(
                "update endpoint set polled_at = now() - make_interval(secs => $2) where id = $1",
                UUID(ids[0]), LISTENER_SILENT_S + 1,
            )  # fmt: skip
        await end_silent_listeners(database)
        statuses = [(await client.post(f"{LISTENERS}/{id_}/poll", json={"wait_s": 0})).status_code for id_ in ids]
    assert statuses == [404, 200]
    async with database.work() as tx:
        assert await tx.value("select count(*) from endpoint_secret") == 1


async def test_listener_that_waits_is_answered_when_the_process_stops(database: Database) -> None:
    tenant, service = await settle(database), make_service("webhook_dispatcher", database)
    transport = httpx.ASGITransport(app=service.application()[0])
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=tenant.headers) as client:
        made = (await client.post(LISTENERS, json={})).json()
        waiting = asyncio.create_task(client.post(f"{LISTENERS}/{made['id']}/poll", json={"wait_s": 25}))
        service.leaving = True
        async with asyncio.timeout(60):
            assert (await waiting).json() == {"results": []}


@asynccontextmanager
async def reachable(database: Database, port: int = 0) -> AsyncIterator[str]:
    """Serve the dispatcher's routes on a port, for commands of other processes."""
    service = make_service("webhook_dispatcher", database)
    server = uvicorn.Server(uvicorn.Config(service.application()[0], port=port, log_level="error", lifespan="off"))
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        service.leaving = server.should_exit = True
        await running


async def command(url: str, tenant: Tenant, *words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli", "webhooks", *words, "--api", url, "--api-key", tenant.key.text, cwd=ROOT,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def test_commands_listen_test_and_tail(database: Database) -> None:
    tenant = await settle(database)
    async with reachable(database) as url, Sink.started() as sink:
        running = await command(url, tenant, "listen", "--forward-to", sink.url("/mine"), "--count", "2")
        assert running.stderr is not None
        said = (await running.stderr.readline()).decode()
        secret = said.split()[-1]
        await hear(database, [event_of(tenant.business_id), event_of(tenant.business_id)])
        requests = await sink.received(2)
        out, _ = await running.communicate()
        assert running.returncode == 0
        for request in requests:
            standardwebhooks.Webhook(secret).verify(request.body, dict(request.headers))
            assert request.body.decode() in out.decode()
        assert out.decode().count("/mine: 200 in ") == 2
        async with httpx.AsyncClient(base_url=url, headers=tenant.headers) as client:
            kinds = (await client.get("/api/webhooks/endpoints")).json()["results"]
        assert kinds == [], "the listener went with the command"
        id_, _ = await make_endpoint(database, tenant.business_id, sink.url("/theirs"))
        trying = await command(url, tenant, "test", str(id_), "--event", "activity.completed")
        out, _ = await trying.communicate()
        assert (trying.returncode, json.loads(out)["delivered"]) == (0, True)
        assert sink.requests[-1].path == "/theirs"
        failing = await command(url, tenant, "test", str(uuid7()))
        _, said_last = await failing.communicate()
        assert (failing.returncode, b"404" in said_last) == (1, True)
        tailing = await command(url, tenant, "tail", "--once")
        out, _ = await tailing.communicate()
        assert [line.split()[2:4] for line in out.decode().splitlines()] == [["activity.logged", "delivered"]] * 2


async def test_listening_goes_on_when_the_api_or_the_listener_was_away(database: Database) -> None:
    tenant = await settle(database)
    async with Sink.started() as sink:
        async with reachable(database) as url:
            running = await command(url, tenant, "listen", "--forward-to", sink.url("/mine"), "--count", "3")
            said = running.stderr
            assert said is not None
            assert (await said.readline()).startswith(b"listening for activity.logged; signed with whsec_")
            await hear(database, [event_of(tenant.business_id)])
            await sink.received(1)
        assert b"asking again until it does" in await said.readline()
        async with reachable(database, int(url.rpartition(":")[2])):
            assert await said.readline() == b"it answers again\n"
            await hear(database, [event_of(tenant.business_id)])
            await sink.received(2)
            async with database.work() as tx:
                await tx.execute("update endpoint set deleted_at = now() where kind = 'listener'")
            assert (await said.readline()).startswith(b"listening for activity.logged; signed with whsec_")
            await hear(database, [event_of(tenant.business_id)])
            await sink.received(3)
            await running.communicate()
    assert running.returncode == 0


async def test_listening_ends_with_ctrl_c_and_leaves_no_listener(database: Database) -> None:
    tenant = await settle(database)
    async with reachable(database) as url, Sink.started() as gone:
        nowhere = gone.url("/mine")
        gone.by_path["/mine"] = Answer(close=True)
        running = await command(url, tenant, "listen", "--forward-to", nowhere)
        assert running.stderr is not None
        await running.stderr.readline()
        await hear(database, [event_of(tenant.business_id)])
        assert running.stdout is not None
        await running.stdout.readline()
        assert f"→ {nowhere}: not answered, ".encode() in await running.stdout.readline()
        running.send_signal(signal.SIGINT)
        _, said = await running.communicate()
        assert (running.returncode, said) == (0, b"ended\n")
        async with database.work() as tx:
            assert await tx.value("select count(*) from endpoint where deleted_at is null") == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("listen", "--forward-to", "nowhere"), "error --forward-to must be an address such as"),
        (
            ("listen", "--forward-to", "http://127.0.0.1:9/", "--event", "x"),
            "answered 422: event_types.0: must be 'activity.",
        ),
        (("listen", "--forward-to", "http://127.0.0.1:9/", "--filter", "1"), "answered 422: filter.expression: must"),
        (
            ("tail", "--once", "--endpoint", "01a1fe78-b0bf-746b-be9a-4db704564827"),
            "answered 404: there is no endpoint",
        ),
    ],
)
async def test_commands_say_in_a_line_what_is_wrong(database: Database, words: tuple[str, ...], said: str) -> None:
    tenant = await settle(database)
    async with reachable(database) as url:
        process = await command(url, tenant, *words)
        _, err = await process.communicate()
    assert (process.returncode, err.decode().count("\n")) == (1, 1)
    assert said in err.decode()


def test_client_says_when_the_api_is_away_and_when_a_key_is_none() -> None:
    with pytest.raises(listening.Away, match=r"^http://127.0.0.1:9 does not answer: connection refused$"):
        listening.Client("http://127.0.0.1:9", "ak_x").ask("GET", "/deliveries")
    for url, key, option in (("127.0.0.1:9", "ak_x", "--api"), ("http://127.0.0.1:9", "ä", "--api-key")):
        with pytest.raises(Trouble, match=f"^{option} must be"):
            listening.Client(url, key)


def _snippet(language: str, heading: str = "by the secret") -> str:
    """Find the page's code in a language, under the heading of what a signature is checked by."""
    section = PAGE[PAGE.index(f"{heading}\n") :]
    found = re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert found, language
    return found[1]


BY_KEY = "## Checking it by the public key"


def _cases() -> list[tuple[dict[str, Any], bool]]:
    """Requests as receivers get them, and whether they are ours."""
    secret, old, body = signing.generate_secret(), signing.generate_secret(), '{"said":"مرحبا"}'.encode()
    now = int(datetime.now(UTC).timestamp())
    keys = [signing.key_of(secret), signing.key_of(old)]
    good = {"secret": secret, "headers": signing.headers_of("msg", now, body, keys), "body": body.decode()}
    late = signing.headers_of("msg", now - 400, body, keys)
    return [
        (good, True),
        (good | {"secret": old}, True),
        (good | {"secret": signing.generate_secret()}, False),
        (good | {"body": body.decode() + " "}, False),
        (good | {"headers": late}, False),
        (good | {"headers": good["headers"] | {"webhook-id": "other"}}, False),  # type: ignore[operator]
        (good | {"headers": good["headers"] | {"webhook-signature": "v1,AAAA v2,x"}}, False),  # type: ignore[operator]
    ]


def _key_cases() -> list[tuple[dict[str, Any], bool]]:
    """Requests that are signed with private keys, the public key of a receiver, and whether they are ours."""
    seeds, body = [signing.generate_key() for _ in range(3)], '{"said":"مرحبا"}'.encode()
    keys = [signing.key_of(signing.generate_secret()), *(signing.private_key_of(seed) for seed in seeds[:2])]
    public = [signing.public_key_of(signing.public_bytes_of(seed)) for seed in seeds]
    good = {"secret": public[0], "headers": signing.headers_of("msg", 1, body, keys), "body": body.decode()}
    return [
        (good, True),
        (good | {"secret": public[1]}, True),
        (good | {"secret": public[2]}, False),
        (good | {"body": body.decode() + " "}, False),
        (good | {"headers": good["headers"] | {"webhook-timestamp": "2"}}, False),  # type: ignore[operator]
        (good | {"headers": good["headers"] | {"webhook-signature": "v1a,AAAA v1,AAAA"}}, False),  # type: ignore[operator]
    ]


def test_python_of_the_page_tells_ours_from_others() -> None:
    names: dict[str, Any] = {}
    exec(_snippet("python"), names)  # the page's own code
    exec(_snippet("python", BY_KEY), names)
    for name, cases in (("is_ours", _cases()), ("is_signed", _key_cases())):
        for case, ours in cases:
            assert names[name](case["secret"], case["headers"], case["body"].encode()) is ours


if which("node"):

    @pytest.mark.parametrize(("heading", "name"), [("by the secret", "isOurs"), (BY_KEY, "isSigned")])
    def test_javascript_of_the_page_tells_ours_from_others(heading: str, name: str) -> None:
        cases = _cases() if name == "isOurs" else _key_cases()
        program = (
            _snippet("javascript", heading)
            + """
            const cases = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
            console.log(JSON.stringify(cases.map((c) => NAME(c.secret, c.headers, Buffer.from(c.body)))));
            """.replace("NAME", name)
        )
        given = json.dumps([case for case, _ in cases])
        done = subprocess.run(
            ["node", "-e", program], input=given, capture_output=True, text=True, check=True, timeout=60
        )
        assert json.loads(done.stdout) == [ours for _, ours in cases]


@pytest.mark.parametrize("heading", ["by the secret", BY_KEY])
def test_page_has_a_snippet_in_each_of_six_languages(heading: str) -> None:
    found = [_snippet(language, heading) for language in ("python", "javascript", "go", "java", "ruby", "php")]
    assert len(set(found)) == 6
    assert all("webhook-signature" in one for one in found)
