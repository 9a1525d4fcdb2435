"""What is remembered of who hears saves reading it, and counts only while it is so."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import orjson
import pytest

from libs.contracts.activity import ActivityEvent
from libs.contracts.activity_object import ActivityObject
from libs.contracts.ids import uuid7
from libs.database import Database
from services.webhook_dispatcher import handlers
from services.webhook_dispatcher.changes import CHANNEL
from services.webhook_dispatcher.delivery import Dispatcher
from services.webhook_dispatcher.health import watch_failing
from services.webhook_dispatcher.managed import endpoint_id_of, follow_objects
from services.webhook_dispatcher.sealing import Sealer
from tests.conftest import MakeDatabase
from tests.support.sink import Sink
from tests.support.webhooks import (
    LOCAL,
    MASTER_KEY,
    deliveries_of,
    dispatching,
    event_of,
    eventually,
    hear,
    make_endpoint,
    until,
)  # fmt: skip

BUSINESS = uuid7()
CANARY = "Ada Lovelace, 1815"


@dataclass(frozen=True)
class Case:
    """A dispatcher that remembers who hears of the business's events: one endpoint, `first`, at `/first`."""

    database: Database
    dispatcher: Dispatcher
    sink: Sink
    first: UUID

    async def at_once(self, *events: ActivityEvent) -> bool:
        """Hear events; tell whether that took no transaction but one statement of its own."""
        async with self.database.work() as tx:
            await handlers.owe_deliveries(30, self.dispatcher)(tx, events or [event_of(BUSINESS)])
            return not tx.begun

    async def remembered(self, *events: ActivityEvent) -> None:
        """Hear events until they are owed by what is remembered: on a busy machine lanes may have to look first."""
        deadline = datetime.now(UTC) + timedelta(seconds=60)
        while not await self.at_once(*events):
            assert datetime.now(UTC) < deadline, "nothing is remembered"

    async def change(self, what: str, id_: UUID) -> None:
        async with self.database.work() as tx:
            await tx.execute(f"update endpoint set {what} where id = $1", id_)

    async def owed(self, event: ActivityEvent) -> dict[UUID, str]:
        """Say in which state an event's deliveries are, by endpoint."""
        rows = await deliveries_of(self.database)
        return {row["endpoint_id"]: row["status"] for row in rows if row["activity_id"] == event.activity.activity_id}


@pytest.fixture
async def case(make_database: MakeDatabase) -> AsyncIterator[Case]:
    database = await make_database("webhook_dispatcher")
    async with Sink.started() as sink, dispatching(database) as dispatcher:
        first, _ = await make_endpoint(database, BUSINESS, sink.url("/first"))
        made = Case(database, dispatcher, sink, first)
        await made.remembered()
        yield made


async def test_what_is_owed_by_what_is_remembered_is_sent_and_a_repeated_event_adds_nothing(case: Case) -> None:
    event = event_of(BUSINESS)
    await case.remembered(event, event)
    await case.remembered(event)
    rows = await eventually(case.database, lambda rows: {row["status"] for row in rows} == {"delivered"})
    assert len(rows) == len(case.sink.requests) == len({one.headers["webhook-id"] for one in case.sink.requests})
    assert [one["status"] for one in rows if one["activity_id"] == event.activity.activity_id] == ["delivered"]


async def test_whatever_has_changed_of_the_endpoints_counts_for_the_next_event(case: Case) -> None:
    second, _ = await make_endpoint(case.database, BUSINESS, case.sink.url("/second"))
    event = event_of(BUSINESS)
    await hear(case.database, [event], case.dispatcher)
    assert (await case.owed(event)).keys() == {case.first, second}
    for change, states in (
        ("status = 'paused'", {case.first: "parked"}), ("status = 'disabled'", {case.first: "missed"}),
        ("status = 'active', sources = '{other}'", {}), ("sources = '{}', event_types = '{activity.appended}'", {}),
        ("event_types = '{activity.logged}', expression = 'data.summary == \"else\"'", {}),
        ("expression = '', deleted_at = now()", {}),
    ):  # fmt: skip
        await case.change(change, case.first)
        event = event_of(BUSINESS)
        await hear(case.database, [event], case.dispatcher)
        owed = await case.owed(event)
        assert owed.pop(second) in ("pending", "delivered")
        assert owed == states, change


async def test_a_business_without_endpoints_is_remembered_too_until_it_has_one(case: Case) -> None:
    other = uuid7()
    assert not await case.at_once(event_of(other))
    await case.remembered(event_of(other), event_of(BUSINESS))
    await make_endpoint(case.database, other, case.sink.url("/other"))
    await hear(case.database, [event_of(other)], case.dispatcher)
    await until(lambda: "/other" in {one.path for one in case.sink.requests})


async def test_nothing_is_owed_at_once_of_an_activity_that_was_erased(case: Case) -> None:
    event = event_of(BUSINESS, summary=CANARY)
    erased = event_of(
        BUSINESS, "activity.erased", activity_id=event.activity.activity_id, version=2, erased_at=datetime.now(UTC)
    )
    async with case.database.work() as tx:
        await handlers.forget_texts(tx, [erased])
    await case.remembered()  # others go on at once
    assert not await case.at_once(event)
    await eventually(case.database, lambda rows: {row["status"] for row in rows} == {"delivered"})
    told = {orjson.loads(one.body)["data"]["activity_id"] for one in case.sink.requests}
    assert str(event.activity.activity_id) in told
    assert all(CANARY.encode() not in one.body for one in case.sink.requests)


async def test_without_the_partitions_of_the_day_nothing_is_owed_at_once(case: Case) -> None:
    owner = await asyncpg.connect(case.database.urls.owner)
    await eventually(case.database, lambda rows: {row["status"] for row in rows} == {"delivered"})
    today = await owner.fetchval("select to_char(current_date, 'YYYYMMDD')")
    await owner.execute(f"alter table event_{today} rename to event_elsewhere")
    event = event_of(BUSINESS)
    with pytest.raises(Exception, match="the partition of today is not there yet"):
        await hear(case.database, [event], case.dispatcher)
    await owner.execute(f"alter table event_elsewhere rename to event_{today}")
    await owner.close()
    assert await case.owed(event) == {}


async def test_what_changes_an_endpoint_without_a_route_is_said_to_all_workers_with_its_commit(
    make_database: MakeDatabase,
) -> None:
    database, visit, long_ago = await make_database("webhook_dispatcher"), uuid7(), datetime(2026, 3, 1, tzinfo=UTC)
    failing, _ = await make_endpoint(database, BUSINESS, "http://127.0.0.1:9/")
    async with database.line(CHANNEL) as line:
        await follow(database, definition(visit, 1))
        await follow(database, definition(visit, 2, webhook_url="http://127.0.0.1:10/"))
        assert await line.next() == f"changed - {endpoint_id_of(visit)}"
        await follow(database, definition(visit, 3, deleted_at=datetime.now(UTC)))
        assert await line.next() == f"changed - {endpoint_id_of(visit)}"
        async with database.work() as tx:
            await tx.execute(
                "update endpoint set failing_since = $2, last_failed_at = $3, warned_at = $3 where id = $1",
                failing, long_ago, long_ago + timedelta(days=5),
            )  # fmt: skip
        await watch_failing(lambda: long_ago + timedelta(days=6))(database)
        assert await line.next() == f"changed - {failing}"


def definition(object_id: UUID, version: int, **fields: object) -> ActivityObject:
    values: dict[str, object] = {
        "business_id": BUSINESS, "id": object_id, "version": version, "name": "Visit", "api_name": "visit",
        "created_at": datetime.now(UTC), "submission_action": "trigger_webhook",
        "webhook_url": "http://127.0.0.1:9/",
    }  # fmt: skip
    return ActivityObject.model_validate(values | fields)


async def follow(database: Database, *events: ActivityObject) -> None:
    async with database.work() as tx:
        await follow_objects(Sealer(MASTER_KEY), LOCAL)(tx, events)
