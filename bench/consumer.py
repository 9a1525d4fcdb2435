"""What our batch path costs besides the work: against a bare aiokafka loop with the same decoding and the same SQL."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec
from aiokafka import AIOKafkaConsumer

from bench.figures import Figure
from bench.load import NOTES
from bench.system import System
from cli.check import surroundings
from libs.contracts import activity as contract
from libs.contracts.decoding import decoder_of, struct_of
from libs.contracts.ids import key_of, uuid7
from libs.database import Database, Transaction, Urls, migrations
from libs.messaging.broker import BrokerSettings, spare_logs
from libs.messaging.consumer import Consumer, Subscription
from libs.messaging.publisher import Publisher
from libs.service.settings import ServiceSettings
from services.reporting import handlers, store

EVENTS, CHUNK, ROUNDS = 40_000, 2_000, 3
TOPIC = "activity.completed"
RATIO = 1.4
Loop = Callable[[Database, BrokerSettings, str], Awaitable[float]]


@dataclass
class Meter:
    """Wraps reporting's handler; tells the CPU per event of this process, from the first batch to the last."""

    events: int = 0
    first: tuple[int, float] | None = None
    last_cpu_s: float = 0.0
    done: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, tx: Transaction, events: Sequence[Any]) -> None:
        """Count what is in the batch, as reporting does."""
        if self.first is None:
            self.first = len(events), time.process_time()
        await handlers.count_activities(tx, events)
        self.events += len(events)
        self.last_cpu_s = time.process_time()
        if self.events >= EVENTS:
            self.done.set()

    @property
    def cpu_us(self) -> float:
        """CPU per event so far."""
        assert self.first is not None
        return (self.last_cpu_s - self.first[1]) / (self.events - self.first[0]) * 1e6


async def measure(system: System, advance: Callable[[], None]) -> list[Figure]:
    """Handle 40,000 events by our consumer and by a bare loop, three times each in turn; the least of each counts."""
    least: dict[str, float] = {}
    with _servers(system) as settings:
        broker = settings.broker()
        await _publish(broker)
        async with _scratch_database(system, settings) as database:
            for number in range(ROUNDS):
                for name, loop in (("bare", _bare), ("ours", _ours)):
                    async with database.work() as tx:
                        await store.empty(tx)
                    used = await loop(database, broker, f"bench.{name}.{number}.{time.time_ns()}")
                    least[name] = min(used, least.get(name, used))
                    advance()
    return [
        Figure("consumer", "a bare loop, CPU", least["bare"], "µs/event"),
        Figure("consumer", "our batch path, CPU", least["ours"], "µs/event"),
        Figure("consumer", "ours / bare", least["ours"] / least["bare"], "times", RATIO, most=True),
    ]


async def _ours(database: Database, broker: BrokerSettings, group: str) -> float:
    meter = Meter()
    subscription = Subscription(contract.ActivityEvent, meter.handle, (TOPIC,), latest=True)
    consumer = Consumer("reporting", database, broker, [subscription], group=group)
    await consumer.start()
    await meter.done.wait()
    await consumer.stop()
    return meter.cpu_us


async def _bare(database: Database, broker: BrokerSettings, group: str) -> float:
    meter, decode = Meter(), decoder_of(contract.ActivityEvent)
    consumer = AIOKafkaConsumer(
        TOPIC, bootstrap_servers=broker.bootstrap_servers, group_id=group, enable_auto_commit=False,
        auto_offset_reset="earliest", check_crcs=False, fetch_max_bytes=broker.fetch_max_bytes,
        max_partition_fetch_bytes=broker.partition_fetch_max_bytes,
    )  # fmt: skip
    await consumer.start()
    try:
        while not meter.done.is_set():
            batch = await consumer.getmany(timeout_ms=1_000, max_records=broker.records_max)
            events = [decode(record.value) for records in batch.values() for record in records]
            if events:
                async with database.work() as tx:
                    await meter.handle(tx, events)
                await consumer.commit()
    finally:
        await consumer.stop()
    return meter.cpu_us


async def _publish(broker: BrokerSettings) -> None:
    """Put the events on their topic, as lifecycle's relay does."""
    spare_logs()
    publisher, business_id = Publisher("lifecycle", broker), uuid7()
    for start in range(0, EVENTS, CHUNK):
        rows = [_row(business_id, number) for number in range(start, start + CHUNK)]
        await publisher.publish(rows)
    await publisher.close()


def _row(business_id: Any, number: int) -> dict[str, Any]:
    at, person = datetime.now(UTC) - timedelta(seconds=15 * number), contract.Person(name="Jordan Example")
    activity = struct_of(contract.Activity)(
        business_id=business_id, activity_id=uuid7(), version=1, type="call", type_id=uuid7(), type_name="Call", at=at,
        created_at=at, recorded_at=at, occurred_at=at, logged_at=at, subject="Renewal call", notes=NOTES,
        direction="outbound", actor=person, logged_by=person, source="bench", source_ref=f"consumer-{number}",
        links=[contract.Link(object="contact", record_id=uuid7())],
    )  # fmt: skip
    event = struct_of(contract.ActivityEvent)(
        activity=activity, change=struct_of(contract.Change)(type="activity.completed")
    )
    value = msgspec.json.encode(event, enc_hook=lambda shape: shape.model_dump())
    row = dict.fromkeys(("topic", "event_id", "header_names", "header_values"))
    key = key_of(business_id, activity.activity_id)
    return row | {"id": number, "types": "activity.completed", "key": key, "value": value, "version": 1}


@contextmanager
def _servers(system: System) -> Iterator[ServiceSettings]:
    """Stop the services, keep the servers; give the settings with which services would run."""
    system.stop()
    system.start_servers()
    with surroundings(system.place.environment()):
        yield ServiceSettings()


@asynccontextmanager
async def _scratch_database(system: System, settings: ServiceSettings) -> Any:
    """Give reporting a database that is nobody else's."""
    name = "bench_consumer"
    urls = Urls("reporting", system.database_url(name), settings.database_roles_secret.get_secret_value())
    await migrations.migrate(urls, migrations.folders_of("reporting"))
    database = Database(urls)
    await database.open()
    try:
        yield database
    finally:
        await database.close()
        admin = await asyncpg.connect(settings.database_url.get_secret_value())
        await admin.execute(f"drop database {name} with (force)")
        await admin.close()
