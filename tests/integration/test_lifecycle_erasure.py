"""A record's person is erased from everything lifecycle keeps; skeletons, counts and the chain stay."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from prometheus_client import REGISTRY

from cli.check.drain import Stuck, drain
from libs.contracts.activity import Activity, Link
from libs.contracts.directory import Record
from libs.contracts.ids import activity_id_of, record_id_of
from libs.database import Database
from services.lifecycle import erasing, handlers, verify
from services.lifecycle.domain.objects import ObjectField
from services.lifecycle.store import activities
from tests.integration.test_lifecycle_reports import admit, answers, events, report
from tests.support.http import Tenant, served, settle
from tests.support.kafka import fresh_topic
from tests.support.kinds import give_fields

MakeDatabase = Callable[[str], Awaitable[Database]]
AT = datetime(2026, 3, 2, tzinfo=UTC)
LATER = datetime(2199, 1, 1, tzinfo=UTC)
CANARY = "Zanzibar-4711"
REF = f"+49 {CANARY}"
SOMEBODY = Link(object="contact", external_ref="x")
GRACE = Link(object="contact", external_ref=REF)
TEXTS: dict[str, Any] = {
    "subject": CANARY, "summary": CANARY, "notes": CANARY, "location": CANARY, "first_message": CANARY,
    "fields": {"a": CANARY, "tags": [CANARY]}, "metadata": {"b": [CANARY]}, "attachments": [f"https://x.example/{CANARY}"],
    "participants": [CANARY, "Somebody"], "actor": CANARY, "assignee": CANARY, "links": [GRACE],
}  # fmt: skip
KEPT = (
    "activity_id", "type", "type_id", "type_name", "at", "created_at", "planned_at", "due_at", "original_due_at",
    "occurred_at", "logged_at", "completed_at", "cancelled_at", "retracted_at", "deleted_at", "duration_min",
    "direction", "source", "source_kind", "appends_count",
)  # fmt: skip


@pytest.fixture
async def database(make_database: MakeDatabase) -> Database:
    return await make_database("lifecycle")


async def erase(database: Database, business_id: UUID, ref: str = REF) -> UUID:
    """Let lifecycle hear that the contact with this ref was erased, and do what follows; return the record's id."""
    record_id = record_id_of(business_id, "contact", ref)
    record = Record(
        business_id=business_id, id=record_id, version=2, object="contact", name="Erased", created_at=AT, updated_at=AT,
        erased_at=AT,
    )  # fmt: skip
    async with database.work() as tx:
        await handlers.copy_records(tx, [record])
    await erasing.go_on(database)
    return record_id


async def take_fields(database: Database, tenant: Tenant) -> None:
    """Let calls and meetings have the fields that the texts have."""
    tags = ObjectField(id=str(tenant.user_id), name="tags", field_type="dynamictags")
    for name in ("call", "meeting"):
        await give_fields(database, tenant, name, ObjectField(id="a", name="a", field_type="text"), tags)


async def tell_all(database: Database, tenant: Tenant) -> None:
    """Report activities of Grace in every state, with the canary in every text."""
    await take_fields(database, tenant)
    told = [
        report(tenant.business_id, "schedule", f"{CANARY}-planned", type="call", due_at=AT, **TEXTS),
        report(tenant.business_id, "schedule", f"{CANARY}-both", type="call", due_at=AT, **TEXTS),
        report(tenant.business_id, "log", f"{CANARY}-both", occurred_at=AT, type="call", direction="inbound", **TEXTS),
        report(tenant.business_id, "log", f"{CANARY}-logged", type="meeting", duration_min=5, **TEXTS),
        report(tenant.business_id, "append", f"{CANARY}-logged", text=CANARY, actor=CANARY),
        report(tenant.business_id, "schedule", f"{CANARY}-off", type="call", **TEXTS),
        report(tenant.business_id, "cancel", f"{CANARY}-off"),
        report(tenant.business_id, "append", f"{CANARY}-planned", text=CANARY),  # waits until it is logged
        report(tenant.business_id, "complete", f"{CANARY}-unknown", **TEXTS),  # waits for its activity
        report(tenant.business_id, "log", "other", type="call", summary="kept", links=[SOMEBODY]),
    ]  # fmt: skip
    for each in told:
        await admit(database, each)


async def everything(database: Database) -> dict[str, bytes]:
    """Dump every table but the outbox, whose days are dropped, as a superuser reads it."""
    connection = await asyncpg.connect(database.urls.owner)
    try:
        tables = await connection.fetch(
            "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'"
        )
        dumps = {}
        for (table,) in tables:
            if not table.startswith("outbox"):
                rows = await connection.fetch(f'select row_to_json(t)::text from "{table}" t')
                dumps[table] = "\n".join(row[0] for row in rows).encode()
    finally:
        await connection.close()
    return dumps


def holding(dumps: dict[str, bytes], canary: str = CANARY) -> list[str]:
    """Name the tables that hold the canary in any case, as text or as bytes."""
    texts = (canary, canary.lower(), canary.upper())
    marks = [mark.encode() for text in texts for mark in (text, text.encode().hex())]
    return sorted(table for table, dump in dumps.items() if any(mark in dump for mark in marks))


async def states(database: Database, tenant: Tenant) -> dict[UUID, Activity]:
    async with database.work() as tx:
        keys = [(row[0], row[1]) for row in await tx.fetch("select business_id, activity_id from activity")]
        held = await activities.lock_activities(tx, keys)
    return {activity_id: each.activity for (_, activity_id), each in held.items()}


async def test_no_text_of_the_person_is_left_and_everything_else_stays(database: Database) -> None:
    tenant = await settle(database)
    await tell_all(database, tenant)
    assert {"history", "activity_append", "activity", "waiting"} <= set(holding(await everything(database)))
    before = await states(database, tenant)
    record_id = await erase(database, tenant.business_id)
    assert holding(await everything(database)) == []
    after = await states(database, tenant)
    other = activity_id_of(tenant.business_id, "crm", "other")
    assert after.pop(other) == before.pop(other)
    assert len(after) == 4
    for activity_id, activity in after.items():
        was = before[activity_id]
        assert [getattr(activity, name) for name in KEPT] == [getattr(was, name) for name in KEPT]
        assert (activity.version, activity.erased_at is None) == (was.version + 1, False)
        assert [(link.object, link.record_id, link.external_ref) for link in activity.links] == [
            ("contact", record_id, None)
        ]
        assert len(activity.participants) == 2
        assert [(each.id, each.kind, each.at) for each in activity.appends] == [
            (each.id, each.kind, each.at) for each in was.appends
        ]
    assert [each async for each in verify.verify(database, None)] == []


async def test_open_erasures_are_measured_and_waited_for_by_check(
    database: Database, make_database: MakeDatabase
) -> None:
    tenant = await settle(database)
    stores = {"ingest": await make_database("ingest"), "lifecycle": database}
    async with fresh_topic() as place:
        groups = {place.group: (place.topic,)}
        async with database.work() as tx:
            await tx.execute(
                "insert into erasure (business_id, record_id, erased_at) values ($1, $1, now() - interval '2 h')",
                tenant.business_id,
            )
        with pytest.raises(Stuck, match="lifecycle: 1 erasures under way"):
            await drain(stores, groups, place.broker, lambda left: None, within_s=0.1)
        assert await measured(database) == (1, 7200)
        await erasing.go_on(database)
        assert await measured(database) == (0, 0)
        await drain(stores, groups, place.broker, lambda left: None)


async def measured(database: Database) -> tuple[float | None, float]:
    """Look what the gauges say: how many are open, and the age of the oldest."""
    await erasing.measure(database)
    names = "activities_erasures_open", "activities_erasure_oldest_seconds"
    count, age_s = (REGISTRY.get_sample_value(name, {"service": "lifecycle"}) for name in names)
    return count, (age_s or 0) // 10 * 10


async def test_what_waits_is_refused_and_answered(database: Database) -> None:
    tenant = await settle(database)
    await tell_all(database, tenant)
    await erase(database, tenant.business_id)
    refused = [answer for answer in await answers(database) if answer.outcome == "refused"]
    assert [[reason.code for reason in answer.reasons] for answer in refused] == [["erased"], ["erased"]]
    async with database.work() as tx:
        assert await tx.value("select count(*) from waiting") == 0


async def test_the_event_of_an_erasure_carries_the_state_without_texts(database: Database) -> None:
    tenant = await settle(database)
    await tell_all(database, tenant)
    await erase(database, tenant.business_id)
    erased = [(types, event) for types, event in await events(database) if types == "activity.erased"]
    assert len(erased) == 4
    for _, event in erased:
        assert CANARY not in event.model_dump_json()
        assert (event.change.type, event.change.why) == ("activity.erased", "the person of a linked record was erased")
        assert event.activity.erased_at is not None


async def test_hearing_of_an_erasure_again_changes_nothing(database: Database) -> None:
    tenant = await settle(database)
    await tell_all(database, tenant)
    await erase(database, tenant.business_id)
    once = await everything(database)
    await erase(database, tenant.business_id)
    await erasing.go_on(database)
    assert await everything(database) == once


async def test_an_erasure_that_was_interrupted_goes_on_where_it_was(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = await settle(database)
    monkeypatch.setattr(erasing, "SLICE", 2)
    await tell_all(database, tenant)
    record = record_id_of(tenant.business_id, "contact", REF)
    async with database.work() as tx:
        await tx.execute(
            "insert into erasure (business_id, record_id, erased_at, begun_at) values ($1, $2, now(), now())",
            tenant.business_id,
            record,
        )
    with pytest.raises(RuntimeError, match="power cut"):
        async with database.work() as tx:
            await erasing.go_on(_Within(tx))  # type: ignore[arg-type]
    assert "history" in holding(await everything(database)), "what was not committed is as before"
    await erasing.go_on(database)
    assert holding(await everything(database)) == []
    assert {activity.version for activity in (await states(database, tenant)).values()} <= {1, 2, 3, 4}
    async with database.work() as tx:
        assert await tx.value("select activities from erasure") == 4


async def test_what_is_told_after_an_erasure_is_new_and_kept(database: Database) -> None:
    tenant = await settle(database)
    await take_fields(database, tenant)
    business = tenant.business_id
    await admit(database, report(business, "log", "a", type="call", **TEXTS))
    await erase(database, business)
    await admit(
        database,
        report(business, "append", "a", text="said later", received_at=LATER),
        report(business, "complete", "a", type="call", summary="told later", received_at=LATER),
    )
    held = (await states(database, tenant))[activity_id_of(business, "crm", "a")]
    assert (held.version, held.summary, held.appends_count, held.notes) == (4, None, 1, None)
    await admit(database, report(business, "log", "new", type="call", summary="anew", links=[GRACE], received_at=LATER))
    assert (await states(database, tenant))[activity_id_of(business, "crm", "new")].summary == "anew"
    assert [each async for each in verify.verify(database, None)] == []


async def test_what_was_told_before_an_erasure_and_comes_after_it_is_kept_without_its_texts(database: Database) -> None:
    tenant = await settle(database)
    await take_fields(database, tenant)
    business = tenant.business_id
    await admit(
        database,
        report(business, "schedule", "a", type="call", due_at=AT, **TEXTS),
        report(business, "complete", f"{CANARY}-b", notes=CANARY),  # waits for its plan, and names nobody
    )
    await erase(database, business)
    late = [
        report(business, "complete", "a", type="call", **TEXTS),
        report(business, "append", "a", text=CANARY, actor=CANARY),
        report(business, "append", "a2", kind="retraction", text=CANARY, links=[GRACE]),
        report(business, "schedule", f"{CANARY}-b", type="call", due_at=AT, **TEXTS),
        report(business, "complete", f"{CANARY}-c", **TEXTS),
        report(business, "log", f"{CANARY}-d", type="call", duration_min=7, **TEXTS | {"actor": str(tenant.user_id)}),
        report(business, "append", f"{CANARY}-d", kind="retraction", text=CANARY, actor=CANARY),
    ]
    await admit(database, *late[:4])
    for each in late[4:]:
        await admit(database, each)
    assert holding(await everything(database)) == []
    assert not [event for _, event in (await events(database))[2:] if CANARY in event.model_dump_json()]
    held = await states(database, tenant)
    assert [held[each.activity_id].completed_at is None for each in (late[0], late[3])] == [False, False]
    logged = held[late[5].activity_id]
    assert (logged.duration_min, logged.retracted_at is None, logged.appends_count) == (7, False, 1)
    assert [link.record_id for link in logged.links] == [record_id_of(business, "contact", REF)]
    assert logged.logged_by is not None
    assert logged.logged_by.member_id == tenant.user_id
    outcomes = {answer.receipt_id: answer.outcome for answer in await answers(database)}
    assert [outcomes[each.receipt_id] for each in late] == [
        "applied", "refused", "refused", "applied", "refused", "applied", "applied",
    ]  # fmt: skip
    await admit(database, report(business, "log", "e", type="call", summary="of another", links=[SOMEBODY]))
    assert (await states(database, tenant))[activity_id_of(business, "crm", "e")].summary == "of another"
    assert [each async for each in verify.verify(database, None)] == []


async def test_an_erasure_begins_when_admissions_that_do_not_know_of_it_are_done(database: Database) -> None:
    tenant = await settle(database)
    await take_fields(database, tenant)
    record_id = record_id_of(tenant.business_id, "contact", REF)
    async with database.work() as tx:
        await handlers.admit_activities(tx, [report(tenant.business_id, "log", "a", type="call", **TEXTS)])
        erasing_it = asyncio.create_task(erase(database, tenant.business_id))
        await until_waiting(database)
    assert await erasing_it == record_id
    assert holding(await everything(database)) == []


async def until_waiting(database: Database) -> None:
    """Wait until somebody waits for a lock on the table of erasures, or there is nothing left to erase."""
    connection = await asyncpg.connect(database.urls.owner)
    waits = "select exists (select from pg_locks where relation = 'erasure'::regclass and not granted)"
    over = "select exists (select from erasure where finished_at is not null)"
    try:
        async with asyncio.timeout(60):
            while not (await connection.fetchval(waits) or await connection.fetchval(over)):
                await asyncio.sleep(0.01)
    finally:
        await connection.close()


async def test_an_activity_that_was_linked_once_is_erased_too(database: Database) -> None:
    tenant = await settle(database)
    business = tenant.business_id
    await admit(
        database,
        report(business, "schedule", "a", type="call", summary=CANARY, links=[GRACE]),
        report(business, "log", "a", type="call", links=[Link(object="contact", external_ref="other")]),
    )
    await erase(database, business)
    assert holding(await everything(database)) == []


async def test_another_business_with_the_same_ref_keeps_its_texts(database: Database) -> None:
    tenant, other = await settle(database), await settle(database)
    for each in (tenant, other):
        await admit(database, report(each.business_id, "log", "a", type="call", summary=CANARY, links=[GRACE]))
    await erase(database, tenant.business_id)
    held = await states(database, other)
    assert [held[activity_id_of(each.business_id, "crm", "a")].summary for each in (tenant, other)] == [None, CANARY]


async def test_histories_show_erased_versions_as_erased(database: Database) -> None:
    tenant = await settle(database)
    await tell_all(database, tenant)
    await erase(database, tenant.business_id)
    identity = activity_id_of(tenant.business_id, "crm", f"{CANARY}-logged")
    headers = {"X-API-KEY": tenant.key.text, "X-BUSINESS-ID": str(tenant.business_id), "X-USER-ID": str(tenant.user_id)}
    async with served("lifecycle", database) as client:
        history = await client.get(f"/api/activities/logged/{identity}/history", headers=headers)
        logged = await client.get(f"/api/activities/logged/{identity}", headers=headers)
    shown = history.json()["results"]
    assert [(each["version"], each["type"].split(".")[1], each["erased"]) for each in shown] == [
        (1, "completed", True), (2, "appended", True), (3, "erased", False),
    ]  # fmt: skip
    assert all(each["changes"] == {} for each in shown)
    assert [each["why"] for each in shown] == [None, None, "the person of a linked record was erased"]
    assert (logged.status_code, len(logged.json()["appends"])) == (200, 1)
    assert all(each["erased"] for each in logged.json()["appends"])
    assert CANARY not in history.text + logged.text


ALLOWED_FOR_NOBODY = [
    "update history set document = null, salt = null, content_hash = sha256(salt || document) where version = 2",
    "update history set document = null, salt = null, content_hash = sha256('') where version = 1",
    "update history set document = null where version = 1",
    "update history set salt = null where version = 1",
    "update history set document = '{}', salt = '' where version = 1",
    "update history set document = '{}', salt = '', content_hash = null where version = 1",
    "update history set type = 'x' where version = 1",
    "update activity set version = version + 1, erased_at = null",
    "update activity set version = version + 1, erased_at = erased_at - interval '1 s'",
    "update activity set version = version + 1, erased_at = now(), assignee_member_id = gen_random_uuid()",
]
CONTENT_OF_ONE = (
    "update history set document = null, salt = null, content_hash = sha256(salt || document) where version = 1"
)


async def test_only_the_worker_and_only_an_erasure_takes_contents_away(database: Database) -> None:
    tenant = await settle(database)
    await admit(
        database,
        report(tenant.business_id, "log", "a", type="call", summary=CANARY),
        report(tenant.business_id, "append", "a", text=CANARY),
    )
    refused = r"append-only|permission denied|activity [0-9a-f-]+:|violates check"
    for sql in (*ALLOWED_FOR_NOBODY[:7], CONTENT_OF_ONE, "update activity_append set document = null"):
        for transaction in (database.work, lambda: database.transaction(tenant)):
            with pytest.raises(Exception, match=refused):
                async with transaction() as tx:
                    await tx.execute(sql)
    async with database.work() as tx:
        await tx.execute("update activity set version = version + 1, erased_at = now()")
    for sql in ALLOWED_FOR_NOBODY[1:]:
        for transaction in (database.work, lambda: database.transaction(tenant)):
            with pytest.raises(Exception, match=refused):
                async with transaction() as tx:
                    await tx.execute(sql)
    with pytest.raises(Exception, match="permission denied"):
        async with database.transaction(tenant) as tx:
            await tx.execute(CONTENT_OF_ONE)
    async with database.work() as tx:
        assert await tx.execute(CONTENT_OF_ONE) == 1
    with pytest.raises(Exception, match="append-only"):
        async with database.work() as tx:
            await tx.execute("update history set document = '{}', salt = '', content_hash = null where version = 1")


class _Within:
    """A database whose second transaction meets a power cut; the first one is `tx`, which then is rolled back too."""

    def __init__(self, tx: Any) -> None:
        self._tx = tx
        self._used = False

    def work(self) -> "_Within":
        return self

    async def __aenter__(self) -> Any:
        if self._used:
            raise RuntimeError("power cut")
        self._used = True
        return self._tx

    async def __aexit__(self, *error: object) -> None:
        return None
