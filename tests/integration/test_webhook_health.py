"""Endpoints that keep failing are warned about and disabled; what happens to endpoints is announced; tests; figures."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import orjson
import pytest
import standardwebhooks

from libs.database import Database
from services.webhook_dispatcher.domain.health import judge
from services.webhook_dispatcher.domain.subscriptions import TYPES
from services.webhook_dispatcher.health import announce_changes, watch_failing
from tests.conftest import MakeDatabase
from tests.support.http import Tenant, served, settle
from tests.support.sink import Answer, Sink
from tests.support.webhooks import (
    all_are,
    attempts_of,
    deliveries_of,
    dispatching,
    event_of,
    eventually,
    hear,
    make_endpoint,
)  # fmt: skip

NOWHERE = "http://127.0.0.1:9/"
ENDPOINTS, STATS = "/api/webhooks/endpoints", "/api/webhooks/stats"
BEGAN = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Case:
    """A served dispatcher and a business that calls it."""

    database: Database
    client: httpx.AsyncClient
    tenant: Tenant

    async def call(self, method: str, path: str, json: Any = None) -> Any:
        answer = await self.client.request(method, path, json=json, headers=self.tenant.headers)
        assert answer.status_code < 300, answer.text
        return answer.json()

    async def make(self, url: str = NOWHERE, **fields: Any) -> tuple[UUID, str]:
        return await make_endpoint(self.database, self.tenant.business_id, url, **fields)

    async def fail(self, id_: UUID, since: datetime, last: datetime) -> None:
        async with self.database.work() as tx:
            await tx.execute(
                "update endpoint set failing_since = $2, last_failed_at = $3 where id = $1", id_, since, last
            )

    async def topic(self) -> list[tuple[str, dict[str, Any]]]:
        async with self.database.work() as tx:
            rows = await tx.fetch("select types, value from outbox order by id")
        return [(row[0], orjson.loads(row[1])) for row in rows]


@pytest.fixture
async def case(make_database: MakeDatabase) -> AsyncIterator[Case]:
    database = await make_database("webhook_dispatcher")
    async with served("webhook_dispatcher", database) as client:
        yield Case(database, client, await settle(database))


@pytest.mark.parametrize(
    ("failing_h", "last_h", "warned", "verdict"),
    [
        (0, 0, False, "well"), (59, 59, False, "well"), (60, 60, False, "warn"), (60, 60, True, "well"),
        (61, 11, False, "well"), (61, 12, False, "warn"), (119, 119, True, "well"), (120, 120, True, "disable"),
        (120, 120, False, "disable"), (120, 11.9, True, "well"), (500, 13, True, "disable"),
    ],
)  # fmt: skip
def test_five_days_with_failures_twelve_hours_apart_disable_and_half_of_that_warns(
    failing_h: float, last_h: float, warned: bool, verdict: str
) -> None:
    warned_at = BEGAN + timedelta(hours=60) if warned else None
    now = BEGAN + timedelta(hours=failing_h)
    assert judge(BEGAN, BEGAN + timedelta(hours=last_h), warned_at, now) == verdict
    assert judge(BEGAN, None, None, now) == "well"
    before = BEGAN - timedelta(days=9)
    if verdict == "warn":
        assert judge(BEGAN, BEGAN + timedelta(hours=last_h), before, now) == "warn", "that was another time"


async def test_endpoint_that_keeps_failing_is_warned_about_once_and_disabled_and_all_of_it_is_told(case: Case) -> None:
    failing, _ = await case.make()
    async with Sink.started() as sink, dispatching(case.database):
        _, secret = await case.make(sink.url(), event_types=TYPES)
        await case.make(sink.url("/no"), event_types=("activity.logged",))
        await case.call("PATCH", f"{ENDPOINTS}/{failing}", {"description": "so that there is a revision"})
        await case.fail(failing, BEGAN, BEGAN + timedelta(hours=50))
        for hours, state in ((59, None), (61, "failing"), (62, None), (121, "disabled"), (122, None)):
            before = len(await case.topic())
            now = BEGAN + timedelta(hours=hours)
            await watch_failing(lambda now=now: now)(case.database)  # type: ignore[misc]
            await announce_changes(lambda now=now: now)(case.database)  # type: ignore[misc]
            told = (await case.topic())[before:]
            assert [one[0] for one in told] == ([] if state is None else [f"webhook.endpoint.{state}"]), hours
        shown = await case.call("GET", f"{ENDPOINTS}/{failing}")
        assert (shown["status"], shown["disabled_reason"]) == ("disabled", "failing")
        enabled = await case.call("POST", f"{ENDPOINTS}/{failing}/enable")
        assert (enabled["status"], enabled["failing_since"]) == ("active", None)
        await announce_changes(lambda: datetime.now(UTC))(case.database)
        requests = await sink.received(3)
        await eventually(case.database, all_are("delivered", 3))
    bodies = [standardwebhooks.Webhook(secret).verify(one.body, dict(one.headers)) for one in requests]
    assert [one["type"] for one in bodies] == [
        "webhook.endpoint.failing", "webhook.endpoint.disabled", "webhook.endpoint.enabled",
    ]  # fmt: skip
    assert {one["data"]["endpoint_id"] for one in bodies} == {str(failing)}
    assert bodies[1]["data"]["reason"] == "failing"
    events = await case.topic()
    assert [one[1]["version"] for one in events] == sorted({one[1]["version"] for one in events})
    assert "secret" not in str(events)


async def test_410_is_announced_and_an_endpoint_is_not_told_of_itself(case: Case) -> None:
    async with Sink.started() as sink, dispatching(case.database) as dispatcher:
        sink.by_path["/hook"] = Answer(410)
        id_, _ = await case.make(sink.url(), event_types=TYPES)
        await hear(case.database, [event_of(case.tenant.business_id)], dispatcher)
        await eventually(case.database, all_are("exhausted"))
        await announce_changes(lambda: BEGAN)(case.database)
        [(event_type, event)] = await case.topic()
    assert (event_type, event["id"], event["reason"]) == ("webhook.endpoint.disabled", str(id_), "gone")
    assert len(await deliveries_of(case.database)) == 1


async def test_time_of_the_last_failure_is_noted_with_failing_attempts(case: Case) -> None:
    async with Sink.started() as sink, dispatching(case.database) as dispatcher:
        sink.by_path["/hook"] = Answer(500)
        await case.make(sink.url())
        await hear(case.database, [event_of(case.tenant.business_id)], dispatcher)
        await eventually(case.database, all_are("exhausted"))
        async with case.database.work() as tx:
            row = await tx.find("select failing_since, last_failed_at from endpoint")
            assert row is not None
            assert row["last_failed_at"] is not None
            await tx.execute("update endpoint set last_failed_at = now() - interval '2 hours'")
        await hear(case.database, [event_of(case.tenant.business_id)], dispatcher)
        await eventually(case.database, all_are("exhausted", 2))
        async with case.database.work() as tx:
            assert await tx.value("select last_failed_at > now() - interval '1 hour' from endpoint")


@pytest.mark.parametrize("event_type", TYPES)
async def test_test_of_an_endpoint_sends_a_signed_sample_and_shows_everything(case: Case, event_type: str) -> None:
    async with Sink.started() as sink:
        sink.script = [Answer(202, {"x-seen": "yes"}, b"thanks")]
        thin = event_type == "activity.logged"
        id_, secret = await case.make(sink.url(), headers=b'{"x-ours":"1"}', body_form="thin" if thin else "full")
        await case.call("POST", f"{ENDPOINTS}/{id_}/disable")
        shown = await case.call("POST", f"{ENDPOINTS}/{id_}/test", {"event_type": event_type})
        [request] = sink.requests
    document = standardwebhooks.Webhook(secret).verify(request.body, dict(request.headers))
    assert (document["type"], request.headers["x-ours"]) == (event_type, "1")
    assert (shown["delivered"], shown["error"]) == (True, None)
    assert shown["request"]["body"].encode() == request.body
    assert shown["request"]["headers"]["webhook-id"] == request.headers["webhook-id"]
    assert shown["response"] == {
        "status": 202, "headers": {"content-length": "6", "x-seen": "yes"}, "body": "thanks",
    }  # fmt: skip
    assert shown["signature"] == {"secrets": 1, "valid": True}
    assert {"connect", "answer", "total"} <= set(shown["phases"])
    assert ("notes" in document["data"]) is (event_type.startswith("activity.") and not thin)
    assert await deliveries_of(case.database) == await attempts_of(case.database) == []


async def test_test_of_an_endpoint_says_why_nothing_came_back(case: Case) -> None:
    id_, _ = await case.make("https://10.0.0.1/")
    shown = await case.call("POST", f"{ENDPOINTS}/{id_}/test")
    assert (shown["delivered"], shown["error"], shown["response"]) == (False, "blocked_address", None)


async def test_four_tests_run_at_once_and_the_next_is_asked_to_come_again(case: Case) -> None:
    async with Sink.started() as sink:
        sink.by_path["/hook"] = Answer(hang=True)
        id_, _ = await case.make(sink.url(), timeout_s=3.0)
        path = f"{ENDPOINTS}/{id_}/test"
        async with asyncio.TaskGroup() as group:
            first = [group.create_task(case.client.post(path, headers=case.tenant.headers)) for _ in range(4)]
            await sink.received(4)
            more = [await case.client.post(path, headers=case.tenant.headers) for _ in range(2)]
        answers = [one.result() for one in first] + more
    assert [one.status_code for one in answers] == [200] * 4 + [429] * 2
    assert {one.json()["error"] for one in answers[:4]} == {"timeout:answer"}
    assert answers[-1].headers["retry-after"] == "2"


async def test_figures_of_endpoints_are_those_of_their_latest_deliveries(case: Case) -> None:
    async with Sink.started() as sink, dispatching(case.database) as dispatcher:
        good, _ = await case.make(sink.url())
        bad, _ = await case.make(sink.url("/bad"))
        sink.by_path["/bad"] = Answer(500)
        idle, _ = await case.make(NOWHERE, event_types=("activity.appended",))
        paused, _ = await case.make(NOWHERE, status="paused", event_types=("activity.appended",))
        await hear(case.database, [event_of(case.tenant.business_id) for _ in range(6)], dispatcher)
        await eventually(
            case.database,
            lambda rows: (
                all(row["attempts"] and row["status"] == "delivered" for row in rows if row["endpoint_id"] == good)
                and any(row["attempts"] for row in rows if row["endpoint_id"] == bad)
            ),
        )
    await hear(case.database, [event_of(case.tenant.business_id)])
    shown = {UUID(one["endpoint_id"]): one for one in (await case.call("GET", STATS))["results"]}
    assert {id_: one["state"] for id_, one in shown.items()} in (
        {good: "active", bad: "failing", idle: "active", paused: "paused"},
        {good: "active", bad: "parked", idle: "active", paused: "paused"},
    )
    assert (shown[good]["deliveries"], shown[good]["success"], shown[good]["waiting"]) == (7, 1.0, 1)
    assert shown[bad]["success"] in (0.0, None), "parked ones do not end"
    assert (shown[idle]["success"], shown[idle]["rate_per_s"]) == (None, 0.0)
    assert shown[good]["oldest_pending_s"] < 60
    assert shown[good]["p95_ms"] >= shown[good]["p50_ms"] >= 0
    assert shown[good]["rate_per_s"] > 0
    [one] = (await case.call("GET", f"{STATS}?endpoint_id={good}"))["results"]
    assert one["endpoint_id"] == str(good)
    stranger = Case(case.database, case.client, await settle(case.database))
    assert (await stranger.call("GET", STATS))["results"] == []
