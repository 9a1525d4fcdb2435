"""What the checker looks at: one business's part of history, ledger, stores, topics and logs, read after quiescence."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from aiokafka import TopicPartition

from cli.check import groups, open_stores, pages, reconcile, surroundings
from cli.check.drain import drain
from libs.contracts.activity import ActivityEvent
from libs.contracts.topics import TOPICS
from libs.errors import Unavailable
from libs.messaging import admin
from libs.messaging.broker import BrokerSettings
from libs.messaging.dead_letters import ORIGIN
from libs.messaging.letters import DeadLetter, list_letters
from libs.service.settings import ServiceSettings
from tests.faults.history import Told
from tests.faults.installation import PACKAGES, Installation
from tests.faults.load import Tenant
from tests.faults.receivers import Delivery

Found = list[str]
"""What breaks an invariant, in sentences."""
POISON = "fault_poison"
"""The header by which injected poison is told from what the product made itself."""
ACTIVITY_TOPICS = ("activity.created", "activity.completed", "activity.changed", "activity.appended")


@dataclass(frozen=True, slots=True)
class Version:
    """A row of the history, as far as it is looked at."""

    version: int
    type: str
    event: ActivityEvent


@dataclass
class Published:
    """What topics and dead letters got since the round began. `shortened`: retention took some of it before."""

    shortened: bool = False
    received: dict[str, set[UUID]] = field(default_factory=lambda: defaultdict(set))
    versions: dict[str, set[tuple[str, int]]] = field(default_factory=lambda: defaultdict(set))
    talks: dict[str, set[tuple[str, int]]] = field(default_factory=lambda: defaultdict(set))
    foreign: list[tuple[str, str]] = field(default_factory=list)
    letters: list[tuple[str, DeadLetter]] = field(default_factory=list)


@dataclass
class Case:
    """Everything about one business. `notes`: (invariant, text) of what was wrong before anything was compared."""

    tenant: Tenant
    told: Told
    events: dict[UUID, ActivityEvent]
    histories: dict[UUID, list[Version]]
    admissions: dict[UUID, str]
    deliveries: Sequence[Any]
    endpoints: dict[str, UUID]
    differences: Sequence[str]
    ledger: Sequence[Delivery]
    published: Published
    strays: Sequence[str]
    notes: Sequence[tuple[str, str]]
    injected: Mapping[str, str]
    talks: Mapping[str, tuple[UUID, int]] = field(default_factory=dict)
    """Of ingest's own table: the source's id of each conversation, ours, and its version."""

    @property
    def business(self) -> str:
        """Its id."""
        return self.tenant.business.id

    def about(self, subject: str) -> "Found":
        """Take from the reconciler's differences those about a subject: the sentence begins with it."""
        return [text for text in self.differences if text.startswith(subject)]

    def by_ref(self) -> dict[str, list[UUID]]:
        """Name the activities that stand in the truth for each ref: the last word of a summary."""
        found: dict[str, list[UUID]] = defaultdict(list)
        for activity_id, event in self.events.items():
            found[(event.activity.summary or "?").rpartition(" ")[2]].append(activity_id)
        return found


async def collect(
    installation: Installation, tenants: Sequence[Tenant], told: Mapping[str, Told], mark: "Mark", within_s: float
) -> list[Case]:
    """Drain, then read everything about these businesses. Raises Stuck, Unavailable."""
    with surroundings(installation.direct):
        settings = ServiceSettings()
        async with open_stores(settings) as stores:
            await drain(stores, groups(), settings.broker(), lambda left: None, within_s)
            await _until_told(stores, tenants, within_s)
            published = await _published(settings.broker(), tenants, mark)
            return [await _case(installation, stores, tenant, told, (published, mark)) for tenant in tenants]


async def _until_told(stores: Any, tenants: Sequence[Tenant], within_s: float) -> None:
    """Wait until no delivery of these businesses is pending."""
    ids = [UUID(tenant.business.id) for tenant in tenants]
    for _ in range(int(within_s / 0.25)):
        rows = await pages.rows_of(
            stores["webhook_dispatcher"],
            "select count(*) from delivery where business_id = any ($1) and status = 'pending'",
            ids,
        )
        if not rows[0][0]:
            return
        await asyncio.sleep(0.25)


async def _case(
    installation: Installation, stores: Any, tenant: Tenant, told: Mapping[str, Told], more: tuple[Published, "Mark"]
) -> Case:
    business, (published, mark) = UUID(tenant.business.id), more
    rows = await pages.rows_of(
        stores["lifecycle"],
        "select activity_id, version, type, document from history where business_id = $1 order by activity_id, version",
        business,
    )
    histories: dict[UUID, list[Version]] = defaultdict(list)
    for row in rows:
        histories[row[0]].append(Version(row[1], row[2], pages.decode(row[3])))
    events: dict[UUID, ActivityEvent] = {}
    async for page in pages.pages_of(stores["lifecycle"], business):
        events |= page.events
    admitted = await pages.rows_of(
        stores["lifecycle"], "select receipt_id, outcome from admission where business_id = $1", business
    )
    deliveries = await pages.rows_of(
        stores["webhook_dispatcher"],
        "select id, endpoint_id, event_type, activity_id, version, status from delivery where business_id = $1",
        business,
    )
    talks = await pages.rows_of(
        stores["ingest"], "select source_ref, interaction_id, version from interaction where business_id = $1", business
    )
    endpoints = await pages.rows_of(
        stores["webhook_dispatcher"], "select id, url from endpoint where business_id = $1", business
    )
    return Case(
        tenant=tenant,
        told=told.get(tenant.business.id, Told()),
        events=events,
        histories=histories,
        admissions={row[0]: row[1] for row in admitted},
        deliveries=deliveries,
        endpoints={row[1].rpartition("/")[2]: row[0] for row in endpoints},
        differences=[text async for text in reconcile(stores, business, full=True)],
        ledger=[each for each in installation.sink.deliveries.values() if each.business == tenant.business.id],
        published=published,
        strays=await _strays(stores, tenant, mark),
        notes=[(invariant, text) for invariant, of, text in installation.sink.wrong if of == tenant.business.id],
        injected=mark.injected,
        talks={row[0]: (row[1], row[2]) for row in talks},
    )


_TEXTS = {
    "lifecycle": "select count(*) from history where business_id = $1 and position($2 in document) > 0",
    "timeline_projector": """
        select count(*) from activity_head
        where business_id = $1 and position($2 in convert_to(coalesce(summary, ''), 'UTF8')) > 0
    """,
    "webhook_dispatcher": "select count(*) from event where business_id = $1 and position($2 in body) > 0",
}


async def _strays(stores: Any, tenant: Tenant, mark: "Mark") -> list[str]:
    """Search this business's rows and all logs for canaries that must not stand there."""
    found = []
    for other in tenant.others:
        for package, statement in _TEXTS.items():
            rows = await pages.rows_of(stores[package], statement, UUID(tenant.business.id), other.encode())
            if rows[0][0]:
                found.append(f"{package}: {rows[0][0]} rows of business {tenant.business.id} hold the canary {other}")
    for path, size in mark.logs.items():
        with path.open("rb") as log:
            log.seek(size)
            if tenant.canary.encode() in log.read():
                found.append(f"the log {path.name} holds the canary {tenant.canary}: texts do not belong in logs")
    return found


@dataclass
class Mark:
    """Where topics and logs stood when the round began, and what poison was put in since: its id, its topic."""

    offsets: dict[TopicPartition, int]
    logs: dict[Path, int]
    injected: dict[str, str] = field(default_factory=dict)


async def make_mark(installation: Installation) -> Mark:
    """Note where everything stands now."""
    broker = BrokerSettings(installation.kafka.bootstrap_servers)
    partitions = await admin.partitions_of(broker, [topic.name for topic in TOPICS])
    async with admin.reading(broker, None) as reader:
        offsets = await reader.end_offsets(partitions)
    return Mark(offsets, {path: path.stat().st_size for path in installation.logs() if path.exists()})


async def _published(broker: BrokerSettings, tenants: Sequence[Tenant], mark: Mark) -> Published:
    """Read all topics from where the round began, and what was set aside of it."""
    found = Published()
    canaries = {tenant.business.id: tenant.canary.encode() for tenant in tenants}
    async with admin.reading(broker, None) as reader:
        ends = await reader.end_offsets(list(mark.offsets))
        behind = [place for place, end in ends.items() if end > mark.offsets[place]]
        reader.assign(behind)
        begins = await reader.beginning_offsets(behind)
        found.shortened = any(begins[place] > mark.offsets[place] for place in behind)
        for place in behind:
            reader.seek(place, max(mark.offsets[place], begins[place]))
        for place in behind:
            while await reader.position(place) < ends[place]:
                for record in (await reader.getmany(place, timeout_ms=500)).get(place, ()):
                    _note(found, record, canaries)
    for package in PACKAGES:
        found.letters += [
            (package, letter)
            for letter in await _letters(broker, package)
            if letter.offset >= mark.offsets.get(TopicPartition(letter.topic, letter.partition), 0)
        ]
    return found


async def _letters(broker: BrokerSettings, package: str) -> list[DeadLetter]:
    try:
        return await list_letters(broker, package)
    except Unavailable:
        return []


def _note(found: Published, record: Any, canaries: Mapping[str, bytes]) -> None:
    headers = dict(record.headers)
    business, _, subject = (record.key or b"").decode(errors="replace").partition("/")
    if business not in canaries or POISON in headers or any(name in headers for name in ORIGIN):
        return
    value = record.value or b""
    for other, canary in canaries.items():
        if other != business and canary in value:
            found.foreign.append((business, f"{record.topic}: a record of {business} holds the canary of {other}"))
    if record.topic == "activity.received":
        found.received[business].add(UUID(headers["ce_id"].decode()))
    elif record.topic == "interaction.closed":
        found.talks[business].add((subject, int(headers["ce_version"])))
    elif record.topic in ACTIVITY_TOPICS:
        found.versions[business].add((subject, int(headers["ce_version"])))
