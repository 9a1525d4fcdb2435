"""What is told of an erased activity carries no text any more, in whichever order its events are heard."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest

from libs.contracts.activity import ActivityEvent, Append, Link, Person
from libs.contracts.ids import uuid7
from libs.database import Database
from services.webhook_dispatcher import handlers
from services.webhook_dispatcher.store import queue, shards
from services.webhook_dispatcher.store.queue import Wanted
from tests.conftest import MakeDatabase
from tests.support.webhooks import event_of, hear, make_endpoint

BUSINESS, MEMBER = uuid7(), uuid7()
LOGGED = datetime(2026, 11, 20, tzinfo=UTC)
CANARY = "Zanzibar-4711"
TEXTS: dict[str, Any] = {
    "subject": CANARY, "summary": CANARY, "notes": CANARY, "location": CANARY, "first_message": CANARY,
    "source_ref": CANARY, "fields": {CANARY: CANARY}, "metadata": {"a": CANARY}, "attachments": [CANARY],
    "actor": Person(name=CANARY), "logged_by": Person(member_id=MEMBER, name="Ada"),
    "participants": [Person(name=CANARY), Person(member_id=MEMBER, name="Ada")],
    "links": [Link(object="contact", record_id=MEMBER, external_ref=CANARY)],
}  # fmt: skip


@pytest.fixture
async def database(make_database: MakeDatabase) -> Database:
    return await make_database("webhook_dispatcher")


def told(activity_id: UUID, version: int, **fields: Any) -> ActivityEvent:
    at = datetime.now(UTC) + timedelta(seconds=version)
    times = {"at": LOGGED, "created_at": LOGGED, "logged_at": LOGGED, "recorded_at": at}
    return event_of(BUSINESS, activity_id=activity_id, version=version, **times | fields)


def erased(activity_id: UUID, version: int) -> ActivityEvent:
    at = datetime.now(UTC) + timedelta(seconds=version)
    return told(activity_id, version, change="activity.erased", erased_at=at, summary=None)


async def forget(database: Database, *events: ActivityEvent) -> None:
    async with database.work() as tx:
        await handlers.forget_texts(tx, events)


async def bodies(database: Database) -> list[Any]:
    async with database.work() as tx:
        return [orjson.loads(row[0]) for row in await tx.fetch("select body from event order by version")]


async def test_bodies_not_yet_sent_lose_their_texts_and_are_still_owed(database: Database) -> None:
    await make_endpoint(database, BUSINESS, "http://127.0.0.1:9/")
    first, other = uuid7(), uuid7()
    note = Append(id=uuid7(), kind="note", at=LOGGED, by=Person(name=CANARY), text=CANARY, url=CANARY)
    await hear(
        database,
        [
            told(first, 1, **TEXTS),
            told(first, 2, change="activity.appended", appends=[note], appends_count=1, **TEXTS),
            told(other, 3, summary="kept"),
        ],
    )
    await forget(database, erased(first, 3))
    one, two, three = await bodies(database)
    assert CANARY not in orjson.dumps([one, two]).decode()
    assert one["data"]["logged_by"] == {"member_id": str(MEMBER), "name": "Ada"}
    assert (one["data"]["links"][0]["record_id"], len(one["data"]["participants"])) == (str(MEMBER), 2)
    assert (two["data"]["append"]["id"], two["data"]["append"]["kind"]) == (str(note.id), "note")
    assert three["data"]["summary"] == "kept"
    async with database.work() as tx:
        _, [waiting] = await shards.look(tx, uuid7(), 0.0)
        claimed = await queue.claim(tx, [Wanted(*waiting[:3], 10, False)], 60.0, None)
    assert len(claimed) == 3
    assert all(CANARY.encode() not in (claim.body or b"") for claim in claimed)


async def test_an_erasure_that_overtakes_what_it_erases_still_erases_it(database: Database) -> None:
    await make_endpoint(database, BUSINESS, "http://127.0.0.1:9/")
    activity = uuid7()
    await forget(database, erased(activity, 2))
    await hear(database, [told(activity, 1, **TEXTS), told(activity, 3, change="activity.appended", summary="later")])
    before, after = await bodies(database)
    assert CANARY not in orjson.dumps(before).decode()
    assert after["data"]["summary"] == "later", "what is told after an erasure is new"


async def test_other_changes_forget_nothing(database: Database) -> None:
    await make_endpoint(database, BUSINESS, "http://127.0.0.1:9/")
    activity = uuid7()
    await hear(database, [told(activity, 1, summary="kept")])
    await forget(database, told(activity, 2, change="activity.updated"))
    assert [body["data"]["summary"] for body in await bodies(database)] == ["kept"]
