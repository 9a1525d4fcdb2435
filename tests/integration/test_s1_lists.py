"""S1: lists of scheduled activities and responses of an object: filters, pages, counts, fields."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from libs.access.copy import save_members, save_roles
from libs.contracts.directory import Member, Role
from libs.contracts.ids import uuid7
from libs.database import Database
from tests.integration.test_lifecycle_routes import MakeDatabase, World, settle
from tests.support.http import served

pytestmark = pytest.mark.integration
START = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
async def world(make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setenv("REFERENCE_WAIT_MAX_MS", "100")
    database = await make_database("lifecycle")
    tenant = await settle(database)
    async with served("lifecycle", database) as http:
        yield World(http, database, tenant, uuid7())


async def pages_of(world: World, page: dict[str, Any], word: str, body: Any = None) -> list[dict[str, Any]]:
    """Follow `next` or `previous` from a page to the end."""
    pages = [page]
    while (link := pages[-1][word]) is not None:
        answer = await world.call("POST" if body is not None else "GET", link.removeprefix("/api/activities"), body)
        assert answer.status_code == 200, answer.text
        pages.append(answer.json())
        assert len(pages) < 50
    return pages


@pytest.mark.parametrize("ordering", ["due_datetime", "-due_datetime", "created", "-created"])
async def test_next_and_previous_walk_through_the_whole_list_both_ways(world: World, ordering: str) -> None:
    dues = [START, START, None, START + timedelta(days=1), None, START - timedelta(days=1), START]
    for due in dues:
        await world.schedule(due_datetime=due and due.isoformat())
    whole = (await world.call("GET", f"/scheduled-activity?ordering={ordering}")).json()["results"]
    assert len(whole) == len(dues)
    if ordering.endswith("due_datetime"):
        assert [each["due_datetime"] for each in whole[-2:]] == [None, None]
    for size in (1, 2, 3, 5, 7, 8):
        path = f"/scheduled-activity?ordering={ordering}&page_size={size}"
        forward = await pages_of(world, (await world.call("GET", path)).json(), "next")
        assert [each["id"] for page in forward for each in page["results"]] == [each["id"] for each in whole]
        back = await pages_of(world, forward[-1], "previous")
        assert [page["results"] for page in back[::-1]] == [page["results"] for page in forward]
        for number, page in enumerate(forward, 1):
            assert dict(parse_qsl(urlsplit(page["next"] or "?page=0").query))["page"] in ("0", str(number + 1))
            jumped = (await world.call("GET", f"{path}&page={number}")).json()
            assert (jumped["results"], jumped["count"]) == (page["results"], len(dues))


async def test_a_page_found_by_its_link_does_not_slip_when_rows_come_before_it(world: World) -> None:
    made = [(await world.schedule(due_datetime=(START + timedelta(days=n)).isoformat()))["id"] for n in range(4)]
    first = (await world.call("GET", "/scheduled-activity?page_size=2")).json()
    await world.schedule(due_datetime="2029-01-01T00:00:00Z")
    second = (await world.call("GET", first["next"].removeprefix("/api/activities"))).json()
    assert [each["id"] for each in second["results"]] == made[2:]


async def test_a_cursor_of_another_list_or_made_up_is_refused(world: World) -> None:
    for _ in range(3):
        await world.schedule()
    link = (await world.call("GET", "/scheduled-activity?page_size=1&completed=false")).json()["next"]
    cursor = dict(parse_qsl(urlsplit(link).query))["cursor"]
    other = World(world.http, world.database, await settle(world.database), world.contact)
    for caller, query in (
        (world, f"completed=true&cursor={cursor}"), (world, "cursor=abc"), (world, f"completed=false&cursor={cursor}x"),
        (other, f"completed=false&cursor={cursor}"),
    ):  # fmt: skip
        answer = await caller.call("GET", f"/scheduled-activity?page_size=1&{query}")
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "cursor"), query


async def test_a_search_is_paged_by_its_links_with_the_same_body(world: World) -> None:
    made = [(await world.schedule(note="a needle here"))["id"] for _ in range(5)]
    await world.schedule(note="hay")
    body = {"search": "needle", "page_size": 2, "ordering": "created"}
    first = await world.call("POST", "/scheduled-activity/search", body)
    pages = await pages_of(world, first.json(), "next", body)
    assert [[each["id"] for each in page["results"]] for page in pages] == [made[:2], made[2:4], made[4:]]
    assert {page["count"] for page in pages} == {5}


async def test_assignees_are_filtered_by_members_roles_and_me_together(world: World) -> None:
    role, other, when = uuid7(), uuid7(), datetime.now(UTC)
    business_id = world.tenant.business_id
    await save_people(
        world.database,
        [Member(business_id=business_id, id=other, version=1, name="Bo", created_at=when, email="bo@x.example")],
        [Role(business_id=business_id, id=role, version=1, name="crew", created_at=when, member_ids=[other])],
    )
    mine = (await world.schedule(due_datetime="2030-01-03T00:00:00Z"))["id"]
    theirs = (await world.schedule(due_datetime="2030-01-01T00:00:00Z", employee_id=str(other)))["id"]
    shared = (await world.schedule(due_datetime="2030-01-02T00:00:00Z", role_id=str(role)))["id"]
    for query, expected in (
        (f"employee_ids={other}&role_ids={role}", [theirs, shared]),
        (f"employee_ids={other}&role_ids={role}&ordering=-due_datetime", [shared, theirs]),
        (f"employee_ids={other}&employee_ids={other}", [theirs]),
        (f"role_ids={role}&assigned_to_me=true", [shared, mine]),
        ("assigned_to_me=true", [mine]),
    ):
        answer = (await world.call("GET", f"/scheduled-activity?{query}")).json()
        assert ([each["id"] for each in answer["results"]], answer["count"]) == (expected, len(expected)), query
        small = (await world.call("GET", f"/scheduled-activity?{query}&page_size=1")).json()
        pages = await pages_of(world, small, "next")
        assert [each["id"] for page in pages for each in page["results"]] == expected
    theirs_too = world.tenant.headers | {"X-USER-ID": str(other)}
    shown = await world.http.get("/api/activities/scheduled-activity?assigned_to_me=true", headers=theirs_too)
    assert [each["id"] for each in shown.json()["results"]] == [theirs]


async def save_people(database: Database, members: list[Member], roles: list[Role]) -> None:
    async with database.work() as tx:
        await save_roles(tx, roles)
        await save_members(tx, members)


async def test_all_filters_combine(world: World) -> None:
    wanted = await world.schedule(note="Renewal", due_datetime="2020-05-05T10:00:00Z", activity_object_name="email")
    await world.schedule(note="Renewal", due_datetime="2020-05-05T10:00:00Z")
    await world.schedule(note="Renewal", due_datetime="2031-05-05T10:00:00Z", activity_object_name="email")
    await world.schedule(note="Other", due_datetime="2020-05-05T10:00:00Z", activity_object_name="email")
    kind = wanted["activity_object"]["id"]
    query = "search=renewal&from_date=2020-05-05&to_date=2020-05-05&assigned_to_me=true&completed=false&overdue=true"
    for named in ("activity_name=email", f"activity_id={kind}"):
        answer = (await world.call("GET", f"/scheduled-activity?{query}&{named}")).json()
        assert [each["id"] for each in answer["results"]] == [wanted["id"]]
    both = await world.call("GET", f"/scheduled-activity?activity_name=email&activity_id={kind}&to_date=2020-01-01"
                                   "&from_date=2020-02-01")  # fmt: skip
    assert {each["field"] for each in both.json()["errors"]} == {"activity_name", "to_date"}


async def test_a_count_is_exact_up_to_its_bound_and_marked_beyond(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.lifecycle.store.pages.LOOKED_AT_MAX", 4)
    for _ in range(3):
        await world.schedule(note="x")
    exact = (await world.call("GET", "/scheduled-activity")).json()
    assert (exact["count"], exact["count_is_estimate"]) == (3, False)
    for _ in range(4):
        await world.schedule(note="y")
    estimated = (await world.call("GET", "/scheduled-activity?page_size=3")).json()
    assert estimated["count_is_estimate"] is True
    assert estimated["count"] >= 3
    pages = await pages_of(world, estimated, "next")
    assert sum(len(page["results"]) for page in pages) == 7
    assert pages[-1]["count"] >= 7
    none = (await world.call("GET", "/scheduled-activity?search=nothing&assigned_to_me=true")).json()
    assert none["results"] == []


async def test_fields_choose_what_is_shown(world: World) -> None:
    made = await world.schedule(note="x")
    logged = (await world.log(notes="y")).json()["id"]
    for path, expected in (
        ("/scheduled-activity?fields=note,state", {"id", "note", "state"}),
        ("/scheduled-activity?fields=note&fields=state", {"id", "note", "state"}),
        (f"/scheduled-activity/{made['id']}?fields=due_datetime", {"id", "due_datetime"}),
        (f"/logged/{logged}?fields=notes,logged_by", {"id", "notes", "logged_by"}),
    ):
        shown = (await world.call("GET", path)).json()
        assert set(shown["results"][0] if "results" in shown else shown) == expected
    searched = await world.call("POST", "/scheduled-activity/search", {"fields": ["note"]})
    assert searched.json()["results"] == [{"id": made["id"], "note": "x"}]
    for path in ("/scheduled-activity?fields=wrong", f"/scheduled-activity/{made['id']}?fields=wrong"):
        answer = await world.call("GET", path)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "fields")


async def test_responses_page_through_the_logged_activities_of_one_object(world: World) -> None:
    planned = await world.schedule()
    made = [(await world.log(notes=f"n{number}")).json()["id"] for number in range(4)]
    await world.log(scheduled_activity_id=planned["id"])
    await world.log("email")
    made.append(planned["id"])
    kind = planned["activity_object"]["id"]
    for name in ("call", kind):
        body = {"page_size": 2}
        first = await world.call("POST", f"/{name}/responses", body)
        pages = await pages_of(world, first.json(), "next", body)
        assert [each["id"] for page in pages for each in page["results"]] == made[::-1]
        assert {page["count"] for page in pages} == {5}
        back = await pages_of(world, pages[-1], "previous", body)
        assert [page["results"] for page in back] == [page["results"] for page in pages[::-1]]
    today = datetime.now(UTC).date()
    for body, count in (
        ({"completed": True}, 1), ({"completed": False}, 4), ({"retracted": True}, 0), ({"ordering": "logged_at"}, 5),
        ({"from_date": str(today - timedelta(days=1)), "to_date": str(today + timedelta(days=1))}, 5),
        ({"to_date": "2020-01-01"}, 0), ({"from_date": "2020-01-01T00:00:00Z"}, 5),
    ):  # fmt: skip
        assert (await world.call("POST", "/call/responses", body)).json()["count"] == count, body
    chosen = (await world.call("POST", "/call/responses", {"fields": ["notes"], "page_size": 1})).json()
    assert set(chosen["results"][0]) == {"id", "notes"}
    assert (await world.call("POST", "/nothing/responses", {})).status_code == 404
    assert (await world.call("POST", "/call/responses", {"x": 1})).status_code == 400
