"""What is promised beyond what other systems do (design: webhooks, §1): each promise kept, in a test of its name."""

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import orjson
import pytest
import standardwebhooks

from libs.contracts.ids import uuid7
from libs.database import Database, Transaction
from services.webhook_dispatcher import partitions
from services.webhook_dispatcher.domain.schedule import SCHEDULE_S, next_attempt
from services.webhook_dispatcher.domain.spans import END, FIRST
from services.webhook_dispatcher.health import announce_changes, watch_failing
from services.webhook_dispatcher.store import deliveries, outcomes, queue, shards, stats
from services.webhook_dispatcher.store.deliveries import DeliveryFilter
from services.webhook_dispatcher.store.outcomes import Finished
from services.webhook_dispatcher.store.queue import Claimed, Wanted
from tests.conftest import MakeDatabase
from tests.support.http import Tenant, served, settle
from tests.support.sink import Answer, Sink
from tests.support.webhooks import (
    POLICY,
    Setting,
    all_are,
    attempts_of,
    deliveries_of,
    dispatching,
    event_of,
    eventually,
    hear,
    make_endpoint,
    until,
)  # fmt: skip

API = "/api/webhooks"
NOWHERE = "http://127.0.0.1:9/"


@dataclass(frozen=True)
class Case:
    """A served dispatcher and a business that calls it."""

    database: Database
    client: httpx.AsyncClient
    tenant: Tenant

    async def call(self, method: str, path: str, json: Any = None) -> Any:
        answer = await self.client.request(method, f"{API}{path}", json=json, headers=self.tenant.headers)
        assert answer.status_code < 300, answer.text
        return answer.json()

    async def make(self, url: str = NOWHERE, **fields: Any) -> tuple[UUID, str]:
        return await make_endpoint(self.database, self.tenant.business_id, url, **fields)


@pytest.fixture
async def case(make_database: MakeDatabase) -> AsyncIterator[Case]:
    database = await make_database("webhook_dispatcher")
    async with served("webhook_dispatcher", database) as client:
        yield Case(database, client, await settle(database))


async def test_a_slow_endpoint_cannot_hold_up_others_each_has_a_lane_fair_between_businesses(case: Case) -> None:
    flooding = uuid7()
    async with Sink.started() as sink, dispatching(case.database, Setting(timeout_s=5.0)) as dispatcher:
        sink.by_path["/slow"] = Answer(delay_s=0.3)
        await make_endpoint(case.database, flooding, sink.url("/slow"))
        await make_endpoint(case.database, flooding, sink.url("/also"))
        await case.make(sink.url("/ours"))
        await hear(case.database, [event_of(flooding) for _ in range(150)], dispatcher)
        await hear(case.database, [event_of(case.tenant.business_id) for _ in range(10)], dispatcher)
        requests = await sink.until(lambda all_: sum(one.path == "/ours" for one in all_) == 10)
        assert sum(one.path == "/slow" for one in requests) < 75, "what is slow waits for itself alone"


async def test_retry_after_pauses_the_lane_capped_at_24_hours(case: Case) -> None:
    async with Sink.started() as sink, dispatching(case.database) as dispatcher:
        sink.script = [Answer(503, {"retry-after": "999999999"})]
        await case.make(sink.url())
        await hear(case.database, [event_of(case.tenant.business_id)], dispatcher)
        [row] = await eventually(case.database, lambda rows: rows[0]["attempts"] == 1)
        await hear(case.database, [event_of(case.tenant.business_id) for _ in range(3)], dispatcher)
    assert [one["lease_no"] for one in await deliveries_of(case.database)] == [1, 0, 0, 0], "nobody takes them"
    assert len(sink.requests) == 1
    waits = row["next_at"] - datetime.now(UTC)
    assert timedelta(hours=23, minutes=59) < waits <= timedelta(hours=24, seconds=1)


async def test_410_gone_disables_at_once_and_tells_the_owner(case: Case) -> None:
    async with Sink.started() as sink, dispatching(case.database) as dispatcher:
        sink.by_path["/gone"] = Answer(410)
        gone, _ = await case.make(sink.url("/gone"))
        _, secret = await case.make(sink.url("/owner"), event_types=("webhook.endpoint.disabled",))
        await hear(case.database, [event_of(case.tenant.business_id)], dispatcher)
        await eventually(case.database, all_are("exhausted"))
        await announce_changes(lambda: datetime.now(UTC))(case.database)
        told = await sink.until(lambda all_: any(one.path == "/owner" for one in all_))
    document = standardwebhooks.Webhook(secret).verify(told[-1].body, dict(told[-1].headers))
    assert (document["data"]["endpoint_id"], document["data"]["reason"]) == (str(gone), "gone")
    assert (await case.call("GET", f"/endpoints/{gone}"))["status"] == "disabled"


async def test_redirects_are_never_followed_and_are_a_failure(case: Case) -> None:
    async with Sink.started() as sink, Sink.started() as other, dispatching(case.database) as dispatcher:
        sink.by_path["/hook"] = Answer(307, {"location": other.url()})
        await case.make(sink.url())
        await hear(case.database, [event_of(case.tenant.business_id)], dispatcher)
        await eventually(case.database, all_are("exhausted"))
        assert other.connections == 0
    assert {one["result"] for one in await attempts_of(case.database)} == {"redirect"}


async def test_address_is_checked_at_connect_after_dns_and_the_checked_one_is_connected_to(case: Case) -> None:
    answers = [["127.0.0.1"], ["10.0.0.1"], ["127.0.0.1"]]

    async def lookup(host: str, port: int) -> list[str]:
        return answers.pop(0)

    async with Sink.started() as sink, dispatching(case.database, Setting(lookup=lookup)) as dispatcher:
        sink.script = [Answer(500, {"connection": "close"})]
        await case.make(f"http://hooks.example.com:{sink.port}/hook")
        await hear(case.database, [event_of(case.tenant.business_id)], dispatcher)
        await eventually(case.database, all_are("delivered"))
    rows = await attempts_of(case.database)
    assert [one["result"] for one in rows] == ["http_5xx", "blocked_address", "delivered"]
    assert [one["address"] for one in rows] == ["127.0.0.1", None, "127.0.0.1"]


async def test_body_of_the_answer_is_bounded_to_16_kib_and_one_deadline(case: Case) -> None:
    policy = replace(POLICY, schedule_s=())
    async with Sink.started() as sink, dispatching(case.database, Setting(policy=policy)) as dispatcher:
        sink.by_path |= {"/long": Answer(200, body=b"x" * 3_000_000), "/drip": Answer(200, body=b"y" * 50, drip_s=0.1)}
        await case.make(sink.url("/long"))
        await case.make(sink.url("/drip"))
        await hear(case.database, [event_of(case.tenant.business_id)], dispatcher)
        await eventually(case.database, lambda rows: all(row["status"] != "pending" for row in rows))
    assert {len(one["answer"]) <= 16 << 10 for one in await attempts_of(case.database)} == {True}
    assert {one["duration_ms"] < 3_000 for one in await attempts_of(case.database)} == {True}


async def test_auto_disable_is_kept_in_the_database_with_a_warning_half_way(case: Case) -> None:
    id_, _ = await case.make()
    await case.call("PATCH", f"/endpoints/{id_}", {"description": "a revision"})
    began = datetime(2026, 3, 1, tzinfo=UTC)
    async with case.database.work() as tx:
        await tx.execute(
            "update endpoint set failing_since = $1, last_failed_at = $2", began, began + timedelta(days=2)
        )
    states = []
    for days in (2.4, 2.6, 4.9, 5.1):
        now = began + timedelta(days=days)
        await watch_failing(lambda now=now: now)(case.database)  # type: ignore[misc]
        async with case.database.work() as tx:
            states.append(tuple(await tx.find("select warned_at is not null, status from endpoint") or ()))
    assert states == [(False, "active"), (True, "active"), (True, "active"), (True, "disabled")]


class Explaining:
    """Takes the place of a transaction for a statement that is to be explained, not run."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self.plan = ""

    async def fetch(self, sql: str, *arguments: Any) -> list[Any]:
        self.plan = "\n".join(row[0] for row in await self._tx.fetch(f"explain {sql}", *arguments))
        return []

    async def execute(self, sql: str, *arguments: Any) -> int:
        return len(await self.fetch(sql, *arguments))

    async def find(self, sql: str, *arguments: Any) -> None:
        await self.fetch(sql, *arguments)

    async def value(self, sql: str, *arguments: Any) -> int:
        return await self.execute(sql, *arguments)


async def multiply(case: Case, status: str, *, analyzed: bool = True) -> None:
    """Make 3,000 deliveries of each that there is, delivered or pending."""
    async with case.database.work() as tx:
        await tx.execute(
            """
            insert into delivery (business_id, id, endpoint_id, event_id, event_type, activity_id, version, logged_at,
                                  status, next_at, created_at)
            select business_id, gen_random_uuid(), endpoint_id, event_id, event_type, gen_random_uuid(), n, logged_at,
                   $1::text, case when $1::text = 'pending' then now() end, created_at
              from delivery, generate_series(1, 3000) n
            """,
            status,
        )
    if analyzed:
        owner = await asyncpg.connect(case.database.urls.owner)
        await owner.execute("analyze delivery")
        await owner.close()


async def test_history_is_shown_by_an_index_whatever_is_asked_for(case: Case) -> None:
    id_, _ = await case.make()
    await hear(case.database, [event_of(case.tenant.business_id) for _ in range(3)])
    await multiply(case, "delivered")
    nothing = DeliveryFilter(None, None, None, None, FIRST, END)
    asked: tuple[dict[str, Any], ...] = (
        {}, {"status": "pending"}, {"status": "exhausted"}, {"endpoint_id": id_}, {"activity_id": uuid7()},
        {"event_type": "activity.appended"}, {"event_type": "webhook.endpoint.disabled"}, {"first_id": uuid7()},
    )  # fmt: skip
    async with case.database.transaction(case.tenant) as tx:
        explaining: Any = Explaining(tx)
        for one in asked:
            await deliveries.list_deliveries(explaining, case.tenant.business_id, replace(nothing, **one), None, 50)
            assert "Seq Scan on delivery" not in explaining.plan, (one, explaining.plan)
        await stats.list_stats(explaining, case.tenant.business_id, None)
        assert "Seq Scan on delivery" not in explaining.plan, explaining.plan


async def test_queue_is_read_by_an_index_however_long_the_history(case: Case) -> None:
    id_, _ = await case.make()
    await hear(case.database, [event_of(case.tenant.business_id) for _ in range(3)])
    await multiply(case, "delivered")
    wanted = [Wanted(case.tenant.business_id, id_, rank, 64, ordered) for rank in (0, 1) for ordered in (False, True)]
    async with case.database.work(plan_anew=True) as tx:
        explaining: Any = Explaining(tx)
        await queue.claim(explaining, wanted, 60.0, uuid7())
        assert "Seq Scan on delivery" not in explaining.plan, explaining.plan
        with suppress(AssertionError):  # there is no row for it to read
            await shards.look(explaining, uuid7(), 2.5)
        assert "Seq Scan on delivery" not in explaining.plan, explaining.plan


@pytest.mark.parametrize("analyzed", [False, True])
async def test_rows_of_a_queue_are_found_by_their_key_however_little_the_database_knows_of_it(
    case: Case, analyzed: bool
) -> None:
    await case.make()
    await hear(case.database, [event_of(case.tenant.business_id) for _ in range(3)])
    await multiply(case, "pending", analyzed=analyzed)
    async with case.database.work(plan_anew=True) as tx:
        explaining: Any = Explaining(tx)
        rows = await tx.fetch("select business_id, id, endpoint_id from delivery limit 16")
        claims = [Claimed(*row, 1, 0, 0, b"{}", None) for row in rows]
        await outcomes.finish(explaining, [Finished(one, "delivered", None, None) for one in claims])
        assert "using delivery_pkey on delivery d" in explaining.plan, explaining.plan
        await outcomes.hand_back(explaining, claims)
        assert "using delivery_pkey on delivery d" in explaining.plan, explaining.plan
        await queue.reclaim(explaining, [uuid7()], 60.0)
        assert "using delivery_pkey on delivery d" in explaining.plan, explaining.plan


async def test_retry_is_made_by_whichever_worker_is_there_when_it_is_due(case: Case) -> None:
    policy = replace(POLICY, schedule_s=(0.5, 0.05))
    async with Sink.started() as sink:
        sink.by_path["/hook"] = Answer(500)
        await case.make(sink.url())
        async with dispatching(case.database, Setting(policy)) as first:
            await hear(case.database, [event_of(case.tenant.business_id)], first)
            await eventually(case.database, lambda rows: rows[0]["attempts"] == 1)
        sink.by_path["/hook"] = Answer(200)
        async with dispatching(case.database, Setting(policy)):
            [row] = await eventually(case.database, all_are("delivered"))
    assert (row["attempts"], [one["number"] for one in await attempts_of(case.database)]) == (2, [1, 2])


async def test_receiver_never_has_more_requests_in_hand_than_its_lane_allows(case: Case) -> None:
    policy = replace(POLICY, lane_max=3)
    async with Sink.started() as sink:
        sink.by_path = {"/a": Answer(delay_s=0.01), "/b": Answer(delay_s=0.01)}
        for path in sink.by_path:
            await case.make(sink.url(path))
        await hear(case.database, [event_of(case.tenant.business_id) for _ in range(30)])
        async with dispatching(case.database, Setting(policy)):
            await eventually(case.database, all_are("delivered", 60))
    assert max(sink.at_once_max.values()) == 3


async def test_secrets_are_several_and_a_new_one_counts_at_once(case: Case) -> None:
    async with Sink.started() as sink, dispatching(case.database) as dispatcher:
        id_, first = await case.make(sink.url())
        secrets = [first]
        for count in range(1, 4):
            secrets.append((await case.call("POST", f"/endpoints/{id_}/secret/rotate"))["secret"])
            await hear(case.database, [event_of(case.tenant.business_id)], dispatcher)
            request = (await sink.received(count))[-1]
            for secret in secrets:
                standardwebhooks.Webhook(secret).verify(request.body, dict(request.headers))
    assert len(request.headers["webhook-signature"].split(" ")) == 4


async def test_day_partitions_are_dropped_by_the_service_itself(case: Case) -> None:
    async with case.database.work() as tx:
        await tx.execute("select make_day(current_date - 45)")
    await partitions.keep_days(30)(case.database)
    async with case.database.work() as tx:
        for table in ("event", "attempt"):
            assert await tx.value(f"select to_regclass('{table}_' || to_char(current_date - 45, 'YYYYMMDD'))") is None
            assert await tx.value(f"select to_regclass('{table}_' || to_char(current_date + 3, 'YYYYMMDD'))")


async def test_health_turns_red_when_due_deliveries_are_late_while_permits_are_free_and_not_for_parked_ones(
    case: Case,
) -> None:
    id_, _ = await case.make()
    other, _ = await case.make()
    await hear(case.database, [event_of(case.tenant.business_id)])
    setting = Setting(replace(POLICY, stuck_s=0.2, schedule_s=(60.0,)))
    async with case.database.work() as tx:
        await tx.execute("update endpoint set status = 'paused' where id = $1", other)
        await tx.execute("update delivery set next_at = now() - interval '1 hour' where endpoint_id = $1", id_)
        await tx.execute("update delivery set status = 'parked', next_at = null where endpoint_id = $1", other)
    async with case.database.work() as blocking:
        await blocking.execute("select 1 from delivery for update")  # claims pass over what is locked
        async with dispatching(case.database, setting) as dispatcher:
            await until(lambda: any("permits are free" in one for one in dispatcher.problems()))
            await blocking.execute("rollback")
            await until(lambda: not dispatcher.problems())
        await blocking.execute("begin")


def test_retries_end_after_the_last_and_stop_for_nothing_before() -> None:
    went_on = [next_attempt(number, 500, 0.0, SCHEDULE_S, 0.5).status for number in range(1, len(SCHEDULE_S) + 2)]
    assert went_on == ["pending"] * len(SCHEDULE_S) + ["exhausted"]


async def test_stored_bytes_are_the_sent_ones_whatever_order_their_keys_have(case: Case) -> None:
    async with Sink.started() as sink, dispatching(case.database) as dispatcher:
        _, secret = await case.make(sink.url())
        fields = {"z": 1, "a": {"y": 2, "b": [3, {"x": 1.50, "c": None}]}, "é": "\u2028"}
        await hear(case.database, [event_of(case.tenant.business_id, fields=fields)], dispatcher)
        [request] = await sink.received(1)
        await eventually(case.database, all_are("delivered"))
    async with case.database.work() as tx:
        assert await tx.value("select body from event") == request.body
    standardwebhooks.Webhook(secret).verify(request.body, dict(request.headers))
    assert list(orjson.loads(request.body)["data"]["fields"]) == ["z", "a", "é"]
