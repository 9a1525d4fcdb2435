"""S2: own fields of a type stand in the metadata and are held to as in S1; a completion is undone."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from libs.contracts.ids import uuid7
from libs.database import Database
from tests.support.accounts import AT, Accounts, save_person, save_record, uuid_text
from tests.support.http import served, settle

pytestmark = pytest.mark.integration
MakeDatabase = Callable[[str], Awaitable[Database]]


@pytest.fixture
async def world(make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Accounts]:
    monkeypatch.setenv("REFERENCE_WAIT_MAX_MS", "100")
    database = await make_database("lifecycle")
    tenant = await settle(database)
    account = await save_record(database, tenant.business_id, "Acme")
    ada = await save_person(database, tenant.business_id, "Ada", member_id=tenant.user_id)
    async with served("lifecycle", database) as http:
        yield Accounts(http, database, tenant, account, ada)


async def add_field(world: Accounts, name: str, kind: str = "text", **more: Any) -> str:
    body = {"display_name": name.title(), "name": name, "field_type": kind} | more
    answer = await world.s1("POST", "/call/fields", body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def wrong(answer: httpx.Response) -> set[str]:
    assert answer.status_code == 400, answer.text
    return set(re.findall(r"(?:^|; )([\w.]+): ", answer.json()["message"]))


async def put(world: Accounts, shown: dict[str, Any], **body: Any) -> httpx.Response:
    return await world.call("PUT", f"/{shown['id']}", body)


async def test_own_fields_stand_in_the_metadata_and_are_s1s(world: Accounts) -> None:
    await add_field(world, "visitors", "integer")
    await add_field(world, "outcome", "dropdown", options=[{"name": "Won"}, {"name": "Lost"}])
    shown = await world.create(metadata={"visitors": 3, "outcome": "Won", "ours": {"a": 1}})
    assert (shown["metadata"]["visitors"], shown["metadata"]["ours"]) == (3, {"a": 1})
    assert shown["metadata"]["outcome"]["name"] == "Won"
    planned = (await world.s1("GET", f"/scheduled-activity/{uuid_text(shown)}")).json()
    assert {each["name"]: each["value"] for each in planned["fields"]} == {
        "visitors": 3, "outcome": shown["metadata"]["outcome"],
    }  # fmt: skip
    given = shown["metadata"] | {"visitors": 4}
    after = (await put(world, shown, metadata=given)).json()["data"]
    assert after["metadata"] == given
    without = (await put(world, shown, metadata={"ours": 2})).json()["data"]
    assert without["metadata"] == {"ours": 2}
    assert (await world.s1("GET", f"/scheduled-activity/{uuid_text(shown)}")).json()["fields"] == []


async def test_required_fields_are_enforced_all_at_once_when_it_is_completed(world: Accounts) -> None:
    await add_field(world, "visitors", "integer", is_required=True)
    await add_field(world, "room", is_required=True)
    await add_field(world, "seen", "date")
    given = {"accountId": str(uuid7()), "activityTimestamp": AT, "duration": 30, "location": "Berlin"}
    asked = given | {"status": "COMPLETED", "metadata": {"seen": "never", "visitors": "many"}}
    answer = await world.call("POST", "", asked)
    assert wrong(answer) == {"accountId", "metadata.visitors", "metadata.room", "metadata.seen"}
    shown = await world.create(metadata={"room": "4"})
    assert wrong(await put(world, shown, status="COMPLETED")) == {"metadata.visitors"}
    assert wrong(await put(world, shown, status="COMPLETED", metadata={"visitors": 1})) == {"metadata.room"}
    done = (await put(world, shown, status="COMPLETED", metadata={"visitors": 1, "room": "5"})).json()["data"]
    assert (done["status"], done["metadata"]) == ("COMPLETED", {"visitors": 1, "room": "5"})
    assert (await put(world, shown, metadata=done["metadata"])).status_code == 200
    assert (await put(world, shown, metadata={"visitors": 2, "room": "5"})).status_code == 409


async def test_hidden_and_read_only_fields_take_no_value(world: Accounts) -> None:
    trigger, extra = await add_field(world, "trigger"), await add_field(world, "extra", is_required=True)
    await add_field(world, "fixed", is_read_only=True)
    rule = {
        "match": "all", "target_field_ids": [extra],
        "conditions": [{"field_id": trigger, "operator": "equals", "value": "yes"}],
    }  # fmt: skip
    assert (await world.s1("PUT", "/call/rules", [rule])).status_code == 200
    answer = await world.call(
        "POST", "",
        {
            "accountId": str(world.account), "activityTimestamp": AT, "duration": 1, "location": "x",
            "metadata": {"extra": "x", "fixed": "y"},
        },
    )  # fmt: skip
    assert wrong(answer) == {"metadata.extra", "metadata.fixed"}
    shown = await world.create(status="COMPLETED")  # what is required and hidden is not asked for
    assert shown["metadata"] == {}
    planned = await world.create(metadata={"trigger": "yes"})
    assert wrong(await put(world, planned, status="COMPLETED")) == {"metadata.extra"}


async def test_a_completion_is_undone_by_a_pending_one_that_follows_it(world: Accounts) -> None:
    shown = await world.create(title="Quarterly", metadata={"a": 1})
    early = await world.call("POST", f"/{shown['id']}/undo", {})
    assert (early.status_code, "PENDING" in early.json()["message"]) == (409, True)
    await put(world, shown, status="COMPLETED")
    refused = await put(world, shown, status="PENDING")
    assert f"POST /v1/accounts/activities/{shown['id']}/undo" in refused.json()["message"]
    stale = await world.call("POST", f"/{shown['id']}/undo", {}, headers={"if-match": '"1"'})
    assert stale.status_code == 412
    sent = {"text": "wrong one", "activityTimestamp": "2031-01-01T10:00:00Z"}
    answers = [
        await world.call("POST", f"/{shown['id']}/undo", sent, headers={"idempotency-key": "u"}) for _ in range(2)
    ]
    assert answers[0].status_code == 201, answers[0].text
    assert answers[0].json() == answers[1].json()
    again = answers[0].json()["data"]
    assert (again["status"], again["followsId"], again["title"]) == ("PENDING", shown["id"], "Quarterly")
    assert (again["activityTimestamp"], again["metadata"]) == ("2031-01-01T10:00:00Z", {"a": 1})
    assert answers[0].headers["x-wrote"] == f"{uuid_text(again)}:1"
    before = (await world.get(shown)).json()["data"]
    assert (before["status"], before["retractedAt"] is not None) == ("COMPLETED", True)
    logged = (await world.s1("GET", f"/logged/{uuid_text(shown)}")).json()
    assert [each["text"] for each in logged["appends"]] == ["wrong one"]
    assert (await world.call("POST", f"/{shown['id']}/undo", {})).status_code == 409
    direct = await world.create(status="COMPLETED")
    reopened = (await world.call("POST", f"/{direct['id']}/undo", {})).json()["data"]
    assert (reopened["status"], reopened["activityTimestamp"]) == ("PENDING", AT)
