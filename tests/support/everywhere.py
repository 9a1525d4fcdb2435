"""Lifecycle with all who hear of it, served without Kafka: timeline, reports, webhooks that are owed."""

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import orjson

from libs.contracts.directory import Record
from libs.contracts.ids import uuid7
from libs.database import Database
from services.lifecycle import handlers as lifecycle
from services.reporting import handlers as reporting
from services.timeline_projector import handlers as timeline
from tests.support.databases import fresh_database
from tests.support.http import Tenant, served, settle
from tests.support.passing import Outbox, versions_in
from tests.support.webhooks import deliveries_of, hear, make_endpoint

NAMES = ("lifecycle", "timeline_projector", "reporting", "webhook_dispatcher")
NOWHERE = "http://127.0.0.1:9/"
TOLD = ("activity.completed", "activity.appended")
YEARS = {"from": "2026-01-01", "to": "2035-12-31", "granularity": "month"}
Served = tuple[dict[str, httpx.AsyncClient], dict[str, Database]]


@asynccontextmanager
async def all_served() -> AsyncIterator[Served]:
    """Serve the four services, each with a database of its own."""
    async with AsyncExitStack() as stack:
        databases = {name: await stack.enter_async_context(fresh_database(name)) for name in NAMES}
        clients = {name: await stack.enter_async_context(served(name, each)) for name, each in databases.items()}
        yield clients, databases


@dataclass
class Company:
    """A business that all of them know. What it does is passed on when somebody looks."""

    clients: dict[str, httpx.AsyncClient]
    databases: dict[str, Database]
    tenant: Tenant
    outbox: Outbox
    versions: dict[UUID, int] = field(default_factory=dict)

    @classmethod
    async def settled(cls, running: Served) -> "Company":
        """Settle a new business everywhere."""
        clients, databases = running
        tenant = await settle(databases["lifecycle"])
        for name in NAMES[1:]:
            await settle(databases[name], known=tenant)
        return cls(clients, databases, tenant, Outbox(databases["lifecycle"], tenant.business_id))

    async def record(self, kind: str, record_id: UUID | None = None, **given: Any) -> UUID:
        """Let a record, or its next version, be known."""
        when, identity = datetime.now(UTC), record_id or uuid7()
        version = self.versions[identity] = self.versions.get(identity, 0) + 1
        record = Record(
            business_id=self.tenant.business_id, id=identity, version=version, object=kind,
            **{"name": kind.title(), "created_at": when, "updated_at": when} | given,
        )  # fmt: skip
        handlers = (lifecycle.copy_records, timeline.know_records, reporting.know_records)
        for name, handler in zip(NAMES, handlers, strict=False):
            async with self.databases[name].work() as tx:
                await handler(tx, [record])
        return identity

    async def call(self, method: str, path: str, body: Any = None, service: str = "lifecycle") -> Any:
        """Call a route that has to succeed; give what it answers."""
        answer = await self.clients[service].request(method, path, json=body, headers=self.tenant.headers)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    async def pass_on(self) -> None:
        """Let all hear what lifecycle has to say."""
        told = await self.outbox.read()
        events = versions_in(told)
        if not events:
            return
        for name, handler in (
            ("timeline_projector", timeline.show_activities), ("reporting", reporting.count_activities),
        ):  # fmt: skip
            async with self.databases[name].work() as tx:
                await handler(tx, events)
        await hear(self.databases["webhook_dispatcher"], versions_in(told, *TOLD))

    async def lines(self, kind: str, record_id: UUID, **query: str) -> list[tuple[str, str]]:
        """Give what the timeline of a record shows, newest first: ids and states; the badge has to count them."""
        await self.pass_on()
        client, headers = self.clients["timeline_projector"], self.tenant.headers
        shown = await client.get(f"/api/timeline/{kind}/{record_id}", params=query, headers=headers)
        assert shown.status_code == 200, shown.text
        rows = [(row["activity_id"], row["state"]) for row in shown.json()["results"]]
        if not query:
            body = {"object": kind, "record_ids": [str(record_id)]}
            badge = await client.post("/api/timeline/badges", json=body, headers=headers)
            assert badge.json()["counts"] == {str(record_id): len(rows)}
        return rows

    async def counts(self, group: str = "state") -> dict[str | None, int]:
        """Give what reports count, by state or by another column."""
        await self.pass_on()
        client = self.clients["reporting"]
        answer = await client.get(
            "/api/reports/volume", params=YEARS | {"group_by": group}, headers=self.tenant.headers
        )
        assert answer.status_code == 200, answer.text
        found: dict[str | None, int] = {}
        for cell in answer.json()["series"]:
            word = cell["group"][group]
            found[word] = found.get(word, 0) + cell["count"]
        return found

    async def endpoint(self, *event_types: str) -> UUID:
        """Make an endpoint that hears of these types."""
        database = self.databases["webhook_dispatcher"]
        endpoint_id, _ = await make_endpoint(
            database, self.tenant.business_id, NOWHERE, **({"event_types": event_types} if event_types else {})
        )
        return endpoint_id

    async def owed(self, endpoint_ids: Iterable[UUID] = ()) -> list[tuple[str, str]]:
        """Give what is owed to endpoints, to all where none are named: types and ids of activities."""
        await self.pass_on()
        rows = await deliveries_of(self.databases["webhook_dispatcher"])
        wanted = list(endpoint_ids)
        return [
            (row["event_type"], str(row["activity_id"]))
            for row in rows
            if row["business_id"] == self.tenant.business_id and (not wanted or row["endpoint_id"] in wanted)
        ]

    async def bodies(self) -> list[dict[str, Any]]:
        """Give the bodies that are owed."""
        await self.pass_on()
        async with self.databases["webhook_dispatcher"].work() as tx:
            rows = await tx.fetch("select body from event where business_id = $1 order by id", self.tenant.business_id)
        return [orjson.loads(row["body"]) for row in rows]
