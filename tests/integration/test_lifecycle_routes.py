"""The routes of scheduled and logged activities, against a real database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest

from libs.contracts.activity import ActivityEvent, Link
from libs.contracts.directory import Record
from libs.contracts.ids import uuid7
from libs.database import Database
from services.lifecycle import handlers
from tests.integration.test_lifecycle_reports import admit, events, report
from tests.support.http import Tenant, served, settle

MakeDatabase = Callable[[str], Awaitable[Database]]
DUE = "2030-06-01T10:00:00Z"


@dataclass
class World:
    """A served lifecycle with a business and a record in it."""

    http: httpx.AsyncClient
    database: Database
    tenant: Tenant
    contact: UUID

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        sent = self.tenant.headers | {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.request(method, f"/api/activities{path}", json=body, headers=sent)

    async def schedule(self, **more: Any) -> dict[str, Any]:
        answer = await self.call(
            "POST", "/scheduled-activity", {"activity_object_name": "call", "due_datetime": DUE} | more
        )
        assert answer.status_code == 201, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    async def log(self, object_name: str = "call", **more: Any) -> httpx.Response:
        return await self.call("POST", f"/{object_name}/log-activity", {"related_objects": []} | more)

    async def types(self) -> list[tuple[str, int]]:
        return [(types, event.activity.version) for types, event in await events(self.database)]


@pytest.fixture
async def world(make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setenv("REFERENCE_WAIT_MAX_MS", "100")
    database = await make_database("lifecycle")
    tenant, contact = await settle(database), uuid7()
    await save_record(database, tenant, contact)
    async with served("lifecycle", database) as http:
        yield World(http, database, tenant, contact)


async def save_record(database: Database, tenant: Tenant, record_id: UUID) -> None:
    when = datetime.now(UTC)
    async with database.work() as tx:
        await handlers.copy_records(
            tx,
            [
                Record(
                    business_id=tenant.business_id,
                    id=record_id,
                    version=1,
                    object="contact",
                    name="Grace",
                    created_at=when,
                    updated_at=when,
                )
            ],
        )


async def test_an_activity_is_scheduled_read_changed_cancelled_restored_logged_and_added_to(world: World) -> None:
    links = [{"custom_object": {"api_name": "contact"}, "entity_id": str(world.contact)}]
    made = await world.call(
        "POST",
        "/scheduled-activity",
        {"activity_object_name": "meeting", "due_datetime": DUE, "note": "papers", "related_objects": links},
    )
    identity = made.json()["id"]
    path = f"/scheduled-activity/{identity}"
    assert (made.status_code, made.headers["etag"], made.headers["x-wrote"]) == (201, '"1"', f"{identity}:1")
    assert made.json()["employee"] == {"id": str(world.tenant.user_id), "name": "Ada"}
    assert made.json()["associated_entities"][0]["entity_id"] == str(world.contact)
    assert (await world.call("GET", path)).json() == made.json()
    moved = await world.call("PATCH", path, {"due_datetime": "2030-06-02T10:00:00+02:00"})
    assert moved.json()["due_datetime"] == "2030-06-02T08:00:00Z"
    assert moved.json()["original_due_datetime"] == DUE
    assert moved.json()["note"] == "papers"
    noted = await world.call("PATCH", f"{path}/notes", {"notes": "more papers"})
    assert (noted.json()["note"], noted.headers["etag"]) == ("more papers", '"3"')
    replaced = await world.call("PUT", path, {"due_datetime": "2030-06-03"})
    assert (replaced.json()["note"], replaced.json()["employee"]) == (None, None)
    assert (replaced.json()["due_datetime"], replaced.json()["due_at"]) == ("2030-06-03", "2030-06-03T21:59:59.999999Z")
    gone = [await world.call("DELETE", path) for _ in range(2)]
    assert [(each.status_code, each.headers["etag"]) for each in gone] == [(204, '"5"'), (204, '"5"')]
    assert (await world.call("PATCH", path, {"note": "x"})).json()["code"] == "cancelled"
    back = await world.call("POST", f"{path}/restore")
    assert (back.status_code, back.json()["state"]) == (200, "scheduled")
    logged = await world.log(
        "meeting", scheduled_activity_id=identity, notes="done", occurred_at="2026-01-01T00:00:00Z"
    )
    assert logged.status_code == 201, logged.text
    assert (logged.json()["id"], logged.json()["scheduled_activity_id"]) == (identity, identity)
    assert logged.json()["completed_at"] == logged.json()["logged_at"]
    assert logged.json()["logged_by"]["name"] == "Ada"
    added = await world.call("POST", f"/logged/{identity}/append", {"kind": "note", "text": "later"})
    assert (added.status_code, added.headers["etag"]) == (201, '"8"')
    taken = await world.call("POST", f"/logged/{identity}/append", {"kind": "retraction", "text": "wrong customer"})
    assert taken.json()["retracted_at"] is not None
    shown = await world.call("GET", f"/logged/{identity}")
    assert [each["kind"] for each in shown.json()["appends"]] == ["note", "retraction"]
    assert shown.headers["etag"] == '"9"'
    history = (await world.call("GET", f"/logged/{identity}/history")).json()
    assert [each["type"].removeprefix("activity.") for each in history["results"]] == [
        "created",
        "rescheduled",
        "updated",
        "rescheduled",
        "cancelled",
        "restored",
        "completed",
        "appended",
        "appended",
    ]
    assert history["results"][2]["changes"] == {"notes": {"before": "papers", "after": "more papers"}}
    assert history["results"][0]["by"]["name"] == "Ada"
    assert all(len(bytes.fromhex(each["hash"])) == 32 and each["erased"] is False for each in history["results"])
    assert len({each["hash"] for each in history["results"]}) == len(history["results"])
    assert (await world.call("GET", f"/scheduled-activity/{identity}/history")).json() == history
    assert [version for _, version in await world.types()] == list(range(1, 10))


async def test_a_direct_log_is_created_and_completed_at_once_and_was_never_scheduled(world: World) -> None:
    logged = await world.log(notes="rang", related_objects=[{"custom_object": "contact", "all": True}])
    assert (logged.json()["state"], logged.json()["scheduled_activity_id"]) == ("logged", None)
    assert logged.json()["completed_at"] is None
    assert await world.types() == [("activity.created,activity.completed", 1)]
    identity = logged.json()["id"]
    assert (await world.call("GET", f"/scheduled-activity/{identity}")).status_code == 404
    assert (await world.call("GET", "/logged")).status_code == 404


async def test_a_second_log_is_refused_with_a_link_and_concurrent_ones_have_one_winner(world: World) -> None:
    identity = (await world.schedule())["id"]
    answers = await asyncio.gather(*(world.log(scheduled_activity_id=identity, notes=str(n)) for n in range(8)))
    assert sorted(each.status_code for each in answers) == [201] + [409] * 7
    late = await world.log(scheduled_activity_id=identity)
    assert (late.json()["code"], late.json()["link"]) == ("already_logged", f"/api/activities/logged/{identity}")
    for method, path, body in (
        ("PATCH", "", {"note": "x"}),
        ("PUT", "", {"note": "x"}),
        ("DELETE", "", None),
        ("POST", "/restore", None),
    ):
        assert (await world.call(method, f"/scheduled-activity/{identity}{path}", body)).status_code == 409
    assert await world.types() == [("activity.created", 1), ("activity.completed", 2)]


async def test_a_cancelled_activity_can_be_logged_and_the_history_says_so(world: World) -> None:
    identity = (await world.schedule())["id"]
    await world.call("DELETE", f"/scheduled-activity/{identity}")
    logged = await world.log(scheduled_activity_id=identity)
    assert (logged.status_code, logged.json()["state"]) == (201, "completed")
    history = (await world.call("GET", f"/logged/{identity}/history")).json()["results"]
    assert "cancelled" in history[-1]["why"]


async def test_a_stale_version_is_refused_and_changes_nothing(world: World) -> None:
    identity = (await world.schedule())["id"]
    path = f"/scheduled-activity/{identity}"
    fresh = await world.call("PATCH", path, {"note": "one"}, if_match='"1"')
    assert fresh.status_code == 200
    for method, where, body in (
        ("PATCH", path, {"note": "two"}),
        ("DELETE", path, None),
        ("PUT", path, {"note": "two"}),
        ("POST", f"{path}/restore", None),
        ("POST", "/call/log-activity", {"related_objects": [], "scheduled_activity_id": identity}),
    ):
        assert (await world.call(method, where, body, if_match='"1"')).status_code == 412
    assert (await world.call("GET", path)).headers["etag"] == '"2"'
    logged = await world.log(scheduled_activity_id=identity)
    assert logged.status_code == 201
    stale = await world.call("POST", f"/logged/{identity}/append", {"kind": "note", "text": "x"}, if_match='"2"')
    assert stale.status_code == 412


async def test_a_write_with_the_same_key_happens_once(world: World) -> None:
    body = {"activity_object_name": "call", "due_datetime": DUE}
    answers = await asyncio.gather(
        *(world.call("POST", "/scheduled-activity", body, idempotency_key="k") for _ in range(5))
    )
    assert {each.status_code for each in answers} == {201}
    assert len({each.json()["id"] for each in answers}) == 1
    other = await world.call("POST", "/scheduled-activity", body | {"note": "else"}, idempotency_key="k")
    assert other.status_code == 409
    identity = answers[0].json()["id"]
    logs = [
        await world.call(
            "POST",
            "/call/log-activity",
            {"related_objects": [], "scheduled_activity_id": identity},
            idempotency_key="l",
        )
        for _ in range(2)
    ]
    assert [each.status_code for each in logs] == [201, 201]
    assert logs[0].json() == logs[1].json()
    assert len(await world.types()) == 2


async def test_another_business_sees_and_changes_nothing(world: World) -> None:
    identity = (await world.schedule())["id"]
    logged = (await world.log()).json()["id"]
    foreign = World(world.http, world.database, await settle(world.database), world.contact)
    for method, path, body in (
        ("GET", f"/scheduled-activity/{identity}", None),
        ("PATCH", f"/scheduled-activity/{identity}", {"note": "x"}),
        ("PUT", f"/scheduled-activity/{identity}", {}),
        ("DELETE", f"/scheduled-activity/{identity}", None),
        ("PATCH", f"/scheduled-activity/{identity}/notes", {"note": "x"}),
        ("POST", f"/scheduled-activity/{identity}/restore", None),
        ("GET", f"/scheduled-activity/{identity}/history", None),
        ("GET", f"/logged/{logged}", None),
        ("GET", f"/logged/{logged}/history", None),
        ("POST", f"/logged/{logged}/append", {"kind": "note", "text": "x"}),
    ):
        other = await foreign.call(method, path, body)
        missing = await foreign.call(method, path.replace(identity, str(uuid7())).replace(logged, str(uuid7())), body)
        assert (other.status_code, other.json()["code"]) == (404, "not_found"), path
        assert missing.status_code == 404
    stolen = await foreign.log(
        scheduled_activity_id=identity, related_objects=[{"object": "contact", "record_id": str(world.contact)}]
    )
    assert stolen.status_code == 400
    assert {(each["field"], each["code"]) for each in stolen.json()["errors"]} == {
        ("scheduled_activity_id", "does_not_exist"),
        ("related_objects.0.entity_id", "does_not_exist"),
    }
    assert (await foreign.call("GET", "/scheduled-activity")).json()["count"] == 0
    assert len(await world.types()) == 2


BAD = [
    ({}, "activity_object_id"),
    ({"activity_object_name": "call", "activity_object_id": str(uuid7())}, "activity_object_name"),
    ({"activity_object_name": "nonsense"}, "activity_object_name"),
    ({"activity_object_id": str(uuid7())}, "activity_object_id"),
    ({"activity_object_name": "call", "due_datetime": "2030-06-01T10:00:00"}, "due_datetime"),
    ({"activity_object_name": "call", "due_datetime": "2030-02-30"}, "due_datetime"),
    ({"activity_object_name": "call", "due_datetime": 5}, "due_datetime"),
    ({"activity_object_name": "call", "due_datetime": "0001-01-01T00:00:00+14:00"}, "due_datetime"),
    ({"activity_object_name": "call", "employee_id": str(uuid7())}, "employee_id"),
    ({"activity_object_name": "call", "role_id": str(uuid7())}, "role_id"),
    ({"activity_object_name": "call", "mentions": [str(uuid7())]}, "mentions.0"),
    ({"activity_object_name": "call", "note": "x" * 50_001}, "note"),
    ({"activity_object_name": "call", "wrong": 1}, "wrong"),
    ({"activity_object_name": ["call"]}, "activity_object_name"),
    (
        {"activity_object_name": "call", "associated_entities": [{"custom_object": "planet", "all": True}]},
        "associated_entities.0.custom_object",
    ),
    (
        {"activity_object_name": "call", "associated_entities": [{"custom_object": "contact"}]},
        "associated_entities.0.entity_id",
    ),
    (
        {
            "activity_object_name": "call",
            "associated_entities": [{"custom_object": "contact", "entity_id": str(uuid7())}],
        },
        "associated_entities.0.entity_id",
    ),
    (
        {"activity_object_name": "call", "notifications": [{"type": "email", "time_amount": -1, "time_unit": "hours"}]},
        "notifications.0.time_amount",
    ),
]


@pytest.mark.parametrize(("body", "field"), BAD)
async def test_a_bad_schedule_is_refused_by_field_and_changes_nothing(world: World, body: Any, field: str) -> None:
    answer = await world.call("POST", "/scheduled-activity", body)
    assert answer.status_code == 400, answer.text
    assert field in {each["field"] for each in answer.json()["errors"]}
    assert answer.json()["detail"]
    assert answer.json()["code"]
    assert await world.types() == []


async def test_all_problems_of_a_request_are_named_at_once(world: World) -> None:
    body = {"activity_object_name": "nonsense", "employee_id": str(uuid7()), "mentions": [str(uuid7())]}
    answer = await world.call("POST", "/scheduled-activity", body)
    assert {each["field"] for each in answer.json()["errors"]} == {"activity_object_name", "employee_id", "mentions.0"}


async def test_bad_logs_and_appends_are_refused(world: World) -> None:
    contact = {"custom_object": "contact", "entity_id": str(world.contact)}
    for object_name, body, status in (
        ("call", {}, 400),
        ("nonsense", {"related_objects": []}, 404),
        ("call", {"related_objects": [contact, contact]}, 400),
        ("call", {"related_objects": [], "fields": [{"id": "none", "value": 1}]}, 400),
        ("call", {"related_objects": [], "occurred_at": "yesterday"}, 400),
        ("call", {"related_objects": [], "scheduled_activity_id": str(uuid7())}, 400),
    ):
        assert (await world.call("POST", f"/{object_name}/log-activity", body)).status_code == status
    scheduled = (await world.schedule())["id"]
    other = await world.log("email", scheduled_activity_id=scheduled)
    assert other.json()["errors"][0]["code"] == "other_type"
    logged = (await world.log()).json()["id"]
    for body in (
        {},
        {"kind": "note"},
        {"kind": "attachment"},
        {"kind": "attachment", "url": "javascript:alert(1)"},
        {"kind": "poem"},
        {"kind": "correction", "fields": {"a": 1}},
        {"kind": "correction"},
        {"kind": "note", "text": "x", "fields": {"a": 1}},
    ):
        assert (await world.call("POST", f"/logged/{logged}/append", body)).status_code == 400
    assert (await world.call("POST", f"/logged/{scheduled}/append", {"kind": "note", "text": "x"})).status_code == 404
    assert len(await world.types()) == 2


async def test_headers_are_required(world: World) -> None:
    for missing, status in (("X-API-KEY", 401), ("X-BUSINESS-ID", 400), ("X-USER-ID", 400)):
        headers = {name: value for name, value in world.tenant.headers.items() if name != missing}
        assert (await world.http.get("/api/activities", headers=headers)).status_code == status


async def test_a_reference_that_arrives_a_moment_later_is_found(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFERENCE_WAIT_MAX_MS", "2000")
    late = uuid7()
    async with served("lifecycle", world.database) as http:
        patient = World(http, world.database, world.tenant, late)
        links = [{"custom_object": "contact", "entity_id": str(late)}]
        waiting = asyncio.create_task(patient.schedule(associated_entities=links))
        await asyncio.sleep(0.1)
        await save_record(world.database, world.tenant, late)
        assert (await waiting)["associated_entities"][0]["entity_id"] == str(late)


async def test_scheduled_activities_are_listed_by_every_filter(world: World) -> None:
    past = await world.schedule(due_datetime="2020-01-01T10:00:00Z", note="Äpfel 100%")
    soon = await world.schedule(due_datetime="2030-01-01T10:00:00Z", subject="soon", activity_object_name="email")
    undated = await world.schedule(due_datetime=None)
    done = await world.schedule(due_datetime="2030-01-02")
    await world.log(scheduled_activity_id=done["id"])
    cancelled = await world.schedule()
    await world.call("DELETE", f"/scheduled-activity/{cancelled['id']}")
    names = {past["id"]: "past", soon["id"]: "soon", undated["id"]: "undated", done["id"]: "done"}
    for query, expected in (
        ("", ["past", "soon", "done", "undated"]),
        ("?ordering=-due_datetime", ["done", "soon", "past", "undated"]),
        ("?ordering=-created&page_size=2", ["done", "undated"]),
        ("?page=2&page_size=3", ["undated"]),
        ("?overdue=true", ["past"]),
        ("?overdue=false", ["soon", "done", "undated"]),
        ("?completed=true", ["done"]),
        ("?completed=false&ordering=created", ["past", "soon", "undated"]),
        ("?search=%C3%84PFEL%20100%25", ["past"]),
        ("?search=%25", ["past"]),
        ("?activity_name=email", ["soon"]),
        ("?from_date=2030-01-01&to_date=2030-01-01", ["soon"]),
        ("?from_date=2030-01-01T10:00:00Z&to_date=2030-01-01T10:00:00Z", ["soon"]),
        ("?assigned_to_me=true&overdue=true", ["past"]),
        (f"?employee_ids={uuid7()}", []),
        (f"?role_ids={uuid7()}", []),
    ):
        answer = await world.call("GET", f"/scheduled-activity{query}")
        assert answer.status_code == 200, answer.text
        assert [names[each["id"]] for each in answer.json()["results"]] == expected, query
    page = (await world.call("GET", "/scheduled-activity?page=1&page_size=3")).json()
    assert (page["count"], page["previous"], page["errors"]) == (4, None, [])
    assert page["next"].startswith("/api/activities/scheduled-activity?page_size=3&page=2&cursor=")
    searched = await world.call("POST", "/scheduled-activity/search", {"overdue": True})
    assert [each["id"] for each in searched.json()["results"]] == [past["id"]]
    for query in (
        "?page=0",
        "?page_size=1001",
        "?ordering=name",
        "?activity_name=none",
        "?from_date=2030-02-01&to_date=2030-01-01",
        "?x=1",
    ):
        assert (await world.call("GET", f"/scheduled-activity{query}")).status_code == 400, query


async def test_activity_objects_are_there_for_a_new_business(world: World) -> None:
    listed = (await world.call("GET", "")).json()
    assert listed["count"] == 13
    assert [each["api_name"] for each in listed["results"]][:3] == ["call", "email", "meeting"]
    loggable = (await world.call("GET", "/loggable")).json()
    assert set(loggable["results"][0]) == {"id", "name", "api_name"}
    by_name, by_id = await world.call("GET", "/call"), await world.call("GET", f"/{listed['results'][0]['id']}")
    assert by_name.json() == by_id.json() == listed["results"][0]
    assert by_name.headers["etag"] == '"1"'
    assert (await world.call("GET", f"/{uuid7()}")).status_code == 404
    assert (await world.call("GET", "?custom_object_id=contact")).json()["count"] == 13
    assert (await world.call("GET", "?custom_object_id=planet")).status_code == 400


async def test_reports_and_requests_meet_in_one_activity(world: World) -> None:
    identity = (await world.schedule())["id"]
    known = report(world.tenant.business_id, "append", "x", text="from outside", known_only=True)
    known.activity_id = UUID(identity)  # type: ignore[misc]
    await admit(world.database, known)
    assert (await world.log(scheduled_activity_id=identity)).json()["appends_count"] == 1
    late = report(world.tenant.business_id, "complete", "y", summary="other", known_only=True)
    late.activity_id = UUID(identity)  # type: ignore[misc]
    await admit(world.database, late)
    shown = (await world.call("GET", f"/logged/{identity}")).json()
    assert (shown["version"], shown["summary"]) == (3, None)


async def test_a_plan_that_is_reported_late_says_what_a_log_about_nothing_was_about(world: World) -> None:
    identity = (await world.log()).json()["id"]
    links = [Link(object="contact", record_id=world.contact)]
    late = report(world.tenant.business_id, "schedule", "x", links=links, known_only=True)
    late.activity_id = UUID(identity)  # type: ignore[misc]
    await admit(world.database, late)
    shown = (await world.call("GET", f"/logged/{identity}")).json()
    assert (shown["version"], shown["state"]) == (2, "completed")
    assert [each["entity_id"] for each in shown["associated_entities"]] == [str(world.contact)]


async def test_reassigning_moves_a_day_to_the_end_where_its_new_assignee_is(world: World) -> None:
    made = await world.schedule(due_datetime="2030-06-03")
    assert made["due_at"] == "2030-06-03T21:59:59.999999Z"
    changed = await world.call("PATCH", f"/scheduled-activity/{made['id']}", {"employee_id": None})
    assert changed.json()["employee"] is None
    kinds = [event.change.type for _, event in await events(world.database)]
    assert kinds == ["activity.created", "activity.reassigned"]


async def test_every_event_decodes_as_the_contract_and_round_trips(world: World) -> None:
    await world.schedule(note="x", notifications=[{"type": "email", "time_amount": 1, "time_unit": "hours"}])
    await world.log(notes="y", mentions=[str(world.tenant.user_id)])
    for _, event in await events(world.database):
        assert ActivityEvent.model_validate_json(event.model_dump_json()) == event


async def test_what_is_set_when_scheduling_is_refused_in_a_change(world: World) -> None:
    path = f"/scheduled-activity/{(await world.schedule())['id']}"
    body = {"activity_object_name": "email", "original_due_datetime": "2031-01-01T00:00:00Z", "note": "x"}
    for method in ("PUT", "PATCH"):
        answer = await world.call(method, path, body)
        assert {(each["field"], each["code"]) for each in answer.json()["errors"]} == {
            ("activity_object_name", "create_only"), ("original_due_datetime", "create_only"),
        }  # fmt: skip
    body = {"activity_object_name": "call", "original_due_datetime": DUE, "due_datetime": DUE}
    same = await world.call("PUT", path, body)
    assert same.status_code == 200
