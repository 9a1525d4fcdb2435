"""Routes of endpoints and deliveries: what is taken, what is refused, what is never shown."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
import standardwebhooks

from libs.contracts.ids import uuid7
from libs.database import Database
from tests.conftest import MakeDatabase
from tests.support.http import Tenant, served, settle
from tests.support.sink import Answer, Sink
from tests.support.webhooks import all_are, dispatching, event_of, eventually, hear

ENDPOINTS = "/api/webhooks/endpoints"
DELIVERIES = "/api/webhooks/deliveries"
URL = "https://8.8.8.8/hook"


@dataclass(frozen=True)
class Case:
    """A served dispatcher and a business that calls it."""

    database: Database
    client: httpx.AsyncClient
    tenant: Tenant

    async def call(self, method: str, path: str, json: Any = None, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.request(method, path, json=json, headers={**self.tenant.headers, **named})

    async def make(self, **fields: Any) -> dict[str, Any]:
        answer = await self.call("POST", ENDPOINTS, {"url": URL, "event_types": ["activity.logged"], **fields})
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made


@pytest.fixture
async def case(make_database: MakeDatabase) -> AsyncIterator[Case]:
    database = await make_database("webhook_dispatcher")
    async with served("webhook_dispatcher", database) as client:
        yield Case(database, client, await settle(database))


async def test_endpoint_is_made_and_its_secret_shown_once(case: Case) -> None:
    answer = await case.call(
        "POST", ENDPOINTS, {"url": URL, "event_types": ["activity.logged"], "description": "ours"}, idempotency_key="k1"
    )
    made = answer.json()
    assert (answer.status_code, answer.headers["etag"]) == (201, '"1"')
    assert made["secret"].startswith("whsec_")
    again = await case.call(
        "POST", ENDPOINTS, {"url": URL, "event_types": ["activity.logged"], "description": "ours"}, idempotency_key="k1"
    )
    assert (again.status_code, again.json()["id"], "secret" in again.json()) == (201, made["id"], False)
    read = await case.call("GET", f"{ENDPOINTS}/{made['id']}")
    listed = await case.call("GET", ENDPOINTS)
    shown = {key: made[key] for key in made if key != "secret"}
    assert listed.json()["results"] == [shown]
    assert read.json() == shown | {"filter_failures": {"count": 0, "last_error": None, "last_at": None}}
    assert read.json()["filter"] == {
        "sources": [], "activity_objects": [], "record_objects": [], "expression": "",
    }  # fmt: skip


async def test_secret_is_stored_in_clear_nowhere(case: Case) -> None:
    made = await case.call(
        "POST", ENDPOINTS, {"url": URL, "event_types": ["activity.logged"]}, idempotency_key="canary"
    )
    rotated = await case.call("POST", f"{ENDPOINTS}/{made.json()['id']}/secret/rotate", {}, idempotency_key="canary")
    secrets = [made.json()["secret"], rotated.json()["secret"]]
    owner = await asyncpg.connect(case.database.urls.owner)
    try:
        names = await owner.fetch("select quote_ident(tablename) from pg_tables where schemaname = 'public'")
        texts = [await owner.fetchval(f"select string_agg(t::text, ' ') from {name} t") for (name,) in names]
    finally:
        await owner.close()
    whole = " ".join(filter(None, texts))
    assert made.json()["id"] in whole
    for secret in secrets:
        bare = secret.removeprefix("whsec_")
        assert bare not in whole
        assert standardwebhooks.Webhook(secret)._whsecret.hex() not in whole
        assert bare.encode().hex() not in whole


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"url": "http://localhost/"}, "url"), ({"url": "https://10.0.0.1/"}, "url"),
        ({"url": "https://2130706433/"}, "url"),
        ({"url": "https://user@example.com/"}, "url"), ({"url": 5}, "url"), ({"url": None}, "url"),
        ({"event_types": []}, "event_types"), ({"event_types": ["activity.created"]}, "event_types.0"),
        ({"event_types": "activity.logged"}, "event_types"), ({"filter": {"expression": "nope"}}, "filter.expression"),
        ({"filter": {"unknown": 1}}, "filter.unknown"), ({"filter": {"sources": ["x" * 201]}}, "filter.sources.0"),
        ({"filter": {"sources": ["a\u0000"]}}, "body"), ({"description": "x" * 501}, "description"),
        ({"secret": "x"}, "secret"), ({"signature": "v2"}, "signature"),
        ({"kind": "object"}, "kind"), ({"body": "short"}, "body"),
        ({"filter": {"expression": "data.type =="}}, "filter.expression"),
        ({"filter": {"expression": "1 + 1"}}, "filter.expression"),
        ({"filter": {"expression": "data.sumary == ''"}}, "filter.expression"),
        ({"filter": {"expression": f"'{'x' * 1_000}' == ''"}}, "filter.expression"),
        ({"filter": {"record_objects": [""]}}, "filter.record_objects.0"),
        ({"headers": {"x-ours": "a\nb"}}, "headers.x-ours"),
        ({"headers": {"authorization": "x"}}, "headers.authorization"),
        ({"headers": {"webhook-id": "x"}}, "headers.webhook-id"),
        ({"headers": {"x-forwarded-for": "x"}}, "headers.x-forwarded-for"),
        ({"headers": {"host": "x"}}, "headers.host"), ({"headers": {f"x-{n}": "x" for n in range(11)}}, "headers"),
        ({"headers": {"X-A": "1", "x-a": "2"}}, "headers"), ({"headers": {"x-a": ""}}, "headers.x-a"),
        ({"rate_limit_per_s": 0}, "rate_limit_per_s"), ({"rate_limit_per_s": 10_001}, "rate_limit_per_s"),
        ({"timeout_s": 0.5}, "timeout_s"), ({"timeout_s": 31}, "timeout_s"), ({"ordered": 2}, "ordered"),
        ({"skip_after_s": -1}, "skip_after_s"), ({"schedule_s": [0]}, "schedule_s.0"),
        ({"schedule_s": [60] * 16}, "schedule_s"), ({"schedule_s": [259_200] * 5}, "schedule_s"),
    ],
)  # fmt: skip
async def test_bad_endpoint_is_refused_naming_the_field(case: Case, change: dict[str, Any], field: str) -> None:
    answer = await case.call("POST", ENDPOINTS, {"url": URL, "event_types": ["activity.logged"], **change})
    assert answer.status_code in (400, 422), answer.text
    if field != "body":
        assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert (await case.call("GET", ENDPOINTS)).json()["results"] == []


async def test_endpoint_is_changed_under_its_etag(case: Case) -> None:
    made = await case.make()
    path = f"{ENDPOINTS}/{made['id']}"
    changed = await case.call("PATCH", path, {"url": "https://1.1.1.1/x", "paused": True}, if_match='"1"')
    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    assert (changed.json()["url"], changed.json()["status"], changed.json()["paused"]) == (
        "https://1.1.1.1/x",
        "paused",
        True,
    )
    assert changed.json()["event_types"] == ["activity.logged"]
    assert (await case.call("PATCH", path, {"description": "x"}, if_match='"1"')).status_code == 412
    assert (await case.call("PATCH", path, {"url": "https://127.0.0.1.nip.io:1/\\"})).status_code == 422
    assert (await case.call("PATCH", path, {"paused": False})).json()["status"] == "active"
    async with case.database.work() as tx:
        assert await tx.value("select array_agg(version order by version) from endpoint_revision") == [1, 2, 3]


async def test_endpoint_says_how_it_is_sent_to_and_each_part_changes_by_itself(case: Case) -> None:
    manner = {
        "body": "thin", "headers": {"X-Ours": "one", "x-two": "2 b"}, "rate_limit_per_s": 5.5, "timeout_s": 3.0,
        "ordered": True, "skip_after_s": 60.0, "schedule_s": [1.0, 60.0],
    }  # fmt: skip
    wanted = {
        "sources": ["crm"], "activity_objects": ["call"], "record_objects": ["contact"],
        "expression": "data.summary != null && data.summary.contains('x')",
    }  # fmt: skip
    made = await case.make(filter=wanted, **manner)
    path = f"{ENDPOINTS}/{made['id']}"
    lower = manner | {"headers": {"x-ours": "one", "x-two": "2 b"}}
    assert {name: made[name] for name in manner} == lower
    assert (made["filter"], made["kind"]) == (wanted, "own")
    changes: tuple[dict[str, Any], ...] = (
        {"body": "full"}, {"headers": {}}, {"rate_limit_per_s": None}, {"timeout_s": None}, {"ordered": False},
        {"skip_after_s": 0.0}, {"schedule_s": None},
    )  # fmt: skip
    for change in changes:
        changed = (await case.call("PATCH", path, change)).json()
        lower |= change
        assert ({name: changed[name] for name in manner}, changed["filter"]) == (lower, wanted)
    changed = (await case.call("PATCH", path, {"filter": {"sources": ["b"]}})).json()
    assert changed["filter"] == {"sources": ["b"], "activity_objects": [], "record_objects": [], "expression": ""}
    refused = await case.call("PATCH", path, {"filter": {"expression": "nope"}, "description": "new"})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "filter.expression")
    assert (await case.call("GET", path)).json()["description"] == ""


async def test_business_has_so_many_endpoints_and_no_more(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_ENDPOINTS_MAX", "3")
    async with served("webhook_dispatcher", case.database) as client:
        narrow = Case(case.database, client, case.tenant)
        new = {"url": URL, "event_types": ["activity.logged"]}
        answers = await asyncio.gather(*(narrow.call("POST", ENDPOINTS, new) for _ in range(8)))
        assert sorted(one.status_code for one in answers) == [201] * 3 + [409] * 5
        assert {one.json()["code"] for one in answers if one.status_code == 409} == {"too_many_endpoints"}
        other = Case(case.database, client, await settle(case.database))
        await other.make()


async def test_endpoint_is_disabled_enabled_and_deleted(case: Case) -> None:
    path = f"{ENDPOINTS}/{(await case.make())['id']}"
    disabled = (await case.call("POST", f"{path}/disable")).json()
    assert (disabled["status"], disabled["disabled_reason"]) == ("disabled", "by_owner")
    assert (await case.call("PATCH", path, {"paused": False})).json()["status"] == "disabled"
    enabled = (await case.call("POST", f"{path}/enable")).json()
    assert (enabled["status"], enabled["disabled_reason"]) == ("active", None)
    assert (await case.call("DELETE", path)).status_code == 204
    for method, where in (("GET", path), ("DELETE", path), ("PATCH", path), ("POST", f"{path}/enable")):
        assert (await case.call(method, where, {} if method == "PATCH" else None)).status_code == 404
    assert (await case.call("GET", ENDPOINTS)).json()["results"] == []


async def test_other_business_sees_nothing(case: Case) -> None:
    made = await case.make()
    stranger = Case(case.database, case.client, await settle(case.database))
    path = f"{ENDPOINTS}/{made['id']}"
    for method, where in (
        ("GET", path), ("PATCH", path), ("DELETE", path), ("POST", f"{path}/enable"), ("POST", f"{path}/disable"),
        ("POST", f"{path}/secret/rotate"),
    ):  # fmt: skip
        foreign = await stranger.call(method, where, {} if method == "PATCH" else None)
        unknown = await stranger.call(
            method, where.replace(made["id"], str(uuid7())), {} if method == "PATCH" else None
        )
        assert (
            (foreign.status_code, foreign.json()["code"])
            == (unknown.status_code, unknown.json()["code"])
            == (404, "not_found")
        )
    assert (await stranger.call("GET", ENDPOINTS)).json()["results"] == []
    assert (await case.call("GET", path)).json()["version"] == 1


async def test_both_secrets_sign_after_a_rotation_and_none_that_ended(case: Case) -> None:
    async with Sink.started() as sink, dispatching(case.database) as dispatcher:
        made = await case.make(url=sink.url())
        rotated = (await case.call("POST", f"{ENDPOINTS}/{made['id']}/secret/rotate")).json()
        assert rotated["old_valid_s"] == 86_400
        await hear(case.database, [event_of(case.tenant.business_id)], dispatcher)
        [first] = await sink.received(1)
        last = (await case.call("POST", f"{ENDPOINTS}/{made['id']}/secret/rotate", {"old_valid_s": 0})).json()
        await hear(case.database, [event_of(case.tenant.business_id)], dispatcher)
        second = (await sink.received(2))[1]
    for secret in (made["secret"], rotated["secret"]):
        standardwebhooks.Webhook(secret).verify(first.body, dict(first.headers))
        with pytest.raises(standardwebhooks.WebhookVerificationError):
            standardwebhooks.Webhook(secret).verify(second.body, dict(second.headers))
    standardwebhooks.Webhook(last["secret"]).verify(second.body, dict(second.headers))
    too_long = await case.call("POST", f"{ENDPOINTS}/{made['id']}/secret/rotate", {"old_valid_s": 604_801})
    assert (too_long.status_code, too_long.json()["errors"][0]["field"]) == (422, "old_valid_s")


async def test_deliveries_are_listed_newest_first_with_their_attempts(case: Case) -> None:
    async with Sink.started() as sink, dispatching(case.database) as dispatcher:
        sink.script = [Answer(500, body="é".encode())]
        made = await case.make(url=sink.url())
        for count in range(1, 6):
            await hear(case.database, [event_of(case.tenant.business_id)], dispatcher)
            await eventually(case.database, all_are("delivered", count))
    await case.make()
    seen: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await case.call("GET", f"{DELIVERIES}?limit=2&endpoint_id={made['id']}{cursor}")).json()
        seen += page["results"]
        cursor = page["next"] and f"&cursor={page['next']}"
    assert len(seen) == 5
    assert [one["id"] for one in seen] == sorted((one["id"] for one in seen), reverse=True)
    oldest = seen[-1]
    assert (oldest["status"], oldest["attempts"], oldest["next_at"]) == ("delivered", 2, None)
    shown = (await case.call("GET", f"{DELIVERIES}/{oldest['id']}")).json()
    assert shown["body"]["data"]["activity_id"] == oldest["activity_id"]
    assert {name: shown[name] for name in oldest} == oldest
    attempts = (await case.call("GET", f"{DELIVERIES}/{oldest['id']}/attempts")).json()["results"]
    assert [(one["number"], one["result"], one["http_status"]) for one in attempts] == [
        (1, "http_5xx", 500),
        (2, "delivered", 200),
    ]
    assert (attempts[0]["answer"], attempts[0]["address"]) == ("é", "127.0.0.1")
    assert (await case.call("GET", f"{DELIVERIES}?status=pending")).json()["results"] == []
    stranger = Case(case.database, case.client, await settle(case.database))
    assert (await stranger.call("GET", DELIVERIES)).json()["results"] == []
    for suffix in ("", "/attempts"):
        assert (await stranger.call("GET", f"{DELIVERIES}/{oldest['id']}{suffix}")).status_code == 404


async def test_deliveries_are_filtered_by_each_thing_that_the_routes_name(case: Case) -> None:
    ids = [(await case.make())["id"] for _ in range(2)]
    await hear(case.database, [event_of(case.tenant.business_id)])
    await asyncio.sleep(0.002)
    middle = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    note = event_of(case.tenant.business_id, "activity.appended", version=2)
    await case.call("PATCH", f"{ENDPOINTS}/{ids[0]}", {"event_types": ["activity.appended"]})
    await hear(case.database, [note])
    async with case.database.work() as tx:
        await tx.execute(
            "update delivery set status = 'exhausted', next_at = null where endpoint_id = $1", UUID(ids[1])
        )

    async def found(query: str) -> list[tuple[str, str]]:
        rows = (await case.call("GET", f"{DELIVERIES}?{query}")).json()["results"]
        return [(one["event_type"], one["endpoint_id"]) for one in rows]

    logged, appended = "activity.logged", "activity.appended"
    everything = [(appended, ids[0]), (logged, ids[1]), (logged, ids[0])]
    assert sorted(await found("")) == sorted(everything)
    assert await found(f"endpoint_id={ids[1]}") == [(logged, ids[1])]
    assert await found("status=exhausted") == [(logged, ids[1])]
    assert await found(f"type={appended}") == [(appended, ids[0])]
    assert await found(f"activity_id={note.activity.activity_id}") == [(appended, ids[0])]
    assert await found(f"from={middle}") == [(appended, ids[0])]
    assert sorted(await found(f"to={middle}")) == sorted(everything[1:])
    assert await found(f"to={middle}&endpoint_id={ids[0]}&status=pending&type={logged}") == [(logged, ids[0])]


async def test_what_is_not_there_is_answered_as_not_there(case: Case) -> None:
    id_ = uuid7()
    for method, path in (
        ("GET", f"{DELIVERIES}/{id_}"), ("GET", f"{DELIVERIES}/{id_}/attempts"), ("POST", f"{ENDPOINTS}/{id_}/test"),
        ("POST", f"{DELIVERIES}/{id_}/replay"), ("POST", f"{ENDPOINTS}/{id_}/secret/rotate"),
        ("GET", f"/api/webhooks/stats?endpoint_id={id_}"), ("GET", f"/api/webhooks/replays/{id_}"),
        ("POST", f"/api/webhooks/replays/{id_}/cancel"), ("POST", f"/api/webhooks/listeners/{id_}/poll"),
    ):  # fmt: skip
        answer = await case.call(method, path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), path


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("endpoints/{id}/test", {"event_type": "activity.created"}, "event_type"),
        ("endpoints/{id}/test", {"url": "https://example.com/"}, "url"),
        ("endpoints/{id}/secret/rotate", {"secret": "whsec_x"}, "secret"),
        ("listeners", {"event_types": []}, "event_types"), ("listeners", {"url": "https://example.com/"}, "url"),
        ("listeners", {"filter": {"expression": "nope"}}, "filter.expression"),
        ("listeners/{id}/poll", {"wait_s": 26}, "wait_s"), ("listeners/{id}/poll", {"wait_s": -1}, "wait_s"),
    ],
)  # fmt: skip
async def test_bad_body_is_refused_naming_the_field(case: Case, path: str, body: dict[str, Any], field: str) -> None:
    id_ = (await case.make())["id"] if "{id}" in path else ""
    answer = await case.call("POST", f"/api/webhooks/{path.replace('{id}', id_)}", body)
    assert (answer.status_code, [error["field"] for error in answer.json()["errors"]]) == (422, [field])


@pytest.mark.parametrize("path", [ENDPOINTS, "/api/webhooks/replays"])
@pytest.mark.parametrize(("query", "field"), [("limit=0", "limit"), ("limit=201", "limit"), ("cursor=x", "cursor")])
async def test_bad_page_is_refused_naming_the_field(case: Case, path: str, query: str, field: str) -> None:
    answer = await case.call("GET", f"{path}?{query}")
    assert (answer.status_code, [error["field"] for error in answer.json()["errors"]]) == (422, [field])


@pytest.mark.parametrize(
    ("query", "field"),
    [("limit=0", "limit"), ("limit=201", "limit"), ("limit=x", "limit"), ("status=sent", "status"),
     ("endpoint_id=1", "endpoint_id"), ("cursor=abc", "cursor"), ("type=activity.created", "type"),
     ("activity_id=x", "activity_id"), ("from=yesterday", "from"), ("to=2026-01-01", "to"),
     ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from")],
)  # fmt: skip
async def test_bad_query_is_refused_naming_the_field(case: Case, query: str, field: str) -> None:
    answer = await case.call("GET", f"{DELIVERIES}?{query}")
    assert (answer.status_code, [error["field"] for error in answer.json()["errors"]]) == (422, [field])
