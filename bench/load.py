"""The load: records, reports made beforehand, and sending them."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import orjson

from bench.system import Tenant
from cli.place import Trouble

LINES = 1_000
PER_OBJECT = 500
OBJECTS = ("contact", "account", "lead")
NOTES = "Spoke about the renewal, the open claim and the documents that are still missing; call back next week. " * 2
CYCLE = ("log", "log", "log", "pair", "log", "schedule", "log", "pair", "log", "schedule")
"""Of ten activities six are logged, two scheduled and completed, two scheduled: twelve reports."""
TIMEOUT = aiohttp.ClientTimeout(total=120)


@dataclass(frozen=True)
class Batch:
    """Reports as bodies of requests, and what they will amount to."""

    bodies: list[bytes]
    reports: int
    activities: int
    logged: int
    links: int

    @property
    def bytes_each(self) -> float:
        """The mean size of a report."""
        return sum(map(len, self.bodies)) / self.reports


def session_of(tenant: Tenant) -> aiohttp.ClientSession:
    """Open a client that calls as the tenant."""
    connector = aiohttp.TCPConnector(limit=0)
    return aiohttp.ClientSession(tenant.url, headers=tenant.headers, timeout=TIMEOUT, connector=connector)


async def make_records(session: aiohttp.ClientSession, prefix: str, counts: dict[str, int]) -> dict[str, list[str]]:
    """Make records with the external refs `<prefix>-0` …; return their ids by object."""
    ids: dict[str, list[str]] = {}
    for name, count in counts.items():
        lines = [orjson.dumps({"external_ref": f"{prefix}-{n}", "name": f"{name} {n}"}) for n in range(count)]
        answer = await ask(session, "POST", f"/api/directory/records/{name}/bulk", b"\n".join(lines))
        ids[name] = [result["id"] for result in answer["results"]]
    return ids


def make_batch(prefix: str, reports: int, records: str) -> Batch:
    """Make so many reports, in requests of 1,000 lines, on the records with that prefix."""
    lines: list[bytes] = []
    number = logged = links = 0
    began = datetime.now(UTC) - timedelta(days=20)
    while len(lines) < reports:
        kind = CYCLE[number % len(CYCLE)]
        if kind == "pair" and len(lines) == reports - 1:
            kind = "log"
        happened = (began + timedelta(seconds=15 * number)).isoformat()
        about = 1 + number % len(OBJECTS)
        for action in ("schedule", "complete") if kind == "pair" else (kind,):
            ref = f"{records}-{number % PER_OBJECT}"
            lines.append(_report(f"{prefix}-{number}", action, happened, [(name, ref) for name in OBJECTS[:about]]))
        logged += kind != "schedule"
        links += about
        number += 1
    bodies = [b"\n".join(lines[start : start + LINES]) for start in range(0, len(lines), LINES)]
    return Batch(bodies, len(lines), number, logged, links)


def _report(ref: str, action: str, happened: str, links: Sequence[tuple[str, str]]) -> bytes:
    report: dict[str, Any] = {"source": "bench", "source_ref": f"{ref}-{action}", "activity_ref": ref, "action": action}
    if action == "complete":
        report |= {"occurred_at": happened, "notes": NOTES, "summary": "Done as planned", "actor": "Jordan Example"}
    else:
        report |= {
            "type": "call",
            "subject": "Renewal call",
            "summary": "Asked about the renewal, wants a second offer",
            "notes": NOTES,
            "direction": "outbound",
            "duration_min": 12,
            "actor": "Jordan Example",
            "links": [{"object": name, "external_ref": ref} for name, ref in links],
            ("due_at" if action == "schedule" else "occurred_at"): happened,
        }
    return orjson.dumps(report)


async def send(
    session: aiohttp.ClientSession, bodies: Sequence[bytes], at_once: int, advance: Callable[[], None]
) -> float:
    """Send the requests, so many at a time; return the seconds until the last answer. Raises Trouble."""
    waiting = iter(bodies)

    async def sender() -> None:
        for body in waiting:
            async with session.post("/ingest/activities/bulk", data=body) as answer:
                said = await answer.read()
                if answer.status != 200 or not said.startswith(b'{"accepted":%d,' % (body.count(b"\n") + 1)):
                    raise Trouble(f"a bulk was answered {answer.status}: {said[:300]!r}")
            advance()

    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(at_once):
            tasks.create_task(sender())
    return time.perf_counter() - began


async def ask(
    session: aiohttp.ClientSession, method: str, path: str, body: bytes | dict[str, Any] | None = None
) -> Any:
    """Make a request and return its decoded answer. Raises Trouble."""
    data = orjson.dumps(body) if isinstance(body, dict) else body
    async with session.request(method, path, data=data, headers={"content-type": "application/json"}) as answer:
        said = await answer.read()
        if answer.status >= 300:
            raise Trouble(f"{method} {path} answered {answer.status}: {said[:300]!r}")
        return orjson.loads(said) if answer.content_type == "application/json" else said.decode()
