"""What lifecycle makes of records that change: entries by themselves, marks on references."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from libs.access.copy import save_businesses
from libs.contracts.activity import ActivityEvent, Link, Person
from libs.contracts.directory import Business, Record
from libs.contracts.ids import activity_id_of, uuid5, uuid7
from libs.contracts.record import RecordChanged
from libs.database import Database
from services.lifecycle import handlers
from tests.integration.test_lifecycle_reports import admit, events, report
from tests.support.http import Tenant, served, settle

MakeDatabase = Callable[[str], Awaitable[Database]]
WHEN = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)


@pytest.fixture
async def database(make_database: MakeDatabase) -> Database:
    return await make_database("lifecycle")


def changed(tenant: Tenant, record_id: UUID, version: int = 2, **given: Any) -> RecordChanged:
    return RecordChanged(
        business_id=tenant.business_id, record_id=record_id, version=version, changed_at=WHEN,
        **{"object": "contact", "by": Person(member_id=tenant.user_id)} | given,
    )  # fmt: skip


async def follow(database: Database, *changes: RecordChanged) -> list[ActivityEvent]:
    async with database.work() as tx:
        await handlers.follow_changes(tx, changes)
    return [event for _, event in await events(database)]


async def test_a_significant_change_of_a_contact_is_entered_once_with_before_and_after(database: Database) -> None:
    tenant, contact = await settle(database), uuid7()
    change = changed(
        tenant, contact, before={"status": "Active", "fields.size": 1, "fields.phone": None},
        after={"status": "Do Not Contact", "fields.size": 2, "fields.phone": "+4930123456"},
    )  # fmt: skip
    [event] = await follow(database, change, change)
    assert await follow(database, change) == [event]
    entry = event.activity
    assert entry.activity_id == uuid5(contact, "contact_change:2")
    assert (entry.type, entry.source_kind, entry.at, entry.version) == ("note", "workflow", WHEN, 1)
    assert [(link.object, link.record_id) for link in entry.links] == [("contact", contact)]
    assert entry.metadata["before"] == {"phone": None, "status": "Active"}
    assert entry.metadata["after"] == {"phone": "+4930123456", "status": "Do Not Contact"}
    assert entry.summary == "phone: nothing → +4930123456\nstatus: Active → Do Not Contact"
    assert entry.logged_by is not None
    assert entry.logged_by.name == "Ada"
    assert entry.logged_at is not None


async def test_a_new_owner_is_named_in_the_sentence_and_by_id_beside_it(database: Database) -> None:
    tenant, contact, gone = await settle(database), uuid7(), str(uuid7())
    owners = {"before": {"owner_id": gone}, "after": {"owner_id": str(tenant.user_id)}}
    [event] = await follow(database, changed(tenant, contact, **owners))
    assert event.activity.summary == f"owner: {gone} → Ada"
    assert event.activity.metadata["after"] == {"owner": str(tenant.user_id)}


async def test_accounts_are_named_in_the_sentence_where_everybody_may_read_them(database: Database) -> None:
    tenant, contact, (navy, army, secret) = await settle(database), uuid7(), [uuid7() for _ in range(3)]
    for identity, name, roles in ((navy, "Navy", []), (army, "Army", []), (secret, "Secret", [uuid7()])):
        account = Record(
            business_id=tenant.business_id, id=identity, version=1, object="account", name=name, created_at=WHEN,
            updated_at=WHEN, visible_role_ids=roles,
        )  # fmt: skip
        async with database.work() as tx:
            await handlers.copy_records(tx, [account])
    moves = [
        changed(tenant, contact, version, before={"account_id": str(one)}, after={"account_id": str(other)})
        for version, (one, other) in enumerate(((navy, army), (army, secret)), 2)
    ]
    told = [each.activity for each in await follow(database, *moves)]
    assert [each.summary for each in told] == ["account: Navy → Army", f"account: Army → {secret}"]
    assert told[0].metadata["after"] == {"account": str(army)}


async def test_yes_and_no_are_said_in_words(database: Database) -> None:
    tenant, contact = await settle(database), uuid7()
    change = changed(tenant, contact, before={"fields.do_not_contact": False}, after={"fields.do_not_contact": True})
    [event] = await follow(database, change)
    assert event.activity.summary == "do_not_contact: no → yes"
    assert event.activity.metadata["after"] == {"do_not_contact": True}


async def test_which_changes_are_significant_is_a_setting_of_the_business(database: Database) -> None:
    tenant, contact = await settle(database), uuid7()
    name = changed(tenant, contact, before={"name": "a"}, after={"name": "b"})
    size = changed(tenant, contact, 3, before={"fields.size": 1}, after={"fields.size": 2})
    account = changed(tenant, contact, 4, before={"account_id": None}, after={"account_id": str(uuid7())})
    other = changed(tenant, contact, 5, object="account", before={"name": "a"}, after={"name": "b"})
    assert [each.activity.subject for each in await follow(database, name, size, account, other)] == [
        "Contact changed: name", "Contact changed: account",
    ]  # fmt: skip
    settings = {"significant_contact_fields": ["size"]}
    async with database.work() as tx:
        business = Business(
            id=tenant.business_id, version=2, name="Test", zone="UTC", created_at=WHEN, settings=settings
        )
        await save_businesses(tx, [business])
    later = [change.model_copy(update={"version": change.version + 10}) for change in (name, size, account)]
    assert [each.activity.subject for each in await follow(database, *later)][2:] == ["Contact changed: size"]


async def test_a_converted_lead_is_entered_once_on_lead_and_contact(database: Database) -> None:
    tenant, lead, contact = await settle(database), uuid7(), uuid7()
    change = changed(
        tenant, lead, object="lead", before={"converted_to": None, "status": "New"},
        after={"converted_to": str(contact), "status": "Converted"},
    )  # fmt: skip
    [event] = await follow(database, change)
    assert await follow(database, change) == [event]
    assert event.activity.type == "lead_conversion"
    assert {(link.object, link.record_id) for link in event.activity.links} == {("lead", lead), ("contact", contact)}
    assert event.activity.activity_id == uuid5(lead, "lead_conversion:2")


async def test_nothing_is_entered_about_a_person_who_was_erased_since(database: Database) -> None:
    tenant, contact = await settle(database), uuid7()
    await copy(database, tenant, contact, erased_at=WHEN + timedelta(hours=1))
    assert await follow(database, changed(tenant, contact, before={"name": "Grace"}, after={"name": "G."})) == []


async def test_records_that_were_deleted_or_merged_since_stay_in_answers_and_say_so(database: Database) -> None:
    tenant, deleted, merged, survivor, live = await settle(database), uuid7(), uuid7(), uuid7(), uuid7()
    await copy(database, tenant, deleted, deleted_at=WHEN)
    await copy(database, tenant, merged, object="account", merged_into=survivor)
    await copy(database, tenant, live, object="lead")
    about = {"contact": deleted, "account": merged, "lead": live}
    links = [Link(object=name, record_id=record_id) for name, record_id in about.items()]
    for action in ("schedule", "log"):
        await admit(database, report(tenant.business_id, action, "a", type="call", links=links))
    path = f"/api/activities/{{}}/{activity_id_of(tenant.business_id, 'crm', 'a')}"
    async with served("lifecycle", database) as http:
        answers = [(await http.get(path.format(kind), headers=tenant.headers)).json() for kind in KINDS]
        listed = (await http.get("/api/activities/scheduled-activity", headers=tenant.headers)).json()["results"]
        new = {"custom_object": "account", "entity_id": str(merged)}
        logged = await http.post(
            "/api/activities/call/log-activity", headers=tenant.headers, json={"related_objects": [new]}
        )
    for shown in (*answers, *listed):
        marks = [(each.get("deleted"), each.get("merged_into")) for each in shown["associated_entities"]]
        assert marks == [(True, None), (None, str(survivor)), (None, None)]
    assert logged.status_code == 201, "what was merged is still known by its id"


KINDS = ("scheduled-activity", "logged")


async def copy(database: Database, tenant: Tenant, record_id: UUID, **given: Any) -> None:
    record = Record(
        business_id=tenant.business_id, id=record_id, version=2, name="Grace", created_at=WHEN, updated_at=WHEN,
        **{"object": "contact"} | given,
    )  # fmt: skip
    async with database.work() as tx:
        await handlers.copy_records(tx, [record])
