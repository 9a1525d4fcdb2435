"""A business under load: upstream systems that report, people who plan, log and add; everything goes into the history.

Reports come one by one and in bulk, out of order, two to five times, and now and then under a name that is taken with
another body. Each business has a canary: a text that stands in every summary of its own and nowhere else.
"""

import asyncio
import itertools
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from uuid import UUID

import aiohttp
import orjson

from libs.contracts.ids import record_id_of
from tests.faults import planning, talking
from tests.faults.answered import Answered
from tests.faults.enveloping import wrap, wrap_all
from tests.faults.history import History
from tests.faults.installation import Installation
from tests.support.system import Business

Report = dict[str, Any]
BULK_LINES = 25
RECORDS = 12
ATTEMPTS_MAX = 60
WORKERS = 6
REFUSED = "refused"
"""Stands in the text of everything that must be refused."""
_LOST = (aiohttp.ClientError, TimeoutError, OSError)


class Tenant:
    """One business and all who work for it. `rate`: reports a second, shared out among its workers."""

    def __init__(self, installation: Installation, business: Business, history: History, seed: int) -> None:
        self.business = business
        self.canary = f"canary{secrets.token_hex(5)}"
        self.history = history
        self.others: list[str] = []
        self.strangers: list[str] = []
        self.rate = 20.0
        self.bulk_share = 0.5
        self.accepted_at = 0.0
        self.shown: list[str] = []
        self.acknowledged: set[str] = set()
        self.chance = random.Random(f"{business.id}{seed}")
        self._installation = installation
        self._reports = self._make_reports()
        self._held: list[Report] = []
        self._going = True

    # -- asking ------------------------------------------------------------------------------------------------------

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answered:
        """Ask once; every answer is searched for others' canaries."""
        given = {**self.business.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        content = body if isinstance(body, bytes) else None if body is None else orjson.dumps(body)
        given.setdefault("content-type", "application/json")
        try:
            async with self._installation.session.request(
                method, self._installation.url(path), data=content, headers=given
            ) as answer:
                answered = Answered(answer.status, await answer.read(), answer.headers)
        except aiohttp.ClientConnectorError:
            return Answered(-1)
        except _LOST:
            return Answered(0)
        for other in self.others:
            if other.encode() in answered.body:
                self.history.see(self.business.id, "I9", f"{method} {path} answered the canary {other}")
        return answered

    async def until_answered(
        self, ask: Callable[[], Awaitable[Answered]], invoke: Callable[[], int], end: Callable[[int, Answered], None]
    ) -> Answered:
        """Ask until there is a final answer; now and then give up after the first, as impatient callers do."""
        impatient = self.chance.random() < 0.05
        pause_s = 0.25
        for attempt in itertools.count(1):
            number = invoke()
            answer = await ask()
            end(number, answer)
            if answer.final or impatient or attempt >= ATTEMPTS_MAX:
                break
            await asyncio.sleep(pause_s * self.chance.uniform(0.7, 1.3))
            pause_s = min(pause_s * 1.5, 1.5)
        return answer

    # -- the work ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until `stop`."""
        async with asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(self._report_forever())
            group.create_task(self._plan_forever())
            group.create_task(self._talk_forever())

    def stop(self) -> None:
        """Let `run` end when what is in hand is done."""
        self._going = False

    async def finish(self) -> None:
        """Report what was held back, so that every activity ends as its reports say."""
        while self._held:
            await self.send_bulk([self._held.pop() for _ in range(min(BULK_LINES, len(self._held)))])

    async def _report_forever(self) -> None:
        while self._going:
            began = time.monotonic()
            size = 1
            if self.chance.random() < self.bulk_share / BULK_LINES * 4:
                size = BULK_LINES
                await self.send_bulk(list(itertools.islice(self._reports, size)))
            else:
                await self._send_around(next(self._reports))
            left = size * WORKERS / self.rate - (time.monotonic() - began)
            if left > 0:
                await asyncio.sleep(left * self.chance.uniform(0.5, 1.5))

    async def _send_around(self, report: Report) -> None:
        """Send a report: once, several times at once, or again with another body."""
        draw = self.chance.random()
        if draw < 0.12:
            async with asyncio.TaskGroup() as group:
                for _ in range(self.chance.randrange(2, 6)):
                    group.create_task(self.send(report))
            return
        answer = await self.send(report)
        if draw > 0.97 and answer.outcome == "ok":
            await self.send({**report, "summary": f"{self.canary} {REFUSED} {report['activity_ref']}"}, expect=409)
        elif draw > 0.95:
            ref = report["source_ref"] + "-x"
            text = f"{self.canary} {REFUSED} {ref}"
            wrong = {"source": report["source"], "source_ref": ref, "action": "log", "type": "no such type!\x00"}
            await self.send({**wrong, "activity_ref": ref, "summary": text}, expect=422)

    async def send(self, report: Report, expect: int | None = None) -> Answered:
        """Send one report until there is an answer."""
        said = {"ref": report["activity_ref"], "src": report["source"], "act": report["action"]}
        key = f"{report['source_ref']}{'' if expect is None else f'!{expect}'}"
        content, headers = wrap(report, self.chance)

        def end(number: int, answer: Answered) -> None:
            found = orjson.loads(answer.body) if answer.outcome == "ok" else {}
            self._note(number, answer, found)

        return await self.until_answered(
            lambda: self.call("POST", "/ingest/activities", content, **headers),
            lambda: self.history.invoke(
                self.business.id, "report", key=key, **said, **({} if expect is None else {"expect": expect})
            ),
            end,
        )

    def _note(self, number: int, answer: Answered, found: Report) -> None:
        more = {"id": found["activity_id"], "receipt": found["receipt_id"]} if found else {"s": answer.status}
        self.history.end(number, answer.outcome, **more)
        if found:
            self.accepted_at = time.monotonic()
            self.acknowledged.add(str(found["activity_id"]))

    async def send_bulk(self, reports: list[Report]) -> None:
        """Send several in one request, each an operation of its own."""
        content, headers = wrap_all(reports, self.chance)
        numbers: list[int] = []

        def invoke() -> int:
            numbers[:] = [
                self.history.invoke(
                    self.business.id, "report", key=each["source_ref"], ref=each["activity_ref"], src=each["source"],
                    act=each["action"],
                )
                for each in reports
            ]  # fmt: skip
            return 0

        def end(_: int, answer: Answered) -> None:
            if answer.outcome != "ok":
                for number in numbers:
                    self.history.end(number, answer.outcome, s=answer.status)
                return
            results = orjson.loads(answer.body)["results"]
            for number, found in zip(numbers, results, strict=True):
                if found["status"] in ("accepted", "duplicate"):
                    self._note(number, answer, found)
                else:
                    self.history.end(number, "failed")

        await self.until_answered(
            lambda: self.call("POST", "/ingest/activities/bulk", content, **headers),
            invoke,
            end,
        )

    async def look_at_strangers(self) -> None:
        """Ask for another business's activity: it must answer as if there were none."""
        if not self.strangers:
            return
        stranger = self.chance.choice(self.strangers)
        answer = await self.call("GET", f"/api/activities/logged/{stranger}")
        if answer.outcome == "ok":
            self.history.see(self.business.id, "I9", f"activity {stranger} of another business was shown")

    def _make_reports(self) -> Iterator[Report]:
        for number in itertools.count():
            kind = self.chance.choice(("log", "log", "log", "complete", "plan", "cancel", "added"))
            reports = self._reports_of(f"r{number}", kind)
            self.chance.shuffle(reports)
            self._held += reports[1:]
            yield reports[0]
            if self._held and self.chance.random() < 0.6:
                yield self._held.pop(self.chance.randrange(len(self._held)))

    def _reports_of(self, ref: str, kind: str) -> list[Report]:
        about = {"source": "phone" if self.chance.random() < 0.7 else "crm", "activity_ref": ref}
        common = {
            **about,
            "type": self.chance.choice(("call", "email", "meeting")),
            "summary": f"{self.canary} {ref}",
            "links": [{"object": "contact", "external_ref": f"c-{self.chance.randrange(RECORDS)}"}],
            "direction": self.chance.choice(("inbound", "outbound")),
            "actor": f"agent-{self.chance.randrange(5)}",
        }
        at = f"2026-05-{self.chance.randrange(1, 29):02}T10:{self.chance.randrange(60):02}:00Z"
        plan = {**common, "source_ref": f"{ref}-plan", "action": "schedule", "due_at": "2031-01-01T10:00:00Z"}
        log = {**common, "occurred_at": at, "source_ref": f"{ref}-log", "action": "log"}
        if kind == "log":
            return [log]
        if kind == "added":
            note = {"source_ref": f"{ref}-add", "action": "append", "kind": "note", "text": f"{self.canary} later"}
            return [log, {**about, **note}]
        if kind == "complete":
            return [plan, {**common, "occurred_at": at, "source_ref": f"{ref}-done", "action": "complete"}]
        if kind == "cancel":
            return [plan, {**about, "source_ref": f"{ref}-off", "action": "cancel"}]
        return [plan]

    async def _plan_forever(self) -> None:
        number = 0
        while self._going:
            number += 1
            await planning.live(self, number)
            await asyncio.sleep(self.chance.uniform(0.5, 1.5) * 20 / self.rate)

    async def _talk_forever(self) -> None:
        for number in itertools.count():
            if not self._going:
                return
            await talking.talk(self, number, RECORDS)
            await asyncio.sleep(self.chance.uniform(0.5, 1.5) * 10 / self.rate)

    def record_id(self, number: int) -> str:
        """Name a record by its number."""
        return str(record_id_of(UUID(self.business.id), "contact", f"c-{number}"))

    async def settle(self) -> None:
        """Make the business's records and endpoints."""
        for number in range(RECORDS):
            body = {"external_ref": f"c-{number}", "name": f"Contact {number}"}
            answer = await self.call("PUT", f"/api/directory/records/contact/by-ref/c-{number}", body)
            assert answer.status in (200, 201), answer
        await self.make_endpoint("all", ["activity.logged", "activity.completed", "activity.appended"])
        await self.make_endpoint("phone", ["activity.logged"], sources=["phone"])

    async def make_endpoint(self, name: str, types: list[str], sources: list[str] | None = None) -> str:
        """Make an endpoint; the receivers know its secret before it can be told anything."""
        number = self.history.invoke(self.business.id, "endpoint", act="make", name=name)
        url = f"http://127.0.0.1:{self._installation.sink_proxy.port}/{self.business.id}/{name}"
        body = {"url": url, "event_types": types, "filter": {"sources": sources or [], "activity_objects": []}}
        answer = await self.call("POST", "/api/webhooks/endpoints", body)
        self.history.end(number, answer.outcome)
        assert answer.status == 201, answer
        made = orjson.loads(answer.body)
        self._installation.sink.expect(self.business.id, name, made["secret"])
        return str(made["id"])

    async def delete_endpoint(self, endpoint_id: str, name: str) -> None:
        """Delete an endpoint, asking until it is done."""
        for _ in range(ATTEMPTS_MAX):
            number = self.history.invoke(self.business.id, "endpoint", act="delete", name=name)
            answer = await self.call("DELETE", f"/api/webhooks/endpoints/{endpoint_id}")
            done = answer.status in (204, 404)
            self.history.end(number, "ok" if done else "unknown")
            if done:
                return
            await asyncio.sleep(0.5)
