"""S1: activities that recur: one open at a time or ahead, seen before they exist, changed in part or whole."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from libs.contracts.ids import uuid7
from services.lifecycle import ahead
from services.lifecycle.domain.recurrence import HORIZON_DAYS, id_of
from services.lifecycle.store import series as store
from tests.integration.test_lifecycle_reports import admit, report
from tests.integration.test_lifecycle_routes import MakeDatabase, World, settle
from tests.support.http import served

pytestmark = pytest.mark.integration
MONDAY, DUE = date(2030, 3, 18), "2030-03-18T09:00:00+01:00"  # clocks change on 31 March


@pytest.fixture
async def world(make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setenv("REFERENCE_WAIT_MAX_MS", "100")
    database = await make_database("lifecycle")
    tenant = await settle(database)
    async with served("lifecycle", database) as http:
        yield World(http, database, tenant, uuid7())


async def weekly(world: World, rule: Any = "FREQ=WEEKLY", **more: Any) -> dict[str, Any]:
    return await world.schedule(**({"due_datetime": DUE, "recurrence": rule, "note": "call back"} | more))


async def open_ones(world: World) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await world.call("GET", "/scheduled-activity?completed=false")).json()["results"]
    return found


async def dues(world: World) -> list[str]:
    return [each["due_datetime"] for each in await open_ones(world)]


async def future(world: World, query: str = "from_date=2030-03-01&to_date=2030-04-30") -> list[dict[str, Any]]:
    answer = await world.call("GET", f"/scheduled-activity/future?{query}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["results"]
    return found


async def test_the_next_occurrence_is_made_when_the_open_one_is_logged_cancelled_or_completed_by_a_report(
    world: World,
) -> None:
    first = await weekly(world)
    series_id = UUID(first["series_id"])
    assert (first["occurs_on"], first["id"]) == (str(MONDAY), str(id_of(series_id, MONDAY)))
    assert await dues(world) == ["2030-03-18T08:00:00Z"]
    assert (await world.log(scheduled_activity_id=first["id"])).status_code == 201
    assert await dues(world) == ["2030-03-25T08:00:00Z"]
    second = (await open_ones(world))[0]
    assert (second["note"], second["employee"], second["series_id"]) == ("call back", first["employee"], str(series_id))
    await world.call("DELETE", f"/scheduled-activity/{second['id']}")
    third = (await open_ones(world))[0]
    assert third["due_datetime"] == "2030-04-01T07:00:00Z"  # 9:00 in summer too
    done = report(world.tenant.business_id, "complete", "x", summary="done elsewhere", known_only=True)
    done.activity_id = UUID(third["id"])  # type: ignore[misc]
    await admit(world.database, done)
    await admit(world.database, done)
    assert await dues(world) == ["2030-04-08T07:00:00Z"]


async def test_one_next_occurrence_is_made_however_often_the_former_ends(world: World) -> None:
    first = await weekly(world)
    answers = await asyncio.gather(
        *(world.log(scheduled_activity_id=first["id"]) for _ in range(4)),
        *(world.call("DELETE", f"/scheduled-activity/{first['id']}") for _ in range(4)),
    )
    assert all(each.status_code in (201, 204, 409) for each in answers)
    assert len(await open_ones(world)) == 1


async def test_what_was_cancelled_is_not_restored_once_the_next_was_made(world: World) -> None:
    first = await weekly(world)
    await world.call("DELETE", f"/scheduled-activity/{first['id']}")
    refused = await world.call("POST", f"/scheduled-activity/{first['id']}/restore")
    assert (refused.status_code, refused.json()["code"]) == (409, "series_moved_on")
    assert refused.json()["link"].endswith((await open_ones(world))[0]["id"])


async def test_occurrences_are_seen_before_they_exist_under_the_ids_they_will_have(world: World) -> None:
    first = await weekly(world)
    rows = await future(world)
    assert [row["occurs_on"] for row in rows] == [str(MONDAY + timedelta(weeks=n)) for n in range(1, 7)]
    assert {row["state"] for row in rows} == {"future"}
    assert (await world.call("GET", f"/scheduled-activity/{rows[0]['id']}")).status_code == 404
    await world.log(scheduled_activity_id=first["id"])
    made = (await world.call("GET", f"/scheduled-activity/{rows[0]['id']}")).json()
    assert (made["state"], made["due_datetime"]) == ("scheduled", rows[0]["due_datetime"])
    assert [row["id"] for row in await future(world)] == [row["id"] for row in rows[1:]]
    span = "from_date=2030-03-01&to_date=2030-04-30"
    for query, count in (
        (f"{span}&assigned_to_me=true", 5), (f"{span}&employee_ids={uuid7()}", 0), (f"{span}&activity_name=email", 0),
        ("from_date=2030-04-01&to_date=2030-04-07", 1), ("from_date=2029-01-01", 0),
    ):  # fmt: skip
        assert len(await future(world, query)) == count, query
    for query in (
        "from_date=2030-01-02&to_date=2030-01-01", "from_date=2030-01-01&to_date=2032-01-01", "from_date=0001-01-01",
        "from_date=9999-12-31", "to_date=9999-12-31",
    ):  # fmt: skip
        assert (await world.call("GET", f"/scheduled-activity/future?{query}")).status_code == 400


async def test_a_day_is_left_out_before_it_exists(world: World) -> None:
    first = await weekly(world, "FREQ=WEEKLY;COUNT=4")
    path = f"/scheduled-activity/series/{first['series_id']}"
    skipped = await world.call("POST", f"{path}/skip", {"date": "2030-03-25"})
    assert (skipped.status_code, skipped.json()["skipped"]) == (200, ["2030-03-25"])
    assert (await world.call("POST", f"{path}/skip", {"date": "2030-03-25"})).status_code == 200
    assert (await world.call("POST", f"{path}/skip", {"date": "2030-03-26"})).json()["errors"][0][
        "code"
    ] == "no_occurrence"
    assert (await world.call("POST", f"{path}/skip", {"date": str(MONDAY)})).json()["code"] == "made"
    assert (await world.call("POST", f"{path}/skip", {"date": "9999-12-31"})).status_code == 400
    shown = (await world.call("GET", path)).json()
    assert [each["date"] for each in shown["next"]] == ["2030-04-01", "2030-04-08"]
    assert shown["rules"] == [{"from": str(MONDAY), "rule": "FREQ=WEEKLY;COUNT=4", "time": "09:00:00"}]
    for expected in ("2030-04-01T07:00:00Z", "2030-04-08T07:00:00Z", None):
        await world.log(scheduled_activity_id=(await open_ones(world))[0]["id"])
        assert await dues(world) == ([expected] if expected else [])
    assert (await world.call("GET", f"/scheduled-activity/series/{uuid7()}")).status_code == 404


async def test_fixed_dates_are_made_ahead_once_up_to_a_horizon(world: World) -> None:
    today = datetime.now(UTC).date()
    first = await weekly(world, {"rule": "FREQ=DAILY", "mode": "fixed", "zone": "UTC"}, due_datetime=str(today))
    days = [str(today + timedelta(days=n)) for n in range(HORIZON_DAYS + 1)]
    assert [each["due_datetime"] for each in await open_ones(world)] == days
    await world.log(scheduled_activity_id=first["id"])
    assert len(await open_ones(world)) == HORIZON_DAYS
    async with world.database.work() as tx:  # as if made 10 days ago
        series = await store.find_series(tx, world.tenant.business_id, UUID(first["series_id"]))
        assert series is not None
        await store.save_series(tx, series, today, over=False)
    await asyncio.gather(*(ahead.make_occurrences(world.database) for _ in range(3)))
    assert len(await open_ones(world)) == HORIZON_DAYS
    assert len(await future(world, f"to_date={today + timedelta(days=HORIZON_DAYS + 3)}")) == 3


async def test_a_change_is_for_this_one_alone_or_for_those_that_follow(world: World) -> None:
    first = await weekly(world)
    path = f"/scheduled-activity/{first['id']}"
    await world.call("PATCH", path, {"note": "only today", "due_datetime": "2030-03-19T09:00:00Z"})
    assert {row["note"] for row in await future(world)} == {"call back"}
    assert (await future(world))[0]["due_datetime"] == "2030-03-25T08:00:00Z"
    changed = await world.call(
        "PATCH", f"{path}?scope=following", {"note": "from now on", "due_datetime": "2030-03-18T10:30:00+01:00"}
    )
    assert changed.status_code == 200, changed.text
    assert {row["note"] for row in await future(world)} == {"from now on"}
    await world.log(scheduled_activity_id=first["id"])
    assert [(each["note"], each["due_datetime"]) for each in await open_ones(world)] == [
        ("from now on", "2030-03-25T09:30:00Z")
    ]


async def test_another_rule_holds_from_an_occurrence_on(world: World) -> None:
    first = await weekly(world)
    path = f"/scheduled-activity/{first['id']}?scope=following"
    wrong = await world.call("PATCH", path, {"recurrence": "FREQ=WEEKLY;BYDAY=TU"})
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (400, "recurrence")
    assert (await world.call("PATCH", path, {"recurrence": "FREQ=DAILY;INTERVAL=2;COUNT=3"})).status_code == 200
    assert [row["occurs_on"] for row in await future(world)] == ["2030-03-20", "2030-03-22"]
    assert (await world.call("PATCH", path, {"recurrence": None})).status_code == 200
    assert await future(world) == []
    await world.log(scheduled_activity_id=first["id"])
    assert await open_ones(world) == []


async def test_all_open_ones_are_changed_and_cancelled_together_and_what_was_logged_stays(world: World) -> None:
    today = datetime.now(UTC).date()
    rule = {"rule": "FREQ=DAILY;COUNT=6", "mode": "fixed", "zone": "UTC"}
    await weekly(world, rule, due_datetime=f"{today}T09:00:00Z")
    made = await open_ones(world)
    assert len(made) == 6
    await world.log(scheduled_activity_id=made[0]["id"], notes="done")
    path = f"/scheduled-activity/{made[3]['id']}"
    answer = await world.call(
        "PATCH", f"{path}?scope=all", {"note": "all", "due_datetime": made[3]["due_datetime"][:11] + "10:00:00Z"}
    )
    assert answer.status_code == 200, answer.text
    now = await open_ones(world)
    assert {each["note"] for each in now} == {"all"}
    assert [each["due_datetime"][11:] for each in now] == ["09:00:00Z"] * 2 + ["10:00:00Z"] * 3
    assert (await world.call("GET", f"/logged/{made[0]['id']}")).json()["notes"] == "done"
    assert (await world.call("DELETE", f"/scheduled-activity/{made[4]['id']}?scope=following")).status_code == 204
    assert [each["id"] for each in await open_ones(world)] == [each["id"] for each in made[1:4]]
    assert (await world.call("DELETE", f"{path}?scope=all")).status_code == 204
    assert (await open_ones(world), await future(world)) == ([], [])


async def test_of_fixed_dates_those_that_leave_the_rule_are_cancelled_and_new_ones_made(world: World) -> None:
    today = datetime.now(UTC).date()
    rule = {"rule": "FREQ=DAILY;INTERVAL=2", "mode": "fixed", "zone": "UTC"}
    first = await weekly(world, rule, due_datetime=str(today))
    changed = await world.call(
        "PATCH", f"/scheduled-activity/{first['id']}?scope=following", {"recurrence": "FREQ=DAILY;INTERVAL=3;COUNT=4"}
    )
    assert changed.status_code == 200, changed.text
    assert await dues(world) == [str(today + timedelta(days=n)) for n in (0, 3, 6, 9)]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"recurrence": "FREQ=HOURLY"}, "recurrence"), ({"recurrence": "FREQ=WEEKLY;BYDAY=SU"}, "recurrence"),
        ({"recurrence": "FREQ=DAILY", "due_datetime": None}, "due_datetime"),
        ({"recurrence": {"rule": "FREQ=DAILY", "zone": "Mars/Base"}}, "recurrence.zone"),
        ({"recurrence": {"rule": "FREQ=DAILY", "mode": "fixed"}, "due_datetime": "1900-01-01"}, "due_datetime"),
        ({"recurrence": {"rule": "FREQ=DAILY", "mode": "some"}}, "recurrence.mode"), ({"recurrence": 5}, "recurrence"),
    ],
)  # fmt: skip
async def test_a_bad_recurrence_is_refused_and_changes_nothing(world: World, body: dict[str, Any], field: str) -> None:
    answer = await world.call(
        "POST", "/scheduled-activity", {"activity_object_name": "call", "due_datetime": DUE} | body
    )
    assert (answer.status_code, field in {each["field"] for each in answer.json()["errors"]}) == (400, True), (
        answer.text
    )
    assert await world.types() == []


async def test_scopes_are_for_what_recurs(world: World) -> None:
    single = (await world.schedule())["id"]
    for method, query, body in (
        ("PATCH", "?scope=all", {"note": "x"}), ("PATCH", "", {"recurrence": "FREQ=DAILY"}),
        ("DELETE", "?scope=following", None), ("PATCH", "?scope=some", {"note": "x"}),
    ):  # fmt: skip
        assert (await world.call(method, f"/scheduled-activity/{single}{query}", body)).status_code == 400, query
    assert len(await world.types()) == 1
