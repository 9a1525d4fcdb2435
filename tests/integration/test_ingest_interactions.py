"""Interactions against a real PostgreSQL: kept once with their messages, passed on whole, sent again."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx
import orjson
import pytest

from libs.contracts.ids import event_id_of, interaction_id_of, record_id_of, uuid7
from libs.contracts.interaction import InteractionClosed
from libs.database import Database
from libs.messaging.publisher import event_id_text
from services.ingest import republish
from services.ingest.interactions import INTERACTION_MAX_BYTES
from tests.support.http import Tenant, served, settle

MakeDatabase = Callable[[str], Awaitable[Database]]
PATH = "/ingest/interactions"


@pytest.fixture
async def database(make_database: MakeDatabase) -> Database:
    return await make_database("ingest")


@pytest.fixture
async def tenant(database: Database) -> Tenant:
    return await settle(database)


@pytest.fixture
async def client(
    database: Database, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    monkeypatch.setenv("REFERENCE_WAIT_MAX_MS", "200")
    async with served("ingest", database) as client:
        client.headers.update(tenant.headers)
        yield client


def message(number: int, **more: Any) -> dict[str, Any]:
    sent_at = f"2026-05-04T09:{number // 60 % 60:02}:{number % 60:02}Z"
    return {
        "id": f"m{number}",
        "direction": "inbound",
        "author": "Grace",
        "text": f"text {number}",
        "sent_at": sent_at,
    } | more


def conversation(ref: str = "conv-1", **more: Any) -> dict[str, Any]:
    return {
        "interaction_id": ref, "source": "chat", "channel": "whatsapp", "direction": "inbound", "address": "+4930123",
        "opened_at": "2026-05-04T09:00:00Z", "closed_at": "2026-05-04T09:30:00Z", **more,
    }  # fmt: skip


async def outgoing(database: Database) -> list[InteractionClosed]:
    async with database.work() as tx:
        rows = await tx.fetch("select types, key, value, version from outbox order by id")
    events = [InteractionClosed.model_validate_json(row["value"]) for row in rows]
    for row, event in zip(rows, events, strict=True):
        head = event.interaction
        assert (row["types"], row["version"]) == ("interaction.closed", head.version)
        assert row["key"].decode() == f"{head.business_id}/{head.interaction_id}"
        assert event_id_text(row["key"], row["types"], 1).decode() == str(
            event_id_of(head.interaction_id, row["types"], 1)
        )
    return events


async def test_a_conversation_is_kept_and_passed_on_in_order_of_its_messages(
    client: httpx.AsyncClient, database: Database, tenant: Tenant
) -> None:
    sent = conversation(
        queue="support", agent_id=str(tenant.user_id), answered_at="2026-05-04T11:05:00+02:00", disposition="solved",
        links=[{"object": "contact", "external_ref": "c-1"}, {"object": "policy_2", "record_id": str(uuid7())}],
        transfers=[
            {"at": "2026-05-04T09:20:00Z", "to_agent_id": str(tenant.user_id), "from_queue": "front"},
            {"at": "2026-05-04T09:10:00Z", "to_queue": "front"},
        ],
        messages=[
            message(9, text="שלום 👋🏽", media_url="https://media.example/1.jpg", template="hello"),
            message(3, text="مرحبا"),
            {"id": "x", "direction": "outbound", "sent_at": "2026-05-04T09:00:09Z", "read_at": "2026-05-04T09:00:11Z"},
        ],
    )  # fmt: skip
    accepted = await client.post(PATH, json=sent)
    assert accepted.status_code == 202, accepted.text
    (event,) = await outgoing(database)
    head = event.interaction
    assert head.interaction_id == interaction_id_of(tenant.business_id, "chat", "conv-1")
    assert accepted.json() == {"interaction_id": str(head.interaction_id), "status": "accepted"}
    assert [each.id for each in event.messages] == ["m3", "m9", "x"]
    assert (head.first_message, head.messages_count, head.version) == ("مرحبا", 3, 1)
    assert head.links[0].record_id == record_id_of(tenant.business_id, "contact", "c-1")
    assert [transfer.to_queue for transfer in head.transfers] == ["front", None]
    assert head.answered_at is not None
    assert head.opened_at < head.answered_at < head.closed_at
    async with database.work() as tx:
        found = await tx.fetch("select record_id from interaction_record")
    assert {row[0] for row in found} == {link.record_id for link in head.links}


async def test_the_same_again_changes_nothing_and_another_body_is_refused(
    client: httpx.AsyncClient, database: Database
) -> None:
    answers = await asyncio.gather(*(client.post(PATH, json=conversation(messages=[message(1)])) for _ in range(20)))
    assert Counter(answer.status_code for answer in answers) == {202: 1, 200: 19}
    assert len({answer.text for answer in answers}) == 1
    other = await client.post(PATH, json=conversation(messages=[message(2)]))
    assert (other.status_code, other.json()["code"]) == (409, "different_body")
    assert len(await outgoing(database)) == 1
    elsewhere = await client.post(PATH, json=conversation(source="phone"))
    assert elsewhere.status_code == 202


async def test_a_uuid_is_taken_as_the_id_it_is_and_text_need_not_be_one(client: httpx.AsyncClient) -> None:
    given = uuid7()
    assert (await client.post(PATH, json=conversation(str(given).upper()))).json()["interaction_id"] == str(given)
    other = await client.post(PATH, json=conversation(str(given).upper(), source="phone"))
    assert other.status_code == 409
    assert UUID((await client.post(PATH, json=conversation("x" * 200))).json()["interaction_id"]).version == 5
    long = await client.post(PATH, json=conversation("x" * 201))
    assert [error["field"] for error in long.json()["errors"]] == ["interaction_id"]


async def test_another_business_may_use_the_same_names_and_ids(client: httpx.AsyncClient, database: Database) -> None:
    other, given = await settle(database), str(uuid7())
    for ref in ("conv-1", given):
        for headers in (None, other.headers):
            assert (
                await client.post(PATH, json=conversation(ref, messages=[message(1)]), headers=headers)
            ).status_code == 202
    assert len({(e.interaction.business_id, e.interaction.interaction_id) for e in await outgoing(database)}) == 4
    assert await republish.republish(database) == 4
    again = (await outgoing(database))[4:]
    assert sorted(map(str, again)) == sorted(map(str, (await outgoing(database))[:4]))


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"closed_at": "2026-05-04T08:59:59Z"}, "closed_at"),
        ({"closed_at": None}, "closed_at"),
        ({"answered_at": "2026-05-04T09:31:00Z"}, "answered_at"),
        ({"channel": "pigeon"}, "channel"),
        ({"direction": "sideways"}, "direction"),
        ({"agent_id": str(UUID(int=7)), "agent": "Grace"}, "agent"),
        ({"agent_id": str(UUID(int=7))}, "agent_id"),
        ({"transfers": [{"at": "2026-05-04T09:01:00Z"}]}, "transfers.0"),
        ({"transfers": [{"at": "2026-05-04T09:01:00Z", "to_agent_id": str(UUID(int=7))}]}, "transfers.0.to_agent_id"),
        ({"links": [{"object": "Contact", "external_ref": "c"}]}, "links.0.object"),
        ({"links": [{"object": "contact"}]}, "links.0"),
        ({"links": [{"object": "contact", "external_ref": "c"}] * 2}, "links.1.record_id"),
        ({"messages": [message(1), message(2, id="m1")]}, "messages.1.id"),
        ({"messages": [message(1, direction=None)]}, "messages.0.direction"),
        ({"messages": [message(1, sent_at="2026-05-04T09:00:00")]}, "messages.0.sent_at"),
        ({"messages": [message(1, media_url="javascript:alert(1)")]}, "messages.0.media_url"),
        ({"messages": [message(1, text="bell \x07")]}, "messages.0.text"),
        ({"mood": "good"}, "mood"),
    ],
)
async def test_what_is_wrong_is_named_and_nothing_is_kept(
    client: httpx.AsyncClient, database: Database, wrong: dict[str, Any], field: str
) -> None:
    answer = await client.post(PATH, json=conversation(**wrong))
    assert answer.status_code == 422, answer.text
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert await outgoing(database) == []


@pytest.mark.parametrize("text", ['"a\\u0000b"', '"\\ud800"', "[" * 10_000, "[]", "17", '{"interaction_id": 1}'])
async def test_json_that_no_interaction_can_be_is_refused(
    client: httpx.AsyncClient, database: Database, text: str
) -> None:
    whole = orjson.dumps(conversation()).replace(b'"conv-1"', text.encode())
    answer = await client.post(PATH, content=whole, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422), answer.text
    assert await outgoing(database) == []


async def test_five_hundred_messages_and_none_are_both_conversations(
    client: httpx.AsyncClient, database: Database
) -> None:
    assert (
        await client.post(PATH, json=conversation("long", messages=[message(n) for n in range(500)]))
    ).status_code == 202
    assert (await client.post(PATH, json=conversation("call", channel="voice", address=None))).status_code == 202
    long, call = await outgoing(database)
    assert [each.id for each in long.messages] == [f"m{n}" for n in range(500)]
    assert (call.messages, call.interaction.first_message, call.interaction.messages_count) == ([], None, 0)


async def test_a_conversation_as_long_as_may_be_fits_and_one_byte_more_does_not(
    client: httpx.AsyncClient, database: Database
) -> None:
    texts = [message(n, text="🙂" * 12_000) for n in range(18)]
    whole = orjson.dumps(conversation(messages=texts))
    padding = b" " * (INTERACTION_MAX_BYTES - len(whole))
    headers = {"content-type": "application/json"}
    assert (await client.post(PATH, content=whole + padding + b" ", headers=headers)).status_code == 413
    assert (await client.post(PATH, content=whole + padding, headers=headers)).status_code == 202
    (event,) = await outgoing(database)
    assert event.interaction.first_message == "🙂" * 4_000


async def test_interactions_are_sent_again_as_they_were(client: httpx.AsyncClient, database: Database) -> None:
    for number in range(60):
        sent = conversation(f"conv-{number}", messages=[message(n) for n in range(number % 4)], queue="support")
        assert (await client.post(PATH, json=sent)).status_code == 202
    first = {event.interaction.interaction_id: event for event in await outgoing(database)}
    assert await republish.republish(database) == 60
    again = (await outgoing(database))[60:]
    assert {event.interaction.interaction_id: event for event in again} == first
    async with database.work() as tx:
        assert await tx.value("select count(distinct xid) from outbox where id > 60") == 3


async def test_sources_are_bounded_for_interactions_too(
    client: httpx.AsyncClient, database: Database, tenant: Tenant
) -> None:
    async with database.transaction(tenant) as tx:
        await tx.execute(
            "insert into source select $1, 's' || n, now() from generate_series(1, 200) n", tenant.business_id
        )
    answer = await client.post(PATH, json=conversation(source="one more"))
    assert (answer.status_code, answer.json()["code"]) == (422, "too_many_sources")
    assert (await client.post(PATH, json=conversation(source="s7"))).status_code == 202
