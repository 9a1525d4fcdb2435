"""Reports against a real database: each once, in any order, by any number of workers."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from libs.contracts.activity import ActivityEvent, Link
from libs.contracts.decoding import decoder_of
from libs.contracts.directory import Business, RecordObject
from libs.contracts.ids import activity_id_of, receipt_id_of, record_id_of, uuid7
from libs.contracts.report import ReportAnswered, ReportBody, ReportReceived
from libs.database import Database
from libs.errors import Unavailable
from services.lifecycle import handlers, republish, waits
from tests.support.http import settle

MakeDatabase = Callable[[str], Awaitable[Database]]
decode = decoder_of(ReportReceived)
RECEIVED = datetime(2026, 3, 1, 9, tzinfo=UTC)


@pytest.fixture
async def database(make_database: MakeDatabase) -> Database:
    return await make_database("lifecycle")


def report(business_id: UUID, action: str, ref: str, **given: Any) -> ReportReceived:
    known_only, received_at = given.pop("known_only", False), given.pop("received_at", RECEIVED)
    body = ReportBody(source="crm", source_ref=f"{ref}:{action}", activity_ref=ref, action=action, **given)  # type: ignore[arg-type]
    event = ReportReceived(
        receipt_id=receipt_id_of(business_id, "crm", body.source_ref),
        business_id=business_id,
        activity_id=activity_id_of(business_id, "crm", ref),
        received_at=received_at,
        known_only=known_only,
        report=body,
    )
    return decode(event.model_dump_json().encode())


async def admit(database: Database, *reports: ReportReceived) -> None:
    """Admit as the consumer does: again when somebody else was quicker."""
    for _ in range(20):
        try:
            async with database.work() as tx:
                await handlers.admit_activities(tx, reports)
            return
        except Unavailable:
            await asyncio.sleep(0.01)
    raise AssertionError("20 attempts were not enough")


async def outbox(database: Database) -> list[Any]:
    async with database.work() as tx:
        return await tx.fetch("select types, key, value, version, event_id from outbox order by id")


async def answers(database: Database) -> list[ReportAnswered]:
    rows = await outbox(database)
    return [ReportAnswered.model_validate_json(row["value"]) for row in rows if row["types"] == "activity.answered"]


async def events(database: Database) -> list[tuple[str, ActivityEvent]]:
    rows = await outbox(database)
    chosen = [row for row in rows if row["types"].startswith("activity.") and row["version"] is not None]
    return [
        (row["types"], ActivityEvent.model_validate_json(row["value"]))
        for row in chosen
        if row["types"] != "activity.object"
    ]


async def test_a_direct_log_is_one_version_and_one_event_for_both_topics(database: Database) -> None:
    tenant = await settle(database)
    link = Link(object="contact", external_ref="c-1")
    await admit(
        database,
        report(tenant.business_id, "log", "a", type="call", summary="hello", links=[link], actor=str(tenant.user_id)),
    )
    [(types, event)] = await events(database)
    assert types == "activity.created,activity.completed"
    assert event.change.type == "activity.completed"
    assert event.activity.version == 1
    assert event.activity.logged_at == RECEIVED
    assert event.activity.completed_at is None
    assert event.activity.links[0].record_id is not None
    assert event.activity.logged_by is not None
    assert event.activity.logged_by.name == "Ada"
    assert [(each.outcome, each.version) for each in await answers(database)] == [("applied", 1)]


async def test_redelivered_batch_is_answered_again_and_changes_nothing(database: Database) -> None:
    tenant = await settle(database)
    batch = [
        report(tenant.business_id, "schedule", "a", type="call"),
        report(tenant.business_id, "complete", "a"),
        report(tenant.business_id, "log", "b", type="task"),
        report(tenant.business_id, "append", "c", text="later"),
        report(tenant.business_id, "log", "d", type="nonsense"),
    ]
    await admit(database, *batch)
    versions, first = len(await events(database)), await answers(database)
    await admit(database, *batch, *batch)
    assert len(await events(database)) == versions == 3
    again = (await answers(database))[len(first) :]
    plain = [(each.receipt_id, each.outcome, each.version, each.reasons) for each in first]
    assert sorted(map(repr, plain)) == sorted(
        repr((each.receipt_id, each.outcome, each.version, each.reasons)) for each in again
    )
    assert Counter(each.outcome for each in first) == {"applied": 3, "waiting": 1, "refused": 1}
    refusal = next(each for each in first if each.outcome == "refused")
    assert refusal.reasons[0].field == "type"
    assert "site_visit" in refusal.reasons[0].message


async def test_two_workers_with_the_same_batches_make_one_set_of_versions(database: Database) -> None:
    tenant = await settle(database)
    one = [
        report(tenant.business_id, action, str(n), type="call") for n in range(60) for action in ("schedule", "cancel")
    ]
    other = [
        report(tenant.business_id, action, str(n), type="call") for n in range(60) for action in ("log", "schedule")
    ]
    await asyncio.gather(
        admit(database, *one), admit(database, *one), admit(database, *other), admit(database, *reversed(other))
    )
    async with database.work() as tx:
        await tx.execute("update waiting set seen_version = 0")
    await waits.look_again(database)
    by_activity: dict[UUID, list[int]] = {}
    for _, event in await events(database):
        by_activity.setdefault(event.activity.activity_id, []).append(event.activity.version)
    assert len(by_activity) == 60
    assert all(versions == list(range(1, len(versions) + 1)) for versions in by_activity.values())
    async with database.work() as tx:
        assert await tx.value("select count(*) from admission where outcome = 'waiting'") == 0
        assert await tx.value("select count(*) from activity where completed_at is null") == 0


async def test_reports_that_wait_are_admitted_with_what_they_wait_for(database: Database) -> None:
    tenant = await settle(database)
    await admit(database, report(tenant.business_id, "append", "a", text="more"))
    await admit(database, report(tenant.business_id, "complete", "a"))
    await admit(database, report(tenant.business_id, "schedule", "a", type="call"))
    final = {each.receipt_id: each for each in await answers(database)}
    assert sorted((each.outcome, each.version) for each in final.values()) == [
        ("applied", 1),
        ("applied", 2),
        ("applied", 3),
    ]
    async with database.work() as tx:
        assert await tx.value("select count(*) from waiting") == 0
        assert await tx.value("select count(*) from activity_append") == 1


async def test_a_waiting_report_that_comes_again_with_what_it_waits_for_is_answered_at_last(database: Database) -> None:
    business_id = uuid7()
    cancelled, planned = report(business_id, "cancel", "a"), report(business_id, "schedule", "a", type="call")
    await admit(database, cancelled)
    await admit(database, cancelled, planned)
    told = [(answer.receipt_id, answer.outcome) for answer in await answers(database)]
    assert told[0] == told[1] == (cancelled.receipt_id, "waiting")
    assert dict(told[2:]) == {cancelled.receipt_id: "applied", planned.receipt_id: "applied"}
    assert [event.activity.version for _, event in await events(database)] == [1, 2]


async def test_a_report_that_waited_seven_days_is_refused(database: Database) -> None:
    tenant = await settle(database)
    await admit(
        database, report(tenant.business_id, "cancel", "old", received_at=datetime.now(UTC) - timedelta(days=8))
    )
    await admit(database, report(tenant.business_id, "cancel", "new", received_at=datetime.now(UTC)))
    await waits.look_again(database)
    assert Counter(each.outcome for each in await answers(database)) == {"waiting": 2, "refused": 1}
    async with database.work() as tx:
        assert await tx.value("select count(*) from waiting") == 1


async def test_waiting_ends_after_seven_days_to_the_second_and_for_good(database: Database) -> None:
    tenant = await settle(database)
    waiting = report(tenant.business_id, "cancel", "a")
    await admit(database, waiting)
    week = timedelta(days=7)
    await waits.refuse_expired(database, RECEIVED + week)
    assert [each.outcome for each in await answers(database)] == ["waiting"]
    ended_at = RECEIVED + week + timedelta(seconds=1)
    for _ in range(2):
        await waits.refuse_expired(database, ended_at)
    refused = (await answers(database))[-1]
    assert (len(await answers(database)), refused.outcome, refused.answered_at) == (2, "refused", ended_at)
    assert [reason.code for reason in refused.reasons] == ["waited_too_long"]
    await admit(database, report(tenant.business_id, "schedule", "a", type="call"), waiting)
    told = {each.receipt_id: each.outcome for each in await answers(database)}
    assert told[waiting.receipt_id] == "refused"
    assert "applied" in told.values()


async def test_links_take_the_business_s_own_record_objects_while_they_are_there(database: Database) -> None:
    tenant, other = await settle(database), await settle(database)
    kind = RecordObject(
        business_id=tenant.business_id, id=uuid7(), version=1, name="Policy", api_name="policy", created_at=RECEIVED
    )
    linked = {"type": "call", "links": [Link(object="policy", external_ref="p-1")]}

    async def outcome(business_id: UUID, ref: str) -> tuple[str, list[str]]:
        await admit(database, report(business_id, "log", ref, **linked))
        last = (await answers(database))[-1]
        return last.outcome, [reason.message for reason in last.reasons]

    assert (await outcome(tenant.business_id, "early"))[0] == "refused"
    async with database.work() as tx:
        await handlers.copy_objects(tx, [kind])
    assert (await outcome(tenant.business_id, "known"))[0] == "applied"
    activity = (await events(database))[-1][1].activity
    assert activity.links[0].record_id == record_id_of(tenant.business_id, "policy", "p-1")
    refused, why = await outcome(other.business_id, "foreign")
    assert refused == "refused"
    assert "contact, account, lead" in why[0]
    gone = kind.model_copy(update={"version": 2, "deleted_at": RECEIVED})
    async with database.work() as tx:
        await handlers.copy_objects(tx, [gone])
        await handlers.copy_objects(tx, [kind])
    assert (await outcome(tenant.business_id, "late"))[0] == "refused"


async def test_an_unknown_activity_id_waits_even_for_a_log(database: Database) -> None:
    tenant = await settle(database)
    await admit(database, report(tenant.business_id, "log", "a", type="call", known_only=True))
    assert [each.outcome for each in await answers(database)] == ["waiting"]


async def test_a_business_gets_its_presets_once(database: Database) -> None:
    tenant = await settle(database)
    business = Business(id=tenant.business_id, version=1, name="Test", zone="UTC", created_at=RECEIVED)
    for _ in range(2):
        async with database.work() as tx:
            await handlers.begin_businesses(tx, [business])
    await admit(database, report(tenant.business_id, "log", "a", type="call"))
    assert sum(row["types"] == "activity.object" for row in await outbox(database)) == 13


async def test_republishing_sends_the_current_state_with_its_version(database: Database) -> None:
    tenant = await settle(database)
    await admit(
        database, report(tenant.business_id, "schedule", "a", type="call"), report(tenant.business_id, "complete", "a")
    )
    before = len(await outbox(database))
    await republish.republish(database)
    later = (await outbox(database))[before:]
    states = [row for row in later if row["types"] == "activity.state"]
    assert [row["version"] for row in states] == [2]
    event = ActivityEvent.model_validate_json(states[0]["value"])
    assert event.change.type == "activity.state"
    assert event.activity.completed_at is not None
    assert sum(row["types"] == "activity.object" for row in later) == 13


FORBIDDEN = [
    "update activity set version = version + 1, logged_at = null, completed_at = null, heard = 0",
    "update activity set version = version + 1, occurred_at = now()",
    "update activity set version = version + 1, type_id = gen_random_uuid()",
    "update activity set version = version + 1, due_at = now()",
    "update activity set version = version + 1, assignee_member_id = gen_random_uuid()",
    "update activity set version = version + 1, cancelled_at = now()",
    "update activity set version = version + 1, planned_at = now()",
    "update activity set version = version + 2",
    "update activity set version = version",
    "update activity set version = version + 1, heard = 0",
    "delete from activity",
    "truncate activity",
    "update activity set version = version + 1, erased_at = now(), due_at = now()",
    "update activity set version = version + 1, erased_at = now(), search = 'other'",
    "update history set document = ''",
    "update history set by_member = gen_random_uuid()",
    "update history set recorded_at = now()",
    "update history set hash = ''",
    "update history set salt = null, document = null, content_hash = sha256(salt || document)",
    "delete from history",
    "truncate history",
    "delete from activity_append",
    "update activity_append set document = ''",
    "update activity_append set document = null",
    "truncate activity_append",
    """insert into activity
       select business_id, gen_random_uuid(), 2, type_id, heard, said, 0, null, null, created_at from activity""",
]


@pytest.mark.parametrize("role", ["worker", "routes"])
@pytest.mark.parametrize("sql", FORBIDDEN)
async def test_what_was_logged_stays_against_direct_sql(database: Database, sql: str, role: str) -> None:
    tenant = await settle(database)
    await admit(
        database,
        report(tenant.business_id, "schedule", "a", type="call"),
        report(tenant.business_id, "log", "a", type="call"),
        report(tenant.business_id, "append", "a", text="more"),
    )
    transaction = database.work() if role == "worker" else database.transaction(tenant)
    with pytest.raises(Exception, match=r"append-only|permission denied|activity [0-9a-f-]+:|violates check"):
        async with transaction as tx:
            await tx.execute(sql)


async def test_a_scheduled_row_cannot_be_made_logged_without_saying_how(database: Database) -> None:
    tenant = await settle(database)
    await admit(database, report(tenant.business_id, "schedule", "a", type="call"))
    with pytest.raises(Exception, match="violates check"):
        async with database.work() as tx:
            await tx.execute("update activity set version = version + 1, logged_at = now()")
