"""A release is put in place, or a process crashes, while reports come: nothing acknowledged is lost, no call fails."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from cli.check import drain_and_reconcile
from tests.support.system import Business, Servers, System, eventually

REPLICAS = {"ingest": 2, "timeline-projector": 2}
EACH_MIN = 20
STOP_S = 30.0
NOBODY = "00000000-0000-7000-8000-000000000000"

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
async def system(own_servers: Servers) -> AsyncIterator[System]:
    extra = {"KAFKA_INSTANCE": "deploy", "REFERENCE_WAIT_MAX_MS": "0"}
    running = System(own_servers, extra=extra, replicas=REPLICAS)
    await running.prepare()
    await running.start()
    yield running
    await running.stop()


@dataclass
class Calls:
    """Reports and badges by POST, lists by GET, all the time; what was answered, and what was not as it should be."""

    client: httpx.AsyncClient
    business: Business
    answered: Counter[str] = field(default_factory=Counter)
    receipts: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def going(self) -> AsyncIterator[None]:
        ended = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for caller in range(3):
                group.create_task(self._call_until(ended, caller))
            try:
                yield
            finally:
                ended.set()

    async def _call_until(self, ended: asyncio.Event, caller: int) -> None:
        number = 0
        while not ended.is_set():
            number += 1
            report = {"source": "phone", "source_ref": f"r-{caller}-{number}", "action": "log", "type": "call"}
            made = await self.call("POST", "/ingest/activities", json=report)
            if made is not None and made.status_code == 202:
                self.receipts.append(made.json()["receipt_id"])
            await self.call("POST", "/api/timeline/badges", json={"object": "contact", "record_ids": [NOBODY]})
            await self.call("GET", "/ingest/receipts?source=phone&source_ref=r-0-1")
            await asyncio.sleep(0.02)

    async def call(self, method: str, path: str, **sent: Any) -> httpx.Response | None:
        try:
            answer = await self.client.request(method, path, headers=self.business.headers, **sent)
        except httpx.TransportError as error:
            self.failed.append(f"{method} {path}: {error!r}")
            return None
        self.answered[f"{method} {path}"] += 1
        if answer.status_code >= 500:
            self.failed.append(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer

    async def more(self) -> None:
        """Wait until each call has been answered some more times."""
        before = self.answered.copy()

        async def enough() -> bool:
            return len(self.answered) == 3 and all(
                count - before[call] >= EACH_MIN for call, count in self.answered.items()
            )

        await eventually(enough, 60, "calls are answered", lambda: self.failed[:5])


@pytest.fixture
async def calls(client: httpx.AsyncClient, business: Business) -> Calls:
    return Calls(client, business)


@pytest.mark.timeout(400)
async def test_processes_replaced_one_after_another_fail_no_call_and_lose_nothing(system: System, calls: Calls) -> None:
    async with calls.going():
        await calls.more()
        for part in system.parts:
            if part.service in REPLICAS:
                system.signal(signal.SIGTERM, part.name)
                await calls.more()
                assert await system.ended(STOP_S, part.name) == [0], system.tail()
                await system.start()
                await calls.more()
        system.signal(signal.SIGTERM, "lifecycle")
        assert await system.ended(STOP_S, "lifecycle") == [0], system.tail()
        await system.start()
    assert calls.failed == []
    await all_is_applied(system, calls)


async def test_a_crash_of_one_of_two_fails_no_get_and_loses_nothing(system: System, calls: Calls) -> None:
    async with calls.going():
        await calls.more()
        await system.kill("ingest-1")
        await calls.more()
        await system.start()
        await calls.more()
    assert [failed for failed in calls.failed if failed.startswith("GET")] == []
    assert len(calls.failed) <= 3, "no more POSTs fail than were in hand"
    await all_is_applied(system, calls)


async def all_is_applied(system: System, calls: Calls) -> None:
    assert await drain_and_reconcile(system.environment, calls.business.id) == []
    for receipt_id in calls.receipts[:: 1 + len(calls.receipts) // 50]:
        answer = await calls.client.get(f"/ingest/receipts/{receipt_id}", headers=calls.business.headers)
        assert answer.json()["status"] == "applied", answer.text
