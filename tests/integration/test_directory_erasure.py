"""A record's person is erased, once and for good, and the history says by whom."""

import asyncio
from typing import Any

import asyncpg
import orjson
import pytest

from tests.integration.test_directory_routes import Directory, directory  # noqa: F401 - a fixture

WHY = {"reason": "asked for by mail, ticket 4711"}
PERSON = {"name": "Grace Hopper", "status": "Active", "fields": {"phone": "+4930123456"}}


async def make(directory: Directory, ref: str = "+4930123456") -> str:  # noqa: F811
    answer = await directory.call("PUT", f"/records/contact/by-ref/{ref}", PERSON | {"external_ref": ref})
    assert answer.status_code == 201, answer.text
    identity: str = answer.json()["id"]
    return identity


async def test_nothing_personal_is_left_of_an_erased_record_and_it_still_resolves(directory: Directory) -> None:  # noqa: F811
    identity = await make(directory)
    answer = await directory.call("POST", f"/records/contact/{identity}/erase", WHY)
    assert answer.status_code == 202, answer.text
    shown = (await directory.call("GET", f"/records/contact/{identity}")).json()
    assert {name: shown[name] for name in ("id", "version", "name", "external_ref", "fields", "status")} == {
        "id": identity, "version": 2, "name": "Erased", "external_ref": None, "fields": {}, "status": "Active",
    }  # fmt: skip
    event = (await directory.events("directory.record"))[-1]
    assert (event.version, event.name, event.external_ref, event.fields) == (2, "Erased", None, {})
    assert event.erased_at is not None
    async with directory.database.work() as tx:
        row = bytes(await tx.value("select convert_to(r::text, 'UTF8') from record r"))
    assert b"Grace" not in row
    assert b"4930" not in row


async def test_erasing_again_says_the_same_and_changes_nothing(directory: Directory) -> None:  # noqa: F811
    identity = await make(directory)
    path = f"/records/contact/{identity}/erase"
    assert (await directory.call("GET", path)).status_code == 404
    answers = await asyncio.gather(*(directory.call("POST", path, WHY) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 202]
    assert len({answer.content for answer in answers}) == 1
    assert (await directory.call("GET", path)).json() == answers[0].json()
    assert answers[0].json()["reason"] == WHY["reason"]
    assert len(await directory.events("directory.record")) == 2


async def test_an_erased_record_takes_nothing_in_any_more(directory: Directory) -> None:  # noqa: F811
    identity = await make(directory)
    await directory.call("POST", f"/records/contact/{identity}/erase", WHY)
    again = PERSON | {"external_ref": "+4930123456"}
    for method, path, body in (
        ("PUT", "/records/contact/by-ref/+4930123456", again),
        ("POST", "/records/contact", again),
        ("PATCH", f"/records/contact/{identity}", {"name": "Grace Hopper"}),
    ):
        answer = await directory.call(method, path, body)
        assert (answer.status_code, answer.json()["code"]) == (409, "erased"), (method, answer.text)
    bulk = await directory.call("POST", "/records/contact/bulk", orjson.dumps(again) + b'\n{"name":"Other"}')
    first, second = bulk.json()["results"]
    assert (first["errors"][0]["code"], "id" in second) == ("erased", True)
    assert (await directory.call("GET", f"/records/contact/{identity}")).json()["name"] == "Erased"


async def test_a_deleted_record_can_be_erased_and_stays_deleted(directory: Directory) -> None:  # noqa: F811
    identity = await make(directory)
    assert (await directory.call("DELETE", f"/records/contact/{identity}")).status_code == 204
    assert (await directory.call("POST", f"/records/contact/{identity}/erase", WHY)).status_code == 202
    assert (await directory.call("GET", f"/records/contact/{identity}")).status_code == 404
    assert (await directory.call("GET", f"/records/contact/{identity}/erase")).status_code == 200


BAD: list[tuple[str, Any, int]] = [
    ("contact/00000000-0000-7000-8000-000000000000", WHY, 404),
    ("nothing/{}", WHY, 404),
    ("account/{}", WHY, 404),
    ("contact/x", WHY, 422),
    ("contact/{}", {}, 422),
    ("contact/{}", {"reason": ""}, 422),
    ("contact/{}", {"reason": "x" * 501}, 422),
    ("contact/{}", WHY | {"more": 1}, 422),
]


async def test_a_bad_erasure_is_refused(directory: Directory) -> None:  # noqa: F811
    identity = await make(directory)
    for path, body, status in BAD:
        answer = await directory.call("POST", f"/records/{path.format(identity)}/erase", body)
        assert answer.status_code == status, (path, body, answer.text)
    foreign = await directory.call_as(directory.other["api_key"], "POST", f"/records/contact/{identity}/erase", WHY)
    assert foreign.status_code == 404
    assert (await directory.call("GET", f"/records/contact/{identity}")).json()["name"] == "Grace Hopper"


async def test_each_security_event_has_one_entry_that_says_who_and_never_changes(directory: Directory) -> None:  # noqa: F811
    identity = await make(directory)
    key = (await directory.call("POST", "/api-keys", {"name": "new"})).json()["id"]
    token = (await directory.call("POST", f"/members/{directory.own['user_id']}/tokens")).json()["id"]
    for _ in range(2):
        await directory.call("DELETE", f"/api-keys/{key}")
        await directory.call("POST", f"/records/contact/{identity}/erase", WHY, x_request_id="ticket-4711")
    listed = (await directory.call("GET", "/security-events")).json()["results"]
    assert [(each["kind"], each["subject_id"]) for each in listed[:-1]] == [
        ("record.erased", identity), ("key.revoked", key), ("key.made", token), ("key.made", key),
    ]  # fmt: skip
    assert (listed[-1]["kind"], listed[-1]["by_key"]) == ("key.made", None), "the first key is the operator's doing"
    assert {each["by_key"] for each in listed[:-1]} == {listed[-1]["subject_id"]}
    assert (listed[0]["reason"], listed[0]["request_id"]) == (WHY["reason"], "ticket-4711")
    foreign = (await directory.call_as(directory.other["api_key"], "GET", "/security-events")).json()["results"]
    assert len(foreign) == 1
    owner = await asyncpg.connect(directory.database.urls.owner)
    try:
        for sql in ("update security_event set kind = 'x'", "delete from security_event", "truncate security_event"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with directory.database.work() as tx:
                    await tx.execute(sql)
            with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="append-only"):
                await owner.execute(sql)
    finally:
        await owner.close()


async def merged(directory: Directory) -> list[str]:  # noqa: F811
    """Three records of one person: the second was merged into the first, the third into the second before that."""
    ids = [await make(directory, f"+49{number}") for number in range(3)]
    for survivor, record in ((1, 2), (0, 1)):
        path = f"/records/contact/{ids[survivor]}/merge"
        assert (await directory.call("POST", path, {"record_id": ids[record]})).status_code == 200
    return ids


@pytest.mark.parametrize("named", [0, 1, 2], ids=["the survivor", "a merged one", "one merged into that"])
async def test_records_that_are_merged_are_erased_together_whichever_is_named(directory: Directory, named: int) -> None:  # noqa: F811
    ids, other = await merged(directory), await make(directory, "+50")
    answer = await directory.call("POST", f"/records/contact/{ids[named]}/erase", WHY)
    assert answer.status_code == 202, answer.text
    assert (answer.json()["record_id"], answer.json()["records"]) == (ids[named], sorted(ids))
    for identity in ids:
        shown = (await directory.call("GET", f"/records/contact/{identity}")).json()
        assert (shown["name"], shown["fields"], shown["merged_into"]) == (
            "Erased", {}, None if identity == ids[0] else ids[0]
        )  # fmt: skip
        again = await directory.call("POST", f"/records/contact/{identity}/erase", WHY)
        assert (again.status_code, again.json()["records"], again.json()["reason"]) == (200, sorted(ids), WHY["reason"])
        assert (await directory.call("GET", f"/records/contact/{identity}/erase")).json() == again.json()
    told = [str(event.id) for event in await directory.events("directory.record") if event.erased_at is not None]
    assert sorted(told) == sorted(ids)
    async with directory.database.work() as tx:
        rows = await tx.fetch("select convert_to(r::text, 'UTF8') from record r where erased_at is not null")
    assert not any(b"Grace" in row[0] or b"4930" in row[0] for row in rows)
    assert (await directory.call("GET", f"/records/contact/{other}")).json()["name"] == "Grace Hopper"


async def test_erased_records_stay_merged_and_take_no_other_in(directory: Directory) -> None:  # noqa: F811
    ids, other = await merged(directory), await make(directory, "+50")
    await directory.call("POST", f"/records/contact/{ids[0]}/erase", WHY)
    for identity in ids[1:]:
        refused = await directory.call("POST", f"/records/contact/{identity}/unmerge")
        assert (refused.status_code, refused.json()["code"]) == (409, "erased"), refused.text
        assert "stay merged" in refused.json()["detail"]
    into = await directory.call("POST", f"/records/contact/{ids[0]}/merge", {"record_id": other})
    assert (into.status_code, into.json()["code"]) == (409, "erased")


async def test_a_merge_and_an_erasure_at_once_end_as_if_one_came_after_the_other(directory: Directory) -> None:  # noqa: F811
    for number in range(10):
        one, two = [await make(directory, f"+49{number}-{which}") for which in "ab"]
        answers = await asyncio.gather(
            directory.call("POST", f"/records/contact/{one}/merge", {"record_id": two}),
            directory.call("POST", f"/records/contact/{one if number % 2 else two}/erase", WHY),
        )
        shown = [(await directory.call("GET", f"/records/contact/{each}")).json() for each in (one, two)]
        names = [each["name"] for each in shown]
        if answers[0].status_code == 200:
            assert names == ["Erased", "Erased"]
        else:
            assert (answers[0].json()["code"], sorted(names)) == ("erased", ["Erased", "Grace Hopper"])
