"""A person is erased: a canary in every text about them is searched for in every table and every topic.

What may hold it for a while afterwards is named here, and is gone once its retention (made short here) is over.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from cli.check import drain_and_reconcile
from tests.support.sink import Sink
from tests.support.system import Business, Servers, System, eventually, running_servers, thrown_away

pytestmark = pytest.mark.faults

PARTITIONS = 4
CANARY, KEPT = "Zanzibar4711", "Quetzal0815"
PACKAGES = ("directory", "ingest", "lifecycle", "timeline_projector", "reporting", "webhook_dispatcher")
QUICK_BROKER = """\
log.retention.check.interval.ms=500
log.cleaner.backoff.ms=200
log.segment.delete.delay.ms=100
"""
AT = "2026-11-20T09:30:00+01:00"
REMAINING_TABLES = {
    "directory.outbox",
    "directory.idempotency",
    "ingest.outbox",
    "lifecycle.outbox",
    "lifecycle.idempotency",
}
"""Days of an outbox go when they are published and over, answers to an Idempotency-Key after 7 days."""
EVERYWHERE = {
    "directory.record", "ingest.interaction", "ingest.message", "lifecycle.history", "lifecycle.activity",
    "lifecycle.activity_append", "lifecycle.waiting", "lifecycle.record", "timeline_projector.activity_head",
    "timeline_projector.interaction", "timeline_projector.message", "timeline_projector.record",
    "webhook_dispatcher.event",
}  # fmt: skip
REMAINING_TOPICS = {
    "activity.received", "activity.created", "activity.completed", "activity.changed", "activity.appended",
    "interaction.closed",  # 14 or 30 days
    "directory.record",  # compacted: an older state goes within 7 days of being followed by another
}  # fmt: skip


@pytest.fixture(scope="module")
async def servers() -> AsyncIterator[Servers]:
    """Servers of its own: retention is made short on them."""
    with thrown_away("erasure") as directory:
        async with running_servers(directory, QUICK_BROKER) as running:
            yield running


@pytest.fixture
async def system(servers: Servers) -> AsyncIterator[System]:
    running = System(servers)
    await running.prepare()
    await running.start()
    yield running
    await running.stop()


def texts(canary: str) -> dict[str, Any]:
    """Everything that a report can say in words."""
    return {
        "subject": canary, "summary": f"spoke with {canary}", "notes": canary.upper(), "location": canary,
        "first_message": canary, "fields": {"said": canary}, "metadata": {canary: [canary]},
        "attachments": [f"https://files.example/{canary}"], "participants": [canary], "actor": canary,
        "assignee": canary, "links": [{"object": "contact", "external_ref": f"+49-{canary}"}],
    }  # fmt: skip


def conversation(canary: str) -> dict[str, Any]:
    messages = [
        {"id": f"m-{canary}-{n}", "direction": "inbound", "author": canary, "text": canary, "sent_at": AT,
         "media_url": f"https://media.example/{canary}", "template": canary}
        for n in range(3)
    ]  # fmt: skip
    return {
        "interaction_id": f"i-{canary}", "source": "chat", "channel": "whatsapp", "direction": "inbound",
        "address": canary, "agent": canary, "disposition": canary, "opened_at": AT, "closed_at": AT,
        "links": [{"object": "contact", "external_ref": f"+49-{canary}"}], "messages": messages,
    }  # fmt: skip


class World:
    def __init__(self, system: System, client: httpx.AsyncClient, business: Business, sink: Sink) -> None:
        self.system, self.client, self.business, self.sink = system, client, business, sink

    async def call(self, method: str, path: str, body: Any = None, status: int = 0, **more: str) -> Any:
        headers = {**self.business.headers, **more}
        answer = await self.client.request(method, f"{self.system.url}{path}", json=body, headers=headers)
        assert answer.status_code == status or (not status and answer.is_success), (
            path,
            answer.status_code,
            answer.text,
        )
        return answer.json() if answer.content else None

    async def tell(self, canary: str) -> str:
        """Put the canary wherever a person can stand; return the record's id."""
        ref, again = f"+49-{canary}", {"idempotency-key": f"once-{len(canary)}"}
        person = {"external_ref": ref, "name": canary, "fields": {"phone": canary}}
        record = (await self.call("PUT", f"/api/directory/records/contact/by-ref/{ref}", person, **again))["id"]
        for name, path in (("told", "/told"), ("waits", "/waits")):
            url = self.sink.url(path) if name == "told" else "http://127.0.0.1:9/"
            await self.call(
                "POST", "/api/webhooks/endpoints", {"url": url, "event_types": ["activity.logged", "activity.appended"]}
            )
        for kind in ("call", "meeting"):
            path, known = (
                f"/api/activities/{kind}/fields",
                {"display_name": "Said", "name": "said", "field_type": "text"},
            )
            if "said" not in [each["name"] for each in await self.call("GET", path)]:
                await self.call("POST", path, known)
        said = texts(canary)
        await self.report("schedule", f"{canary}-1", type="call", due_at=AT, **said)
        await self.report("schedule", f"{canary}-2", type="call", due_at=AT, **said)
        await self.report("complete", f"{canary}-2", type="call", occurred_at=AT, **said)
        await self.report("log", f"{canary}-3", type="meeting", occurred_at=AT, direction="inbound", **said)
        await self.report("append", f"{canary}-3", kind="note", text=canary, actor=canary)
        await self.report("append", f"{canary}-1", kind="note", text=canary)
        await self.report("complete", f"{canary}-4", **said)
        await self.call("POST", "/ingest/interactions", conversation(canary), 202)
        await drained(self.system, self.business)
        entities = {"associated_entities": [{"custom_object": "contact", "entity_id": record}]}
        planned = {"activity_object_name": "call", "note": canary, "due_datetime": AT, "location": canary} | entities
        mine = (await self.call("POST", "/api/activities/scheduled-activity", planned, 201, **again))["id"]
        await self.call("PATCH", f"/api/activities/scheduled-activity/{mine}/notes", {"notes": f"{canary} again"})
        logged = {"related_objects": [], "scheduled_activity_id": mine, "notes": f"{canary} logged"}
        await self.call("POST", "/api/activities/call/log-activity", logged, 201)
        for body in ({"kind": "note", "text": canary}, {"kind": "attachment", "url": f"https://x.example/{canary}"}):
            await self.call("POST", f"/api/activities/logged/{mine}/append", body, 201)
        return str(record)

    async def twin(self, canary: str) -> str:
        """Put the canary into another record of the person, which only that one's activities and conversation name."""
        ref = f"+49-{canary}-twin"
        person = {"external_ref": ref, "name": canary, "fields": {"phone": canary}}
        record = (await self.call("PUT", f"/api/directory/records/contact/by-ref/{ref}", person))["id"]
        about = {"links": [{"object": "contact", "external_ref": ref}]}
        await self.report("schedule", f"{canary}-5", type="call", due_at=AT, **texts(canary) | about)
        await self.report("log", f"{canary}-6", type="call", occurred_at=AT, **texts(canary) | about)
        talk = conversation(canary) | about | {"interaction_id": f"i-{canary}-twin"}
        await self.call("POST", "/ingest/interactions", talk, 202)
        return str(record)

    async def report(self, action: str, ref: str, **given: Any) -> None:
        body = {"source": "phone", "source_ref": f"{ref}-{action}", "activity_ref": ref, "action": action, **given}
        await self.call("POST", "/ingest/activities", body, 202)


@pytest.fixture
async def world(system: System) -> AsyncIterator[World]:
    async with httpx.AsyncClient(timeout=20) as client, Sink.started() as sink:
        yield World(system, client, await system.make_business(client), sink)


async def drained(system: System, business: Business) -> None:
    """Drain, erasures too, and see that everything agrees."""
    assert await drain_and_reconcile(system.environment, business.id) == []


async def tables_with(system: System, canary: str) -> set[str]:
    """Name the tables of all services that hold the canary, as text or as bytes, in any case."""
    found = set()
    marks = [mark for text in {canary, canary.upper(), canary.lower()} for mark in (text, text.encode().hex())]
    for package in PACKAGES:
        url = re.sub(r"/\w*$", f"/activities_{package}", system.servers.postgres.admin_url)
        connection = await asyncpg.connect(url)
        try:
            rows = await connection.fetch(
                """select relname from pg_class
                where relnamespace = 'public'::regnamespace and relkind in ('r', 'm', 'S') and relkind <> 'S'"""
            )
            for (table,) in rows:
                query = f'select exists (select from "{table}" t where t::text like any($1::text[]))'
                if await connection.fetchval(query, [f"%{mark}%" for mark in marks]):
                    found.add(f"{package}.{re.sub(r'_[0-9]{8}$', '', table)}")
        finally:
            await connection.close()
    return found


async def topics_with(system: System, canary: str) -> set[str]:
    """Name the topics that hold the canary in a key, a value or a header."""
    marks = [text.encode() for text in {canary, canary.upper(), canary.lower()}]
    consumer = AIOKafkaConsumer(bootstrap_servers=system.servers.kafka.bootstrap_servers, fetch_max_wait_ms=50)
    await consumer.start()
    found = set()
    try:
        names = [name for name in await consumer.topics() if not name.startswith("__")]
        parts = [TopicPartition(name, n) for name in names for n in range(PARTITIONS)]
        ends = {part: end for part, end in (await consumer.end_offsets(parts)).items() if end}
        consumer.assign(list(ends))
        await consumer.seek_to_beginning(*ends)
        while any([await consumer.position(part) < end for part, end in ends.items()]):
            for part, records in (await consumer.getmany(timeout_ms=200)).items():
                for record in records:
                    bodies = [record.key or b"", record.value or b"", *(value for _, value in record.headers)]
                    if any(mark in body for body in bodies for mark in marks):
                        found.add(part.topic)
    finally:
        await consumer.stop()
    return found


async def configure(system: System, topics: set[str], **config: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=system.servers.kafka.bootstrap_servers)
    await admin.start()
    try:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs=config) for name in topics])
    finally:
        await admin.close()


async def query(system: System, package: str, sql: str, execute: bool = False) -> Any:
    connection = await asyncpg.connect(re.sub(r"/\w*$", f"/activities_{package}", system.servers.postgres.admin_url))
    try:
        return await (connection.execute(sql) if execute else connection.fetchval(sql))
    finally:
        await connection.close()


async def heard(system: System) -> bool:
    sql = "select count(*) > 0 from erasure"
    return all([await query(system, package, sql) for package in ("lifecycle", "ingest")])


@pytest.mark.timeout(300)
async def test_no_trace_of_an_erased_person_is_left_anywhere(world: World) -> None:
    system = world.system
    record = await world.tell(CANARY)
    twin = await world.twin(CANARY)
    kept = await world.tell(KEPT)
    await world.call("POST", f"/api/directory/records/contact/{record}/merge", {"record_id": twin})
    await drained(system, world.business)
    before = await tables_with(system, CANARY)
    assert before >= EVERYWHERE
    counts = await world.call("POST", "/api/timeline/badges", {"object": "contact", "record_ids": [record, kept]})

    erasing = await world.call("POST", f"/api/directory/records/contact/{record}/erase", {"reason": "asked"}, 202)
    assert (erasing["record_id"], set(erasing["records"])) == (record, {record, twin}), (
        "the survivor and the merged one"
    )
    await eventually(lambda: heard(system), 30, "lifecycle and ingest have heard of it", system.tail)
    await drained(system, world.business)

    assert await tables_with(system, CANARY) == REMAINING_TABLES
    assert await topics_with(system, CANARY) == REMAINING_TOPICS
    assert await tables_with(system, KEPT) >= {"lifecycle.history", "ingest.message", "webhook_dispatcher.event"}
    badges = await world.call("POST", "/api/timeline/badges", {"object": "contact", "record_ids": [record, kept]})
    assert badges == counts, "an erasure takes texts away, not what happened"
    timeline = await world.call("GET", f"/api/timeline/contact/{record}")
    assert len(timeline["results"]) == badges["counts"][record]

    verified = await asyncio.to_thread(system.command, "verify", "lifecycle", "--business", world.business.id)
    assert (verified.returncode, verified.stdout) == (0, ""), verified.stderr
    tampering = "alter table history disable trigger user; update history set recorded_at = now() where version = 1"
    await query(system, "lifecycle", tampering, execute=True)
    verified = await asyncio.to_thread(system.command, "verify")
    assert (verified.returncode, "its hash differs" in verified.stdout) == (1, True), verified.stderr

    await let_retention_pass(world)
    left: list[set[str]] = []

    async def gone() -> bool:
        left[:] = [await tables_with(system, CANARY), await topics_with(system, CANARY)]
        if left[1] & {"directory.record"}:
            await touch_records(world)
        return left == [set(), set()]

    await eventually(gone, 120, "no trace is left once retention is over", lambda: left)


async def let_retention_pass(world: World) -> None:
    """Do now what retention does later: days of outboxes dropped, answers forgotten, topics cut and compacted."""
    system = world.system
    for package in ("directory", "ingest", "lifecycle"):
        await query(system, package, "select outbox_drop_days(current_date + 1)")
        await query(system, package, "select outbox_keep_days(7)")
        await query(system, package, "delete from idempotency")
    await configure(
        system, REMAINING_TOPICS - {"directory.record"}, **{"cleanup.policy": "delete", "retention.ms": "1"}
    )
    await configure(
        system, {"directory.record"},
        **{
            "cleanup.policy": "compact", "max.compaction.lag.ms": "1", "segment.ms": "100",
            "min.cleanable.dirty.ratio": "0.01",
        },
    )  # fmt: skip
    await touch_records(world)


async def touch_records(world: World) -> None:
    """Write some records of others, as goes on all the time: a partition's newest segment is never compacted."""
    for _ in range(2):
        with contextlib.suppress(httpx.TransportError):
            await asyncio.gather(
                *(world.call("POST", "/api/directory/records/contact", {"name": f"Somebody {n}"}) for n in range(24))
            )
        await asyncio.sleep(0.2)
