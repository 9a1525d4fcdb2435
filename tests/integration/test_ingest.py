"""Ingest against a real PostgreSQL: accepted once, whoever sends it how often, and answered."""

import asyncio
import contextlib
import gzip
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import cramjam
import httpx
import orjson
import pytest

from libs import failpoints
from libs.contracts.ids import uuid7
from libs.contracts.report import Outcome, Reason, ReportAnswered, ReportReceived
from libs.database import Database
from libs.errors import TooMany
from services.ingest import domain, forgetting, handlers
from services.ingest.domain import Arrival, Report, Verdict
from services.ingest.gather import Bounds, Gather
from services.ingest.store import reports as store
from tests.support.http import Tenant, served, settle

MakeDatabase = Callable[[str], Awaitable[Database]]
NOW = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)


@pytest.fixture
async def database(make_database: MakeDatabase) -> Database:
    return await make_database("ingest")


@pytest.fixture
async def tenant(database: Database) -> Tenant:
    return await settle(database)


@pytest.fixture
async def client(database: Database, tenant: Tenant) -> AsyncIterator[httpx.AsyncClient]:
    async with served("ingest", database) as client:
        client.headers.update(tenant.headers)
        yield client


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.arm("")


def report(ref: str = "call-1", **more: Any) -> dict[str, Any]:
    return {"source": "phone", "source_ref": ref, "action": "log", "type": "call", **more}


def ndjson(*lines: Any) -> bytes:
    return b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)


async def outgoing(database: Database) -> list[ReportReceived]:
    async with database.work() as tx:
        rows = await tx.fetch("select types, key, value, event_id from outbox order by id")
    events = [ReportReceived.model_validate_json(row["value"]) for row in rows]
    for row, event in zip(rows, events, strict=True):
        assert row["types"] == "activity.received"
        assert row["event_id"] == event.receipt_id
        assert row["key"].decode() == f"{event.business_id}/{event.activity_id}"
    return events


async def answer(database: Database, receipt: dict[str, Any], outcome: Outcome, minute: int, **more: Any) -> None:
    answered = ReportAnswered(
        receipt_id=receipt["receipt_id"], activity_id=receipt["activity_id"], business_id=more.pop("business_id"),
        outcome=outcome, answered_at=NOW + timedelta(minutes=minute), **more,
    )  # fmt: skip
    async with database.work() as tx:
        await handlers.note_answers(tx, [answered])


async def test_a_report_is_accepted_and_passed_on(client: httpx.AsyncClient, database: Database) -> None:
    accepted = await client.post("/ingest/activities", json=report(subject="Cafe\u0301"))
    assert accepted.status_code == 202, accepted.text
    assert accepted.json()["status"] == "accepted"
    (event,) = await outgoing(database)
    assert (str(event.receipt_id), str(event.activity_id)) == (
        accepted.json()["receipt_id"],
        accepted.json()["activity_id"],
    )
    assert event.report.subject == "Caf\u00e9"


async def test_the_same_report_again_is_answered_alike_and_passed_on_once(
    client: httpx.AsyncClient, database: Database
) -> None:
    first = await client.post("/ingest/activities", json=report())
    again = await client.post("/ingest/activities", json=dict(reversed(report().items())))
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json() == first.json()
    assert len(await outgoing(database)) == 1


async def test_another_body_under_the_same_name_is_refused_with_a_link(
    client: httpx.AsyncClient, database: Database
) -> None:
    first = await client.post("/ingest/activities", json=report())
    other = await client.post("/ingest/activities", json=report(subject="else"))
    assert other.status_code == 409
    assert other.json()["code"] == "different_body"
    receipt = await client.get(other.json()["link"])
    assert receipt.json()["receipt_id"] == first.json()["receipt_id"]
    assert len(await outgoing(database)) == 1


async def test_of_fifty_at_once_one_is_accepted(client: httpx.AsyncClient, database: Database) -> None:
    answers = await asyncio.gather(*(client.post("/ingest/activities", json=report()) for _ in range(50)))
    assert Counter(answer.status_code for answer in answers) == {202: 1, 200: 49}
    assert len({answer.json()["receipt_id"] for answer in answers}) == 1
    assert len(await outgoing(database)) == 1


async def test_writers_apart_settle_duplicates_in_the_database(database: Database, tenant: Tenant) -> None:
    reports = [domain.accept(Arrival(tenant.business_id, NOW), report(f"call-{n}")) for n in range(500)]

    gathers = [Gather(Bounds(10_000, 10)) for _ in range(4)]
    for gather in gathers:  # from now on each knows the source, and nothing but the reports' rows makes it wait
        await gather.keep_many(database, Arrival(tenant.business_id, NOW), reports[:1])

    async def write(gather: Gather, batch: list[Report]) -> list[Verdict]:
        return await gather.keep_many(database, Arrival(tenant.business_id, NOW), batch)

    batches = await asyncio.gather(
        *(write(gather, reports[::step]) for gather, step in zip(gathers, (1, -1, 1, -1), strict=True))
    )
    assert Counter(verdict.kind for batch in batches for verdict in batch) == {"accepted": 499, "duplicate": 1_501}
    assert len(await outgoing(database)) == 500


async def test_writers_of_the_same_reports_in_other_orders_wait_and_do_not_deadlock(
    database: Database, tenant: Tenant
) -> None:
    arrival = Arrival(tenant.business_id, NOW)
    reports = sorted(domain.accept(arrival, report(f"call-{n}")) for n in range(9))
    tasks: list[asyncio.Task[set[UUID]]] = []

    async def write(batch: list[Report]) -> set[UUID]:
        async with database.transaction(arrival) as tx:
            return await store.insert_receipts(tx, arrival, batch)

    async with database.transaction(arrival) as tx:  # holds the row in the middle until both writers have come to it
        await store.insert_receipts(tx, arrival, reports[4:5])
        tasks += [asyncio.create_task(write(reports[::step])) for step in (1, -1)]
        await eventually(lambda: _waiting_for_locks(database, 2))
    made = await asyncio.gather(*tasks)
    assert sorted(len(receipts) for receipts in made) == [0, 8]


async def _waiting_for_locks(database: Database, count: int) -> bool:
    async with database.work() as tx:
        waiting: int = await tx.value(
            """
            select count(distinct pid) from pg_locks join pg_stat_activity using (pid)
             where not granted and datname = current_database()
            """
        )
    return waiting >= count


async def eventually(check: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not await check():
            await asyncio.sleep(0.01)


async def test_single_reports_at_once_share_commits(database: Database, tenant: Tenant) -> None:
    gather, arrival = Gather(Bounds(1_000, 10)), Arrival(tenant.business_id, NOW)
    verdicts = await asyncio.gather(
        *(gather.keep_one(database, arrival, domain.accept(arrival, report(f"call-{n}"))) for n in range(150))
    )
    assert {verdict.kind for verdict in verdicts} == {"accepted"}
    assert len({verdict.receipt_id for verdict in verdicts}) == 150
    async with database.work() as tx:
        assert await tx.value("select count(distinct xid) from outbox") <= 5


@pytest.mark.parametrize("leaving", [0, 1, 20])
async def test_who_leaves_does_not_take_the_others_along(database: Database, tenant: Tenant, leaving: int) -> None:
    gather, arrival = Gather(Bounds(1_000, 10)), Arrival(tenant.business_id, NOW)
    tasks = [
        asyncio.create_task(gather.keep_one(database, arrival, domain.accept(arrival, report(f"call-{n}"))))
        for n in range(30)
    ]
    await asyncio.sleep(0)
    tasks[leaving].cancel()
    done = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)
    assert isinstance(done[leaving], asyncio.CancelledError)
    kept = [verdict for verdict in done if isinstance(verdict, Verdict)]
    assert len(kept) == 29
    events = {event.receipt_id for event in await outgoing(database)}
    assert {verdict.receipt_id for verdict in kept} <= events
    again = await gather.keep_one(database, arrival, domain.accept(arrival, report("later")))
    assert again.kind == "accepted"


async def test_the_turn_is_passed_on_when_the_next_writer_has_left(database: Database, tenant: Tenant) -> None:
    gather, arrival = Gather(Bounds(10_000, 10)), Arrival(tenant.business_id, NOW)
    tasks = [
        asyncio.create_task(gather.keep_one(database, arrival, domain.accept(arrival, report(f"call-{n}"))))
        for n in range(450)
    ]
    tasks[0].add_done_callback(lambda _: tasks[200].cancel())  # it holds the turn from this moment on
    done = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)
    assert Counter(type(each) for each in done)[Verdict] >= 449


async def test_a_commit_that_fails_promises_nothing(client: httpx.AsyncClient, database: Database) -> None:
    assert (await client.get("/ingest/receipts", params={"source": "a", "source_ref": "b"})).status_code == 404
    failpoints.arm("ingest.commit.before=error@1")
    answers = await asyncio.gather(*(client.post("/ingest/activities", json=report(f"call-{n}")) for n in range(5)))
    stored = len(await outgoing(database))
    counts = Counter(answer.status_code for answer in answers)
    assert counts[503] >= 1
    assert counts[202] == stored == 5 - counts[503]
    failed = next(answer for answer in answers if answer.status_code == 503)
    assert failed.headers["retry-after"]
    async with database.work() as tx:
        assert await tx.value("select count(*) from report_identity") == stored


async def test_done_but_reported_failed_is_a_duplicate_next_time(client: httpx.AsyncClient, database: Database) -> None:
    assert (await client.get(f"/ingest/receipts/{uuid7()}")).status_code == 404
    failpoints.arm("ingest.commit.reported=error@1")
    assert (await client.post("/ingest/activities", json=report())).status_code == 503
    assert (await client.post("/ingest/activities", json=report())).status_code == 200
    assert len(await outgoing(database)) == 1


async def test_a_bulk_keeps_good_lines_when_others_fail(client: httpx.AsyncClient, database: Database) -> None:
    await client.post("/ingest/activities", json=report("old"))
    body = ndjson(
        report("a"), b"", report("b", duration_min=-1), b"{", report("a"), report("a", subject="else"), report("old"),
        report("c", notes="x" * (256 << 10)), report("d"),
    )  # fmt: skip
    answer = await client.post("/ingest/activities/bulk", content=body)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert {name: told[name] for name in ("accepted", "duplicate", "rejected")} == {
        "accepted": 2,
        "duplicate": 2,
        "rejected": 4,
    }
    assert [(result["line"], result["status"]) for result in told["results"]] == [
        (1, "accepted"), (3, "rejected"), (4, "rejected"), (5, "duplicate"), (6, "rejected"), (7, "duplicate"),
        (8, "rejected"), (9, "accepted"),
    ]  # fmt: skip
    first, bad, broken, again, other, _, long, _ = told["results"]
    assert bad["errors"][0]["field"] == "duration_min"
    assert broken["errors"][0]["code"] == "malformed"
    assert long["errors"][0]["code"] == "too_large"
    assert other["errors"][0]["code"] == "different_body"
    assert again["receipt_id"] == other["receipt_id"] == first["receipt_id"]
    assert [event.report.source_ref for event in await outgoing(database)] == ["old", "a", "d"]


async def test_a_bulk_of_several_transactions_is_whole_and_can_be_sent_again(
    client: httpx.AsyncClient, database: Database
) -> None:
    body = ndjson(*(report(f"call-{n}") for n in range(2_500)))
    first = (await client.post("/ingest/activities/bulk", content=body)).json()
    again = (await client.post("/ingest/activities/bulk", content=body)).json()
    assert (first["accepted"], first["duplicate"], first["rejected"]) == (2_500, 0, 0)
    assert (again["accepted"], again["duplicate"], again["rejected"]) == (0, 2_500, 0)
    assert [r["activity_id"] for r in again["results"]] == [r["activity_id"] for r in first["results"]]
    assert len(await outgoing(database)) == 2_500


CLOUD = {"specversion": "1.0", "type": "activity.report", "source": "phone"}


async def test_a_report_is_the_same_one_as_json_and_as_a_cloud_event(
    client: httpx.AsyncClient, database: Database
) -> None:
    plain, data = report("a"), {"action": "log", "type": "call"}
    first = await client.post("/ingest/activities", json=plain)
    headers = {"ce-specversion": "1.0", "ce-type": "activity.report", "ce-source": "phone", "ce-id": "a"}
    again = await client.post("/ingest/activities", json=data, headers=headers)
    whole = orjson.dumps({**CLOUD, "id": "a", "data": data})
    structured = {"content-type": "application/cloudevents+json; charset=utf-8"}
    third = await client.post("/ingest/activities", content=whole, headers=structured)
    assert [answer.status_code for answer in (first, again, third)] == [202, 200, 200], third.text
    assert first.json() == again.json() == third.json()
    batch = {"content-type": "application/cloudevents-batch+json"}
    wrong = await client.post("/ingest/activities", content=b"[" + whole + b"]", headers=batch)
    assert wrong.status_code == 400
    assert len(await outgoing(database)) == 1


@pytest.mark.parametrize("encoding", ["identity", "gzip", "zstd"])
async def test_a_batch_of_cloud_events_is_a_bulk(client: httpx.AsyncClient, database: Database, encoding: str) -> None:
    data = {"action": "log", "type": "call"}
    batch = [
        {**CLOUD, "id": "a", "data": data}, {**CLOUD, "id": "a", "data": data}, {**CLOUD, "id": "b"}, 7,
        {**CLOUD, "id": "c", "data": {**data, "due_at": "never"}}, {**CLOUD, "id": "d", "data": data, "type": "x"},
    ]  # fmt: skip
    headers = {"content-type": "application/cloudevents-batch+json", "content-encoding": encoding}
    pack = {"identity": bytes, "gzip": gzip.compress, "zstd": lambda text: bytes(cramjam.zstd.compress(text))}[encoding]
    answer = await client.post("/ingest/activities/bulk", content=pack(orjson.dumps(batch)), headers=headers)
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert [(each["line"], each["status"], [e["field"] for e in each.get("errors", ())]) for each in results] == [
        (1, "accepted", []), (2, "duplicate", []), (3, "rejected", ["data"]), (4, "rejected", ["body"]),
        (5, "rejected", ["due_at"]), (6, "rejected", ["type"]),
    ]  # fmt: skip
    assert len(await outgoing(database)) == 1
    for wrong, status in ((b"{}", 400), (b"[" + b"0," * 10_000 + b"0]", 413)):
        assert (
            await client.post("/ingest/activities/bulk", content=pack(wrong), headers=headers)
        ).status_code == status


async def test_compressed_lines_and_reports_are_taken(client: httpx.AsyncClient, database: Database) -> None:
    lines = ndjson(*(report(f"call-{n}", notes="x" * 500) for n in range(3_000)))
    packed = bytes(cramjam.zstd.compress(lines))
    bulk = await client.post("/ingest/activities/bulk", content=packed, headers={"content-encoding": "zstd"})
    assert bulk.json()["accepted"] == 3_000
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    one = await client.post("/ingest/activities", content=gzip.compress(orjson.dumps(report("one"))), headers=headers)
    assert one.status_code == 202
    bomb = bytes(cramjam.zstd.compress(b"\n" * (200 << 20)))
    refused = await client.post("/ingest/activities/bulk", content=bomb, headers={"content-encoding": "zstd"})
    assert refused.status_code == 413
    assert len(await outgoing(database)) == 3_001


async def test_too_many_lines_are_refused_as_a_whole(client: httpx.AsyncClient, database: Database) -> None:
    answer = await client.post("/ingest/activities/bulk", content=b"{}\n" * 10_001)
    assert answer.status_code == 413
    assert (await client.post("/ingest/activities/bulk", content=b"")).json()["results"] == []
    assert (await client.post("/ingest/activities", json=report(notes="x" * (256 << 10)))).status_code == 413
    assert await outgoing(database) == []


async def test_a_bad_report_names_its_fields_and_changes_nothing(client: httpx.AsyncClient, database: Database) -> None:
    answer = await client.post("/ingest/activities", json=report(type=None, due_at="tomorrow"))
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert {error["field"] for error in answer.json()["errors"]} == {"type", "due_at"}
    assert await outgoing(database) == []


async def test_a_receipt_follows_its_report(client: httpx.AsyncClient, database: Database, tenant: Tenant) -> None:
    receipt = (await client.post("/ingest/activities", json=report())).json()
    path, business_id = f"/ingest/receipts/{receipt['receipt_id']}", tenant.business_id

    async def told() -> dict[str, Any]:
        shown: dict[str, Any] = (await client.get(path)).json()
        by_name = await client.get("/ingest/receipts", params={"source": "phone", "source_ref": "call-1"})
        assert by_name.json() == shown
        return shown

    assert await told() == {**receipt, "status": "accepted", "reasons": []}
    reasons = [Reason(field="activity_ref", code="not_known_yet", message="waits for שלום")]
    await answer(database, receipt, "waiting", 1, business_id=business_id, reasons=reasons)
    assert await told() == {**receipt, "status": "waiting", "reasons": [reasons[0].model_dump()]}
    await answer(database, receipt, "set_aside", 2, business_id=business_id)
    assert (await told())["status"] == "set_aside"
    await answer(database, receipt, "applied", 3, business_id=business_id, version=4)
    applied = {**receipt, "status": "applied", "version": 4, "reasons": []}
    assert await told() == applied
    for outcome, minute in (("waiting", 9), ("set_aside", 2), ("applied", 3)):
        await answer(database, receipt, outcome, minute, business_id=business_id)  # type: ignore[arg-type]
        assert await told() == applied
    again = await client.post("/ingest/activities", json=report())
    assert (again.status_code, again.json()["status"]) == (200, "applied")


@pytest.mark.parametrize("outcome", ["unchanged", "refused"])
async def test_a_receipt_tells_every_outcome(
    client: httpx.AsyncClient, database: Database, tenant: Tenant, outcome: Outcome
) -> None:
    receipt = (await client.post("/ingest/activities", json=report())).json()
    await answer(database, receipt, outcome, 1, business_id=tenant.business_id)
    assert (await client.get(f"/ingest/receipts/{receipt['receipt_id']}")).json()["status"] == outcome


async def test_another_business_sees_nothing_and_may_use_the_same_names(
    client: httpx.AsyncClient, database: Database
) -> None:
    receipt = (await client.post("/ingest/activities", json=report())).json()
    other = await settle(database)
    path = f"/ingest/receipts/{receipt['receipt_id']}"
    assert (await client.get(path, headers=other.headers)).status_code == 404
    names = {"source": "phone", "source_ref": "call-1"}
    assert (await client.get("/ingest/receipts", params=names, headers=other.headers)).status_code == 404
    theirs = await client.post("/ingest/activities", json=report(), headers=other.headers)
    assert theirs.status_code == 202
    assert theirs.json()["receipt_id"] != receipt["receipt_id"]
    assert theirs.json()["activity_id"] != receipt["activity_id"]


async def test_reports_pending_are_bounded_until_they_are_answered(database: Database, tenant: Tenant) -> None:
    gather, arrival = Gather(Bounds(reports_pending_max=3, sources_max=10)), Arrival(tenant.business_id, NOW)

    async def keep(*refs: str) -> list[Verdict]:
        reports = [domain.accept(arrival, report(ref)) for ref in refs]
        return await gather.keep_many(database, arrival, reports)

    first = await keep("a", "b", "c")
    with pytest.raises(TooMany) as refused:
        await keep("d")
    assert refused.value.retry_after_s > 0
    assert [verdict.kind for verdict in await keep("a")] == ["duplicate"]
    told = {"receipt_id": first[0].receipt_id, "activity_id": first[0].activity_id}
    for minute, outcome in enumerate(("waiting", "applied", "applied")):
        await answer(database, told, outcome, minute, business_id=tenant.business_id)  # type: ignore[arg-type]
    assert [verdict.kind for verdict in await keep("d")] == ["accepted"]
    with pytest.raises(TooMany):
        await keep("e")
    other = Arrival((await settle(database)).business_id, NOW)
    verdict = await gather.keep_one(database, other, domain.accept(other, report("e")))
    assert verdict.kind == "accepted"
    assert len(await outgoing(database)) == 5


async def test_what_cannot_be_kept_now_is_never_acknowledged(
    client: httpx.AsyncClient, database: Database, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pending reports up to the bound: 429. The outbox full, or the database gone: 503. Each says when to come."""
    monkeypatch.setenv("REPORTS_PENDING_MAX", "2")
    paths = (("/ingest/activities", orjson.dumps), ("/ingest/activities/bulk", ndjson))
    conversation = {
        "interaction_id": "c", "channel": "sms", "direction": "inbound", "address": None,
        "opened_at": "2026-05-04T09:00:00Z", "closed_at": "2026-05-04T09:00:00Z",
    }  # fmt: skip

    async def refused(status: int, answer: httpx.Response) -> None:
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
        assert int(answer.headers["retry-after"]) >= 1

    async with served("ingest", database) as http:
        http.headers.update({**tenant.headers, "content-type": "application/json"})
        for ref in "ab":
            assert (await http.post("/ingest/activities", json=report(ref))).status_code == 202
        for path, write in paths:
            await refused(429, await http.post(path, content=write(report("c"))))
            assert (await http.post(path, content=write(report("a")))).status_code == 200, "a duplicate takes no room"
        other = await settle(database)
        assert (await http.post("/ingest/activities", json=report("a"), headers=other.headers)).status_code == 202
        database.outbox_full = True
        for path, write in paths:
            await refused(503, await http.post(path, content=write(report("d")), headers=other.headers))
        await refused(503, await http.post("/ingest/interactions", json=conversation))
        assert (await http.post("/ingest/activities", json=report("a"))).status_code == 200
        database.outbox_full = False
        stored = len(await outgoing(database))
        await database.close()
        for path, write in paths:
            await refused(503, await http.post(path, content=write(report("e"))))
        await refused(503, await http.post("/ingest/interactions", json=conversation))
        await database.open()
        assert len(await outgoing(database)) == stored == 3
        async with database.work() as tx:
            assert await tx.value("select count(*) from report_identity") == 3
            assert await tx.value("select count(*) from interaction") == 0


async def test_under_a_crowd_what_is_let_in_is_kept_and_the_rest_is_told_to_come_again(
    database: Database, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_WAITING_MAX", "20")
    async with served("ingest", database) as http:
        http.headers.update(tenant.headers)
        everything = {f"call-{number}" for number in range(300)}
        left = set(everything)
        rounds: list[int] = []
        while left:
            refs = sorted(left)
            answers = await asyncio.gather(*(http.post("/ingest/activities", json=report(ref)) for ref in refs))
            assert {answer.status_code for answer in answers} <= {202, 503}
            assert {answer.json()["code"] for answer in answers if answer.status_code == 503} <= {"crowded"}
            kept = {ref for ref, answer in zip(refs, answers, strict=True) if answer.status_code == 202}
            left -= kept
            rounds.append(len(kept))
    assert rounds[0] >= 20, "a crowd does not keep out those for whom there is room"
    assert {event.report.source_ref for event in await outgoing(database)} == {
        f"call-{number}" for number in range(300)
    }
    assert len(await outgoing(database)) == 300


async def test_an_answer_to_an_unknown_receipt_frees_no_room(database: Database, tenant: Tenant) -> None:
    strange = {"receipt_id": uuid7(), "activity_id": uuid7()}
    await answer(database, strange, "applied", 1, business_id=tenant.business_id)
    async with database.work() as tx:
        assert await tx.value("select coalesce(sum(reports), 0) from report_answered") == 0


async def test_a_business_has_so_many_sources_and_no_more(database: Database, tenant: Tenant) -> None:
    arrival = Arrival(tenant.business_id, NOW)
    for gather in (Gather(Bounds(100, sources_max=3)), Gather(Bounds(100, sources_max=3))):
        reports = [domain.accept(arrival, {**report(), "source": f"s{n}"}) for n in range(5)]
        kinds = [verdict.kind for verdict in await gather.keep_many(database, arrival, reports)]
        assert kinds[3:] == ["too_many_sources"] * 2
    assert len(await outgoing(database)) == 3


async def test_a_source_too_many_is_said_so(client: httpx.AsyncClient, database: Database, tenant: Tenant) -> None:
    async with database.transaction(tenant) as tx:
        await tx.execute(
            "insert into source select $1, 's' || n, now() from generate_series(1, 200) n", tenant.business_id
        )
    answer = await client.post("/ingest/activities", json=report())
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "source")
    bulk = (await client.post("/ingest/activities/bulk", content=ndjson(report()))).json()
    assert bulk["results"][0]["errors"][0]["code"] == "too_many_sources"
    assert "receipt_id" not in bulk["results"][0]


async def test_old_outcomes_are_forgotten_and_what_worked_still_says_so(
    client: httpx.AsyncClient, database: Database, tenant: Tenant
) -> None:
    receipts: dict[str, UUID] = {}
    reasons = [Reason(field="notes", code="secret", message="quotes the report")]
    for outcome in ("applied", "refused"):
        receipt = (await client.post("/ingest/activities", json=report(outcome))).json()
        receipts[outcome] = receipt["receipt_id"]
        await answer(database, receipt, outcome, 1, business_id=tenant.business_id, reasons=reasons)
    old = datetime.now(UTC) - timedelta(days=domain.OUTCOME_KEPT_DAYS + 1)
    async with database.work() as tx:
        await tx.execute("update report_outcome set answered_at = $1", old)
    await forgetting.forget_outcomes(database)
    async with database.work() as tx:
        rows = await tx.fetch("select outcome, reasons from report_outcome")
    assert [(row["outcome"], orjson.loads(row["reasons"])) for row in rows] == [("refused", [])]
    assert (await client.get(f"/ingest/receipts/{receipts['refused']}")).json()["status"] == "refused"


async def test_each_route_needs_its_scope_and_a_key(client: httpx.AsyncClient) -> None:
    with contextlib.suppress(KeyError):
        del client.headers["X-API-KEY"]
    assert (await client.post("/ingest/activities", json=report())).status_code == 401
    assert (await client.post("/ingest/activities/bulk", content=ndjson(report()))).status_code == 401
    assert (await client.get(f"/ingest/receipts/{uuid7()}")).status_code == 401
