"""Once a route has answered that an endpoint is paused, deleted or elsewhere, nothing is begun as it was before."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from libs.database import Database
from libs.errors import Unavailable
from services.webhook_dispatcher.aiohttp_sender import AiohttpSender
from services.webhook_dispatcher.delivery import Dispatcher
from services.webhook_dispatcher.lean import LeanSender
from services.webhook_dispatcher.sender import Sender
from tests.conftest import MakeDatabase
from tests.integration.test_webhook_lanes import shared, worker
from tests.support.http import Tenant, served, settle
from tests.support.sink import Answer, Sink
from tests.support.webhooks import (
    Setting,
    attempts_of,
    deliveries_of,
    dispatching,
    event_of,
    eventually,
    hear,
    make_endpoint,
)  # fmt: skip

TIMES = 6


@dataclass(frozen=True)
class Case:
    """A business that calls the routes of a process that sends nothing itself."""

    database: Database
    client: httpx.AsyncClient
    tenant: Tenant

    async def change(self, id_: UUID, method: str = "PATCH", **fields: Any) -> datetime:
        path = f"/api/webhooks/endpoints/{id_}"
        body = fields if method == "PATCH" else None
        answer = await self.client.request(method, path, json=body, headers=self.tenant.headers)
        assert answer.status_code < 300, answer.text
        return datetime.now(UTC)

    async def hear(self, dispatcher: Dispatcher | None, count: int) -> None:
        await hear(self.database, [event_of(self.tenant.business_id) for _ in range(count)], dispatcher)


@pytest.fixture
async def case(make_database: MakeDatabase) -> AsyncIterator[Case]:
    database = await make_database("webhook_dispatcher")
    async with served("webhook_dispatcher", database) as client:
        yield Case(database, client, await settle(database))


async def test_nothing_is_begun_once_a_pause_has_answered_whichever_worker_sends(case: Case) -> None:
    async with Sink.started() as sink, dispatching(case.database) as one, dispatching(case.database) as other:
        await shared(case.database, one, other)
        ids = [(await make_endpoint(case.database, case.tenant.business_id, sink.url(f"/{n}")))[0] for n in range(4)]
        paused: list[tuple[UUID, datetime, datetime]] = []
        for time in range(TIMES):
            id_ = ids[time % len(ids)]
            hearing = asyncio.gather(*(case.hear(each, 5) for each in (one, other, one, other)))
            answered = await case.change(id_, paused=True)
            await hearing
            await case.hear(one, 3)
            paused.append((id_, answered, datetime.now(UTC)))
            await case.change(id_, paused=False)
        await eventually(case.database, lambda rows: {row["status"] for row in rows} == {"delivered"})
        attempts = await attempts_of(case.database)
    assert [one for one in attempts for id_, answered, going_on in paused
            if one["endpoint_id"] == id_ and answered < one["at"] < going_on] == []  # fmt: skip
    assert len(attempts) == len(sink.requests) == TIMES * 23 * len(ids)


async def test_after_a_change_of_url_and_after_a_delete_nothing_goes_to_the_old_one(case: Case) -> None:
    async with Sink.started() as sink, dispatching(case.database) as dispatcher:
        id_, _ = await make_endpoint(case.database, case.tenant.business_id, sink.url("/old"))
        await case.hear(dispatcher, 3)
        await sink.received(3)
        hearing = asyncio.create_task(case.hear(dispatcher, 20))
        await case.change(id_, url=sink.url("/new"))
        changed_at = datetime.now(UTC).timestamp()
        await hearing
        await sink.received(23)
        assert [one for one in sink.requests if one.path == "/old" and one.at > changed_at + 0.25] == []
        await case.change(id_, "DELETE")
        await case.hear(dispatcher, 3)
        assert len(await deliveries_of(case.database)) == len(sink.requests) == 23


@pytest.mark.parametrize("sender", [LeanSender, AiohttpSender])
async def test_what_is_connecting_when_its_endpoint_is_paused_sends_nothing(
    case: Case, sender: Callable[..., Sender]
) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def lookup(host: str, port: int) -> list[str]:
        asked.set()
        await answer.wait()
        return ["127.0.0.1"]

    setting = Setting(sender=sender, lookup=lookup, timeout_s=10.0)
    async with Sink.started() as sink, dispatching(case.database, setting) as dispatcher:
        url = f"http://hooks.example.com:{sink.port}/hook"
        id_, _ = await make_endpoint(case.database, case.tenant.business_id, url)
        await case.hear(dispatcher, 1)
        await asked.wait()
        await case.change(id_, paused=True)
        answer.set()
        [row] = await eventually(case.database, lambda rows: rows[0]["status"] == "parked")
        assert (row["attempts"], await attempts_of(case.database), sink.requests) == (0, [], [])
        await case.change(id_, paused=False)
        await sink.received(1)


async def test_worker_that_is_frozen_during_a_pause_wakes_up_and_sends_nothing(case: Case) -> None:
    async with Sink.started() as sink:
        sink.by_path["/hook"] = Answer(200, delay_s=0.5)
        id_, _ = await make_endpoint(case.database, case.tenant.business_id, sink.url())
        await case.hear(None, 8)
        async with worker(case.database) as process:
            await sink.received(2)
            process.send_signal(signal.SIGSTOP)
            await case.change(id_, paused=True)
            begun = len(sink.requests)
            process.send_signal(signal.SIGCONT)
            rows = await eventually(case.database, lambda rows: "pending" not in {row["status"] for row in rows})
    assert len(sink.requests) == begun < len(rows)


async def listening(owner: Any) -> set[int]:
    rows = await owner.fetch(
        "select pid from pg_stat_activity where datname = current_database() and query ~* '^listen'"
    )
    return {row["pid"] for row in rows}


async def test_line_that_is_cut_says_so_and_workers_take_it_up_again(case: Case) -> None:
    owner = await asyncpg.connect(case.database.urls.owner)
    async with case.database.line("somewhere") as line, dispatching(case.database), asyncio.timeout(60):
        while len(cut := await listening(owner)) < 2:
            await asyncio.sleep(0.02)
        for pid in cut:
            await owner.execute("select pg_terminate_backend($1)", pid)
        with pytest.raises(Unavailable):
            await line.next()
        while not await listening(owner) - cut:
            await asyncio.sleep(0.02)
    await owner.close()
