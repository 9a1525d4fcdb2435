"""Processes killed at every place where something can be lost: nothing is, and nothing comes twice.

In every run 20 kills are drawn by seed; `./activities test --faults` does all of them, which takes about 2 minutes.
"""

import asyncio
import json
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator

import httpx
import pytest

from cli.check import drain_and_reconcile
from tests.support.load import Upstream
from tests.support.sink import Sink
from tests.support.system import Business, Servers, System, eventually

PACKAGES = ("directory", "ingest", "lifecycle", "timeline_projector", "reporting", "webhook_dispatcher")
PLACES = [
    *(f"{package}.{step}" for package in PACKAGES[1:] for step in ("commit", "acknowledge")),
    *(f"{package}.publish" for package in ("ingest", "lifecycle")),
    "webhook_dispatcher.send",
]
FAILPOINTS = [f"{place}.{when}" for place in PLACES for when in ("before", "after", "reported")]
KILLS = 20
SEED = 20260504
ACTIVITIES_MIN = 2_000
RETRIES = "WEBHOOK_SCHEDULE_S", "[0.5,0.5,1,1,2,2,4,4,8,8]"


@pytest.fixture
async def system(servers: Servers) -> AsyncIterator[System]:
    extra = {RETRIES[0]: RETRIES[1], "WEBHOOK_TIMEOUT_S": "3", "WEBHOOK_LEASE_EXTRA_S": "2", "KAFKA_INSTANCE": "kills"}
    running = System(servers, extra=extra)
    await running.prepare()
    await running.start()
    yield running
    await running.stop()


def draw(seed: int, count: int) -> list[str]:
    """Draw failpoints: each a kill at the n-th time, now and then with one "did it, then reported failure" besides."""
    chooser = random.Random(seed)
    drawn = []
    for place in chooser.sample(FAILPOINTS, min(count, len(FAILPOINTS))):
        armed = f"{place}=kill@{chooser.randrange(1, 12)}"
        other = chooser.choice(PLACES)
        drawn.append(f"{armed},{other}.reported=error@{chooser.randrange(1, 6)}")
    return drawn


@pytest.mark.timeout(600)
async def test_twenty_kills_lose_nothing_and_double_nothing(system: System) -> None:
    await kill_all(system, draw(SEED, KILLS))


@pytest.mark.faults
@pytest.mark.timeout(1_800)
async def test_every_kill_loses_nothing_and_doubles_nothing(system: System) -> None:
    await kill_all(system, draw(SEED + 1, len(FAILPOINTS)))


async def kill_all(system: System, kills: list[str]) -> None:
    async with (
        Sink.started() as sink,
        httpx.AsyncClient(base_url=system.url, timeout=10) as client,
    ):
        businesses = [await system.make_business(client) for _ in range(2)]
        for business in businesses:
            made = await client.post(
                "/api/webhooks/endpoints",
                headers=business.headers,
                json={"url": sink.url(f"/{business.id}"), "event_types": ["activity.logged"]},
            )
            assert made.status_code == 201, made.text
        upstreams = [Upstream(client, business, SEED) for business in businesses]
        async with asyncio.TaskGroup() as group:
            for upstream in upstreams:
                group.create_task(upstream.run())
            await system.kill()
            for armed in kills:
                await crash(system, armed)
            await system.start()
            await eventually(lambda: _enough(upstreams), 120, f"{ACTIVITIES_MIN} activities are acknowledged")
            for upstream in upstreams:
                upstream.stop()
        for upstream in upstreams:
            await upstream.finish()
        for business, upstream in zip(businesses, upstreams, strict=True):
            await judge(system, client, sink, (business, upstream))


async def crash(system: System, armed: str) -> None:
    """Start with a failpoint armed, and wait until it has killed the process; if it is not reached, kill it."""
    await system.start(armed)
    try:
        await eventually(lambda: _ended(system), 8, "the failpoint is reached")
    except AssertionError:
        await system.kill()
    assert system.process is not None
    assert system.process.returncode == -signal.SIGKILL, system.tail()


async def _ended(system: System) -> bool:
    return not system.running()


async def _enough(upstreams: list[Upstream]) -> bool:
    return sum(len(set(upstream.ledger.activities.values())) for upstream in upstreams) >= ACTIVITIES_MIN


async def judge(system: System, client: httpx.AsyncClient, sink: Sink, told: tuple[Business, Upstream]) -> None:
    """Everything acknowledged is there as it must end, the stores agree, and each logged one was told."""
    business, upstream = told
    ledger = upstream.ledger
    differences = await drain_and_reconcile(system.environment, business.id)
    assert differences == []
    states = Counter(ledger.ends[ref] for ref in _acknowledged(upstream))
    counted = await client.get(
        "/api/reports/volume",
        headers=business.headers,
        params={"from": "2026-01-01", "to": "2031-12-31", "granularity": "month", "group_by": "state"},
    )
    assert counted.status_code == 200, counted.text
    totals: Counter[str] = Counter()
    for cell in counted.json()["series"]:
        totals[cell["group"]["state"]] += cell["count"]
    assert totals == states
    for receipt_id in list(ledger.receipts.values())[::25]:
        receipt = (await client.get(f"/ingest/receipts/{receipt_id}", headers=business.headers)).json()
        assert receipt["status"] in ("applied", "unchanged"), receipt
    logged = {
        ledger.activities[f"{ref}-{'log' if ledger.ends[ref] == 'logged' else 'done'}"]
        for ref in _acknowledged(upstream)
        if ledger.ends[ref] in ("logged", "completed")
    }
    await eventually(lambda: _told(sink, business, logged), 60, "each logged activity is told")
    deliveries: dict[str, set[tuple[str, bytes]]] = {}
    for request in sink.requests:
        if request.path == f"/{business.id}":
            activity_id = json.loads(request.body)["data"]["activity_id"]
            deliveries.setdefault(activity_id, set()).add((request.headers["webhook-id"], request.body))
    assert deliveries.keys() == logged, "something was told that was not logged"
    assert all(len(same) == 1 for same in deliveries.values()), "a delivery was repeated with another id or body"


def _acknowledged(upstream: Upstream) -> set[str]:
    return {source_ref.rpartition("-")[0] for source_ref in upstream.ledger.activities}


async def _told(sink: Sink, business: Business, logged: set[str]) -> bool:
    path = f"/{business.id}"
    return logged <= {json.loads(r.body)["data"]["activity_id"] for r in sink.requests if r.path == path}
