"""A business's own record objects over HTTP with a real database."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from libs.contracts.directory import RecordObject
from libs.contracts.ids import uuid7
from libs.database import Database
from tests.support.http import OPERATOR_KEY, served

PATH, RECORDS = "/api/directory/objects", "/api/directory/records"


@pytest.fixture
async def database(make_database: Callable[[str], Awaitable[Database]]) -> Database:
    return await make_database("directory")


@pytest.fixture
async def client(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with served("directory", database) as client:
        client.headers["X-API-KEY"] = await new_key(client)
        yield client


async def new_key(client: httpx.AsyncClient) -> str:
    operator = {"X-API-KEY": OPERATOR_KEY.text}
    made = await client.post("/api/directory/businesses", json={"name": "One", "zone": "UTC"}, headers=operator)
    key: str = made.json()["api_key"]
    return key


async def events(database: Database, api_name: str) -> list[RecordObject]:
    async with database.work() as tx:
        rows = await tx.fetch("select value from outbox where types = 'directory.object' order by id")
    found = [RecordObject.model_validate_json(row["value"]) for row in rows]
    return [event for event in found if event.api_name == api_name]


async def test_an_own_object_is_made_shown_changed_and_takes_records(
    client: httpx.AsyncClient, database: Database
) -> None:
    made = await client.post(PATH, json={"name": "Política 2", "statuses": ["Open", "Closed"]})
    assert made.status_code == 201, made.text
    assert (made.json()["api_name"], made.headers["etag"]) == ("politica_2", '"1"')
    for named in ("politica_2", made.json()["id"]):
        assert (await client.get(f"{PATH}/{named}")).json() == made.json()
    listed = (await client.get(PATH)).json()["results"]
    assert listed[0]["api_name"] == "politica_2"
    assert {"contact", "account", "lead"} < {each["api_name"] for each in listed}
    record = await client.post(f"{RECORDS}/politica_2", json={"name": "P 1", "external_ref": "p-1", "status": "Open"})
    assert record.status_code == 201, record.text
    assert (await client.post(f"{RECORDS}/politica_2", json={"name": "P", "status": "New"})).status_code == 422
    changed = await client.patch(f"{PATH}/politica_2", json={"statuses": ["New"]}, headers={"if-match": '"1"'})
    assert (changed.status_code, changed.json()["statuses"], changed.json()["name"]) == (200, ["New"], "Política 2")
    assert (
        await client.patch(f"{PATH}/politica_2", json={"name": "x"}, headers={"if-match": '"1"'})
    ).status_code == 412
    same = await client.patch(f"{PATH}/politica_2", json={"statuses": ["New"]})
    assert same.headers["etag"] == '"2"'
    assert [(event.version, event.statuses) for event in await events(database, "politica_2")] == [
        (1, ["Open", "Closed"]), (2, ["New"]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({"name": "A", "api_name": "Policy"}, "api_name", "api_name_invalid"),
        ({"name": "A", "api_name": "2nd"}, "api_name", "api_name_invalid"),
        ({"name": "A", "api_name": "a-b"}, "api_name", "api_name_invalid"),
        ({"name": "日本"}, "api_name", "api_name_invalid"),
        ({"name": "Bulk"}, "api_name", "reserved"),
        ({"name": "A", "statuses": ["x", "y", "x"]}, "statuses.2", "twice"),
        ({"name": "A", "colour": "red"}, "colour", "unknown_field"),
        ({"api_name": "a"}, "name", "required"),
    ],
)
async def test_what_is_wrong_with_an_object_is_named(
    client: httpx.AsyncClient, body: dict[str, Any], field: str, code: str
) -> None:
    answer = await client.post(PATH, json=body)
    assert answer.status_code == 422
    assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [(field, code)]


async def test_an_api_name_is_taken_once(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(client.post(PATH, json={"name": "Policy"}) for _ in range(8)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 7}
    preset = await client.post(PATH, json={"name": "Contact"})
    assert (preset.status_code, preset.json()["code"]) == (409, "api_name_taken")
    assert (await client.get(preset.json()["link"])).status_code == 200
    elsewhere = {"X-API-KEY": await new_key(client)}
    assert (await client.post(PATH, json={"name": "Policy"}, headers=elsewhere)).status_code == 201


async def test_an_object_with_records_stays_and_one_without_goes_and_may_come_back(
    client: httpx.AsyncClient, database: Database
) -> None:
    made = (await client.post(PATH, json={"name": "Policy"})).json()
    record = (await client.post(f"{RECORDS}/policy", json={"name": "P 1"})).json()
    refused = await client.delete(f"{PATH}/policy")
    assert (refused.status_code, refused.json()["code"]) == (409, "has_records")
    assert (await client.delete(f"{PATH}/contact")).json()["code"] == "preset"
    assert (await client.delete(f"{RECORDS}/policy/{record['id']}")).status_code == 204
    assert (await client.delete(f"{PATH}/policy")).status_code == 204
    for method, path in (("GET", f"{PATH}/policy"), ("GET", f"{RECORDS}/policy"), ("DELETE", f"{PATH}/policy")):
        assert (await client.request(method, path)).status_code == 404
    assert (await client.post(f"{RECORDS}/policy", json={"name": "P 2"})).status_code == 404
    back = await client.post(PATH, json={"name": "Policy", "statuses": ["A"]})
    assert (back.status_code, back.json()["id"], back.headers["etag"]) == (201, made["id"], '"3"')
    states = [(event.version, event.deleted_at is None) for event in await events(database, "policy")]
    assert states == [(1, True), (2, False), (3, True)]
    assert (await client.get(f"{PATH}/{uuid7()}")).status_code == 404


async def test_a_record_is_never_left_without_its_object(client: httpx.AsyncClient, database: Database) -> None:
    for number in range(10):
        name = f"race_{number}"
        await client.post(PATH, json={"name": name})
        made, gone = await asyncio.gather(
            client.post(f"{RECORDS}/{name}", json={"name": "x"}), client.delete(f"{PATH}/{name}")
        )
        assert (made.status_code, gone.status_code) in {(201, 409), (404, 204)}
