"""An activity goes all the way: reported, admitted, shown, counted, told."""

import base64
import json
from datetime import date, timedelta
from typing import Any

import httpx
from standardwebhooks import Webhook

from cli.check import drain_and_reconcile
from tests.support.sink import Sink
from tests.support.system import Business, System, eventually


def report(ref: str, **more: Any) -> dict[str, Any]:
    return {
        "source": "phone",
        "source_ref": ref,
        "action": "log",
        "type": "call",
        "occurred_at": "2026-05-04T09:30:00+02:00",
        "summary": "Renewal agreed שלום 👋",
        "direction": "outbound",
        "links": [{"object": "contact", "external_ref": "c-1"}],
        **more,
    }


async def make_contact(client: httpx.AsyncClient, business: Business, ref: str = "c-1") -> str:
    answer = await client.put(
        f"/api/directory/records/contact/by-ref/{ref}",
        headers=business.headers,
        json={"external_ref": ref, "name": "Grace Hopper"},
    )
    assert answer.status_code == 201, answer.text
    record_id: str = answer.json()["id"]
    return record_id


async def until_applied(client: httpx.AsyncClient, business: Business, receipt_id: str) -> dict[str, Any]:
    receipt: dict[str, Any] = {}

    async def answered() -> bool:
        nonlocal receipt
        receipt = (await client.get(f"/ingest/receipts/{receipt_id}", headers=business.headers)).json()
        return receipt["status"] != "accepted"

    await eventually(answered, 60, "the receipt is answered")
    assert receipt["status"] == "applied", receipt
    return receipt


async def test_a_report_is_shown_counted_and_told(client: httpx.AsyncClient, business: Business) -> None:
    contact = await make_contact(client, business)
    async with Sink.started() as sink:
        made = await client.post(
            "/api/webhooks/endpoints",
            headers=business.headers,
            json={"url": sink.url(), "event_types": ["activity.logged"]},
        )
        assert made.status_code == 201, made.text
        accepted = await client.post("/ingest/activities", headers=business.headers, json=report("call-1"))
        assert accepted.status_code == 202, accepted.text
        answer = accepted.json()
        receipt = await until_applied(client, business, answer["receipt_id"])
        assert receipt["activity_id"] == answer["activity_id"]
        assert receipt["version"] == 1

        fresh = {"min_version": f"{answer['activity_id']}:1"}
        shown = await client.get(f"/api/timeline/contact/{contact}", headers=business.patient, params=fresh)
        assert shown.status_code == 200, shown.text
        (entry,) = shown.json()["results"]
        assert entry["activity_id"] == answer["activity_id"]
        assert (entry["state"], entry["type"], entry["summary"]) == ("logged", "call", "Renewal agreed שלום 👋")
        assert entry["at"] == "2026-05-04T07:30:00Z"

        badges = await client.post(
            "/api/timeline/badges", headers=business.headers, json={"object": "contact", "record_ids": [contact]}
        )
        assert badges.json() == {"counts": {contact: 1}}

        span = {"from": "2026-05-04", "to": "2026-05-04", "granularity": "day", "group_by": "type,state", **fresh}
        counted = await client.get("/api/reports/volume", headers=business.patient, params=span)
        assert counted.status_code == 200, counted.text
        assert counted.json()["total"] == 1
        assert counted.json()["series"][0]["group"] == {"type": "call", "state": "logged"}

        (request,) = await sink.received(1)
        body = Webhook(made.json()["secret"]).verify(request.body, request.headers)
        assert body["type"] == "activity.logged"
        assert body["data"]["activity_id"] == answer["activity_id"]
        assert body["data"]["scheduled_activity_id"] is None
        assert base64.b64decode(made.json()["secret"].removeprefix("whsec_"))


async def test_two_reports_of_one_event_are_shown_and_counted_once_until_somebody_parts_them(
    system: System, client: httpx.AsyncClient, business: Business
) -> None:
    contact = await make_contact(client, business, "c-two")
    wanted = {"settings": {"same_event": {"sources": ["phone", "crm"]}}}
    assert (await client.patch("/api/directory/business", headers=business.headers, json=wanted)).status_code == 200
    links, number, day = [{"object": "contact", "external_ref": "c-two"}], 0, date(2025, 3, 1)
    second: dict[str, Any] = {}

    async def recognised() -> bool:
        """The setting has arrived where activities are decided; each look is about another day."""
        nonlocal second, number, day
        number, day = number + 1, day + timedelta(days=1)
        for source in ("phone", "crm"):
            told = report(f"two-{number}", source=source, occurred_at=f"{day}T10:00:00Z", links=links)
            answer = await client.post("/ingest/activities", headers=business.headers, json=told)
            second = await until_applied(client, business, answer.json()["receipt_id"])
        return [reason["code"] for reason in second["reasons"]] == ["same_event"]

    async with Sink.started() as sink:
        endpoint = {"url": sink.url(), "event_types": ["activity.logged"]}
        await client.post("/api/webhooks/endpoints", headers=business.headers, json=endpoint)
        await eventually(recognised, 60, "the second report is recognised")
        path = f"/api/activities/logged/{second['activity_id']}"
        first = (await client.get(path, headers=business.headers)).json()["same_as"]

        async def seen(versions: list[str]) -> tuple[list[Any], int]:
            fresh = {"min_version": versions}
            shown = await client.get(f"/api/timeline/contact/{contact}", headers=business.patient, params=fresh)
            span = {"from": str(day), "to": str(day), "granularity": "day", "group_by": "source", **fresh}
            counted = await client.get("/api/reports/volume", headers=business.patient, params=span)
            assert (shown.status_code, counted.status_code) == (200, 200)
            return [line for line in shown.json()["results"] if line["at"][:10] == str(day)], counted.json()["total"]

        lines, total = await seen([f"{second['activity_id']}:1", f"{first}:2"])
        assert [(line["activity_id"], line["same"][0]["source"], total) for line in lines] == [(first, "crm", 1)]
        bodies = [json.loads(request.body) for request in await sink.received(2 * number)]
        told = {body["data"]["activity_id"]: body["data"] for body in bodies}
        assert (told[first]["same_as"], told[second["activity_id"]]["same_as"]) == (None, first)
        assert (await client.delete(f"{path}/same-event", headers=business.headers)).status_code == 200
        lines, total = await seen([f"{second['activity_id']}:2", f"{first}:3"])
        assert ({line["activity_id"] for line in lines}, total) == ({first, second["activity_id"]}, 2)
        linked = await client.put(f"{path}/same-event/{first}", headers=business.headers)
        assert (linked.status_code, linked.json()["same_as"]) == (200, first)
        assert await drain_and_reconcile(system.environment, business.id) == []
        named = {"source": "phone", "source_ref": f"two-{number}"}
        receipt = (await client.get("/ingest/receipts", headers=business.headers, params=named)).json()
        assert (receipt["status"], receipt["version"]) == ("applied", 1)
        assert [reason["code"] for reason in receipt["reasons"]] == ["same_event"]


async def test_the_same_report_again_answers_the_same_and_another_body_is_refused(
    client: httpx.AsyncClient, business: Business
) -> None:
    first = await client.post("/ingest/activities", headers=business.headers, json=report("call-2"))
    again = await client.post("/ingest/activities", headers=business.headers, json=report("call-2"))
    other = await client.post("/ingest/activities", headers=business.headers, json=report("call-2", summary="else"))
    assert (first.status_code, again.status_code, other.status_code) == (202, 200, 409)
    assert again.json()["activity_id"] == first.json()["activity_id"]
    assert again.json()["receipt_id"] == first.json()["receipt_id"]


async def test_a_planned_activity_is_completed_and_told_only_then(
    client: httpx.AsyncClient, business: Business
) -> None:
    contact = await make_contact(client, business)
    async with Sink.started() as sink:
        await client.post(
            "/api/webhooks/endpoints",
            headers=business.headers,
            json={"url": sink.url(), "event_types": ["activity.logged", "activity.completed"]},
        )
        planned = await client.post(
            "/api/activities/scheduled-activity",
            headers=business.headers,
            json={
                "activity_object_name": "meeting",
                "due_datetime": "2030-01-01T10:00:00Z",
                "note": "Bring the papers",
                "associated_entities": [{"custom_object": "contact", "entity_id": contact}],
            },
        )
        assert planned.status_code == 201, planned.text
        activity_id = planned.json()["id"]
        upcoming = await client.get(
            f"/api/timeline/contact/{contact}",
            headers=business.patient,
            params={"state": "upcoming", "min_version": planned.headers["x-wrote"]},
        )
        assert [entry["id"] for entry in upcoming.json()["results"]] == [activity_id]
        logged = await client.post(
            "/api/activities/meeting/log-activity",
            headers=business.headers,
            json={
                "scheduled_activity_id": activity_id,
                "notes": "Signed",
                "related_objects": [{"custom_object": "contact", "entity_id": contact}],
            },
        )
        assert logged.status_code == 201, logged.text
        past = await client.get(
            f"/api/timeline/contact/{contact}",
            headers=business.patient,
            params={"state": "past", "min_version": logged.headers["x-wrote"]},
        )
        assert [(entry["id"], entry["state"]) for entry in past.json()["results"]] == [(activity_id, "completed")]
        told = [json.loads(request.body) for request in await sink.received(2)]
        assert sorted(body["type"] for body in told) == ["activity.completed", "activity.logged"]
        assert {body["data"]["scheduled_activity_id"] for body in told} == {activity_id}


async def test_a_linked_value_is_written_to_its_record_unless_the_records_object_locks_it(
    client: httpx.AsyncClient, business: Business
) -> None:
    contact = await make_contact(client, business, "c-linked")
    linked = {
        "display_name": "Budget", "field_type": "activity_custom_field", "custom_field_type": "money",
        "custom_object_field": {"custom_object": "contact", "name": "budget"},
    }  # fmt: skip
    made = await client.post("/api/activities/call/fields", headers=business.headers, json=linked)
    assert made.status_code == 201, made.text

    async def log() -> httpx.Response:
        body = {
            "related_objects": [{"custom_object": "contact", "entity_id": contact}],
            "fields": [{"id": "budget", "value": 12}],
        }
        return await client.post("/api/activities/call/log-activity", headers=business.headers, json=body)

    logged = await log()
    assert logged.status_code == 201, logged.text
    assert [field["value"] for field in logged.json()["fields"]] == ["12.00"]
    path = f"/api/directory/records/contact/{contact}"

    async def written() -> bool:
        record = (await client.get(path, headers=business.headers)).json()
        return bool(record["fields"].get("budget") == "12.00")

    await eventually(written, 60, "the record has the value")
    locking = {"locked_fields": ["budget"]}
    locked = await client.patch("/api/directory/objects/contact", headers=business.headers, json=locking)
    assert locked.status_code == 200, locked.text

    async def refused() -> bool:
        return (await log()).json().get("code") == "not_allowed"

    await eventually(refused, 60, "lifecycle refuses to write it")


async def test_conversions_and_changes_of_records_are_entered_and_a_merged_record_shows_both(
    client: httpx.AsyncClient, business: Business
) -> None:
    async def call(method: str, path: str, body: Any = None) -> dict[str, Any]:
        answer = await client.request(method, f"/api/directory/records{path}", headers=business.headers, json=body)
        assert answer.status_code in (200, 201), answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def shows(place: str, *wanted: str) -> None:
        found: list[str | None] = []

        async def there() -> bool:
            answer = await client.get(f"/api/timeline/{place}", headers=business.headers)
            found[:] = [line["subject"] for line in answer.json().get("results", ())]
            return sorted(map(str, found)) == sorted(wanted)

        await eventually(there, 60, f"{place} shows {wanted}, not {found}")

    lead = await call("POST", "/lead", {"name": "Ada"})
    contact = (await call("POST", f"/lead/{lead['id']}/convert", {}))["contact"]
    await shows(f"lead/{lead['id']}", "Lead converted")
    await call("PATCH", f"/contact/{contact['id']}", {"status": "Inactive", "fields": {"shoe_size": 43}})
    here = ("Lead converted", "Contact changed: status")
    await shows(f"contact/{contact['id']}", *here)
    twin = await call("POST", "/contact", {"name": "Ada L."})
    await call("PATCH", f"/contact/{twin['id']}", {"name": "Ada Lovelace"})
    await shows(f"contact/{twin['id']}", "Contact changed: name")
    await call("POST", f"/contact/{twin['id']}/merge", {"record_id": contact["id"]})
    await shows(f"contact/{twin['id']}", "Contact changed: name", *here)
    await call("POST", f"/contact/{contact['id']}/unmerge")
    await shows(f"contact/{twin['id']}", "Contact changed: name")
