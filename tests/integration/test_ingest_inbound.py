"""Reports through Kafka, against real PostgreSQL and real Kafka: the same reports, from writers that nobody trusts."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest

from libs.contracts.ids import uuid7
from libs.contracts.report import ReportAnswered, ReportReceived
from libs.database import Database
from libs.messaging import admin
from libs.messaging.consumer import Consumer
from services.ingest import handlers, inbound
from services.ingest.gather import Bounds, Gather
from tests.support import kafka
from tests.support.http import Tenant, served, settle
from tests.support.kafka import broker_settings, eventually, producing

MakeDatabase = Callable[[str], Awaitable[Database]]
Sending = tuple[bytes | None, list[tuple[str, bytes]]]
PLENTY = Bounds(100_000, 100)


@pytest.fixture
async def database(make_database: MakeDatabase) -> Database:
    return await make_database("ingest")


@pytest.fixture
async def tenant(database: Database) -> Tenant:
    return await settle(database)


@asynccontextmanager
async def inbound_topic() -> AsyncIterator[str]:
    topic, broker = f"activity.inbound.test_{uuid7().hex[-12:]}", broker_settings()
    async with kafka.admin(broker) as client:
        await client.create_topics([admin._new_topic(broker, topic, 1)])
        try:
            yield topic
        finally:
            await client.delete_topics([topic])


@asynccontextmanager
async def hearing(database: Database, topics: dict[str, UUID], bounds: Bounds = PLENTY) -> AsyncIterator[Consumer]:
    heard = inbound.inbound_of(Gather(bounds), topics)
    consumers = [
        Consumer("ingest", database, broker_settings(), each, group=f"test_{uuid7().hex[-12:]}")
        for each in heard.by_topic()
    ]
    for consumer in consumers:
        await consumer.start()
    try:
        yield consumers[0]
    finally:
        for consumer in consumers:
            await consumer.stop()


async def send(topic: str, *records: Sending) -> None:
    async with producing(broker_settings()) as producer:
        for number, (value, headers) in enumerate(records):
            await producer.send(topic, value, b"any key", partition=number % kafka.PARTITIONS, headers=headers)
        await producer.flush()


def report(ref: str, **more: Any) -> dict[str, Any]:
    return {"source": "phone", "source_ref": ref, "action": "log", "type": "call", **more}


def plain(ref: str, **more: Any) -> Sending:
    return orjson.dumps(report(ref, **more)), []


async def accepted(database: Database) -> list[ReportReceived]:
    async with database.work() as tx:
        rows = await tx.fetch("select value from outbox where topic is null order by id")
    return [ReportReceived.model_validate_json(row[0]) for row in rows]


async def letters(database: Database) -> dict[bytes | None, str]:
    """The values that were set aside, with the reason."""
    async with database.work() as tx:
        rows = await tx.fetch(
            """select value, header_values[array_position(header_names, 'dead_reason')] from outbox
            where topic = 'ingest.dead_letter'"""
        )
    return {row[0]: row[1].decode() for row in rows}


async def test_good_reports_are_kept_and_bad_ones_set_aside_with_their_reasons(
    database: Database, tenant: Tenant
) -> None:
    cloud = {"specversion": "1.0", "type": "activity.report", "source": "phone"}
    data = {"action": "log", "type": "call"}
    headers = [(f"ce_{name}", text.encode()) for name, text in {**cloud, "id": "binary", "version": "1"}.items()]
    structured = orjson.dumps({**cloud, "id": "structured", "data": data})
    stranger = {"business_id": str(uuid7())}
    bad: dict[bytes | None, str] = {
        b"\xff\x00": "malformed", None: "malformed", b"[]": "must be an object", b'{"a":1}': "source",
        orjson.dumps(report("x", action="dance")): "action", orjson.dumps(report("y") | stranger): "business_id",
        orjson.dumps(report("z", notes="x" * 300_000)): "too_large", b"[" * 10_000: "malformed",
        orjson.dumps(report("plain", subject="else")): "different_body",
    }  # fmt: skip
    async with inbound_topic() as topic, hearing(database, {topic: tenant.business_id}) as consumer:
        await send(topic, plain("plain"), plain("plain"))
        await eventually(lambda: _count(accepted(database), 1), "the first report is kept")
        sent: list[Sending] = [(value, []) for value in bad]
        cased = [("Content-Type", b"application/cloudevents+json; charset=utf-8")]
        await send(topic, *sent * 3, (orjson.dumps(data), headers), (orjson.dumps(data), headers), (structured, cased))
        await eventually(lambda: _count(accepted(database), 3), "all good reports are kept")
        await eventually(lambda: _count(letters(database), len(bad)), "all bad records are set aside")
        assert consumer.problems() == []
    assert {event.business_id for event in await accepted(database)} == {tenant.business_id}
    assert sorted(event.report.source_ref for event in await accepted(database)) == ["binary", "plain", "structured"]
    for value, reason in (await letters(database)).items():
        assert bad[value] in reason, reason
    async with served("ingest", database) as client:
        asked = {"source": "phone", "source_ref": "structured"}
        receipt = await client.get("/ingest/receipts", params=asked, headers=tenant.headers)
        assert receipt.json()["status"] == "accepted"


async def _count(found: Awaitable[Any], count: int) -> bool:
    return len(await found) == count


async def test_a_flood_of_bad_records_never_stops_a_partition(database: Database, tenant: Tenant) -> None:
    async with inbound_topic() as topic, hearing(database, {topic: tenant.business_id}) as consumer:
        await send(topic, *[(b"bad %d" % number, []) for number in range(300)], plain("a"), plain("b"))
        await eventually(lambda: _count(accepted(database), 2), "the good ones behind them are kept")
        await eventually(lambda: _count(letters(database), 300), "each bad one is set aside")
        assert consumer.problems() == []


async def test_the_same_report_by_http_and_kafka_is_one(database: Database, tenant: Tenant) -> None:
    async with (
        inbound_topic() as topic, hearing(database, {topic: tenant.business_id}),
        served("ingest", database) as client,
    ):  # fmt: skip
        first = await client.post("/ingest/activities", json=report("a"), headers=tenant.headers)
        await send(topic, plain("a"), plain("b"))
        await eventually(lambda: _count(accepted(database), 2), "the other report is kept")
        second = await client.post("/ingest/activities", json=report("b"), headers=tenant.headers)
        assert (first.status_code, second.status_code) == (202, 200)
    assert len(await accepted(database)) == 2
    assert await letters(database) == {}


async def test_each_topic_speaks_for_its_business_and_no_other(database: Database, tenant: Tenant) -> None:
    other = await settle(database)
    async with (
        inbound_topic() as mine, inbound_topic() as theirs,
        hearing(database, {mine: tenant.business_id, theirs: other.business_id}),
    ):  # fmt: skip
        await send(mine, plain("same"))
        await send(theirs, plain("same"))
        await eventually(lambda: _count(accepted(database), 2), "both are kept")
    events = await accepted(database)
    assert {event.business_id for event in events} == {tenant.business_id, other.business_id}
    assert len({event.receipt_id for event in events}) == 2


async def test_what_is_too_much_waits_in_kafka_and_goes_on_when_there_is_room(
    database: Database, tenant: Tenant
) -> None:
    async with inbound_topic() as topic, hearing(database, {topic: tenant.business_id}, Bounds(2, 10)) as consumer:
        await send(topic, plain("a"), plain("b"))
        await eventually(lambda: _count(accepted(database), 2), "as many as may be are kept")
        await send(topic, plain("c"))
        await eventually(lambda: any("at most 2" in problem for problem in consumer.problems()), "it says so")
        first = (await accepted(database))[0]
        answer = ReportAnswered(
            receipt_id=first.receipt_id, business_id=first.business_id, activity_id=first.activity_id,
            outcome="applied", version=1, answered_at=datetime.now(UTC),
        )  # fmt: skip
        async with database.work() as tx:
            await handlers.note_answers(tx, [answer])
        await eventually(lambda: _count(accepted(database), 3), "the next is kept")
    assert await letters(database) == {}


async def test_a_topic_that_does_not_exist_holds_up_no_other(database: Database, tenant: Tenant) -> None:
    missing = f"activity.inbound.missing_{uuid7().hex[-12:]}"
    async with inbound_topic() as topic, hearing(database, {topic: tenant.business_id, missing: uuid7()}):
        await send(topic, plain("a"))
        await eventually(lambda: _count(accepted(database), 1), "the report is kept")


async def test_topics_are_made_beside_ours_and_those_that_exist_stay(database: Database) -> None:
    broker = broker_settings()
    async with inbound_topic() as topic:
        fresh = f"activity.inbound.made_{uuid7().hex[-12:]}"
        async with kafka.admin(broker) as client:
            try:
                assert fresh in await admin.create_topics(broker, (), (topic, fresh))
                assert await admin.create_topics(broker, (), (topic, fresh)) == []
            finally:
                await client.delete_topics([fresh])
