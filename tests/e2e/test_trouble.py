"""Records that cannot be handled are set aside, answered and replayed; a revoked key ends while traffic is stuck."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import asyncpg
import httpx
import orjson
from aiokafka import AIOKafkaProducer

from cli.check import drain_and_reconcile
from libs.contracts.ids import activity_id_of, key_of, partition_of, uuid7
from libs.messaging.broker import BrokerSettings
from libs.messaging.letters import DeadLetter, drop, get_letter, list_letters
from services import NAMES
from tests.support.system import ONE_WAY, Business, System, eventually

PARTITIONS = 4
REVOKED_WITHIN_S = 12.0
"""Promised are 5 s; whoever waited for the next heartbeat of its copy would take 15, on the slowest machine too."""
Headers = list[tuple[str, bytes]]


def report(ref: str) -> dict[str, Any]:
    links = [{"object": "contact", "external_ref": "c-1"}]
    return {"source": "phone", "source_ref": ref, "action": "log", "type": "call", "summary": ref, "links": links}


def place_of(business: Business, ref: str) -> tuple[UUID, bytes]:
    """The activity that a report with this ref is about, and its key."""
    activity_id = activity_id_of(UUID(business.id), "phone", ref)
    return activity_id, key_of(UUID(business.id), activity_id)


async def post(client: httpx.AsyncClient, business: Business, ref: str) -> dict[str, Any]:
    answer = await client.post("/ingest/activities", headers=business.headers, json=report(ref))
    assert answer.status_code == 202, answer.text
    accepted: dict[str, Any] = answer.json()
    return accepted


async def receipt_of(client: httpx.AsyncClient, business: Business, receipt_id: str) -> dict[str, Any]:
    answer = await client.get(f"/ingest/receipts/{receipt_id}", headers=business.headers)
    assert answer.status_code == 200, answer.text
    receipt: dict[str, Any] = answer.json()
    return receipt


async def until(client: httpx.AsyncClient, business: Business, receipt_id: str, status: str) -> dict[str, Any]:
    receipt: dict[str, Any] = {}

    async def reached() -> bool:
        nonlocal receipt
        receipt = await receipt_of(client, business, receipt_id)
        return bool(receipt["status"] == status)

    await eventually(reached, 90, f"the receipt is {status}", lambda: receipt)
    return receipt


async def produce(system: System, topic: str, partition: int, *records: tuple[bytes, bytes, Headers]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=system.servers.kafka.bootstrap_servers)
    await producer.start()
    try:
        for key, value, headers in records:
            await producer.send_and_wait(topic, value, key, partition, headers=headers)
    finally:
        await producer.stop()


async def letters_of(system: System, package: str, key: bytes) -> list[DeadLetter]:
    broker = BrokerSettings(system.servers.kafka.bootstrap_servers)
    listed = [letter.id for letter in await list_letters(broker, package) if letter.key == key]
    return [await get_letter(broker, package, each) for each in listed]


async def command(system: System, *arguments: str) -> str:
    done = await asyncio.to_thread(system.command, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@asynccontextmanager
async def owner_of(system: System, package: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    address = urlsplit(system.servers.postgres.admin_url)._replace(path=f"/activities_{package}")
    connection = await asyncpg.connect(urlunsplit(address))
    try:
        yield connection
    finally:
        await connection.close()


def event_of(business_id: str, activity_id: UUID) -> bytes:
    at = "2026-01-31T09:00:00Z"
    ids = {"business_id": business_id, "activity_id": str(activity_id), "type_id": business_id, "version": 1}
    activity = {**ids, "type": "call", "type_name": "Call", "at": at, "created_at": at, "recorded_at": at}
    return orjson.dumps({"activity": activity, "change": {"type": "activity.created"}})


async def test_poisoned_activities_are_set_aside_and_their_partition_goes_on(
    system: System, client: httpx.AsyncClient, business: Business
) -> None:
    activity_id, key = place_of(business, "after-poison")
    named = [("ce_type", b"activity.created"), ("ce_version", b"1")]
    poison = [
        (key, b"\x00garbage", named),
        (key, b'{"activity":{"business_id":"x"}}', named),
        (key, event_of(str(uuid7()), activity_id), named),
        (key, event_of(business.id, activity_id), [("ce_version", b"1")]),
    ]
    await produce(system, "activity.created", partition_of(key, PARTITIONS), *poison)
    accepted = await post(client, business, "after-poison")
    await until(client, business, accepted["receipt_id"], "applied")
    counted = await client.get(
        "/api/reports/rows",
        headers=business.patient,
        params={"from": "2026-01-01", "to": "2031-12-31", "min_version": f"{activity_id}:1"},
    )
    assert (counted.status_code, counted.json()["count"]) == (200, 1), counted.text
    assert await drain_and_reconcile(system.environment, business.id) == []
    for package in ("timeline_projector", "reporting"):
        found = await letters_of(system, package, key)
        assert sorted((letter.value, letter.topic) for letter in found) == sorted(
            (value, "activity.created") for _, value, _ in poison
        )
        reasons = " ".join(letter.reason for letter in found)
        assert "the business in the key is not the business inside" in reasons
        assert "the header ce_type is missing" in reasons
    await command(system, "drop", "reporting", *(letter.id for letter in found), "--reason", "a test's own")
    assert "dropped: a test's own" in await command(system, "letters", "reporting", "--settled")
    assert await letters_of(system, "reporting", key) == []


async def test_an_unreadable_report_is_answered_set_aside_and_later_ones_go_on(
    system: System, client: httpx.AsyncClient, business: Business
) -> None:
    activity_id, key = place_of(business, "after-garbage")
    receipts = [uuid7() for _ in range(3)]
    async with owner_of(system, "ingest") as owner:
        await owner.executemany(
            "insert into report_identity values ($1, $2, $3, '', 1, now())",
            [(UUID(business.id), receipt_id, activity_id) for receipt_id in receipts],
        )
    foreign = {"receipt_id": str(receipts[2]), "business_id": str(uuid7()), "activity_id": str(activity_id)}
    values = [
        b"\x00garbage",
        b'{"report":7}',
        orjson.dumps({**foreign, "received_at": "2026-01-31T09:00:00Z", "report": report("x")}),
    ]
    records = [
        (key, value, [("ce_type", b"activity.received"), ("ce_id", str(receipt_id).encode())])
        for receipt_id, value in zip(receipts, values, strict=True)
    ]
    nameless = [(b"no key", b"garbage", [("ce_type", b"activity.received")])]
    await produce(system, "activity.received", partition_of(key, PARTITIONS), *records, *nameless)
    accepted = await post(client, business, "after-garbage")
    await until(client, business, accepted["receipt_id"], "applied")
    for receipt_id in receipts:
        receipt = await until(client, business, str(receipt_id), "set_aside")
        assert [reason["code"] for reason in receipt["reasons"]] == ["set_aside"]

    applied = [("ce_type", b"activity.received"), ("ce_id", accepted["receipt_id"].encode())]
    await produce(system, "activity.received", partition_of(key, PARTITIONS), (key, b"garbage", applied))
    assert await drain_and_reconcile(system.environment, business.id) == []
    assert (await receipt_of(client, business, accepted["receipt_id"]))["status"] == "applied"
    found = await letters_of(system, "lifecycle", key)
    assert len(found) == len(receipts) + 1
    await drop(
        BrokerSettings(system.servers.kafka.bootstrap_servers),
        "lifecycle",
        [letter.id for letter in found],
        "a test's own",
    )


async def test_what_was_set_aside_is_applied_when_it_is_replayed(
    system: System, client: httpx.AsyncClient, business: Business
) -> None:
    await until(client, business, (await post(client, business, "before"))["receipt_id"], "applied")
    activity_id, key = place_of(business, "replayed")
    async with owner_of(system, "lifecycle") as owner:
        await owner.execute(f"alter table activity add constraint broken check (activity_id <> '{activity_id}')")
        try:
            accepted = await post(client, business, "replayed")
            others = [await post(client, business, f"beside-{number}") for number in range(20)]
            receipt = await until(client, business, accepted["receipt_id"], "set_aside")
            assert "dead letters of lifecycle" in receipt["reasons"][0]["message"]
            for other in others:
                await until(client, business, other["receipt_id"], "applied")
        finally:
            await owner.execute("alter table activity drop constraint broken")

    async def listed() -> bool:
        return len(await letters_of(system, "lifecycle", key)) == 1

    await eventually(listed, 60, "the dead letter is listed")
    (letter,) = await letters_of(system, "lifecycle", key)
    assert f"{letter.id}\tactivity.received/{letter.partition}@{letter.offset}\t{key.decode()}\t" in await command(
        system, "letters", "lifecycle"
    )
    await command(system, "replay", "lifecycle", letter.id)
    receipt = await until(client, business, accepted["receipt_id"], "applied")
    assert (receipt["version"], receipt["reasons"]) == (1, [])
    assert await letters_of(system, "lifecycle", key) == []
    assert await drain_and_reconcile(system.environment, business.id) == []


@ONE_WAY
async def test_an_operator_lists_shows_replays_and_drops_letters_over_http(
    system: System, client: httpx.AsyncClient, business: Business
) -> None:
    operator, letters = {"X-API-KEY": system.operator_key}, "/api/operations/reporting/letters"
    activity_id, key = place_of(business, "circle")
    named = [("ce_type", b"activity.created"), ("ce_version", b"1")]
    async with owner_of(system, "reporting") as owner:
        await owner.execute(f"alter table fact add constraint broken check (activity_id <> '{activity_id}') not valid")
        try:
            accepted = await post(client, business, "circle")
            await produce(system, "activity.created", partition_of(key, PARTITIONS), (key, b"\x00\xffgarbage", named))
            await until(client, business, accepted["receipt_id"], "applied")
            found: list[dict[str, Any]] = []

            async def listed() -> bool:
                answer = await client.get(letters, headers=operator, params={"business_id": business.id})
                assert answer.status_code == 200, answer.text
                found[:] = answer.json()["results"]
                places = {(letter["topic"], letter["partition"], letter["offset"]) for letter in found}
                return len(places) == 3  # the activity came by two topics; a batch that broke off sets aside again

            await eventually(listed, 60, "three records are set aside", lambda: found)
        finally:
            await owner.execute("alter table fact drop constraint broken")
    assert {letter["business_id"] for letter in found} == {business.id}
    for path in (letters, f"{letters}/{found[0]['id']}", "/api/operations/reporting/stops"):
        assert (await client.get(path, headers=business.headers)).status_code == 403
    garbage = [letter["id"] for letter in found if letter["bytes"] == len(b"\x00\xffgarbage")]
    whole = [letter["id"] for letter in found if letter["id"] not in garbage]
    shown = (await client.get(f"{letters}/{garbage[0]}", headers=operator)).json()
    assert shown["value"] == {"text": None, "base64": "AP9nYXJiYWdl"}
    assert {"name": "ce_type", "value": {"text": "activity.created", "base64": "YWN0aXZpdHkuY3JlYXRlZA=="}} in shown[
        "headers"
    ]
    replayed = await client.post(f"{letters}/replay", headers=operator, json={"ids": whole})
    assert replayed.json() == {"replayed": len(whole)}, replayed.text
    assert (await client.post(f"{letters}/drop", headers=operator, json={"ids": garbage})).status_code == 422
    dropped = await client.post(f"{letters}/drop", headers=operator, json={"ids": garbage, "reason": "not ours"})
    assert dropped.json() == {"dropped": len(garbage)}, dropped.text
    of_business = {"business_id": business.id}
    await eventually(lambda: _none_left(client, letters, operator, business), 60, "no letter is open")
    ended = (await client.get(letters, headers=operator, params={**of_business, "settled": True})).json()["results"]
    assert [each["settled"]["reason"] for each in ended if each["id"] in garbage] == ["not ours"] * len(garbage)
    assert await drain_and_reconcile(system.environment, business.id) == []
    counted = await client.get(
        "/api/reports/rows", headers=business.headers, params={"from": "2026-01-01", "to": "2031-12-31"}
    )
    assert counted.json()["count"] == 1


async def _none_left(client: httpx.AsyncClient, letters: str, operator: dict[str, str], business: Business) -> bool:
    """A batch that broke off in the middle sets a record aside twice; the second letter is given up like the first."""
    found = (await client.get(letters, headers=operator, params={"business_id": business.id})).json()["results"]
    if found:
        again = {"ids": [letter["id"] for letter in found], "reason": "a second letter of the same record"}
        assert (await client.post(f"{letters}/drop", headers=operator, json=again)).status_code == 200
    return not found


async def test_each_service_answers_an_operator_about_its_own_letters_and_stops(
    system: System, client: httpx.AsyncClient
) -> None:
    operator, nothing = {"X-API-KEY": system.operator_key}, {"ids": ["0:999999"], "reason": "none"}
    for service in NAMES:
        about = f"/api/operations/{service}"
        for path in ("letters", "stops"):
            listed = await client.get(f"{about}/{path}", headers=operator)
            assert (listed.status_code, "results" in listed.json()) == (200, True), listed.text
        for path, wish in (("letters/drop", nothing), ("stops/resume", {"topic": "none", "partition": 0})):
            refused = await client.post(f"{about}/{path}", headers=operator, json=wish)
            assert refused.status_code == 404, refused.text
            assert refused.json()["code"] != "no_such_route", "the service itself says so"


async def test_a_revoked_key_is_refused_everywhere_while_activity_traffic_is_stuck(
    system: System, client: httpx.AsyncClient, business: Business
) -> None:
    made = await client.post("/api/directory/api-keys", headers=business.headers, json={"name": "second"})
    key = {**business.headers, "X-API-KEY": made.json()["api_key"]}
    paths = (
        "/api/directory/members",
        f"/ingest/receipts/{uuid7()}",
        "/api/activities",
        f"/api/timeline/contact/{uuid7()}",
        "/api/reports/rows?from=2026-01-01&to=2026-01-31",
        "/api/webhooks/endpoints",
    )

    async def refused() -> list[bool]:
        answers = await asyncio.gather(*(client.get(path, headers=key) for path in paths))
        return [answer.status_code == 401 for answer in answers]

    assert not any(await refused())
    async with owner_of(system, "timeline_projector") as owner, owner.transaction():
        await owner.execute("lock table activity_head in exclusive mode")
        stuck = [await post(client, business, f"stuck-{number}") for number in range(50)]
        await until(client, business, stuck[-1]["receipt_id"], "applied")
        version = f"{stuck[-1]['activity_id']}:1"
        behind = await client.post(
            "/api/timeline/badges",
            headers={**business.headers, "Prefer": "wait=1"},
            params={"min_version": version},
            json={"object": "contact", "record_ids": []},
        )
        assert behind.status_code == 202, "the timeline was to be stuck"
        revoked = await client.delete(f"/api/directory/api-keys/{made.json()['id']}", headers=business.headers)
        assert revoked.status_code == 204
        at = time.monotonic()

        async def refused_everywhere() -> bool:
            return all(await refused())

        await eventually(refused_everywhere, REVOKED_WITHIN_S, "the key is refused everywhere")
        assert time.monotonic() - at < REVOKED_WITHIN_S
    assert await drain_and_reconcile(system.environment, business.id) == []
