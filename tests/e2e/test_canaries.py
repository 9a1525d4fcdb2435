"""Texts, people and secrets never come out in logs, nor those of one business in answers to another."""

import secrets

import httpx
import pytest

from tests.support.sink import Sink
from tests.support.stage import Stage
from tests.support.system import ONE_WAY, Business, System, eventually


@pytest.fixture
async def talkative(stage: Stage) -> System:
    return await stage.have(extra={"LOG_LEVEL": "debug"})


def _report(canary: str, ref: str) -> dict[str, object]:
    return {
        "source": "phone", "source_ref": ref, "action": "log", "type": "call", "subject": canary, "summary": canary,
        "notes": canary, "location": canary, "first_message": canary, "participants": [canary], "actor": canary,
        "metadata": {"said": canary}, "links": [{"object": "contact", "external_ref": "c-1"}],
    }  # fmt: skip


async def _tell_everything(client: httpx.AsyncClient, business: Business, canary: str) -> None:
    """Send the canary through every door, in good requests and bad ones."""
    headers = business.headers
    person = {"external_ref": "c-1", "name": canary, "fields": {"phone": canary}}
    await client.put("/api/directory/records/contact/by-ref/c-1", headers=headers, json=person)
    good = await client.post("/ingest/activities", headers=headers, json=_report(canary, "one"))
    assert good.status_code == 202, good.text
    for broken in (
        {**_report(canary, "two"), "notes": [canary]},
        {**_report(canary, "three"), canary: 1},
        {**_report(canary, "one"), "notes": canary + canary},
    ):
        assert (await client.post("/ingest/activities", headers=headers, json=broken)).status_code in (409, 422)
    raw = f'{{"source": "phone", "notes": "{canary}'.encode()
    typed = {**headers, "content-type": "application/json"}
    assert (await client.post("/ingest/activities", headers=typed, content=raw)).status_code == 400
    planned = {"activity_object_name": "call", "note": canary, "associated_entities": [{"custom_object": canary}]}
    await client.post("/api/activities/scheduled-activity", headers=headers, json=planned)
    await client.get("/api/directory/records/contact", headers=headers, params={"search": canary})
    interaction = {
        "interaction_id": "i-1", "source": "phone", "channel": "sms", "direction": "inbound", "address": canary,
        "opened_at": "2026-05-01T10:00:00Z", "closed_at": "2026-05-01T10:01:00Z", "links": [],
        "messages": [{"id": "m", "direction": "inbound", "author": canary, "text": canary,
                      "sent_at": "2026-05-01T10:00:00Z"}],
    }  # fmt: skip
    assert (await client.post("/ingest/interactions", headers=headers, json=interaction)).status_code == 202
    await client.get("/ingest/receipts", headers={"X-API-KEY": f"{business.api_key}x"}, params={"source": canary})


async def test_logs_hold_no_text_no_person_and_no_secret(talkative: System) -> None:
    canary = f"canary{secrets.token_hex(8)}"
    async with Sink.started() as sink, httpx.AsyncClient(base_url=talkative.url, timeout=60) as client:
        business = await talkative.make_business(client)
        made = await client.post(
            "/api/webhooks/endpoints",
            headers=business.headers,
            json={"url": sink.url(f"/{canary}"), "event_types": ["activity.logged"], "description": canary},
        )
        assert made.status_code == 201, made.text
        await _tell_everything(client, business, canary)

        async def told() -> bool:
            return bool(sink.requests)

        await eventually(told, 60, "the webhook arrives", talkative.tail)
    assert canary in sink.requests[0].body.decode(), "the canary went all the way"
    log = talkative.log.read_text()
    assert '"event":"request"' in log, "the log was written"
    for kept_out in (canary, business.api_key, talkative.operator_key, made.json()["secret"]):
        lines = [line for line in log.splitlines() if kept_out in line]
        assert not lines, lines[0][:300]


@ONE_WAY
async def test_answers_to_one_business_hold_nothing_of_another(system: System, client: httpx.AsyncClient) -> None:
    canary = f"canary{secrets.token_hex(8)}"
    theirs, ours = await system.make_business(client), await system.make_business(client)
    await _tell_everything(client, theirs, canary)
    openapi = (await client.get("/openapi.json")).json()
    asked = 0
    for path, operations in openapi["paths"].items():
        if "get" not in operations or "{" in path or path.startswith(("/api/operations", "/api/directory/businesses")):
            continue
        answer = await client.get(path, headers=ours.headers)
        assert canary not in answer.text, path
        asked += answer.status_code == 200
    assert asked > 5
