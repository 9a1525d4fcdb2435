"""Latency of single reports at a steady rate: the answer, the timeline, the webhook."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp
import orjson
from aiohttp import web

from bench.figures import Figure, latencies
from bench.load import NOTES, ask, make_records, session_of
from bench.system import Tenant, free_port
from cli.place import Trouble

RATE, SECONDS, WARM_S = 100, 30, 3
SAMPLED_EVERY = 10
LOOK_S = 0.006
PATIENCE_S = 20.0
ANSWER_MS, TIMELINE_MS, WEBHOOK_MS = 20.0, 50.0, 60.0


@dataclass
class Seen:
    """Moments on one clock, by activity."""

    answers: dict[str, float] = field(default_factory=dict)
    answered_in: list[float] = field(default_factory=list)
    on_timeline_in: list[float] = field(default_factory=list)
    webhooks: dict[str, float] = field(default_factory=dict)

    def receive(self, body: bytes) -> None:
        """Note a webhook's arrival."""
        at = time.perf_counter()
        self.webhooks.setdefault(orjson.loads(body)["data"]["activity_id"], at)


async def measure(tenant: Tenant, advance: Callable[[], None]) -> list[Figure]:
    """Report at 100/s for 30 s, after some seconds to get warm. Raises Trouble when something does not arrive."""
    seen, port = Seen(), free_port()

    async def sink(request: web.Request) -> web.Response:
        seen.receive(await request.read())
        return web.Response()

    app = web.Application()
    app.router.add_post("/", sink)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        async with session_of(tenant) as session:
            body = {"url": f"http://127.0.0.1:{port}/", "event_types": ["activity.logged"]}
            endpoint = await ask(session, "POST", "/api/webhooks/endpoints", body)
            sampled = RATE * (SECONDS + WARM_S) // SAMPLED_EVERY
            records = (await make_records(session, "latency", {"contact": sampled}))["contact"]
            await _run(session, Seen(), records, range(RATE * WARM_S), advance)
            await _run(session, seen, records, range(RATE * WARM_S, RATE * (WARM_S + SECONDS)), advance)
            await _await_webhooks(seen)
            await ask(session, "POST", f"/api/webhooks/endpoints/{endpoint['id']}/disable")
    finally:
        await runner.cleanup()
    arrived = [max(0.0, seen.webhooks[identity] - at) for identity, at in seen.answers.items()]
    return [
        *latencies("latency", f"{RATE} reports/s: answer", seen.answered_in, ANSWER_MS),
        *latencies("latency", "answer → on the timeline", seen.on_timeline_in, TIMELINE_MS),
        *latencies("latency", "answer → webhook received", arrived, WEBHOOK_MS),
    ]


async def _run(
    session: aiohttp.ClientSession, seen: Seen, records: list[str], numbers: range, advance: Callable[[], None]
) -> None:
    """Send on a fixed schedule that does not wait for answers."""
    bodies = [_body(number) for number in numbers]
    began = time.perf_counter() + 0.1
    async with asyncio.TaskGroup() as tasks:
        for place, (number, body) in enumerate(zip(numbers, bodies, strict=True)):
            due = began + place / RATE
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            record = records[number // SAMPLED_EVERY] if number % SAMPLED_EVERY == 0 else None
            tasks.create_task(_report(session, seen, (due, body), record))
            advance()


async def _report(session: aiohttp.ClientSession, seen: Seen, planned: tuple[float, bytes], record: str | None) -> None:
    due, body = planned
    async with session.post("/ingest/activities", data=body, headers={"content-type": "application/json"}) as answer:
        said = await answer.read()
    at = time.perf_counter()
    if answer.status != 202:
        raise Trouble(f"a report was answered {answer.status}: {said[:300]!r}")
    seen.answered_in.append(at - due)
    activity_id = orjson.loads(said)["activity_id"]
    seen.answers[activity_id] = at
    if record is not None:
        await _await_timeline(session, record)
        seen.on_timeline_in.append(time.perf_counter() - at)


async def _await_timeline(session: aiohttp.ClientSession, record: str) -> None:
    """Read the timeline of a record that has had nothing, until it has its first line."""
    deadline = time.perf_counter() + PATIENCE_S
    await asyncio.sleep(LOOK_S)
    while not (await ask(session, "GET", f"/api/timeline/contact/{record}?limit=1"))["results"]:
        if time.perf_counter() > deadline:
            raise Trouble(f"an activity is not on the timeline of {record} after {PATIENCE_S:g} s")
        await asyncio.sleep(LOOK_S)


async def _await_webhooks(seen: Seen) -> None:
    deadline = time.perf_counter() + PATIENCE_S
    while missing := len(seen.answers.keys() - seen.webhooks.keys()):
        if time.perf_counter() > deadline:
            raise Trouble(f"{missing} webhooks have not come {PATIENCE_S:g} s after the last report")
        await asyncio.sleep(0.05)


def _body(number: int) -> bytes:
    link = {"object": "contact", "external_ref": f"latency-{number // SAMPLED_EVERY}"}
    return orjson.dumps(
        {
            "source": "bench",
            "source_ref": f"latency-{number}",
            "action": "log",
            "type": "call",
            "subject": "Renewal call",
            "notes": NOTES,
            "direction": "outbound",
            "links": [link] if number % SAMPLED_EVERY == 0 else [],
        }
    )
