"""A closed conversation becomes an activity, once, if its business wants that; it stands where the conversation did."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from libs.access.copy import save_businesses
from libs.contracts.activity import Activity
from libs.contracts.directory import Business, Record
from libs.contracts.ids import activity_id_of_interaction, uuid7
from libs.contracts.interaction import InteractionClosed, moment_of
from libs.database import Database
from libs.errors import Unavailable
from services.lifecycle import handlers
from services.reporting.domain.facts import fact_of, talk_of
from tests.integration.test_lifecycle_reports import events
from tests.support.conversations import about, conversation, erased
from tests.support.http import Tenant, settle

MakeDatabase = Callable[[str], Awaitable[Database]]


@pytest.fixture
async def database(make_database: MakeDatabase) -> Database:
    return await make_database("lifecycle")


async def hear(database: Database, *talks: InteractionClosed) -> None:
    for _ in range(20):
        try:
            async with database.work() as tx:
                await handlers.enter_conversations(tx, talks)
            return
        except Unavailable:
            await asyncio.sleep(0.01)
    raise AssertionError("20 attempts were not enough")


async def made(database: Database) -> list[Activity]:
    return [event.activity for _, event in await events(database)]


async def want(database: Database, tenant: Tenant, version: int, channels: list[str]) -> None:
    settings = {"activities_from_channels": channels}
    business = Business(
        id=tenant.business_id, version=version, name="Test", zone="UTC", created_at=datetime.now(UTC), settings=settings
    )
    async with database.work() as tx:
        await save_businesses(tx, [business])


async def test_it_has_the_source_interaction_the_first_message_the_channel_and_the_agent(database: Database) -> None:
    tenant, contact = await settle(database), uuid7()
    talk = conversation(tenant.business_id, links=about(contact), agent_id=tenant.user_id, disposition="solved")
    await hear(database, talk)
    [(types, event)] = await events(database)
    activity, head = event.activity, talk.interaction
    assert types == "activity.created,activity.completed"
    assert activity.activity_id == activity_id_of_interaction(head.interaction_id)
    assert (activity.interaction_id, activity.source, activity.source_kind) == (
        head.interaction_id, "pbx", "interaction",
    )  # fmt: skip
    assert (activity.type, activity.first_message, activity.direction) == ("whatsapp", "Hello 👋", "inbound")
    assert activity.metadata == {
        "channel": "whatsapp", "messages_count": 2, "disposition": "solved", "conversation_id": head.source_ref,
    }  # fmt: skip
    assert activity.actor is not None
    assert (activity.actor.member_id, activity.actor.name) == (tenant.user_id, "Ada")
    assert (activity.occurred_at, activity.logged_at, activity.duration_min) == (head.opened_at, head.closed_at, 9)
    assert [link.record_id for link in activity.links] == [contact]
    assert event.change.why == "the conversation was closed"


async def test_it_is_counted_where_the_conversation_was(database: Database) -> None:
    tenant = await settle(database)
    talk = conversation(tenant.business_id, agent="Bob")
    await hear(database, talk)
    [activity] = await made(database)
    assert activity.at == moment_of(talk.interaction)
    names = ("at", "type", "state", "source", "source_kind", "direction", "agent")
    fact, alone = fact_of(activity), talk_of(talk.interaction)
    assert [getattr(fact, name) for name in names] == [getattr(alone, name) for name in names]


async def test_heard_again_at_once_or_erased_it_stays_the_one(database: Database) -> None:
    tenant = await settle(database)
    talk = conversation(tenant.business_id)
    await asyncio.gather(*(hear(database, talk) for _ in range(4)))
    await hear(database, talk, erased(talk))
    assert [each.version for each in await made(database)] == [1]


async def test_the_business_says_of_which_channels(database: Database) -> None:
    tenant = await settle(database)
    await want(database, tenant, 2, ["voice"])
    await hear(database, conversation(tenant.business_id), conversation(tenant.business_id, channel="voice"))
    assert [each.type for each in await made(database)] == ["call"]
    await want(database, tenant, 3, [])
    await hear(database, conversation(tenant.business_id, channel="voice"))
    assert len(await made(database)) == 1


@pytest.mark.parametrize("late", [True, False])
async def test_nothing_is_told_of_a_person_who_was_erased(database: Database, late: bool) -> None:
    tenant, contact = await settle(database), uuid7()
    talk = conversation(tenant.business_id, links=about(contact), agent="Bob", disposition="secret")
    if late:
        await erase(database, tenant.business_id, contact)
    await hear(database, talk if late else erased(talk))
    [activity] = await made(database)
    left: dict[str, Any] = activity.model_dump(include={"first_message", "summary", "actor"})
    assert left == {"first_message": None, "summary": None, "actor": None}
    assert activity.metadata == {"channel": "whatsapp", "messages_count": 2}


async def erase(database: Database, business_id: UUID, record_id: UUID) -> None:
    when = datetime.now(UTC)
    gone = Record(
        business_id=business_id, id=record_id, version=2, object="contact", name="", created_at=when, updated_at=when,
        deleted_at=when, erased_at=when,
    )  # fmt: skip
    async with database.work() as tx:
        await handlers.copy_records(tx, [gone])
