"""Every operation × credential × own, foreign, missing: with both walls, and with the queries' own wall alone."""

import re
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx
import orjson
import pytest

from libs.contracts.ids import uuid7
from tests.support import examples
from tests.support.stage import Stage
from tests.support.system import Business, Servers, System, eventually

UUIDS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
PACKAGES = ("directory", "ingest", "lifecycle", "timeline_projector", "reporting", "webhook_dispatcher")
SCHEDULED, LOGGED = "/api/activities/scheduled-activity", "/api/activities/logged"
ACCOUNTS = "/v1/accounts/activities"
RECORDS, ENDPOINTS = "/api/directory/records/{object}", "/api/webhooks/endpoints"
REPLAYS = "/api/webhooks/replays"
OPERATOR = "operator"
LATER = "2031-01-02T10:00:00Z"
DUE, SPAN = "2031-01-01T10:00:00Z", {"from": "2026-01-01", "to": "2031-12-31"}
Ask = Callable[[str], dict[str, Any]]


@dataclass(frozen=True)
class Row:
    """An operation, the scope it needs, the thing it is about, what is sent (with the thing's id), and what own gives.

    The thing's id goes into the path, or where `send` puts it. A foreign thing must answer as a missing one does.
    """

    operation: str
    scope: str
    thing: str | None = None
    send: Ask = field(default=lambda _: {})
    ok: int = 200
    path: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.operation} {self.thing or ''}".strip()


def body(**given: Any) -> Ask:
    return lambda _: {"json": given}


def fresh(**given: Any) -> Ask:
    """A body in which `{}` is something new each time."""
    return lambda _: {"json": orjson.loads(orjson.dumps(given).replace(b"{}", secrets.token_hex(6).encode()))}


def lines(*rows: dict[str, Any]) -> Ask:
    content = b"\n".join(map(orjson.dumps, rows))
    return lambda _: {"content": content, "headers": {"content-type": "application/x-ndjson"}}


def report(**given: Any) -> dict[str, Any]:
    return {"source": "phone", "source_ref": f"ref-{secrets.token_hex(6)}", "action": "log", "type": "call", **given}


def interaction(**given: Any) -> dict[str, Any]:
    ref, message = f"conv-{secrets.token_hex(6)}", {"id": "1", "direction": "inbound", "text": "hi", "sent_at": DUE}
    return {
        "interaction_id": ref, "channel": "sms", "direction": "inbound", "address": "+491", "opened_at": DUE,
        "closed_at": DUE, "messages": [message], **given,
    }  # fmt: skip


def entity(record_id: str) -> dict[str, str]:
    return {"custom_object": "contact", "entity_id": record_id}


def schedule(**given: Any) -> dict[str, Any]:
    return {"json": {"activity_object_name": "call", "due_datetime": DUE, **given}}


def meeting(account_id: str, **given: Any) -> dict[str, Any]:
    more = {"activityTimestamp": DUE, "duration": 30, "location": "x", "title": "t"}
    return {"json": {"accountId": account_id, **more, **given}}


NOTHING: Ask = lambda _: {}  # noqa: E731
CONTACT, CALL = {"object": "contact"}, {"object": "call"}
FIELDS, FIELD = "* /api/activities/{object}/fields", "* /api/activities/{object}/fields/{field_id}"
RW = ("directory.read", "directory.write")
ROWS = [
    Row("POST /api/directory/businesses", OPERATOR, None, body(name="Third", zone="UTC"), 201),
    Row("GET /api/directory/businesses", OPERATOR),
    Row("POST /api/directory/members", RW[1], None, fresh(name="New", email="{}@new.example"), 201),
    Row(
        "POST /api/directory/members", RW[1], "role",
        lambda role: {"json": {"name": "N", "email": f"{secrets.token_hex(6)}@x.example", "role_ids": [role]}}, 201,
    ),
    Row("GET /api/directory/members", RW[0]),
    Row("GET /api/directory/members/{member_id}", RW[0], "member"),
    Row("PATCH /api/directory/members/{member_id}", RW[1], "member", body(zone="UTC")),
    Row("DELETE /api/directory/members/{member_id}", RW[1], "spare_member", ok=204),
    Row("POST /api/directory/members/{member_id}/tokens", RW[1], "member", body(), 201),
    Row("POST /api/directory/roles", RW[1], None, fresh(name="role {}"), 201),
    Row(
        "POST /api/directory/roles", RW[1], "member",
        lambda member: {"json": {"name": f"r{secrets.token_hex(6)}", "member_ids": [member]}}, 201,
    ),
    Row("GET /api/directory/roles", RW[0]),
    Row("GET /api/directory/roles/{role_id}", RW[0], "role"),
    Row("PUT /api/directory/roles/{role_id}", RW[1], "role", body(name="put", permissions={"logged.view": "my"})),
    Row("PATCH /api/directory/roles/{role_id}", RW[1], "role", body(permissions={"logged.view": "all"})),
    Row("DELETE /api/directory/roles/{role_id}", RW[1], "spare_role", ok=204),
    Row("POST /api/directory/api-keys", RW[1], None, body(name="new", scopes=["records.read"]), 201),
    Row("GET /api/directory/api-keys", RW[0]),
    Row("POST /api/directory/api-keys/{key_id}/rotate", RW[1], "key", body(overlap_s=60), 201),
    Row("DELETE /api/directory/api-keys/{key_id}", RW[1], "spare_key", ok=204),
    Row("POST /api/directory/objects", RW[1], None, fresh(name="Own {}", api_name="own_{}"), 201),
    Row("GET /api/directory/objects", RW[0]),
    Row("GET /api/directory/objects/{object}", RW[0], "object"),
    Row("PATCH /api/directory/objects/{object}", RW[1], "object", body(statuses=["Open"])),
    Row("DELETE /api/directory/objects/{object}", RW[1], "spare_object", ok=204),
    Row(f"POST {RECORDS}", "records.write", None, fresh(name="New", external_ref="{}"), 201, CONTACT),
    Row(
        f"POST {RECORDS}", "records.write", "member",
        lambda owner: {"json": {"name": "New", "external_ref": secrets.token_hex(6), "owner_id": owner}}, 201, CONTACT,
    ),
    Row(f"GET {RECORDS}", "records.read", path=CONTACT),
    Row(f"POST {RECORDS}/bulk", "records.write", None, lines({"external_ref": "b-1", "name": "Bulk"}), 200, CONTACT),
    Row(
        f"PUT {RECORDS}/by-ref/{{external_ref}}", "records.write", None, body(name="By ref", external_ref="c-same"),
        200, CONTACT | {"external_ref": "c-same"},
    ),
    Row(f"GET {RECORDS}/by-ref/{{external_ref}}", "records.read", path=CONTACT | {"external_ref": "c-same"}),
    Row(f"GET {RECORDS}/{{record_id}}", "records.read", "record", path=CONTACT),
    Row(f"PATCH {RECORDS}/{{record_id}}", "records.write", "record", body(status="Inactive"), path=CONTACT),
    Row(f"DELETE {RECORDS}/{{record_id}}", "records.write", "spare_record", ok=204, path=CONTACT),
    Row(f"POST {RECORDS}/{{record_id}}/erase", "directory.write", "spare_record", body(reason="asked"), 202, CONTACT),
    Row(f"GET {RECORDS}/{{record_id}}/erase", "records.read", "spare_record", path=CONTACT),
    Row(f"POST {RECORDS}/{{record_id}}/merge", "records.write", "record", body(record_id=str(uuid7())), 422, CONTACT),
    Row(f"POST {RECORDS}/{{record_id}}/unmerge", "records.write", "record", ok=409, path=CONTACT),
    Row(f"POST {RECORDS}/{{record_id}}/archive", "records.write", "record", path=CONTACT),
    Row(f"POST {RECORDS}/{{record_id}}/unarchive", "records.write", "record", path=CONTACT),
    Row(f"POST {RECORDS}/{{record_id}}/convert", "records.write", "record", body(), 409, CONTACT),
    Row("GET /api/directory/business", RW[0]),
    Row("PATCH /api/directory/business", RW[1], None, body(settings={})),
    Row("GET /api/directory/security-events", RW[0]),
    Row("POST /ingest/activities", "ingest.write", None, lambda _: {"json": report()}, 202),
    Row(
        "POST /ingest/activities", "ingest.write", "logged",
        lambda known: {"json": report(action="append", activity_id=known, kind="note", text="x", type=None)}, 202,
    ),
    Row("POST /ingest/activities/bulk", "ingest.write", None, lambda _: lines(report(), report())("")),
    Row("POST /ingest/interactions", "ingest.write", None, lambda _: {"json": interaction()}, 202),
    Row(
        "POST /ingest/interactions", "ingest.write", "member",
        lambda member: {"json": interaction(agent_id=member)}, 202,
    ),
    Row("GET /ingest/receipts", "ingest.read", "ref", lambda ref: {"params": {"source": "phone", "source_ref": ref}}),
    Row("GET /ingest/receipts/{receipt_id}", "ingest.read", "receipt"),
    Row(f"GET {SCHEDULED}", "activities.read"),
    Row(f"GET {SCHEDULED}", "activities.read", "activity_object", lambda known: {"params": {"activity_id": known}}),
    Row(f"GET {SCHEDULED}", "activities.read", "member", lambda known: {"params": {"employee_ids": known}}),
    Row(f"POST {SCHEDULED}", "activities.write", None, lambda _: schedule(), 201),
    Row(f"POST {SCHEDULED}", "activities.write", "member", lambda member: schedule(employee_id=member), 201),
    Row(f"POST {SCHEDULED}", "activities.write", "role", lambda role: schedule(role_id=role), 201),
    Row(
        f"POST {SCHEDULED}", "activities.write", "record",
        lambda record: schedule(associated_entities=[entity(record)]), 201,
    ),
    Row(f"POST {SCHEDULED}/search", "activities.read", None, body()),
    Row(f"GET {SCHEDULED}/{{activity_id}}", "activities.read", "scheduled"),
    Row(f"PUT {SCHEDULED}/{{activity_id}}", "activities.write", "scheduled", body(due_datetime=DUE, note="put")),
    Row(f"PATCH {SCHEDULED}/{{activity_id}}", "activities.write", "scheduled", body(note="patched")),
    Row(f"PATCH {SCHEDULED}/{{activity_id}}/notes", "activities.write", "scheduled", body(notes="noted")),
    Row(f"GET {SCHEDULED}/{{activity_id}}/history", "activities.read", "scheduled"),
    Row(f"POST {SCHEDULED}/{{activity_id}}/restore", "activities.write", "cancelled"),
    Row(f"POST {SCHEDULED}/{{activity_id}}/claim", "activities.write", "scheduled", ok=409),
    Row(f"DELETE {SCHEDULED}/{{activity_id}}", "activities.write", "spare_scheduled", ok=204),
    Row("POST /api/activities/bulk", "activities.write", None, body(operations=[{"action": "none"}])),
    Row(f"GET {SCHEDULED}/future", "activities.read"),
    Row(f"GET {SCHEDULED}/series/{{series_id}}", "activities.read", "series"),
    Row(f"POST {SCHEDULED}/series/{{series_id}}/skip", "activities.write", "series", body(date="2031-01-15")),
    Row("POST /api/activities/{object}/responses", "activities.read", "activity_object", body()),
    Row("GET /api/activities", "activities.read"),
    Row("GET /api/activities/loggable", "activities.read"),
    Row("GET /api/activities/{object}", "activities.read", "activity_object"),
    Row("POST /api/activities", "activities.write", None, fresh(name="Kind {}"), 201),
    Row(
        "POST /api/activities", "activities.write", "member",
        lambda member: {"json": {"name": "Kind", "default_assignee": {"employee_id": member}}}, 201,
    ),
    Row("PUT /api/activities/{object}", "activities.write", "kind", body(name="Put")),
    Row("PATCH /api/activities/{object}", "activities.write", "kind", body(description="patched")),
    Row("DELETE /api/activities/{object}", "activities.write", "spare_kind", ok=204),
    Row("POST /api/activities/{object}/duplicate", "activities.write", "kind", ok=201),
    Row("GET /api/activities/{object}/rules", "activities.read", "kind"),
    Row("PUT /api/activities/{object}/rules", "activities.write", "kind", lambda _: {"json": []}),
    Row("POST /api/activities/{object}/evaluate", "activities.read", "kind", body()),
    Row(FIELDS.replace("*", "GET"), "activities.read", "kind"),
    Row(FIELDS.replace("*", "POST"), "activities.write", "kind", body(display_name="New", field_type="text"), 201),
    Row(FIELD.replace("*", "GET"), "activities.read", "field", path=CALL),
    Row(FIELD.replace("*", "PATCH"), "activities.write", "field", body(description="patched"), path=CALL),
    Row(
        FIELD.replace("*", "PUT"), "activities.write", "spare_field", body(display_name="Put", field_type="text"),
        path=CALL,
    ),
    Row(FIELD.replace("*", "DELETE"), "activities.write", "spare_field", ok=204, path=CALL),
    Row(f"{FIELD.replace('*', 'POST')}/options", "activities.write", "field", fresh(name="{}"), 201, CALL),
    Row(
        f"{FIELD.replace('*', 'DELETE')}/options/{{option_id}}", "activities.write", "spare_option", ok=204,
        path=CALL | {"field_id": "outcome"},
    ),
    Row(
        f"{FIELD.replace('*', 'POST')}/options/{{option_id}}/replace", "activities.write", "option",
        body(option_id="kept"), path=CALL | {"field_id": "outcome"},
    ),
    Row(
        f"{FIELD.replace('*', 'POST')}/options/{{option_id}}/replace", "activities.write", "other_option",
        lambda other: {"json": {"option_id": other}}, path=CALL | {"field_id": "outcome", "option_id": "kept"},
    ),
    Row("POST /api/activities/{object}/log-activity", "activities.write", None, body(related_objects=[]), 201, CALL),
    Row(
        "POST /api/activities/{object}/log-activity", "activities.write", "record",
        lambda record: {"json": {"related_objects": [entity(record)]}}, 201, CALL,
    ),
    Row(
        "POST /api/activities/{object}/log-activity", "activities.write", "done",
        lambda known: {"json": {"related_objects": [], "scheduled_activity_id": known}}, 201, CALL,
    ),
    Row(f"GET {LOGGED}/{{activity_id}}", "activities.read", "logged"),
    Row(f"GET {LOGGED}/{{activity_id}}/history", "activities.read", "logged"),
    Row(f"POST {LOGGED}/{{activity_id}}/restore", "activities.write", "logged"),
    Row(f"POST {LOGGED}/{{activity_id}}/undo", "activities.write", "spare_logged", body(text="wrong"), 201),
    Row(f"PUT {LOGGED}/{{activity_id}}/same-event/{{other_id}}", "activities.write", "logged", ok=409),
    Row(f"DELETE {LOGGED}/{{activity_id}}/same-event", "activities.write", "logged"),
    Row(f"POST {LOGGED}/same-event/search", "activities.write", None, body(logged_from=DUE, logged_before=LATER), 409),
    Row(f"GET {LOGGED}/same-event/search", "activities.read"),
    Row(f"GET {ACCOUNTS}", "activities.read", "account", lambda known: {"params": {"accountId": known}}),
    Row(f"POST {ACCOUNTS}", "activities.write", "account", meeting, 201),
    Row(f"GET {ACCOUNTS}/{{activity_id}}", "activities.read", "scheduled"),
    Row(f"PUT {ACCOUNTS}/{{activity_id}}", "activities.write", "scheduled", body(title="put")),
    Row(f"DELETE {ACCOUNTS}/{{activity_id}}", "activities.write", "gone", ok=204),
    Row(f"POST {ACCOUNTS}/{{activity_id}}/restore", "activities.write", "scheduled"),
    Row(f"POST {ACCOUNTS}/{{activity_id}}/undo", "activities.write", "spare_logged", body(text="wrong"), 409),
    Row(
        f"DELETE {ACCOUNTS}/{{activity_id}}/attachments/{{attachment_id}}", "activities.write", "scheduled",
        ok=404, path={"attachment_id": str(uuid7())},
    ),
    Row(f"GET {ACCOUNTS}/{{activity_id}}/comments", "activities.read", "scheduled"),
    Row(f"POST {ACCOUNTS}/{{activity_id}}/comments", "activities.write", "scheduled", body(text="well"), 201),
    Row(f"POST {LOGGED}/{{activity_id}}/append", "activities.write", "logged", body(kind="note", text="more"), 201),
    Row("GET /api/timeline/{object_name}/{record_id}", "timeline.read", "record", path={"object_name": "contact"}),
    Row(
        "POST /api/timeline/badges", "timeline.read", "record",
        lambda record: {"json": {"object": "contact", "record_ids": [record]}},
    ),
    Row("GET /api/timeline/{object_name}", "timeline.read", path={"object_name": "contact"}),
    Row("GET /api/interactions/{interaction_id}/messages", "timeline.read", "interaction"),
    Row(
        "GET /api/reports/volume", "reports.read", None,
        lambda _: {"params": SPAN | {"granularity": "month", "group_by": "type,state,source"}},
    ),
    Row("GET /api/reports/rows", "reports.read", None, lambda _: {"params": SPAN}),
    Row(
        f"POST {ENDPOINTS}", "webhooks.write", None,
        body(url="http://127.0.0.1:9/new", event_types=["activity.logged"]), 201,
    ),
    Row(f"GET {ENDPOINTS}", "webhooks.read"),
    Row(f"GET {ENDPOINTS}/{{id}}", "webhooks.read", "endpoint"),
    Row(f"PATCH {ENDPOINTS}/{{id}}", "webhooks.write", "endpoint", body(description="changed")),
    Row(f"POST {ENDPOINTS}/{{id}}/disable", "webhooks.write", "endpoint"),
    Row(f"POST {ENDPOINTS}/{{id}}/enable", "webhooks.write", "endpoint"),
    Row(f"POST {ENDPOINTS}/{{id}}/secret/rotate", "webhooks.write", "endpoint", body(), 200),
    Row(f"POST {ENDPOINTS}/{{id}}/test", "webhooks.write", "endpoint", body()),
    Row("GET /api/webhooks/stats", "webhooks.read"),
    Row("GET /api/webhooks/stats", "webhooks.read", "endpoint", lambda known: {"params": {"endpoint_id": known}}),
    Row(f"DELETE {ENDPOINTS}/{{id}}", "webhooks.write", "spare_endpoint", ok=204),
    Row("GET /api/webhooks/deliveries", "webhooks.read"),
    Row(
        "GET /api/webhooks/deliveries", "webhooks.read", "endpoint",
        lambda endpoint: {"params": {"endpoint_id": endpoint}},
    ),
    Row("GET /api/webhooks/deliveries/{id}", "webhooks.read", "delivery"),
    Row("GET /api/webhooks/deliveries/{id}/attempts", "webhooks.read", "delivery"),
    Row("POST /api/webhooks/deliveries/{id}/replay", "webhooks.write", "delivery", ok=409),
    Row(
        f"POST {REPLAYS}", "webhooks.write", "endpoint",
        lambda endpoint: {"json": {"endpoint_id": endpoint, "missed_since": DUE}}, 202,
    ),
    Row("POST /api/webhooks/listeners", "webhooks.write", None, body(), 201),
    Row("POST /api/webhooks/listeners/{id}/poll", "webhooks.write", "listener", body(wait_s=0)),
    Row(f"GET {REPLAYS}", "webhooks.read"),
    Row(f"GET {REPLAYS}/{{id}}", "webhooks.read", "replay"),
    Row(f"POST {REPLAYS}/{{id}}/cancel", "webhooks.write", "replay"),
    *(
        Row(f"{operation}".replace("…", f"/api/operations/{package.replace('_', '-')}"), OPERATOR, None, sent, ok, path)
        for package in PACKAGES
        for operation, sent, ok, path in (
            ("GET …/letters", NOTHING, 200, {}),
            ("GET …/letters/{letter_id}", NOTHING, 404, {"letter_id": "0:999999"}),
            ("POST …/letters/replay", body(ids=["0:999999"]), 404, {}),
            ("POST …/letters/drop", body(ids=["0:999999"], reason="none"), 404, {}),
            ("GET …/stops", NOTHING, 200, {}),
            ("POST …/stops/resume", body(topic="none", partition=0), 404, {}),
        )
    ),
]  # fmt: skip
NAMED = [row for row in ROWS if row.thing is not None]


@dataclass
class Tenant:
    """A business with one of everything, whose names and refs carry its canary."""

    business: Business
    canary: str
    token: str = ""
    things: dict[str, str] = field(default_factory=dict)

    def headers(self, row: Row) -> dict[str, str]:
        """The credentials of a row: those of S2's routes are other ones."""
        if ACCOUNTS not in row.operation:
            return self.business.headers
        key = self.business.headers["X-API-KEY"]
        return {"X-API-KEY": key, "x-org-id": self.business.id, "Authorization": f"Bearer {self.token}"}

    @property
    def marks(self) -> set[str]:
        """What must never be in an answer to another business."""
        return {self.canary, self.business.id, self.business.user_id, *self.things.values()}


@dataclass
class World:
    system: System
    client: httpx.AsyncClient
    a: Tenant
    b: Tenant
    revoked: str
    narrow: dict[str, str]
    """By scope a key of A that has all others."""
    answers: dict[str, httpx.Response] = field(default_factory=dict)
    """By operation what A's own thing answered."""

    async def ask(self, row: Row, thing: str, headers: dict[str, str]) -> httpx.Response:
        method, template = row.operation.split(" ")
        sent = row.send(thing)
        names = re.findall(r"\{(\w+)\}", template)
        path = template.format(**{name: row.path.get(name, thing) for name in names})
        more = sent.pop("headers", {})
        answer = await self.client.request(method, path, headers={**headers, **more}, **sent)
        assert answer.status_code < 500, f"{row.name}: {answer.status_code} {answer.text}"
        return answer

    def headers(self, row: Row) -> dict[str, str]:
        return {"X-API-KEY": self.system.operator_key} if row.scope == OPERATOR else self.a.headers(row)


@pytest.fixture(scope="module", params=["both walls", "queries alone"])
async def world(request: pytest.FixtureRequest, stage: Stage) -> AsyncIterator[World]:
    await stage.prepare()
    if request.param == "queries alone":
        await alter_routes(stage.servers, "bypassrls")
    try:
        system = await stage.have(extra={"REFERENCE_WAIT_MAX_MS": "300"})
        async with httpx.AsyncClient(base_url=system.url, timeout=60) as client:
            a, b = [await furnish(system, client) for _ in range(2)]
            shown = (await client.get("/api/directory/api-keys", headers=a.business.headers)).json()
            scopes = next(key["scopes"] for key in shown["results"] if key["name"] == "First key")
            wanted = sorted({row.scope for row in ROWS} - {OPERATOR})
            narrow = {
                scope: await make_key(client, a, [other for other in scopes if other != scope]) for scope in wanted
            }
            revoked = await make_key(client, a, scopes, revoke=True)
            yield World(system, client, a, b, revoked, narrow)
    finally:
        await stage.end()
        await alter_routes(stage.servers, "nobypassrls")


async def alter_routes(servers: Servers, attribute: str) -> None:
    connection = await asyncpg.connect(servers.postgres.admin_url)
    for package in PACKAGES:
        await connection.execute(f'alter role "{package}_routes" {attribute}')
    await connection.close()


async def make_key(client: httpx.AsyncClient, tenant: Tenant, scopes: list[str], *, revoke: bool = False) -> str:
    """Make a key, and wait until every service knows it (and that it was revoked)."""
    headers = tenant.business.headers
    made = await client.post("/api/directory/api-keys", headers=headers, json={"name": "k", "scopes": scopes})
    assert made.status_code == 201, made.text
    key: str = made.json()["api_key"]

    async def known() -> bool:
        return (await client.get("/readyz", headers={"X-API-KEY": key})).status_code == 200

    await eventually(known, 60, "every service knows the key")
    if revoke:
        gone = await client.delete(f"/api/directory/api-keys/{made.json()['id']}", headers=headers)
        assert gone.status_code == 204

        async def refused() -> bool:
            paths = ("/ingest/receipts/x", "/api/activities", "/api/timeline/x/x", "/api/reports/rows", ENDPOINTS)
            named = {**headers, "X-API-KEY": key}
            return {(await client.get(path, headers=named)).status_code for path in paths} == {401}

        await eventually(refused, 60, "the revoked key is refused everywhere")
    return key


async def furnish(system: System, client: httpx.AsyncClient) -> Tenant:
    """Make a business with two of everything."""
    canary = f"canary{secrets.token_hex(5)}"
    tenant = Tenant(await system.make_business(client), canary)
    things, headers = tenant.things, tenant.business.headers

    async def make(path: str, content: dict[str, Any], method: str = "POST") -> str:
        made = await client.request(method, path, headers=headers, json=content)
        assert made.status_code in (201, 202), f"{path}: {made.text}"
        return str(made.json().get("id") or made.json()["receipt_id"])

    endpoint = {"url": f"http://127.0.0.1:9/{canary}", "event_types": ["activity.logged"], "description": canary}
    for spare in ("", "spare_"):
        person = {"name": canary, "email": f"{spare}{canary}@x.example"}
        things[f"{spare}endpoint"] = await make(ENDPOINTS, endpoint)
        things[f"{spare}member"] = await make("/api/directory/members", person)
        things[f"{spare}role"] = await make("/api/directory/roles", {"name": f"{spare}{canary}"})
        things[f"{spare}key"] = await make("/api/directory/api-keys", {"name": canary})
        things[f"{spare}object"] = await make("/api/directory/objects", {"name": f"{spare}{canary}"})
        things[f"{spare}kind"] = await make("/api/activities", {"name": f"{spare}{canary}"})
        things[f"{spare}field"] = await make(
            "/api/activities/call/fields",
            {"display_name": canary, "field_type": "text"}
            if spare
            else {"display_name": "Outcome", "field_type": "dropdown", "options": [{"name": "Kept"}]},
        )
        contact = {"name": canary, "external_ref": f"{spare}{canary}"}
        things[f"{spare}record"] = await make(RECORDS.format(object="contact"), contact)
    for option in ("option", "spare_option", "other_option"):
        named = {"name": f"{option} of {canary}"}
        things[option] = await make("/api/activities/call/fields/outcome/options", named)
    await make(f"{RECORDS.format(object='contact')}/by-ref/c-same", {"name": canary, "external_ref": "c-same"}, "PUT")
    things["account"] = await make(RECORDS.format(object="account"), {"name": canary, "external_ref": canary})
    session = await client.post(f"/api/directory/members/{things['member']}/tokens", headers=headers, json={})
    tenant.token = session.json()["token"]
    for name in ("scheduled", "spare_scheduled", "cancelled", "done", "gone"):
        plan = {"note": canary, "associated_entities": [entity(things["record"])], "employee_id": things["member"]}
        things[name] = await make(SCHEDULED, schedule(**plan)["json"])
    assert (await client.delete(f"{SCHEDULED}/{things['cancelled']}", headers=headers)).status_code == 204
    recurring = schedule(note=canary, recurrence="FREQ=DAILY")["json"]
    things["series"] = (await client.post(SCHEDULED, headers=headers, json=recurring)).json()["series_id"]
    things["spare_logged"] = await make("/api/activities/call/log-activity", {"related_objects": []})
    await make("/ingest/activities", report(source_ref="same", summary=canary))
    things["ref"] = canary
    things["receipt"] = await make("/ingest/activities", report(source_ref=canary, summary=canary))
    talk = interaction(links=[{"object": "contact", "record_id": things["record"]}], disposition=canary)
    closed = await client.post("/ingest/interactions", headers=headers, json=talk)
    assert closed.status_code == 202, closed.text
    things["interaction"] = closed.json()["interaction_id"]
    await until_told(client, tenant)
    things["listener"] = await make("/api/webhooks/listeners", {})
    things["replay"] = await make(REPLAYS, {"endpoint_id": things["endpoint"], "statuses": ["delivered"]})
    kinds = (await client.get("/api/activities", headers=headers)).json()["results"]
    things["activity_object"] = next(kind["id"] for kind in kinds if kind["api_name"] == "call")
    return tenant


async def until_told(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers, things = tenant.business.headers, tenant.things

    async def told() -> bool:
        found = await client.get(
            "/api/webhooks/deliveries", headers=headers, params={"endpoint_id": things["endpoint"]}
        )
        receipt = (await client.get(f"/ingest/receipts/{things['receipt']}", headers=headers)).json()
        things["logged"] = receipt["activity_id"]
        for delivery in found.json()["results"]:
            things["delivery"] = delivery["id"]
        talk = await client.get(f"/api/interactions/{things['interaction']}/messages", headers=headers)
        return receipt["status"] == "applied" and "delivery" in things and talk.status_code == 200

    await eventually(told, 60, "a delivery is owed")


async def test_the_table_names_every_operation_and_no_other(world: World) -> None:
    paths = (await world.client.get("/openapi.json")).json()["paths"]
    served = {f"{method.upper()} {path}" for path, operations in paths.items() for method in operations}
    assert served == {row.operation for row in ROWS}, (
        "give a new route its row in ROWS, with all the things it is about"
    )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_credentials_that_do_not_open_it_are_refused(world: World, row: Row) -> None:
    own = world.a.headers(row)
    thing = world.a.things[row.thing] if row.thing else ""
    nameless = {name: value for name, value in own.items() if name != "X-API-KEY"}
    with_token = "x-org-id" in own
    other = {**own, "x-org-id" if with_token else "X-BUSINESS-ID": world.b.business.id}
    both = {**own, "Authorization": f"Bearer {own['X-API-KEY']}"}
    without = own if row.scope == OPERATOR else {**own, "X-API-KEY": world.narrow[row.scope]}
    for credentials, status in (
        (nameless, 401),
        ({**own, "X-API-KEY": "garbage"}, 401),
        ({**own, "X-API-KEY": own["X-API-KEY"][:-1] + ("a" if own["X-API-KEY"][-1] != "a" else "b")}, 401),
        ({**own, "X-API-KEY": world.revoked}, 401),
        (without, 403),
        (other, 403),
        (both, 401 if with_token else 400),
    ):
        answer = await world.ask(row, thing, credentials)
        assert answer.status_code == status, f"{row.name} with {credentials}: {answer.status_code} {answer.text}"
        if with_token:
            assert answer.json().keys() == {"statusCode", "message", "error"}
            continue
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["request_id"]


@pytest.mark.parametrize("row", NAMED, ids=lambda row: row.name)
async def test_what_is_foreign_answers_like_what_is_missing(world: World, row: Row) -> None:
    assert row.thing is not None
    foreign_id, missing_id = world.b.things[row.thing], str(uuid7())
    foreign = await world.ask(row, foreign_id, world.headers(row))
    missing = await world.ask(row, missing_id, world.headers(row))
    assert shape(foreign, foreign_id) == shape(missing, missing_id), row.name
    assert not leaked(world, foreign, foreign_id)


def shape(answer: httpx.Response, asked: str) -> tuple[int, Any]:
    """What an answer says, apart from ids and the request's own."""
    found = orjson.loads(UUIDS.sub("<id>", answer.text.replace(asked, "<id>"))) if answer.content else None
    if isinstance(found, dict):
        found.pop("request_id", None)
        for volatile in ("created", "created_at", "updated_at", "logged_at", "occurred_at"):
            found.pop(volatile, None)
    return answer.status_code, found


def leaked(world: World, answer: httpx.Response, asked: str = "") -> set[str]:
    text = answer.text + str(dict(answer.headers))
    text = text.replace(asked, "") if asked else text
    return {mark for mark in world.b.marks if mark in text}


async def everything_of(world: World, tenant: Tenant) -> dict[str, str]:
    """All that a business can read of its own."""
    found = {}
    for row in ROWS:
        if row.operation.startswith("GET") and row.scope != OPERATOR:
            answer = await world.ask(row, tenant.things[row.thing] if row.thing else "", tenant.headers(row))
            assert answer.status_code in (200, 404), f"{row.name}: {answer.text}"  # 404: nothing of it was erased yet
            if not any(word in row.operation for word in ("deliveries", "/stats")):  # attempts go on by themselves
                text = answer.text if answer.status_code == 200 else "404"
                found[row.name] = re.sub(r'"as_of":"[^"]*"|as_of=[^&"]*', "", text)
    return found


async def test_what_one_business_does_changes_nothing_of_another(world: World) -> None:
    before = await everything_of(world, world.b)
    for row in NAMED:
        if not row.operation.startswith("GET"):
            assert row.thing is not None
            await world.ask(row, world.b.things[row.thing], world.headers(row))
    assert await everything_of(world, world.b) == before


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_own_things_are_served_without_a_trace_of_another_business(world: World, row: Row) -> None:
    thing = world.a.things[row.thing] if row.thing else ""
    answer = await world.ask(row, thing, world.headers(row))
    assert answer.status_code == row.ok, f"{row.name}: {answer.status_code} {answer.text}"
    world.answers.setdefault(row.operation, answer)
    if row.scope != OPERATOR:
        assert not leaked(world, answer), row.name


async def test_every_operation_is_described_by_an_example_of_what_it_answers(world: World) -> None:
    paths = (await world.client.get("/openapi.json")).json()["paths"]
    assert world.answers.keys() == {row.operation for row in ROWS}, "the tests above ask for the answers"
    wrong = []
    for operation, answer in world.answers.items():
        if answer.is_error:
            continue  # there is none of it here
        method, path = operation.split(" ")
        described, real = paths[path][method.lower()], examples.example_of(answer)
        if examples.WRITE:
            examples.write(described["tags"][0].replace("-", "_"), operation, real)
        elif not examples.is_like(described, real):
            wrong.append(operation)
    assert not wrong, "record their examples anew: tests/support/examples.py says how"
