"""Kafka or PostgreSQL away, and clean stops, under load: what was acknowledged is there, and it goes on by itself."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg
import httpx
import pytest

from cli.check import drain_and_reconcile
from cli.fleet import STOP_S
from tests.support.system import Business, Servers, System, eventually

AWAY_S = 8.0
CLIENT_TIMEOUT_S = 15.0
PATIENCE_S = 90.0


@pytest.fixture(scope="module")
async def system(killed_servers: Servers) -> AsyncIterator[System]:
    await alter(
        killed_servers, "alter role all set synchronous_commit = on"
    )  # else the tests' server forgets when killed
    running = System(killed_servers)
    await running.prepare()
    await running.start()
    yield running
    await running.stop()
    await alter(killed_servers, "alter role all reset synchronous_commit")


async def alter(servers: Servers, sql: str) -> None:
    connection = await asyncpg.connect(servers.postgres.admin_url)
    await connection.execute(sql)
    await connection.close()


@dataclass
class Posting:
    """Reports posted one after the other by several callers, each once: what was answered."""

    client: httpx.AsyncClient
    business: Business
    accepted: dict[str, str] = field(default_factory=dict)
    other: list[str] = field(default_factory=list)
    failed: int = 0

    @asynccontextmanager
    async def going(self, callers: int = 4) -> AsyncIterator[None]:
        ended = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for caller in range(callers):
                group.create_task(self._post_until(ended, caller))
            try:
                yield
            finally:
                ended.set()

    async def _post_until(self, ended: asyncio.Event, caller: int) -> None:
        number = 0
        while not ended.is_set():
            number += 1
            await self.post(f"r-{caller}-{number}")
            await asyncio.sleep(0.01)

    async def post(self, ref: str) -> None:
        report = {"source": "phone", "source_ref": ref, "action": "log", "type": "call", "summary": ref}
        try:
            answer = await self.client.post("/ingest/activities", headers=self.business.headers, json=report)
        except httpx.TransportError:
            self.failed += 1
            return
        if answer.status_code == 202:
            self.accepted[ref] = answer.json()["receipt_id"]
        else:
            self.other.append(f"{answer.status_code} {answer.text}")


@pytest.fixture
async def posting(system: System, business: Business) -> AsyncIterator[Posting]:
    async with httpx.AsyncClient(base_url=system.url, timeout=CLIENT_TIMEOUT_S) as client:
        yield Posting(client, business)


async def status_of(client: httpx.AsyncClient, path: str) -> tuple[int, str]:
    """An answer's status and text; 0 where there is none."""
    try:
        answer = await client.get(path)
    except httpx.TransportError:
        return 0, ""
    return answer.status_code, answer.text


def answers(client: httpx.AsyncClient, path: str, status: int, word: str = "") -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        found, text = await status_of(client, path)
        return found == status and word in text

    return holds


async def nothing_is_lost(system: System, posting: Posting) -> None:
    """Every acknowledged report was applied, and the stores agree; what had no answer may be there or not."""
    assert await drain_and_reconcile(system.environment, posting.business.id) == []
    statuses = await receipts(posting, list(posting.accepted.values())[:: 1 + len(posting.accepted) // 100])
    assert statuses == {"applied"}, f"of {len(posting.accepted)} acknowledged"
    counted = await posting.client.get(
        "/api/reports/rows", headers=posting.business.headers, params={"from": "2026-01-01", "to": "2031-12-31"}
    )
    known = len(posting.accepted)
    assert known <= counted.json()["count"] <= known + posting.failed + len(posting.other)


async def receipts(posting: Posting, receipt_ids: Sequence[str]) -> set[str]:
    found = set()
    for receipt_id in receipt_ids:
        answer = await posting.client.get(f"/ingest/receipts/{receipt_id}", headers=posting.business.headers)
        found.add(answer.json().get("status", answer.text))
    return found


async def test_while_kafka_is_away_reports_are_accepted_and_arrive_later(system: System, posting: Posting) -> None:
    client, kafka = posting.client, system.servers.kafka
    async with posting.going():
        await eventually(lambda: has_accepted(posting, 20), PATIENCE_S, "reports are accepted")
        await asyncio.to_thread(kafka.kill)
        away_since = time.monotonic()
        try:
            before = len(posting.accepted)
            for service in ("ingest", "lifecycle", "timeline-projector"):
                named = answers(client, f"/healthz/{service}", 503, "Kafka")
                await eventually(named, PATIENCE_S, f"{service} says what is wrong")
            assert (await status_of(client, "/readyz"))[0] == 200, "intake does not depend on Kafka"
            await asyncio.sleep(max(0.0, AWAY_S - (time.monotonic() - away_since)))
            await eventually(lambda: has_accepted(posting, before + 100), PATIENCE_S, "reports are accepted")
        finally:
            await asyncio.to_thread(kafka.start)
    assert posting.other == []
    assert posting.failed == 0
    await eventually(answers(client, "/healthz", 200), PATIENCE_S, "all services say that all is well", system.tail)
    await nothing_is_lost(system, posting)


async def test_postgres_killed_under_load_loses_nothing_acknowledged(system: System, posting: Posting) -> None:
    client, postgres = posting.client, system.servers.postgres
    async with posting.going():
        await eventually(lambda: has_accepted(posting, 100), PATIENCE_S, "reports are accepted")
        await asyncio.to_thread(postgres.kill)
        await eventually(answers(client, "/readyz", 503), PATIENCE_S, "not ready without a database")
        await eventually(lambda: has_failed(posting), PATIENCE_S, "reports are refused")
        await asyncio.to_thread(postgres.start)
        before = len(posting.accepted)
        await eventually(lambda: has_accepted(posting, before + 20), PATIENCE_S, "intake works again", system.tail)
    assert {answer[:3] for answer in posting.other} <= {"503"}, posting.other[:3]
    await eventually(answers(client, "/readyz", 200), PATIENCE_S, "ready again")
    await eventually(answers(client, "/healthz", 200), PATIENCE_S, "all services say that all is well", system.tail)
    await nothing_is_lost(system, posting)


async def test_sigterm_under_load_stops_cleanly_and_loses_nothing(system: System, posting: Posting) -> None:
    async with posting.going():
        await eventually(lambda: has_accepted(posting, 100), PATIENCE_S, "reports are accepted")
        said = len(system.log.read_bytes())
        system.signal(signal.SIGTERM)
        codes = await system.ended(STOP_S)
        assert set(codes) == {0}, f"it was cut short: {codes}\n{system.tail()}"
        assert b"Traceback" not in system.log.read_bytes()[said:], system.tail()
        await system.start()
        before = len(posting.accepted)
        await eventually(lambda: has_accepted(posting, before + 20), PATIENCE_S, "intake works again", system.tail)
    assert {answer[:3] for answer in posting.other} <= {"503"}, posting.other[:3]
    await nothing_is_lost(system, posting)


async def has_accepted(posting: Posting, count: int) -> bool:
    return len(posting.accepted) >= count


async def has_failed(posting: Posting) -> bool:
    return posting.failed > 0 or bool(posting.other)
