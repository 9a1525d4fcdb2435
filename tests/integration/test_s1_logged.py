"""S1's rules of the logged life, line by line: logged once, immutable, only added to, undone with its trace."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from libs.database import Database
from tests.integration.test_lifecycle_reports import events
from tests.integration.test_lifecycle_routes import DUE, World, save_record
from tests.support.http import served, settle

MakeDatabase = Callable[[str], Awaitable[Database]]


@pytest.fixture
async def world(make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setenv("REFERENCE_WAIT_MAX_MS", "100")
    database = await make_database("lifecycle")
    tenant = await settle(database)
    async with served("lifecycle", database) as http:
        yield World(http, database, tenant, tenant.user_id)


async def complete(world: World, identity: str, **headers: str) -> Any:
    body = {"related_objects": [], "scheduled_activity_id": identity}
    return await world.call("POST", "/call/log-activity", body, **headers)


async def told(world: World) -> list[tuple[str, str | None]]:
    return [
        (event.change.type.removeprefix("activity."), event.change.why) for _, event in await events(world.database)
    ]


async def test_rule_1_scheduled_and_logged_are_one_id_and_the_second_log_leads_to_the_first(world: World) -> None:
    plan = await world.schedule()
    first, again = [await complete(world, plan["id"], idempotency_key="one") for _ in range(2)]
    assert (first.status_code, first.json()["id"], first.json()) == (201, plan["id"], again.json())
    second = await complete(world, plan["id"])
    link = f"/api/activities/logged/{plan['id']}"
    assert (second.status_code, second.json()["code"], second.json()["link"]) == (409, "already_logged", link)
    assert [word for word, _ in await told(world)] == ["created", "completed"]


async def test_rule_1_of_ten_logs_at_once_one_wins(world: World) -> None:
    plan = await world.schedule()
    answers = await asyncio.gather(*(complete(world, plan["id"]) for _ in range(10)))
    assert sorted(each.status_code for each in answers) == [201, *[409] * 9]


async def test_rule_1_a_cancelled_one_may_be_logged_and_its_history_says_so(world: World) -> None:
    plan = await world.schedule()
    await world.call("DELETE", f"/scheduled-activity/{plan['id']}")
    assert (await complete(world, plan["id"])).status_code == 201
    history = (await world.call("GET", f"/logged/{plan['id']}/history")).json()["results"]
    assert history[-1]["why"] == "it had been cancelled, and happened after all"
    assert history[-1]["by"]["name"] == "Ada"
    assert history[-1]["request_id"]


async def test_rule_2_completed_is_only_what_was_planned(world: World) -> None:
    direct = (await world.log()).json()
    assert (direct["state"], direct["completed_at"], direct["completed_by"]) == ("logged", None, None)
    plan = await world.schedule()
    done = (await complete(world, plan["id"])).json()
    assert (done["state"], done["completed_at"]) == ("completed", done["logged_at"])
    assert done["completed_by"]["name"] == "Ada"


async def test_happened_at_stands_beside_entered_at(world: World) -> None:
    shown = (await world.log(occurred_at="2025-05-01T10:00:00+02:00")).json()
    assert shown["occurred_at"] == "2025-05-01T08:00:00Z"
    assert shown["logged_at"] > shown["occurred_at"]


async def test_rule_3_what_was_logged_is_immutable_for_the_service_itself(world: World) -> None:
    shown = (await world.log(notes="as it was")).json()
    for role in ("routes", "worker"):
        connection = await asyncpg.connect(world.database.urls.of(role))  # type: ignore[arg-type]
        try:
            await connection.execute("select set_config('app.business_id', $1, false)", str(world.tenant.business_id))
            for change in (
                "update activity set version = version + 1, occurred_at = now() where activity_id = $1",
                "update activity set version = version + 1, logged_at = null, heard = 0 where activity_id = $1",
                "update activity set version = version + 1, type_id = gen_random_uuid() where activity_id = $1",
                "update history set document = '' where activity_id = $1",
                "delete from history where activity_id = $1",
                "delete from activity where activity_id = $1",
            ):
                with pytest.raises(asyncpg.PostgresError, match=r"stays|append-only|never returns|permission denied"):
                    await connection.execute(change, shown["id"])
        finally:
            await connection.close()
    assert (await world.call("GET", f"/logged/{shown['id']}")).json() == shown


async def test_rule_3_it_is_only_added_to_each_addition_with_author_and_time(world: World) -> None:
    path = f"/logged/{(await world.log()).json()['id']}/append"
    for addition in (
        {"kind": "note", "text": "later"},
        {"kind": "attachment", "url": "https://x.example/a.pdf"},
        {"kind": "correction", "text": "it was Tuesday"},
        {"kind": "retraction"},
    ):
        added = (await world.call("POST", path, addition)).json()["appends"][-1]
        assert {name: added[name] for name in addition} == addition
        assert added["by"]["name"] == "Ada"
        assert added["at"]
    refused = await world.call("POST", path, {"kind": "correction", "fields": {"outcome": "won"}})
    assert (refused.status_code, refused.json()["code"]) == (400, "not_editable")


async def test_a_completion_is_undone_by_a_retraction_and_a_new_activity_that_follows_it(world: World) -> None:
    plan = await world.schedule(note="papers")
    await complete(world, plan["id"])
    answer = await world.call("POST", f"/logged/{plan['id']}/undo", {"text": "wrong customer"})
    assert answer.status_code == 201, answer.text
    logged, following = answer.json()["logged"], answer.json()["scheduled"]
    assert logged["retracted_at"] is not None
    assert logged["appends"][-1]["text"] == "wrong customer"
    assert (following["follows_id"], following["state"]) == (plan["id"], "scheduled")
    assert (following["note"], following["due_datetime"], following["employee"]) == ("papers", DUE, plan["employee"])
    assert answer.headers["x-wrote"] == f"{following['id']}:1"
    assert (await told(world))[2:] == [
        ("appended", f"undone; {following['id']} follows it"),
        ("created", f"it follows {plan['id']}, which was undone"),
    ]
    twice = await world.call("POST", f"/logged/{plan['id']}/undo", {})
    assert (twice.status_code, twice.json()["code"]) == (409, "already_retracted")
    assert (await complete(world, following["id"])).status_code == 201


async def test_an_undo_says_whether_and_by_when_it_is_to_be_done_again(world: World) -> None:
    direct = (await world.log()).json()["id"]
    assert (await world.call("POST", f"/logged/{direct}/undo", {})).json()["scheduled"] is None
    other = (await world.log()).json()["id"]
    given = {"reopen": True, "due_datetime": "2031-01-01T09:00:00Z"}
    again = (await world.call("POST", f"/logged/{other}/undo", given)).json()["scheduled"]
    assert (again["due_datetime"], again["original_due_datetime"]) == ("2031-01-01T09:00:00Z",) * 2
    third = (await world.log()).json()["id"]
    refused = await world.call("POST", f"/logged/{third}/undo", {"due_datetime": DUE})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "due_datetime")
    assert (await world.call("POST", f"/logged/{plan_id(again)}/undo", {})).status_code == 404


def plan_id(shown: dict[str, Any]) -> str:
    return str(shown["id"])


async def test_all_records_of_an_object_and_both_names_of_things_are_taken(world: World) -> None:
    contact = world.tenant.business_id
    await save_record(world.database, world.tenant, contact)
    whole = (await world.log(related_objects=[{"custom_object": "lead", "all": True}], notes="n")).json()
    assert [(each["custom_object"]["api_name"], each["all"]) for each in whole["associated_entities"]] == [
        ("lead", True)
    ]
    nested = {"object": {"name": "contact"}, "record_id": str(contact)}
    other = await world.call("POST", "/call/log-activity", {"associated_entities": [nested], "note": "n"})
    assert other.status_code == 201, other.text
    assert (other.json()["associated_entities"][0]["entity_id"], other.json()["notes"]) == (str(contact), "n")
