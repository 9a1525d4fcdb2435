"""Conversations of a record whose person is erased: blank, told of again, and nothing else changed."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from libs.contracts.directory import Record
from libs.contracts.ids import record_id_of
from libs.contracts.interaction import InteractionClosed
from libs.database import Database
from libs.service.erasures import FailingErasures
from services.ingest import erasing, handlers
from services.ingest.store import erasures
from tests.integration.test_ingest_interactions import (  # noqa: F401 - fixtures among them
    PATH,
    client,
    conversation,
    database,
    message,
    tenant,
)
from tests.support.http import Tenant

AT = datetime(2026, 6, 1, tzinfo=UTC)
CANARY = "Zanzibar-4711"


async def erase(database: Database, business_id: UUID, ref: str) -> UUID:  # noqa: F811
    record_id = record_id_of(business_id, "contact", ref)
    event = Record(
        business_id=business_id, id=record_id, version=2, object="contact", name="Erased", created_at=AT, updated_at=AT,
        erased_at=AT,
    )  # fmt: skip
    async with database.work() as tx:
        await handlers.note_erasures(tx, [event])
    await erasing.go_on(database)
    return record_id


async def told(database: Database) -> list[InteractionClosed]:  # noqa: F811
    async with database.work() as tx:
        rows = await tx.fetch("select value from outbox where types = 'interaction.closed' order by id")
    return [InteractionClosed.model_validate_json(row[0]) for row in rows]


async def rows(database: Database) -> str:  # noqa: F811
    async with database.work() as tx:
        tables = [await tx.fetch(f"select t::text from {name} t") for name in ("interaction", "message")]
    return "\n".join(row[0] for table in tables for row in table)


async def send(client: httpx.AsyncClient, ref: str, contact: str, count: int = 3, **more: Any) -> None:  # noqa: F811
    links = [{"object": "contact", "external_ref": contact}, {"object": "account", "external_ref": "acme"}]
    messages = [message(n, id=f"{CANARY}-{n}", author=CANARY, text=CANARY, media_url=f"https://x.example/{CANARY}",
                        template=CANARY) for n in range(count)]  # fmt: skip
    body = conversation(ref, links=links, messages=messages, agent=CANARY, disposition=CANARY, queue="sales", **more)
    answer = await client.post(PATH, json=body | {"address": CANARY})
    assert answer.status_code == 202, answer.text


async def test_conversations_of_an_erased_record_are_blank_and_told_of_again(
    client: httpx.AsyncClient, database: Database, tenant: Tenant  # noqa: F811
) -> None:  # fmt: skip
    await send(client, f"{CANARY}-a", CANARY)
    await send(client, "b", "somebody else")
    record_id = await erase(database, tenant.business_id, CANARY)
    first, other, again = await told(database)
    head, was = again.interaction, first.interaction
    assert CANARY not in again.model_dump_json()
    assert (head.interaction_id, head.version, head.erased_at) == (was.interaction_id, 2, head.recorded_at)
    kept = ("channel", "queue", "direction", "opened_at", "closed_at", "messages_count", "source", "transfers")
    assert [getattr(head, name) for name in kept] == [getattr(was, name) for name in kept]
    assert [(link.object, link.record_id, link.external_ref) for link in head.links] == [
        ("contact", record_id, None), ("account", was.links[1].record_id, "acme"),
    ]  # fmt: skip
    assert [(each.sent_at, each.direction, each.text) for each in again.messages] == [
        (each.sent_at, each.direction, "") for each in first.messages
    ]
    held = await rows(database)
    assert held.count(CANARY) == other.model_dump_json().count(CANARY), "of the other conversation everything is left"


async def test_hearing_of_it_again_changes_nothing_and_slices_reach_all(
    client: httpx.AsyncClient, database: Database, tenant: Tenant, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    monkeypatch.setattr(erasing, "SLICE", 2)
    for number in range(5):
        await send(client, f"{CANARY}-{number}", CANARY, count=1)
    await send(client, "empty", CANARY, count=0)
    await erase(database, tenant.business_id, CANARY)
    held = await rows(database)
    assert CANARY not in held
    assert [each.interaction.version for each in await told(database)] == [1] * 6 + [2] * 6
    await erase(database, tenant.business_id, CANARY)
    assert await rows(database) == held


async def test_an_erasure_that_fails_is_put_off_and_said_while_others_are_done(
    client: httpx.AsyncClient, database: Database, tenant: Tenant  # noqa: F811
) -> None:  # fmt: skip
    await send(client, f"{CANARY}-stuck", "first", count=1)
    owner = await asyncpg.connect(database.urls.owner)
    await owner.execute("alter table interaction add constraint stuck check (version = 1) not valid")
    try:
        with pytest.raises(Exception, match="stuck"):
            await erase(database, tenant.business_id, "first")
        failing = FailingErasures(erasures.list_failing)
        await failing.look(database)
        assert failing.problems() == [], "one attempt may be under way"
        await erase(database, tenant.business_id, "second, of whom there is nothing")
        assert await owner.fetchval("select count(*) from erasure where finished_at is null") == 1
        await owner.execute("update erasure set try_at = now()")
        with pytest.raises(Exception, match="stuck"):
            await erasing.go_on(database)
        await failing.look(database)
        (problem,) = failing.problems()
        assert "has failed 1 times; tried again in" in problem
        await erasing.go_on(database)
    finally:
        await owner.execute("alter table interaction drop constraint stuck")
        await owner.execute("update erasure set try_at = now() where finished_at is null")
        await owner.close()
    await erasing.go_on(database)
    await failing.look(database)
    assert failing.problems() == []
    assert CANARY not in await rows(database)
