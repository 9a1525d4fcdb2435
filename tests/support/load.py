"""An upstream system that never gives up: reports until it has a durable answer, and remembers what it was told."""

import asyncio
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson

from tests.support.system import Business

Report = dict[str, Any]
ENDS = {"log": "logged", "complete": "completed", "plan": "scheduled", "cancel": "cancelled"}


@dataclass
class Ledger:
    """What was acknowledged: by source_ref the activity and the receipt; and how each activity must end."""

    activities: dict[str, str] = field(default_factory=dict)
    receipts: dict[str, str] = field(default_factory=dict)
    ends: dict[str, str] = field(default_factory=dict)
    unknown: int = 0
    """Requests whose answer never came; each was sent again until there was one."""

    def note(self, source_ref: str, answer: dict[str, Any]) -> None:
        """Take down an acknowledgement; the same report must always get the same ids."""
        for known, given in ((self.activities, answer["activity_id"]), (self.receipts, answer["receipt_id"])):
            assert known.setdefault(source_ref, given) == given, f"{source_ref} got two identities"


class Upstream:
    """A phone system: plans, logs, completes, cancels, adds; in bulk and one by one; out of order on purpose."""

    def __init__(self, client: httpx.AsyncClient, business: Business, seed: int) -> None:
        self.ledger = Ledger()
        self._client = client
        self._business = business
        self._random = random.Random(f"{business.id}{seed}")
        self._reports = self._make()
        self._going = True

    async def run(self, bulk_lines: int = 20, pause_s: float = 0.03) -> None:
        """Report until `stop`."""
        while self._going:
            if self._random.random() < 0.2:
                await self._send_bulk(list(itertools.islice(self._reports, bulk_lines)))
            else:
                await self._send(next(self._reports))
            await asyncio.sleep(pause_s)

    def stop(self) -> None:
        """Let `run` end after what is in hand is acknowledged."""
        self._going = False

    async def finish(self) -> None:
        """Report what an activity still needs to end as the ledger says."""
        while self._held:
            await self._send(self._held.pop())

    def _make(self) -> Iterator[Report]:
        self._held: list[Report] = []
        for number in itertools.count():
            kind = self._random.choice(("log", "log", "log", "complete", "plan", "cancel"))
            ref = f"call-{number}"
            self.ledger.ends[ref] = ENDS[kind]
            reports = self._reports_of(ref, kind)
            self._random.shuffle(reports)
            self._held += reports[1:]
            yield reports[0]
            if self._held and self._random.random() < 0.6:
                yield self._held.pop(self._random.randrange(len(self._held)))

    def _reports_of(self, ref: str, kind: str) -> list[Report]:
        common = {
            "source": "phone",
            "activity_ref": ref,
            "type": "call",
            "summary": f"{kind} {ref} 👋",
            "links": [{"object": "contact", "external_ref": f"c-{self._random.randrange(20)}"}],
            "direction": self._random.choice(("inbound", "outbound")),
            "actor": f"agent-{self._random.randrange(5)}",
        }
        happened = {"occurred_at": f"2026-05-{self._random.randrange(1, 29):02}T10:{self._random.randrange(60):02}:00Z"}
        plan = {**common, "source_ref": f"{ref}-plan", "action": "schedule", "due_at": "2031-01-01T10:00:00Z"}
        if kind == "log":
            return [{**common, **happened, "source_ref": f"{ref}-log", "action": "log"}]
        if kind == "complete":
            return [plan, {**common, **happened, "source_ref": f"{ref}-done", "action": "complete"}]
        if kind == "cancel":
            about = {"source": "phone", "activity_ref": ref}
            return [plan, {**about, "source_ref": f"{ref}-off", "action": "cancel"}]
        return [plan]

    async def _send(self, report: Report) -> None:
        answer = await self._until_answered("/ingest/activities", orjson.dumps(report), "application/json")
        assert answer.status_code in (200, 202), answer.text
        self.ledger.note(report["source_ref"], answer.json())

    async def _send_bulk(self, reports: list[Report]) -> None:
        lines = b"\n".join(map(orjson.dumps, reports))
        answer = await self._until_answered("/ingest/activities/bulk", lines, "application/x-ndjson")
        assert answer.status_code == 200, answer.text
        for report, result in zip(reports, answer.json()["results"], strict=True):
            assert result["status"] in ("accepted", "duplicate"), result
            self.ledger.note(report["source_ref"], result)

    async def _until_answered(self, path: str, body: bytes, content_type: str) -> httpx.Response:
        headers = {**self._business.headers, "content-type": content_type}
        while True:
            try:
                answer = await self._client.post(path, content=body, headers=headers)
            except httpx.TransportError:
                self.ledger.unknown += 1
            else:
                if answer.status_code < 500 and answer.status_code != 429:
                    return answer
            await asyncio.sleep(0.05)
