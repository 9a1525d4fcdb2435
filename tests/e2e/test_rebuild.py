"""Projections equal a fresh rebuild row by row, and topics heard again from zero change nothing."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import asyncpg
import httpx
import pytest

from cli.check import drain_and_reconcile, surroundings
from libs.messaging import admin
from libs.messaging.broker import BrokerSettings
from services.__main__ import create
from tests.support.load import Upstream
from tests.support.sink import Sink
from tests.support.system import Business, Servers, System, eventually

SEED = 7
ACTIVITIES_MIN = 600
CONVERSATIONS = 40
MESSAGES_MAX = 500
Rows = dict[str, list[tuple[Any, ...]]]
PROJECTIONS = {
    "timeline_projector": ("activity_head", "entry", "interaction", "message", "record", "activity_object"),
    "reporting": ("fact", "interaction_fact", "rollup"),
}
TRUTH = {
    "lifecycle": ("activity", "history", "activity_append", "admission", "waiting", "activity_object"),
    "ingest": ("report_identity", "report_outcome", "report_accepted", "report_answered", "interaction", "message"),
    "webhook_dispatcher": ("delivery", "attempt", "event"),
}
VOLATILE = {"answered_at"}
"""Columns in which hearing the same answer again may leave a later time."""


pytestmark = pytest.mark.timeout(900)
"""The first test waits for everything that the fixtures do before it."""


@pytest.fixture(scope="module")
async def system(own_servers: Servers) -> AsyncIterator[System]:
    running = System(own_servers)
    await running.prepare()
    await running.start()
    yield running
    await running.stop()


@pytest.fixture(scope="module")
async def sink() -> AsyncIterator[Sink]:
    async with Sink.started() as started:
        yield started


@pytest.fixture(scope="module")
async def loaded(system: System, sink: Sink) -> Business:
    """A business whose reports came in any order while a second process joined, left, joined and was killed."""
    async with httpx.AsyncClient(base_url=system.url, timeout=60) as client:
        business = await system.make_business(client)
        endpoint = {"url": sink.url("/told"), "event_types": ["activity.logged"]}
        made = await client.post("/api/webhooks/endpoints", headers=business.headers, json=endpoint)
        assert made.status_code == 201, made.text
        for number in range(20):
            contact = {"external_ref": f"c-{number}", "name": f"Contact {number}"}
            await client.post("/api/directory/records/contact", headers=business.headers, json=contact)
        upstream = Upstream(client, business, SEED)
        second = System(system.servers, extra={"OPERATOR_KEY": system.operator_key}, apart=False)
        async with asyncio.TaskGroup() as group:
            group.create_task(upstream.run(pause_s=0.1))  # the slower the machine, the longer this goes on
            group.create_task(converse(client, business))
            await second.start()
            await second.stop()
            await second.start()
            await second.kill()
            await eventually(lambda: has_reported(upstream), 120, f"{ACTIVITIES_MIN} activities are acknowledged")
            upstream.stop()
        await upstream.finish()
    assert await drain_and_reconcile(system.environment, business.id) == []
    told = {ref for ref, end in upstream.ledger.ends.items() if end in ("logged", "completed")}
    told &= {source_ref.rpartition("-")[0] for source_ref in upstream.ledger.activities}
    count = len(told) + CONVERSATIONS  # each conversation became an activity
    await sink.until(lambda requests: len({r.headers["webhook-id"] for r in requests}) == count, 90)
    return business


async def converse(client: httpx.AsyncClient, business: Business) -> None:
    """Let conversations be told of, the longest with as many messages as are ordinary; each is told of twice."""
    for number in range(CONVERSATIONS):
        opened = datetime(2026, 5, 1 + number % 28, 9, tzinfo=UTC)
        count = MESSAGES_MAX if number == 0 else number % 5
        messages = [
            {"id": f"{each}", "direction": ("inbound", "outbound")[each % 2], "text": f"{each} مرحبا 👋",
             "sent_at": (opened + timedelta(seconds=each)).isoformat()}
            for each in range(count)
        ]  # fmt: skip
        talk = {
            "interaction_id": f"talk-{number}", "source": "pbx", "channel": ("voice", "whatsapp")[number % 2],
            "direction": "inbound", "address": None, "agent": f"agent-{number % 3}", "messages": messages,
            "opened_at": opened.isoformat(), "closed_at": (opened + timedelta(hours=1)).isoformat(),
            "links": [{"object": "contact", "external_ref": f"c-{number % 25}"}],
        }  # fmt: skip
        for _ in range(2):
            told = await client.post("/ingest/interactions", headers=business.headers, json=talk)
            assert told.status_code in (200, 202), told.text


async def has_reported(upstream: Upstream) -> bool:
    return len(set(upstream.ledger.activities.values())) >= ACTIVITIES_MIN


async def dump(system: System, business: Business, tables: dict[str, tuple[str, ...]]) -> Rows:
    """Every row of one business, in an order of its own."""
    found: Rows = {}
    for package, names in tables.items():
        address = urlsplit(system.servers.postgres.admin_url)._replace(path=f"/activities_{package}")
        connection = await asyncpg.connect(urlunsplit(address))
        try:
            for name in names:
                condition = " and count <> 0" if name == "rollup" else ""
                rows = await connection.fetch(
                    f"select * from {name} where business_id = $1{condition}", UUID(business.id)
                )
                plain = [tuple(value for key, value in row.items() if key not in VOLATILE) for row in rows]
                found[f"{package}.{name}"] = sorted(plain, key=repr)
        finally:
            await connection.close()
    return found


async def empty(system: System, tables: dict[str, tuple[str, ...]]) -> None:
    """Lose what services hold, as if their topics had nothing of it any more."""
    for package, names in tables.items():
        address = urlsplit(system.servers.postgres.admin_url)._replace(path=f"/activities_{package}")
        connection = await asyncpg.connect(urlunsplit(address))
        try:
            await connection.execute(f"truncate {', '.join(names)}")
        finally:
            await connection.close()


async def rewind(system: System, packages: Sequence[str]) -> None:
    broker = BrokerSettings(system.servers.kafka.bootstrap_servers)
    for package in packages:
        with surroundings(system.environment):
            heard = create(package.replace("_", "-")).groups()[package]
        assert await admin.rewind(broker, package, heard) > 0


async def test_projections_equal_a_fresh_rebuild_row_by_row(system: System, loaded: Business) -> None:
    before = await dump(system, loaded, PROJECTIONS)
    assert len(before["timeline_projector.activity_head"]) >= ACTIVITIES_MIN
    assert len(before["reporting.fact"]) >= ACTIVITIES_MIN
    assert len(before["timeline_projector.interaction"]) == len(before["reporting.interaction_fact"]) == CONVERSATIONS
    assert len(before["timeline_projector.message"]) >= MESSAGES_MAX
    assert all(before.values())
    await system.stop()
    await system.do("rebuild", "timeline-projector", "reporting")
    emptied = await dump(system, loaded, PROJECTIONS)
    assert not any(emptied.values())
    await system.start()
    assert await drain_and_reconcile(system.environment, loaded.id) == []
    assert await dump(system, loaded, PROJECTIONS) == before


async def test_projections_come_back_row_by_row_from_what_the_owners_send_again_alone(
    system: System, loaded: Business
) -> None:
    before = await dump(system, loaded, PROJECTIONS)
    await system.stop()
    await empty(system, PROJECTIONS)
    await system.do("republish", "directory", "lifecycle", "ingest")
    await system.start()
    assert await drain_and_reconcile(system.environment, loaded.id) == []
    after = await dump(system, loaded, PROJECTIONS)
    for name, rows in before.items():
        assert after[name] == rows, name


async def test_topics_heard_again_from_zero_change_and_send_nothing(
    system: System, sink: Sink, loaded: Business, client: httpx.AsyncClient
) -> None:
    endpoint = {"url": sink.url("/late"), "event_types": ["activity.logged", "activity.completed"]}
    late = await client.post("/api/webhooks/endpoints", headers=loaded.headers, json=endpoint)
    assert late.status_code == 201, late.text
    before, sent = await dump(system, loaded, {**TRUTH, **PROJECTIONS}), len(sink.requests)
    await system.stop()
    await rewind(system, (*TRUTH, *PROJECTIONS))
    await system.start()
    assert await drain_and_reconcile(system.environment, loaded.id) == []
    after = await dump(system, loaded, {**TRUTH, **PROJECTIONS})
    for name, rows in before.items():
        assert after[name] == rows, name
    assert [request.path for request in sink.requests[sent:]] == []
    owed = await client.get(
        "/api/webhooks/deliveries", headers=loaded.headers, params={"endpoint_id": late.json()["id"]}
    )
    assert owed.json()["results"] == []
