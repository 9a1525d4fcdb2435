"""S1: many writes in one request, and single ones that are written together."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from libs.contracts.ids import uuid7
from tests.integration.test_lifecycle_reports import admit, report
from tests.integration.test_lifecycle_routes import DUE, MakeDatabase, World, settle
from tests.support.http import served

pytestmark = pytest.mark.integration


@pytest.fixture
async def world(make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setenv("REFERENCE_WAIT_MAX_MS", "100")
    database = await make_database("lifecycle")
    tenant = await settle(database)
    async with served("lifecycle", database) as http:
        yield World(http, database, tenant, uuid7())


def plan(**more: Any) -> dict[str, Any]:
    return {"action": "schedule", "body": {"activity_object_name": "call", "due_datetime": DUE} | more}


def log(action: str = "log", **more: Any) -> dict[str, Any]:
    return {"action": action, "object": "call", "body": {"related_objects": []} | more}


async def bulk(world: World, *operations: Any, **headers: str) -> dict[str, Any]:
    answer = await world.call("POST", "/bulk", {"operations": list(operations)}, **headers)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def test_each_kind_of_operation_has_a_result_of_its_own_in_order(world: World) -> None:
    planned = [(await world.schedule())["id"] for _ in range(3)]
    logged = (await world.log()).json()["id"]
    answer = await bulk(
        world, plan(note="new"), {"action": "change", "id": planned[0], "body": {"note": "changed"}},
        {"action": "cancel", "id": planned[1]}, log("complete", scheduled_activity_id=planned[2]), log(notes="direct"),
        {"action": "append", "id": logged, "body": {"kind": "note", "text": "one"}},
        {"action": "append", "id": logged, "body": {"kind": "note", "text": "two"}},
    )  # fmt: skip
    results = answer["results"]
    assert (answer["written"], answer["refused"]) == (7, 0)
    assert [each["status"] for each in results] == [201, 200, 200, 201, 201, 201, 201]
    assert [each["version"] for each in results] == [1, 2, 2, 2, 1, 2, 3]
    assert [each["id"] for each in results[1:4]] == planned
    assert (await world.call("GET", f"/scheduled-activity/{planned[0]}")).json()["note"] == "changed"
    assert (await world.call("GET", f"/scheduled-activity/{planned[1]}")).json()["state"] == "cancelled"
    assert (await world.call("GET", f"/logged/{planned[2]}")).json()["state"] == "completed"
    shown = (await world.call("GET", f"/logged/{logged}")).json()
    assert [each["text"] for each in shown["appends"]] == ["one", "two"]


async def test_a_refused_operation_changes_nothing_and_hinders_no_other(world: World) -> None:
    planned = (await world.schedule())["id"]
    answer = await bulk(
        world, plan(employee_id=str(uuid7())), plan(), {"action": "cancel", "id": str(uuid7())}, {"action": "fly"},
        log(scheduled_activity_id=planned), log(scheduled_activity_id=planned),
        {"action": "change", "id": planned, "body": {"note": "x"}},
        {"action": "change", "id": planned, "body": {"x": 1}},
        plan(recurrence="FREQ=DAILY"), {"action": "cancel", "id": planned, "version": 7},
    )  # fmt: skip
    results = answer["results"]
    assert [each["status"] for each in results] == [400, 201, 404, 400, 201, 409, 409, 400, 400, 409]
    assert results[0]["errors"][0] == {
        "field": "employee_id", "code": "does_not_exist", "message": results[0]["errors"][0]["message"],
    }  # fmt: skip
    assert results[5]["link"] == f"/api/activities/logged/{planned}"
    assert results[7]["errors"][0]["field"] == "x"
    assert [each["index"] for each in results] == list(range(10))
    assert len(await world.types()) == 3


async def test_later_operations_find_what_earlier_ones_left(world: World) -> None:
    planned = (await world.schedule())["id"]
    path = {"action": "change", "id": planned}
    answer = await bulk(
        world, path | {"body": {"note": "a"}, "version": 1}, path | {"body": {"note": "b"}, "version": 1},
        path | {"body": {"subject": "c"}, "version": 2}, {"action": "cancel", "id": planned},
        {"action": "cancel", "id": planned},
    )  # fmt: skip
    assert [each["status"] for each in answer["results"]] == [200, 412, 200, 200, 200]
    shown = (await world.call("GET", f"/scheduled-activity/{planned}")).json()
    assert (shown["note"], shown["subject"], shown["state"], shown["version"]) == ("a", "c", "cancelled", 4)


async def test_a_bulk_with_the_same_key_happens_once(world: World) -> None:
    first = await bulk(world, plan(), plan(), idempotency_key="k")
    again = await world.call("POST", "/bulk", {"operations": [plan(), plan()]}, idempotency_key="k")
    assert again.json() == first
    assert (await world.call("POST", "/bulk", {"operations": [plan()]}, idempotency_key="k")).status_code == 409
    assert len(await world.types()) == 2


async def test_five_hundred_operations_are_taken_and_no_more(world: World) -> None:
    answer = await bulk(world, *(plan(note=str(number)) for number in range(500)))
    assert answer["written"] == 500
    assert (await world.call("GET", "/scheduled-activity?page_size=1")).json()["count"] == 500
    for body in ({"operations": [plan()] * 501}, {"operations": []}, {}, [], {"operations": [plan()], "x": 1}):
        assert (await world.call("POST", "/bulk", body)).status_code == 400
    raw = await world.http.post(
        "/api/activities/bulk", headers=world.tenant.headers, content=b'{"operations":[],"operations":[]}'
    )
    assert raw.status_code == 400


async def test_single_writes_at_the_same_time_are_each_decided_for_themselves(world: World) -> None:
    planned = (await world.schedule())["id"]
    stranger = {"employee_id": str(uuid7())}
    answers = await asyncio.gather(
        *(
            world.call("POST", "/scheduled-activity", {"activity_object_name": "call", "note": str(n)})
            for n in range(40)
        ),
        *(world.call("POST", "/scheduled-activity", {"activity_object_name": "call"} | stranger) for _ in range(5)),
        *(world.log(notes=str(n)) for n in range(40)),
        *(world.log(scheduled_activity_id=planned) for _ in range(10)),
        *(
            world.call("POST", "/scheduled-activity", {"activity_object_name": "call"}, idempotency_key="k")
            for _ in range(5)
        ),
    )
    statuses = [each.status_code for each in answers]
    assert statuses[:40] == [201] * 40
    assert [each.json()["note"] for each in answers[:40]] == [str(n) for n in range(40)]
    assert statuses[40:45] == [400] * 5
    assert [each.json()["notes"] for each in answers[45:85]] == [str(n) for n in range(40)]
    assert sorted(statuses[85:95]) == [201] + [409] * 9
    assert len({each.json()["id"] for each in answers[95:]}) == 1
    ids = {each.json()["id"] for each in answers if each.status_code == 201}
    assert len(ids) == 82
    assert all(each.headers["x-wrote"].startswith(each.json()["id"]) for each in answers if each.status_code == 201)


async def test_a_caller_who_leaves_does_not_hold_up_those_who_wait(world: World) -> None:
    body = {"activity_object_name": "call"}
    for _ in range(5):
        tasks = [asyncio.create_task(world.call("POST", "/scheduled-activity", body)) for _ in range(12)]
        await asyncio.sleep(0.003)
        for task in tasks[::3]:
            task.cancel()
        ended = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)
        assert all(isinstance(each, asyncio.CancelledError) or each.status_code in (201, 503) for each in ended)
    assert (await asyncio.wait_for(world.call("POST", "/scheduled-activity", body), 30)).status_code == 201


async def test_a_report_that_waited_is_in_the_answer_to_the_log_that_it_waited_for(world: World) -> None:
    planned = (await world.schedule())["id"]
    waiting = report(world.tenant.business_id, "append", "x", text="from outside", known_only=True)
    waiting.activity_id = UUID(planned)  # type: ignore[misc]
    await admit(world.database, waiting)
    answer = (await world.log(scheduled_activity_id=planned)).json()
    assert (answer["appends_count"], [each["text"] for each in answer["appends"]]) == (1, ["from outside"])
