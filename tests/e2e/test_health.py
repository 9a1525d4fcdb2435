"""`/healthz` says so when work is not getting done, and all is well again without anybody's help once it can be."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx
import pytest
from aiokafka import AIOKafkaProducer

from cli.check import drain_and_reconcile
from libs.contracts.ids import uuid7
from tests.support.system import Business, Servers, System, eventually

STALE_S = 12
FLOOD = 40


@pytest.fixture(scope="module")
async def system(killed_servers: Servers) -> AsyncIterator[System]:
    running = System(killed_servers, extra={"ACCESS_STALE_MAX_S": str(STALE_S), "WEBHOOK_STUCK_S": "4"})
    await running.prepare()
    await running.start()
    yield running
    await running.stop()


@asynccontextmanager
async def owner_of(system: System, package: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    address = urlsplit(system.servers.postgres.admin_url)._replace(path=f"/activities_{package}")
    connection = await asyncpg.connect(urlunsplit(address))
    try:
        yield connection
    finally:
        await connection.close()


async def said(client: httpx.AsyncClient, service: str, *words: str) -> None:
    """Wait until a service's health is red with all these words."""
    text = ""

    async def red() -> bool:
        nonlocal text
        answer = await client.get(f"/healthz/{service}")
        text = answer.text
        return answer.status_code == 503 and all(word in text for word in words)

    await eventually(red, 60, f"{service} says {words}", lambda: text)


async def well(client: httpx.AsyncClient, service: str = "") -> None:
    """Wait until health is green: of a service (`/lifecycle`), or of all."""
    text = ""

    async def green() -> bool:
        nonlocal text
        answer = await client.get(f"/healthz{service}")
        text = answer.text
        return answer.status_code == 200

    await eventually(green, 90, "all is well", lambda: text)


def report() -> dict[str, str]:
    return {"source": "phone", "source_ref": str(uuid7()), "action": "log", "type": "call", "summary": "x"}


async def post(client: httpx.AsyncClient, business: Business) -> httpx.Response:
    return await client.post("/ingest/activities", headers=business.headers, json=report())


async def alter(system: System, package: str, read_only: str) -> None:
    """Make a database read-only or not, ending its sessions as a fail-over does."""
    async with owner_of(system, package) as owner:
        await owner.execute("set default_transaction_read_only = off")
        await owner.execute(f"alter database activities_{package} set default_transaction_read_only = {read_only}")
        await owner.fetch(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and pid <> pg_backend_pid()",
            f"activities_{package}",
        )


async def test_read_only_database_refuses_writes_and_recovers_by_itself(
    system: System, client: httpx.AsyncClient, business: Business
) -> None:
    await alter(system, "ingest", "on")
    try:
        await said(client, "ingest", "the database is read-only")
        refused = await post(client, business)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1"), refused.text
        assert "read-only" in refused.json()["detail"]
        shown = await client.get(
            "/ingest/receipts", headers=business.headers, params={"source": "x", "source_ref": "y"}
        )
        assert shown.status_code == 404, "what only reads goes on"
        assert (await client.get("/readyz")).status_code == 200
        await well(client, "/lifecycle")
    finally:
        await alter(system, "ingest", "off")
    await well(client)
    assert (await post(client, business)).status_code == 202


async def test_partition_stopped_by_a_flood_goes_on_at_an_operators_word(
    system: System, client: httpx.AsyncClient, business: Business
) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=system.servers.kafka.bootstrap_servers)
    await producer.start()
    try:
        headers = [("ce_type", b"activity.created"), ("ce_version", b"1")]
        sent = [
            await producer.send("activity.created", b"\x00", f"{business.id}/x".encode(), 1, headers=headers)
            for _ in range(FLOOD)
        ]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()
    operator = {"X-API-KEY": system.operator_key}
    for service in ("reporting", "timeline-projector"):
        await said(client, service, "activity.created/1 is stopped at", "records are poison")
        assert (await client.get(f"/api/operations/{service}/letters", headers=operator)).json()["count"] == 0
    assert (await client.get("/readyz")).status_code == 200, "a stopped partition does not take intake away"
    assert (await post(client, business)).status_code == 202
    for service in ("reporting", "timeline-projector"):
        stops: list[dict[str, Any]] = []

        async def kept(path: str = f"/api/operations/{service}/stops", stops: list[dict[str, Any]] = stops) -> bool:
            stops[:] = (await client.get(path, headers=operator)).json()["results"]
            return len(stops) == 1

        await eventually(kept, 60, "the stop is kept")
    (stop,) = stops
    assert stop["record"]["value"] == {"text": "\x00", "base64": "AA=="}
    wish = {"topic": "activity.created", "partition": 1, "set_aside": True}
    resumed = await client.post("/api/operations/reporting/stops/resume", headers=operator, json=wish)
    assert resumed.json() == {"asked": 1}, resumed.text
    done = await asyncio.to_thread(system.command, "resume", "timeline-projector", "activity.created/1", "--set-aside")
    assert done.returncode == 0, done.stderr
    await well(client)
    for service in ("reporting", "timeline-projector"):
        path = f"/api/operations/{service}/letters"
        ids: list[str] = []

        async def listed(path: str = path, ids: list[str] = ids) -> bool:
            found = (await client.get(path, headers=operator, params={"limit": FLOOD})).json()
            ids[:] = [letter["id"] for letter in found["results"]]
            return len(ids) == FLOOD

        await eventually(listed, 60, "all of the flood is set aside")
        dropped = await client.post(f"{path}/drop", headers=operator, json={"ids": ids, "reason": "a test's own"})
        assert dropped.json() == {"dropped": FLOOD}
    assert await drain_and_reconcile(system.environment, business.id) == []


async def test_stuck_dispatcher_is_said(system: System, client: httpx.AsyncClient) -> None:
    async with owner_of(system, "webhook_dispatcher") as owner, owner.transaction():
        await owner.execute("lock table delivery in access exclusive mode")
        await said(client, "webhook-dispatcher", "has not looked at its deliveries for")
    await well(client)


async def test_without_kafka_what_waits_has_an_age_and_old_copies_of_keys_open_nothing(
    system: System, client: httpx.AsyncClient, business: Business
) -> None:
    kafka = system.servers.kafka
    await asyncio.to_thread(kafka.kill)
    try:
        accepted = await post(client, business)
        assert accepted.status_code == 202, accepted.text
        await said(client, "ingest", "Kafka does not take events", "the oldest event that is not published is")

        async def refused() -> bool:
            return (await post(client, business)).status_code == 503

        await eventually(refused, 60 + STALE_S, "an old copy opens nothing")
        answer = await post(client, business)
        assert f"at most {STALE_S} s are allowed" in answer.json()["detail"]
        await said(client, "reporting", f"routes answer 503 from {STALE_S} s on", "reporting: Kafka")
        members = await client.get("/api/directory/members", headers=business.headers)
        assert members.status_code == 200, "directory looks keys up in the truth itself"
    finally:
        await asyncio.to_thread(kafka.start)
    await well(client)
    assert (await post(client, business)).status_code == 202
    receipt = await client.get(f"/ingest/receipts/{accepted.json()['receipt_id']}", headers=business.headers)
    assert receipt.status_code == 200
    assert await drain_and_reconcile(system.environment, business.id) == []


async def test_frozen_process_answers_nobody_and_says_afterwards_that_it_stood_still(
    system: System, client: httpx.AsyncClient, business: Business
) -> None:
    system.signal(signal.SIGSTOP)
    try:
        with pytest.raises(httpx.ReadTimeout):
            await client.get("/livez", timeout=4.0)
    finally:
        system.signal(signal.SIGCONT)
    await said(client, "ingest", "the event loop stood still for")
    await well(client)  # the copies of keys have grown old meanwhile, and open nothing before the next heartbeat
    assert (await post(client, business)).status_code == 202
