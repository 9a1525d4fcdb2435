"""The outbox and its relay, against real PostgreSQL and real Kafka."""

import asyncio
import random
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from uuid import UUID

import asyncpg
import pytest
from aiokafka.admin import NewTopic
from structlog.testing import capture_logs

from libs import failpoints
from libs.contracts.activity import ActivityEvent
from libs.contracts.ids import event_id_of, key_of, partition_of, uuid7
from libs.contracts.topics import BY_TYPE, Topic
from libs.database import Database
from libs.errors import TooLarge, Unavailable
from libs.messaging.broker import VALUE_MAX_BYTES
from libs.messaging.outbox import Outgoing, append, unpublished
from libs.messaging.relay import LOCK_KEY
from libs.messaging.windows import CHUNK_ROWS, Windows
from tests.support.kafka import PARTITIONS, Place, admin, eventually, fresh_topic, read_until
from tests.support.relaying import relay_process
from tests.support.relays import relaying

MakeDatabase = Callable[[str], Awaitable[Database]]
SERVICE = "probe"
BUSINESS = uuid7()


@dataclass(frozen=True)
class Tenant:
    business_id: UUID = BUSINESS


@pytest.fixture
async def database(make_database: MakeDatabase) -> Database:
    return await make_database(SERVICE)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with fresh_topic() as fresh:
        yield fresh


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.arm("")


def outgoing(place: Place, subject_id: UUID, version: int, value: bytes = b"{}") -> Outgoing:
    return Outgoing((place.topic,), key_of(BUSINESS, subject_id), value, version)


async def test_event_is_published_once_per_type_with_derived_ids(database: Database, place: Place) -> None:
    subject_id = uuid7()
    async with relaying(database, place.broker), database.transaction(Tenant()) as tx:
        await append(tx, [Outgoing((place.topic, place.topic), key_of(BUSINESS, subject_id), b'{"a":1}', 7)])
    async with relaying(database, place.broker):
        first, second = await read_until(place, place.topic, lambda records: len(records) == 2)
    assert first.value == second.value == b'{"a":1}'
    assert first.key == key_of(BUSINESS, subject_id)
    assert first.partition == partition_of(first.key, PARTITIONS)
    assert dict(first.headers) == {
        "ce_specversion": b"1.0",
        "ce_id": str(event_id_of(subject_id, place.topic, 7)).encode(),
        "ce_type": place.topic.encode(),
        "ce_source": b"/activities/probe",
        "ce_version": b"7",
    }


async def test_log_order_is_version_order_for_each_key_under_contending_writers(
    database: Database, place: Place
) -> None:
    subjects = [uuid7() for _ in range(8)]
    owner = await asyncpg.connect(database.urls.owner)
    await owner.execute("create table head (id uuid primary key, version int not null)")
    await owner.execute(f'grant select, update on head to "{SERVICE}_worker"')
    await owner.executemany("insert into head values ($1, 0)", [(subject,) for subject in subjects])
    await owner.close()
    wide = Database(database.urls, workers_max=18)
    await wide.open()

    async def write(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(25):
            chosen = sorted(dice.sample(subjects, 2))
            async with wide.work() as tx:
                await tx.value("select pg_current_xact_id()::text")  # the xid is taken before the lock: the hard case
                await asyncio.sleep(dice.random() * 0.004)
                rows = await tx.fetch("select id from head where id = any($1) order by id for update", chosen)
                changed = await tx.fetch(
                    "update head set version = version + 1 where id = any($1) returning id, version",
                    [row["id"] for row in rows],
                )
                await append(tx, [outgoing(place, row["id"], row["version"]) for row in changed])
                await asyncio.sleep(dice.random() * 0.004)

    try:
        async with relaying(wide, place.broker):
            await asyncio.gather(*(write(seed) for seed in range(16)))
            records = await read_until(place, place.topic, lambda found: len(found) >= 800)
    finally:
        await wide.close()
    versions: dict[bytes | None, list[int]] = defaultdict(list)
    for record in records:
        versions[record.key].append(int(dict(record.headers)["ce_version"] or b""))
    assert len(records) == 800
    assert all(found == list(range(1, len(found) + 1)) for found in versions.values())


@pytest.mark.parametrize("moment", ["before", "after", "reported"])
async def test_relay_that_fails_around_publishing_loses_nothing(database: Database, place: Place, moment: str) -> None:
    failpoints.arm(f"{SERVICE}.publish.{moment}=error@2")
    subjects = [uuid7() for _ in range(30)]
    async with relaying(database, place.broker):
        for subject in subjects:
            async with database.work() as tx:
                await append(tx, [outgoing(place, subject, 1)])
        wanted = {key_of(BUSINESS, subject) for subject in subjects}
        await read_until(place, place.topic, lambda found: {record.key for record in found} == wanted)


async def test_relay_killed_between_publishing_and_cursor_publishes_again(database: Database, place: Place) -> None:
    subjects = [uuid7() for _ in range(20)]
    failpoints.arm(f"{SERVICE}.publish.reported=error@1")
    async with relaying(database, place.broker):
        async with database.work() as tx:
            await append(tx, [outgoing(place, subject, 1) for subject in subjects])
        await read_until(place, place.topic, lambda found: len(found) == 20)
    async with relaying(database, place.broker):
        records = await read_until(place, place.topic, lambda found: len(found) >= 40)
        await eventually(lambda: published(database), "the cursor follows")
    assert len(records) == 40


async def test_open_transaction_holds_nobody_back_and_is_not_skipped(database: Database, place: Place) -> None:
    early, late = uuid7(), uuid7()
    async with relaying(database, place.broker):
        async with database.work() as holding:
            await append(holding, [outgoing(place, early, 1)])
            async with database.work() as tx:
                await append(tx, [outgoing(place, late, 1)])
            await read_until(
                place, place.topic, lambda found: [record.key for record in found] == [key_of(BUSINESS, late)]
            )
            async with database.work() as tx:
                await append(tx, [outgoing(place, late, 2)])
            await read_until(place, place.topic, lambda found: len(found) == 2)
        records = await read_until(place, place.topic, lambda found: len(found) == 3)
    assert {record.key for record in records} == {key_of(BUSINESS, early), key_of(BUSINESS, late)}


async def test_large_window_is_read_in_pages_without_gap_or_repetition(database: Database, place: Place) -> None:
    count = CHUNK_ROWS * 2 + 17
    for _ in range(2):
        async with database.work() as tx:
            await append(tx, [outgoing(place, uuid7(), 1) for _ in range(count)])
    async with database.session() as connection:
        windows = Windows(connection)
        await windows.load()
        ids = []
        while rows := await windows.read():
            ids += [row["id"] for row in rows]
            await windows.advance(rows[-1]["id"])
            if len(ids) == CHUNK_ROWS * 2:  # another relay takes over in the middle of the window
                windows = Windows(connection)
                await windows.load()
    assert len(ids) == 2 * count
    assert ids == sorted(set(ids))


async def test_two_relays_never_publish_at_once(database: Database, place: Place) -> None:
    async with relaying(database, place.broker), relaying(database, place.broker):
        for _ in range(20):
            async with database.work() as tx:
                await append(tx, [outgoing(place, uuid7(), 1)])
        await eventually(lambda: published(database), "all is published")
        records = await read_until(place, place.topic, lambda found: len(found) >= 20)
    assert len(records) == 20


async def test_relay_that_stands_by_says_that_the_one_that_publishes_does_not(database: Database, place: Place) -> None:
    owner = await asyncpg.connect(database.urls.owner)
    await owner.execute(f"select pg_advisory_lock({LOCK_KEY})")
    async with relaying(database, replace(place.broker, stuck_s=1.0)) as relay:
        async with database.work() as tx:
            await append(tx, [outgoing(place, uuid7(), 1)])
        await eventually(lambda: "(another one) has not moved" in " ".join(relay.problems()), "it is said aloud")
        await owner.close()
        await read_until(place, place.topic, lambda found: len(found) == 1)
        await eventually(lambda: not relay.problems(), "no problem is left")


async def test_relay_frozen_at_any_moment_loses_its_place_to_another(database: Database, place: Place) -> None:
    owner = await asyncpg.connect(database.urls.owner)

    async def leads() -> bool:
        held = "select exists (select from pg_locks l join pg_database d on d.oid = l.database where datname = $1"
        held += " and locktype = 'advisory' and granted and objid::bigint = $2 & 4294967295)"
        return bool(await owner.fetchval(held, database.urls.database, LOCK_KEY))

    async with relay_process(database, replace(place.broker, stuck_s=3.0)) as frozen:
        await eventually(leads, "it publishes")
        frozen.send_signal(signal.SIGSTOP)
        async with relaying(database, replace(place.broker, stuck_s=3.0)):
            async with database.work() as tx:
                await append(tx, [outgoing(place, uuid7(), 1)])
            await read_until(place, place.topic, lambda found: len(found) == 1)
    await owner.close()


async def test_relay_frozen_within_a_statement_loses_its_place_too(database: Database, place: Place) -> None:
    frozen = await asyncpg.connect(database.urls.of("worker"))
    await frozen.execute("set idle_session_timeout = '1s'")
    await frozen.execute(f"select pg_advisory_lock({LOCK_KEY})")
    await frozen.prepare("select 1")  # Parse and Flush, no Sync: the server waits for the rest of the statement
    async with relaying(database, replace(place.broker, stuck_s=2.0)):
        async with database.work() as tx:
            await append(tx, [outgoing(place, uuid7(), 1)])
        await read_until(place, place.topic, lambda found: len(found) == 1)
    await eventually(frozen.is_closed, "its session is ended")


async def test_restored_into_another_cluster_everything_kept_is_published_again(
    database: Database, place: Place
) -> None:
    subjects = [uuid7() for _ in range(5)]
    async with relaying(database, place.broker):
        async with database.work() as tx:
            await append(tx, [outgoing(place, subject, 1) for subject in subjects])
        await eventually(lambda: published(database), "all is published")
    async with database.work() as tx:
        await tx.execute("update outbox_cursor set system_identifier = 1, done = '900000000:900000000:'")
    with capture_logs() as lines:
        async with relaying(database, place.broker) as relay:
            await read_until(place, place.topic, lambda found: len(found) == 10)
            await eventually(lambda: not relay.problems(), "no problem is left once all of it has left")
    assert [(line["event"], line["rows"]) for line in lines if "rows" in line] == [("outbox adopted", 5)]


async def test_relay_that_another_took_over_from_says_no_more_what_was_wrong(database: Database, place: Place) -> None:
    away = replace(place.broker, bootstrap_servers="127.0.0.1:1")
    other, owner = [await asyncpg.connect(database.urls.owner) for _ in range(2)]
    async with relaying(database, away) as relay:
        async with database.work() as tx:
            await append(tx, [outgoing(place, uuid7(), 1)])
        await eventually(lambda: "Kafka does not take events" in " ".join(relay.problems()), "it is said aloud")
        taking_over = asyncio.create_task(other.execute("select pg_advisory_lock($1)", LOCK_KEY))
        holder = "select pid from pg_locks where locktype = 'advisory' and granted and database = "
        this = "(select oid from pg_database where datname = current_database())"
        await owner.fetch(f"select pg_terminate_backend(pid) from ({holder} {this}) as held")
        await taking_over
        await eventually(lambda: not relay.problems(), "the one that waits has no problem")
    for connection in (other, owner):
        await connection.close()


async def test_full_outbox_refuses_routes_and_nobody_else_until_it_has_left(database: Database, place: Place) -> None:
    away = replace(place.broker, bootstrap_servers="127.0.0.1:1", outbox_backlog_max_bytes=1_000)
    async with relaying(database, away) as relay:
        async with database.transaction(Tenant()) as tx:
            await append(tx, [outgoing(place, uuid7(), 1, b"x" * 2_000)])
        await eventually(lambda: database.outbox_full, "the outbox is full")
        with pytest.raises(Unavailable, match="outbox is full") as refused:
            async with database.transaction(Tenant()) as tx:
                await append(tx, [outgoing(place, uuid7(), 1)])
        assert refused.value.retry_after_s == 5
        async with database.work() as tx:
            await append(tx, [outgoing(place, uuid7(), 1)])
        assert relay.backlog_bytes() >= 2_000
        assert any("Kafka does not take events" in problem for problem in relay.problems())
    async with relaying(database, place.broker) as relay:
        await read_until(place, place.topic, lambda found: len(found) == 2)
        await eventually(lambda: not database.outbox_full, "the outbox takes events again")
        await eventually(lambda: not relay.problems(), "no problem is left")


async def test_event_over_the_bound_is_refused_before_it_can_stick(database: Database, place: Place) -> None:
    with pytest.raises(TooLarge, match="1048577 bytes"):
        async with database.work() as tx:
            await append(tx, [outgoing(place, uuid7(), 1, b"x" * (VALUE_MAX_BYTES + 1))])
    async with database.work() as tx:
        assert await tx.value("select count(*) from outbox") == 0


async def test_missing_topic_holds_up_no_other_and_keeps_its_order_until_it_is_there(
    database: Database, place: Place
) -> None:
    missing = f"{place.topic}.later"
    BY_TYPE[missing] = Topic(missing, ActivityEvent, (missing,), 1)
    subject, here = uuid7(), [uuid7() for _ in range(3)]

    async def write(*versions: int) -> None:
        for version in versions:
            async with database.work() as tx:
                both = Outgoing((place.topic, missing), key_of(BUSINESS, subject), b"{}", version)
                await append(tx, [both, outgoing(place, here[version % 3], version)])

    try:
        async with relaying(database, place.broker) as relay:
            await write(1, 2)
            await read_until(place, place.topic, lambda found: len(found) == 4)
            await eventually(lambda: "it is missing): 2 wait" in " ".join(relay.problems()), "it is said aloud")
        async with relaying(database, place.broker) as relay:  # another process goes on holding it back
            await write(3, 4)
            await read_until(place, place.topic, lambda found: len(found) == 8)
            await eventually(lambda: "): 4 wait, the oldest for" in " ".join(relay.problems()), "it is said aloud")
            async with admin(place.broker) as client:
                await client.create_topics([NewTopic(missing, PARTITIONS, 1)])
            await write(5)
            records = await read_until(place, missing, lambda found: len(found) == 5)
            await eventually(lambda: not relay.problems(), "no problem is left")
            async with admin(place.broker) as client:
                await client.delete_topics([missing])
    finally:
        del BY_TYPE[missing]
    assert [dict(record.headers)["ce_version"] for record in records] == [b"1", b"2", b"3", b"4", b"5"]


async def test_read_only_database_is_said_and_needs_nobody_to_recover(database: Database, place: Place) -> None:
    owner = await asyncpg.connect(database.urls.owner)
    name = database.urls.database
    async with relaying(database, place.broker) as relay:
        await owner.execute(f'alter database "{name}" set default_transaction_read_only = on')
        await leave(owner, name)
        await eventually(lambda: "the database is read-only" in " ".join(relay.problems()), "it is said aloud")
        with pytest.raises(Unavailable, match="read-only for now"):
            async with database.transaction(Tenant()) as tx:
                await append(tx, [outgoing(place, uuid7(), 1)])
        await owner.execute("set default_transaction_read_only = off")
        await owner.execute(f'alter database "{name}" set default_transaction_read_only = off')
        await leave(owner, name)
        await eventually(lambda: not relay.problems(), "no problem is left")
        async with database.transaction(Tenant()) as tx:
            await append(tx, [outgoing(place, uuid7(), 1)])
        await read_until(place, place.topic, lambda found: len(found) == 1)
    await owner.close()


async def test_relay_that_hangs_is_said_with_the_age_of_what_waits(database: Database, place: Place) -> None:
    owner = await asyncpg.connect(database.urls.owner)
    async with relaying(database, replace(place.broker, stuck_s=2.0)) as relay:
        async with database.work() as tx:
            await append(tx, [outgoing(place, uuid7(), 1)])
        await read_until(place, place.topic, lambda found: len(found) == 1)
        async with owner.transaction():
            await owner.execute("lock table outbox in access exclusive mode")
            await eventually(lambda: "has not looked into the outbox" in " ".join(relay.problems()), "it is said aloud")
        await eventually(lambda: not relay.problems(), "no problem is left")
    await owner.close()


async def leave(owner: "asyncpg.Connection[asyncpg.Record]", name: str) -> None:
    """End all sessions but this one, as a fail-over does."""
    await owner.fetch(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and pid <> pg_backend_pid()", name
    )


async def test_days_are_made_ahead_and_dropped_only_behind_the_cursor(database: Database, place: Place) -> None:
    async with database.work() as tx:
        await tx.execute("select outbox_keep_days(9)")
        await append(tx, [outgoing(place, uuid7(), 1)])
    count = "select count(*) from pg_inherits where inhparent = 'outbox'::regclass"
    async with database.work() as tx:
        assert await tx.value(count) == 11
        assert await tx.value("select outbox_drop_days(current_date + 1)") == 1  # yesterday; today waits for the relay
        assert await tx.value("select count(*) from outbox") == 1
    async with relaying(database, place.broker):
        await eventually(lambda: published(database), "all is published")

        async def made_again() -> bool:
            async with database.work() as tx:
                return bool(await tx.value(count) == 11)

        await eventually(made_again, "the relay made yesterday again")
    async with database.work() as tx:
        assert await tx.value("select outbox_drop_days(current_date + 1)") == 2


async def test_routes_write_the_outbox_and_cannot_read_it(database: Database, place: Place) -> None:
    async with database.transaction(Tenant()) as tx:
        await append(tx, [outgoing(place, uuid7(), 1)])
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.transaction(Tenant()) as tx:
            await tx.fetch("select * from outbox")


async def published(database: Database) -> bool:
    async with database.work() as tx:
        return await unpublished(tx) == 0
