"""Each write sent twice with one Idempotency-Key, then as short as `Prefer` asks, and meant for another version."""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import httpx
import orjson

from libs.access.copy import save_businesses, save_roles
from libs.access.levels import EVERYTHING
from libs.contracts.directory import Business, Role
from libs.contracts.ids import uuid7
from libs.database import Database
from tests.conftest import MakeDatabase
from tests.support.accounts import save_person, save_record
from tests.support.http import OPERATOR_KEY, make_service, served, settle
from tests.support.webhooks import event_of, hear

NAME = re.compile(r"\{(\w+)\}")
D, R, E = "/api/directory", "/api/directory/records/{object}", "/api/webhooks/endpoints"
RECORD = f"{R}/{{record_id}}"
DUE, OLD = "2031-01-01T10:00:00Z", '"999"'


class Write(NamedTuple):
    """An operation, its body, what its path means by a name, and as what the id of its answer is known from then on."""

    operation: str
    body: Any = None
    where: Mapping[str, str] = {}
    made: str = ""


DIRECTORY = (
    Write(f"PATCH {D}/business", {"settings": {"activities_from_channels": ["sms"]}}),
    Write(f"POST {D}/members", {"name": "Ada", "email": "ada@x.example"}, made="member_id"),
    Write(f"PATCH {D}/members/{{member_id}}", {"zone": "UTC"}),
    Write(f"POST {D}/members/{{member_id}}/tokens", {}),
    Write(f"DELETE {D}/members/{{member_id}}"),
    Write(f"POST {D}/roles", {"name": "Sales"}, made="role_id"),
    Write(f"PUT {D}/roles/{{role_id}}", {"name": "Support"}),
    Write(f"PATCH {D}/roles/{{role_id}}", {"name": "Service"}),
    Write(f"DELETE {D}/roles/{{role_id}}"),
    Write(f"POST {D}/api-keys", {"name": "ours", "scopes": ["records.read"]}, made="key_id"),
    Write(f"POST {D}/api-keys/{{key_id}}/rotate", {"overlap_s": 60}),
    Write(f"DELETE {D}/api-keys/{{key_id}}"),
    Write(f"POST {D}/objects", {"name": "Own", "api_name": "own"}, made="own"),
    Write(f"PATCH {D}/objects/{{object}}", {"statuses": ["Open"]}, {"object": "own"}),
    Write(f"DELETE {D}/objects/{{object}}", None, {"object": "own"}),
    Write(f"POST {R}", {"name": "A", "external_ref": "a-1"}, made="record_id"),
    Write(f"POST {R}", {"name": "B"}, made="other_id"),
    Write(f"POST {R}/bulk", {"name": "C", "external_ref": "c-1"}),
    Write(f"PUT {R}/by-ref/{{external_ref}}", {"name": "A again"}),
    Write(f"PATCH {RECORD}", {"name": "A changed"}),
    Write(f"POST {RECORD}/merge", {"record_id": "{other_id}"}),
    Write(f"POST {RECORD}/unmerge", None, {"record_id": "other_id"}),
    Write(f"POST {RECORD}/archive"),
    Write(f"POST {RECORD}/unarchive"),
    Write(f"POST {R}", {"name": "L"}, {"object": "lead"}, "lead_id"),
    Write(f"POST {RECORD}/convert", {}, {"object": "lead", "record_id": "lead_id"}),
    Write(f"POST {RECORD}/erase", {"reason": "asked"}),
    Write(f"DELETE {RECORD}", None, {"record_id": "other_id"}),
)
ENDPOINT = Write(f"POST {E}", {"url": "https://8.8.8.8/", "event_types": ["activity.logged"]}, made="endpoint_id")
OURS = {"id": "endpoint_id"}
WEBHOOKS = (
    Write(f"PATCH {E}/{{id}}", {"description": "ours"}, OURS),
    Write(f"POST {E}/{{id}}/secret/rotate", {}, OURS),
    Write(f"POST {E}/{{id}}/disable", None, OURS),
    Write(f"POST {E}/{{id}}/enable", None, OURS),
    Write("POST /api/webhooks/deliveries/{id}/replay", None, {"id": "delivery_id"}),
    Write("POST /api/webhooks/replays", {"endpoint_id": "{endpoint_id}"}, made="replay_id"),
    Write("POST /api/webhooks/replays/{id}/cancel", None, {"id": "replay_id"}),
    Write("POST /api/webhooks/listeners", {}),
    Write(f"DELETE {E}/{{id}}", None, OURS),
)

A, S2 = "/api/activities", "/v1/accounts/activities"
P, L, F = f"{A}/scheduled-activity", f"{A}/logged/{{activity_id}}", f"{A}/{{object}}/fields"
PLAN = Write(f"POST {P}", {"activity_object_name": "call", "due_datetime": DUE}, made="plan_id")
LOG = Write(f"POST {A}/{{object}}/log-activity", {"related_objects": [], "scheduled_activity_id": "{plan_id}"})
CHOICE = {"display_name": "Mood", "field_type": "dropdown", "options": [{"name": "good"}, {"name": "bad"}]}
ACCOUNT = {
    "accountId": "{account_id}", "activityTimestamp": DUE, "duration": 5, "location": "Berlin",
    "attachmentUrls": ["https://x.example/a"],
}  # fmt: skip
CALL, PLANNED, DONE = {"object": "call"}, {"activity_id": "plan_id"}, {"activity_id": "done_id"}
LIFECYCLE = (
    Write(f"POST {A}", {"name": "Inspection", "api_name": "inspection"}),
    Write(f"PUT {A}/{{object}}", {"name": "Check"}),
    Write(f"PATCH {A}/{{object}}", {"description": "ours"}),
    Write(f"POST {F}", CHOICE, made="field_id"),
    Write(f"PUT {F}/{{field_id}}", CHOICE),
    Write(f"PATCH {F}/{{field_id}}", {"description": "ours"}),
    Write(f"POST {F}/{{field_id}}/options", {"name": "so so"}, made="option_id"),
    Write(f"POST {F}/{{field_id}}/options/{{option_id}}/replace", {"option_id": "good"}),
    Write(f"DELETE {F}/{{field_id}}/options/{{option_id}}", None, {"option_id": "bad"}),
    Write(f"PUT {A}/{{object}}/rules", []),
    Write(f"POST {A}/{{object}}/duplicate", {}),
    Write(f"DELETE {F}/{{field_id}}"),
    Write(f"DELETE {A}/{{object}}"),
    Write(f"POST {A}/bulk", {"operations": [{"action": "schedule", "body": {"activity_object_name": "call"}}]}),
    PLAN,
    Write(f"PUT {P}/{{activity_id}}", {"due_datetime": DUE, "role_id": "{role_id}"}, PLANNED),
    Write(f"PATCH {P}/{{activity_id}}", {"subject": "x"}, PLANNED),
    Write(f"PATCH {P}/{{activity_id}}/notes", {"note": "x"}, PLANNED),
    Write(f"POST {P}/{{activity_id}}/claim", None, PLANNED),
    Write(f"DELETE {P}/{{activity_id}}", None, PLANNED),
    Write(f"POST {P}/{{activity_id}}/restore", None, PLANNED),
    LOG._replace(where=CALL, made="done_id"),
    PLAN,
    LOG._replace(where=CALL, made="other_id"),
    Write(f"POST {L}/append", {"kind": "note", "text": "x"}, DONE),
    Write(f"PUT {L}/same-event/{{other_id}}", None, DONE),
    Write(f"DELETE {L}/same-event", None, DONE),
    Write(f"POST {A}/logged/same-event/search", {"logged_from": "2020-01-01T00:00:00Z", "logged_before": DUE}),
    Write(f"POST {L}/undo", {}, DONE),
    Write(f"DELETE {S2}/{{activity_id}}", None, {"activity_id": "other_id"}),
    Write(f"POST {L}/restore", None, {"activity_id": "other_id"}),
    PLAN._replace(body={**PLAN.body, "recurrence": "FREQ=DAILY"}, made="recurring_id"),
    Write(f"POST {P}/series/{{series_id}}/skip", {"date": "2031-01-05"}),
    Write(f"POST {S2}", ACCOUNT, made="activity_id"),
    Write(f"PUT {S2}/{{activity_id}}", {"title": "x"}),
    Write(f"POST {S2}/{{activity_id}}/comments", {"text": "x"}),
    Write(f"DELETE {S2}/{{activity_id}}/attachments/{{attachment_id}}"),
    Write(f"PUT {S2}/{{activity_id}}", {"status": "COMPLETED"}),
    Write(f"POST {S2}/{{activity_id}}/undo", {}),
    Write(f"DELETE {S2}/{{activity_id}}"),
    Write(f"POST {S2}/{{activity_id}}/restore"),
)


@dataclass
class Writing:
    """A served service, who calls it, what it declares by operation, and what is known by name.

    `sessions`: who calls the paths that begin with that.
    """

    client: httpx.AsyncClient
    declared: Mapping[str, set[str]]
    headers: dict[str, str] = field(default_factory=dict)
    known: dict[str, str] = field(default_factory=dict)
    sessions: dict[str, dict[str, str]] = field(default_factory=dict)

    async def send(self, write: Write, **headers: str) -> httpx.Response:
        """Send a write."""
        method, _, path = write.operation.partition(" ")

        def meant(found: re.Match[str]) -> str:
            name = write.where.get(found[1], found[1])
            return self.known.get(name, name)

        text = None if write.body is None else NAME.sub(meant, orjson.dumps(write.body).decode())
        kind = {"content-type": "application/json"} if text is not None else {}
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        caller = next((each for start, each in self.sessions.items() if path.startswith(start)), self.headers)
        return await self.client.request(
            method, NAME.sub(meant, path), content=text, headers={**caller, **kind, **more}
        )

    async def twice(self, write: Write) -> httpx.Response:
        """Send a write as its description allows; the answer is the first one's, with its secret."""
        takes, key = self.declared[write.operation], {"idempotency_key": str(uuid7())}
        if "If-Match" in takes:
            stale = await self.send(write, if_match=OLD, **key)
            assert stale.status_code == 412, (write, stale.text)
        first = await self.send(write, **key)
        assert first.is_success, (write, first.text)
        again = await self.send(write, **key)
        assert again.headers.get("idempotent-replayed") == "true", write
        assert (again.status_code, _told(again)) == (first.status_code, _told(first)), write
        short = await self.send(write, prefer="return=minimal", **key)
        if "Prefer" in takes:
            assert (short.content, short.headers["preference-applied"]) == (b"", "return=minimal"), write
            assert short.status_code == (first.status_code if first.status_code in (201, 202) else 204)
        else:
            assert short.content == again.content != b"", write
        shown = _shown(first)
        if write.made:
            self.known[write.made] = shown["id"]
        self.known |= {name: shown[name] for name in ("series_id",) if shown.get(name)}
        for each in shown.get("attachments", ()):
            self.known["attachment_id"] = each["id"] if isinstance(each, dict) else each
        return first


def _shown(answer: httpx.Response) -> dict[str, Any]:
    """Read what an answer shows; S2 wraps it in `data`."""
    shown = answer.json() if answer.content else {}
    shown = shown.get("data", shown) if isinstance(shown, dict) else {}
    return shown if isinstance(shown, dict) else {}


def _told(answer: httpx.Response) -> list[str | None]:
    return [_shown(answer).get("id"), *(answer.headers.get(name) for name in ("etag", "x-wrote", "location"))]


@asynccontextmanager
async def writing(package: str, database: Database) -> AsyncIterator[Writing]:
    """Serve a service together with its description."""
    service = make_service(package, database)
    app, _ = service.application()
    document = service.openapi()
    said = document["components"]["parameters"]
    declared = {
        f"{method.upper()} {path}": {
            said[each["$ref"].rpartition("/")[2]]["name"] for each in operation.get("parameters", ()) if "$ref" in each
        }
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield Writing(client, {name: headers for name, headers in declared.items() if headers})


def covers(case: Writing, writes: Sequence[Write]) -> bool:
    """Tell whether every declared write is there."""
    return {each.operation for each in writes} == set(case.declared)


async def test_every_write_of_directory_happens_once_and_answers_as_short_as_asked(make_database: MakeDatabase) -> None:
    database = await make_database("directory")
    async with writing("directory", database) as case:
        case.headers["X-API-KEY"] = OPERATOR_KEY.text
        business = Write(f"POST {D}/businesses", {"name": "One", "zone": "UTC"})
        case.headers["X-API-KEY"] = (await case.twice(business)).json()["api_key"]
        case.known |= {"object": "contact", "external_ref": "a-1"}
        for each in DIRECTORY:
            await case.twice(each)
        assert covers(case, [business, *DIRECTORY])


async def test_every_write_of_webhooks_happens_once_and_answers_as_short_as_asked(make_database: MakeDatabase) -> None:
    database = await make_database("webhook_dispatcher")
    tenant = await settle(database)
    async with writing("webhook_dispatcher", database) as case:
        case.headers = tenant.headers
        assert "secret" in (await case.twice(ENDPOINT)).json()
        await hear(database, [event_of(tenant.business_id)])
        async with database.work() as tx:
            await tx.execute("update delivery set status = 'exhausted', next_at = null")
            case.known["delivery_id"] = str(await tx.value("select id from delivery"))
        for each in WEBHOOKS:
            await case.twice(each)
        assert covers(case, [ENDPOINT, *WEBHOOKS])


async def test_every_write_of_lifecycle_happens_once_and_answers_as_short_as_asked(make_database: MakeDatabase) -> None:
    database = await make_database("lifecycle")
    tenant = await settle(database)
    business_id, when = tenant.business_id, datetime.now(UTC)
    role = Role(
        business_id=business_id, id=uuid7(), version=1, name="crew", created_at=when, member_ids=[tenant.user_id],
        permissions=EVERYTHING,
    )  # fmt: skip
    business = Business(id=business_id, version=2, name="One", zone="UTC", created_at=when, settings={"same_event": {}})
    async with database.work() as tx:
        await save_roles(tx, [role])
        await save_businesses(tx, [business])
    ada = await save_person(database, business_id, "Ada", member_id=tenant.user_id)
    account = await save_record(database, business_id, "Acme")
    session = {"x-api-key": tenant.key.text, "x-org-id": str(business_id), "authorization": f"Bearer {ada.token}"}
    async with writing("lifecycle", database) as case:
        case.headers, case.sessions = tenant.headers, {S2: session}
        case.known |= {"object": "inspection", "role_id": str(role.id), "account_id": str(account)}
        for each in LIFECYCLE:
            await case.twice(each)
        assert covers(case, LIFECYCLE)


async def test_a_report_and_a_conversation_are_known_by_their_names_and_answered_as_short_as_asked(
    make_database: MakeDatabase,
) -> None:
    database = await make_database("ingest")
    message = {"id": "1", "direction": "inbound", "text": "hi", "sent_at": DUE}
    bodies = {
        "/ingest/activities": {"source": "phone", "source_ref": "1", "action": "log", "type": "call"},
        "/ingest/interactions": {
            "interaction_id": "c-1", "channel": "sms", "direction": "inbound", "address": "+491", "opened_at": DUE,
            "closed_at": DUE, "messages": [message],
        },
    }  # fmt: skip
    tenant = await settle(database)
    short = tenant.headers | {"prefer": "return=minimal"}
    async with served("ingest", database) as client:
        for path, body in bodies.items():
            answers = [
                await client.post(path, json=body, headers=headers) for headers in (short, tenant.headers, short)
            ]
            assert [each.status_code for each in answers] == [202, 200, 204], answers[0].text
            assert [bool(each.content) for each in answers] == [False, True, False]
