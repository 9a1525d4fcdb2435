"""The consumer and its dead letters, against real PostgreSQL and real Kafka."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from uuid import UUID

import asyncpg
import orjson
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete

from libs import failpoints
from libs.contracts.activity import ActivityEvent
from libs.contracts.ids import key_of, partition_of, uuid7
from libs.database import Database, Transaction
from libs.errors import Conflict, NotFound, Rejected, Unavailable
from libs.messaging import admin, letters, stops
from libs.messaging.assignment import Stop
from libs.messaging.broker import VALUE_MAX_BYTES, Headers
from libs.messaging.consumer import Consumer, Subscription
from libs.messaging.delivery import PatientConsumer
from libs.messaging.relay import Relay
from tests.support import kafka
from tests.support.kafka import PARTITIONS, Place, eventually, fresh_topic, producing

MakeDatabase = Callable[[str], Awaitable[Database]]
BUSINESS = uuid7()
AT = "2026-01-31T09:00:00Z"


class Heard:
    """A handler that notes in a table what it gets, so that what was rolled back is not there."""

    def __init__(self) -> None:
        self.calls = 0
        self.trouble: Callable[[UUID], None] = lambda _: None

    async def hear(self, tx: Transaction, events: Sequence[ActivityEvent]) -> None:
        self.calls += 1
        for event in events:
            self.trouble(event.activity.activity_id)
        await tx.execute(
            """insert into heard (id, version) select id, max(version)
            from unnest($1::uuid[], $2::int[]) as event (id, version) group by id order by id
            on conflict (id) do update
            set version = greatest(heard.version, excluded.version), times = heard.times + 1""",
            [event.activity.activity_id for event in events],
            [event.activity.version for event in events],
        )


@pytest.fixture
async def database(make_database: MakeDatabase) -> Database:
    database = await make_database("probe")
    owner = await asyncpg.connect(database.urls.owner)
    await owner.execute("create table heard (id uuid primary key, version int, times int not null default 1)")
    await owner.execute('grant select, insert, update on heard to "probe_worker"')
    await owner.close()
    return database


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with fresh_topic() as fresh:
        yield fresh


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.arm("")


@asynccontextmanager
async def consuming(database: Database, place: Place, heard: Heard, *, latest: bool = False) -> AsyncIterator[Consumer]:
    subscription = Subscription(ActivityEvent, heard.hear, (place.topic,), latest)
    consumer = Consumer(place.service, database, place.broker, [subscription], group=place.group)
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


@asynccontextmanager
async def relaying(database: Database, place: Place) -> AsyncIterator[None]:
    task = asyncio.create_task(Relay(database, place.broker).run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def event(activity_id: UUID, version: int = 1) -> bytes:
    activity = {
        "business_id": str(BUSINESS),
        "activity_id": str(activity_id),
        "version": version,
        "type": "call",
        "type_id": str(BUSINESS),
        "type_name": "Call",
        "at": AT,
        "created_at": AT,
        "recorded_at": AT,
    }
    return orjson.dumps({"activity": activity, "change": {"type": "activity.created"}})


def headers_of(place: Place, version: int = 1) -> Headers:
    return [("ce_type", place.topic.encode()), ("ce_version", b"%d" % version)]


async def send(place: Place, *sendings: tuple[UUID, bytes, Headers]) -> None:
    async with producing(place.broker) as producer:
        for activity_id, value, headers in sendings:
            key = key_of(BUSINESS, activity_id)
            await producer.send(place.topic, value, key, partition_of(key, PARTITIONS), headers=list(headers))
        await producer.flush()


async def send_sound(place: Place, *ids: UUID, version: int = 1) -> None:
    await send(place, *((one, event(one, version), headers_of(place, version)) for one in ids))


async def rows(database: Database) -> dict[UUID, tuple[int, int]]:
    async with database.work() as tx:
        return {row["id"]: (row["version"], row["times"]) for row in await tx.fetch("select * from heard")}


async def heard_all(database: Database, ids: Sequence[UUID]) -> None:
    async def all_there() -> bool:
        return set(await rows(database)) >= set(ids)

    await eventually(all_there, f"{len(ids)} events are handled")


async def settled(place: Place) -> None:
    async def nothing_left() -> bool:
        return await admin.backlog(place.broker, place.group, [place.topic]) == 0

    await eventually(nothing_left, "all is acknowledged")


async def set_aside(place: Place, count: int) -> list[letters.DeadLetter]:
    async def there() -> bool:
        return len(await letters.list_letters(place.broker, place.service)) >= count

    await eventually(there, f"{count} records are set aside")
    return await letters.list_letters(place.broker, place.service)


async def stopped(database: Database) -> list[Stop]:
    async with database.work() as tx:
        return [each.stop for each in await stops.list_stops(tx)]


def ids_on(partition: int, count: int) -> list[UUID]:
    found: list[UUID] = []
    while len(found) < count:
        one = uuid7()
        if partition_of(key_of(BUSINESS, one), PARTITIONS) == partition:
            found.append(one)
    return found


async def test_events_are_handled_once_and_acknowledged(database: Database, place: Place, heard: Heard) -> None:
    ids = [uuid7() for _ in range(50)]
    await send_sound(place, *ids, *ids)
    async with consuming(database, place, heard) as consumer:
        await heard_all(database, ids)
        await settled(place)
        assert not consumer.problems()
        await eventually(lambda: consumer.lag_s() == 0.0, "nothing is behind")
    async with consuming(database, place, heard):
        await send_sound(place, one := uuid7())
        await heard_all(database, [one])
    assert set(await rows(database)) == {*ids, one}
    assert all(version == 1 for version, _ in (await rows(database)).values())


async def test_latest_hears_the_newest_version_of_each_key_in_a_batch(
    database: Database, place: Place, heard: Heard
) -> None:
    one = uuid7()
    await send(place, *((one, event(one, version), headers_of(place, version)) for version in (1, 3, 2)))
    async with consuming(database, place, heard, latest=True):
        await settled(place)
    assert await rows(database) == {one: (3, 1)}


POISON: dict[str, Callable[[Place, UUID], tuple[UUID, bytes, Headers]]] = {
    "not JSON": lambda place, one: (one, b"{", headers_of(place)),
    "empty": lambda place, one: (one, b"", headers_of(place)),
    "wrong shape": lambda place, one: (one, b'{"activity": 7}', headers_of(place)),
    "no type": lambda place, one: (one, event(one), [("ce_version", b"1")]),
    "version not a number": lambda place, one: (one, event(one), [*headers_of(place)[:1], ("ce_version", b"x")]),
    "version differs": lambda place, one: (one, event(one, 2), headers_of(place)),
    "business differs": lambda place, one: (
        one,
        event(one).replace(str(BUSINESS).encode(), str(uuid7()).encode(), 1),
        headers_of(place),
    ),
    "deep": lambda place, one: (one, b'{"activity":' + b"[" * 5_000, headers_of(place)),
    "strange header": lambda place, one: (one, b"{", [*headers_of(place), ("other", b"\xff\x00\xfe")]),
}


async def test_poison_of_every_kind_is_set_aside_with_its_bytes_and_the_rest_goes_on(
    database: Database, place: Place, heard: Heard
) -> None:
    sound = [uuid7() for _ in range(60)]
    poison = [make(place, uuid7()) for make in POISON.values()]
    await send_sound(place, *sound[:30])
    await send(place, *poison)
    await send_sound(place, *sound[30:])
    async with relaying(database, place), consuming(database, place, heard) as consumer:
        await heard_all(database, sound)
        await settled(place)
        found = await set_aside(place, len(poison))
        assert not consumer.problems()
    assert set(await rows(database)) == set(sound)
    assert {letter.value for letter in found} == {None}, "a list does not hold the bytes"
    whole = [await letters.get_letter(place.broker, place.service, letter.id) for letter in found]
    assert [letter.size for letter in found] == [len(letter.value or b"") for letter in whole]
    assert {(letter.key, letter.value, tuple(letter.headers)) for letter in whole} == {
        (key_of(BUSINESS, one), value, tuple(headers)) for one, value, headers in poison
    }
    assert {letter.topic for letter in found} == {place.topic}
    assert all(letter.reason and letter.group == place.group for letter in found)


async def test_rejected_event_is_found_in_its_batch_and_replay_brings_it_back(
    database: Database, place: Place, heard: Heard
) -> None:
    ids = [uuid7() for _ in range(64)]
    guilty = {ids[7], ids[40]}

    def refuse(one: UUID) -> None:
        if one in guilty:
            raise Rejected(f"{one} is not wanted")

    heard.trouble = refuse
    await send_sound(place, *ids)
    async with relaying(database, place), consuming(database, place, heard):
        await heard_all(database, [one for one in ids if one not in guilty])
        found = await set_aside(place, 2)
        await settled(place)
        assert {letter.key for letter in found} == {key_of(BUSINESS, one) for one in guilty}
        assert "is not wanted" in found[0].reason
        heard.trouble = lambda _: None
        with pytest.raises(NotFound):
            await letters.replay(place.broker, place.service, ["1:999"])
        assert await letters.replay(place.broker, place.service) == 2
        await heard_all(database, ids)
        assert await letters.list_letters(place.broker, place.service) == []
        again = await kafka.read_until(place, place.topic, lambda records: len(records) == 66)
        back = [record for record in again if "replayed" in dict(record.headers)]
        assert {record.key for record in back} == {key_of(BUSINESS, one) for one in guilty}
        assert all(record.partition == partition_of(record.key or b"", PARTITIONS) for record in back)


async def test_unavailable_skips_nothing_and_is_not_asked_busily(
    database: Database, place: Place, heard: Heard
) -> None:
    ids = [uuid7() for _ in range(20)]

    def away(_: UUID) -> None:
        raise Unavailable("the probe is away")

    heard.trouble = away
    await send_sound(place, *ids)
    async with consuming(database, place, heard) as consumer:
        await eventually(lambda: heard.calls >= 3, "it was tried three times")
        assert any("the probe is away" in problem for problem in consumer.problems())
        assert consumer.lag_s() >= 0.0
        assert heard.calls <= 6
        heard.trouble = lambda _: None
        await heard_all(database, ids)
        await settled(place)
        assert not consumer.problems()
    assert await letters.list_letters(place.broker, place.service) == []


async def test_unknown_error_becomes_poison_after_five_persisted_attempts(
    database: Database, place: Place, heard: Heard
) -> None:
    ids = ids_on(0, 16)

    def fail(one: UUID) -> None:
        if one == ids[9]:
            raise ZeroDivisionError("a bug of ours")

    heard.trouble = fail
    await send_sound(place, *ids)
    attempts = "select attempts from consumer_attempt"
    async with consuming(database, place, heard):

        async def tried_twice() -> bool:
            async with database.work() as tx:
                return (await tx.value(attempts) or 0) >= 2

        await eventually(tried_twice, "two attempts are noted")
    assert set(await rows(database)) >= set(ids[:9])
    async with relaying(database, place), consuming(database, place, heard):  # another process goes on counting
        (letter,) = await set_aside(place, 1)
        await settled(place)
    assert letter.key == key_of(BUSINESS, ids[9])
    assert "ZeroDivisionError: a bug of ours" in letter.reason
    assert set(await rows(database)) == {one for one in ids if one != ids[9]}
    async with database.work() as tx:
        assert await tx.value("select count(*) from consumer_attempt") == 0


async def test_several_unknown_errors_in_a_batch_are_each_counted_to_their_end(
    database: Database, place: Place, heard: Heard
) -> None:
    ids = ids_on(0, 8)

    def fail(one: UUID) -> None:
        if one in (ids[2], ids[5]):
            raise ZeroDivisionError("a bug of ours")

    heard.trouble = fail
    await send_sound(place, *ids)
    async with database.work() as tx:  # the first fails for the last time while the second has three more to go
        await tx.execute(
            "insert into consumer_attempt (consumer_group, topic, part, record_offset, attempts) "
            "values ($1, $2, 0, 2, 4), ($1, $2, 0, 5, 2)",
            place.group,
            place.topic,
        )
    async with relaying(database, place), consuming(database, place, heard):
        await settled(place)
        found = await letters.list_letters(place.broker, place.service)
    assert {letter.key for letter in found} == {key_of(BUSINESS, ids[2]), key_of(BUSINESS, ids[5])}
    assert set(await rows(database)) == {one for one in ids if one not in (ids[2], ids[5])}
    async with database.work() as tx:
        assert await tx.value("select count(*) from consumer_attempt") == 0


@pytest.mark.parametrize("moment", ["before", "after", "reported"])
async def test_failing_around_the_acknowledgement_loses_nothing(
    database: Database, place: Place, heard: Heard, moment: str
) -> None:
    failpoints.arm(f"{place.service}.acknowledge.{moment}=error@1")
    first, second = uuid7(), uuid7()
    await send_sound(place, first)
    async with consuming(database, place, heard):
        await heard_all(database, [first])
        await send_sound(place, second)
        await heard_all(database, [second])
    assert set(await rows(database)) == {first, second}


async def test_flood_of_poison_stops_its_partition_and_sets_nothing_aside(
    database: Database, place: Place, heard: Heard
) -> None:
    bad, good = ids_on(0, 40), ids_on(1, 10)
    await send(place, *((one, b"{", headers_of(place)) for one in bad))
    await send_sound(place, *good)
    async with relaying(database, place), consuming(database, place, heard) as consumer:
        await heard_all(database, good)
        await eventually(lambda: bool(consumer.problems()), "the flood is noticed")
        (problem,) = consumer.problems()
        assert f"{place.topic}/0 is stopped at 0: 40 of 40 records are poison" in problem
        await send_sound(place, more := ids_on(1, 1)[0])
        await heard_all(database, [more])
        assert consumer.lag_s() > 0.0

        async def kept() -> bool:
            return bool(await stopped(database))

        await eventually(kept, "the stop is kept")
        (stop,) = await stopped(database)
        assert (stop.guilty.key, stop.guilty.value) == (key_of(BUSINESS, bad[0]), b"{")
    assert await letters.list_letters(place.broker, place.service) == []
    assert await admin.backlog(place.broker, place.group, [place.topic]) == 40


async def test_batch_that_never_ends_is_said_while_everything_else_goes_on(
    database: Database, place: Place, heard: Heard
) -> None:
    ended = asyncio.Event()

    async def hang(tx: Transaction, events: Sequence[ActivityEvent]) -> None:
        await ended.wait()

    impatient = replace(place.broker, stuck_s=0.5)
    subscription = Subscription(ActivityEvent, hang, (place.topic,))
    consumer = Consumer(place.service, database, impatient, [subscription], group=place.group)
    await send_sound(place, uuid7())
    await consumer.start()
    try:
        await eventually(lambda: "one batch has taken" in " ".join(consumer.problems()), "it is said aloud")
        ended.set()
        await eventually(lambda: not consumer.problems(), "all is well")
    finally:
        ended.set()
        await consumer.stop()


async def test_operator_has_a_flood_set_aside_by_another_process_and_its_partition_goes_on(
    database: Database, place: Place, heard: Heard
) -> None:
    bad = ids_on(0, 40)
    await send(place, *((one, b"{", headers_of(place)) for one in bad))
    async with consuming(database, place, heard):

        async def kept() -> bool:
            return bool(await stopped(database))

        await eventually(kept, "the stop is kept")
    async with relaying(database, place), consuming(database, place, heard) as consumer:
        await eventually(lambda: "is stopped at 0" in " ".join(consumer.problems()), "another process keeps it stopped")
        async with database.work() as tx:
            with pytest.raises(NotFound, match="is not stopped"):
                await stops.ask(tx, "resume", (place.topic, 1))
            assert await stops.ask(tx, "set_aside", (place.topic, 0)) == 1
        await set_aside(place, 40)
        await send_sound(place, good := ids_on(0, 1)[0])
        await heard_all(database, [good])
        await eventually(lambda: not consumer.problems(), "all is well")
        await send(place, *((one, b"{", headers_of(place)) for one in bad))
        await eventually(lambda: "is stopped at 41" in " ".join(consumer.problems()), "the next flood stops it again")
    assert len(await letters.list_letters(place.broker, place.service)) == 40


async def test_stopped_partition_goes_on_by_itself_once_its_records_can_be_handled(
    database: Database, place: Place, heard: Heard
) -> None:
    bad = ids_on(0, 60)

    def refuse(one: UUID) -> None:
        if one in bad:
            raise Rejected("not wanted")

    heard.trouble = refuse
    await send_sound(place, *bad)
    async with relaying(database, place), consuming(database, place, heard) as consumer:
        await eventually(lambda: "is stopped at 19" in " ".join(consumer.problems()), "the flood is noticed")
        assert len(await set_aside(place, 19)) == 19
        heard.trouble = lambda _: None
        await heard_all(database, bad[19:])
        await eventually(lambda: not consumer.problems(), "all is well")
        await settled(place)
        assert await stopped(database) == []
    assert set(await rows(database)) == set(bad[19:])


async def test_stop_kept_for_seven_days_is_forgotten_and_its_partition_counts_anew(
    database: Database, place: Place, heard: Heard
) -> None:
    def refuse(one: UUID) -> None:
        raise Rejected("not wanted")

    heard.trouble = refuse
    await send_sound(place, *ids_on(0, 60))
    async with consuming(database, place, heard) as consumer:
        async with relaying(database, place):
            await eventually(lambda: "is stopped at 19" in " ".join(consumer.problems()), "the flood is noticed")
            await set_aside(place, 19)
        async with database.work() as tx:
            await tx.execute("update consumer_stop set stopped_at = now() - interval '7 days 1 s'")
        async with relaying(database, place):
            await set_aside(place, 38)
            await eventually(lambda: "is stopped at 38" in " ".join(consumer.problems()), "the next flood stops it")

            async def kept_anew() -> bool:
                return [stop.offset for stop in await stopped(database)] == [38]

            await eventually(kept_anew, "the stop is kept with another record")


async def test_flood_of_rejected_events_stops_after_a_bounded_number(
    database: Database, place: Place, heard: Heard
) -> None:
    bad, good = ids_on(0, 60), ids_on(1, 10)

    def refuse(one: UUID) -> None:
        if one in bad:
            raise Rejected("not wanted")

    heard.trouble = refuse
    await send_sound(place, *bad, *good)
    async with relaying(database, place), consuming(database, place, heard) as consumer:
        await eventually(lambda: bool(consumer.problems()), "the flood is noticed")
        await heard_all(database, good)
        found = await set_aside(place, 19)
    assert len(found) == 19
    assert await admin.backlog(place.broker, place.group, [place.topic]) == 41


async def test_records_dropped_by_retention_before_they_were_handled_stop_the_consumer(
    database: Database, place: Place, heard: Heard
) -> None:
    first, lost, last = ids_on(0, 3)
    await send_sound(place, first)
    async with consuming(database, place, heard):
        await heard_all(database, [first])
        await settled(place)
    await send_sound(place, lost, last)
    async with kafka.admin(place.broker) as client:
        await client.delete_records({TopicPartition(place.topic, 0): RecordsToDelete(before_offset=2)})
    async with consuming(database, place, heard) as consumer:
        await eventually(lambda: any("rebuild" in problem for problem in consumer.problems()), "the gap is noticed")
        assert f"{place.topic}/0: records 1 to 1 were dropped" in " ".join(consumer.problems())
    assert set(await rows(database)) == {first}
    assert await admin.rewind(place.broker, place.group, [place.topic]) == 1
    async with consuming(database, place, heard) as consumer:
        await heard_all(database, [last])
        assert not consumer.problems()


async def test_member_without_the_gap_goes_on_once_another_has_its_partition(
    database: Database, place: Place, heard: Heard
) -> None:
    first, lost, _ = ids_on(0, 3)
    (other_one,) = ids_on(1, 1)
    await send_sound(place, first)
    async with consuming(database, place, heard):
        await heard_all(database, [first])
        await settled(place)
    await send_sound(place, lost, other_one)
    async with kafka.admin(place.broker) as client:
        await client.delete_records({TopicPartition(place.topic, 0): RecordsToDelete(before_offset=2)})

    def stopped(consumer: Consumer) -> bool:
        return "rebuild" in " ".join(consumer.problems())

    async with consuming(database, place, heard) as one:
        await eventually(lambda: stopped(one), "the gap is noticed")
        async with consuming(database, place, heard) as another:
            await heard_all(database, [first, other_one])
            await eventually(lambda: stopped(one) != stopped(another), "who has the partition says so, alone")


async def test_two_members_share_the_partitions_and_lose_nothing_when_one_leaves(
    database: Database, place: Place, heard: Heard
) -> None:
    ids = [uuid7() for _ in range(60)]
    async with consuming(database, place, heard):
        await send_sound(place, *ids[:20])
        async with consuming(database, place, heard):
            await send_sound(place, *ids[20:40])
            await heard_all(database, ids[:40])
        await send_sound(place, *ids[40:])
        await heard_all(database, ids)
    await settled(place)


def member(place: Place, number: int) -> Place:
    """Name one of the members that a process has in a group."""
    return replace(place, broker=replace(place.broker, instance="process", member=number))


async def test_members_of_a_process_stop_only_the_partition_with_the_flood(
    database: Database, place: Place, heard: Heard
) -> None:
    bad, good = ids_on(0, 40), [one for partition in range(1, PARTITIONS) for one in ids_on(partition, 5)]
    await send(place, *((one, b"{", headers_of(place)) for one in bad))
    async with (
        relaying(database, place),
        consuming(database, member(place, 1), heard) as one,
        consuming(database, member(place, 2), heard) as other,
    ):

        def stopped() -> list[str]:
            return [problem for each in (one, other) for problem in each.problems() if "is stopped at" in problem]

        await eventually(lambda: len(stopped()) == 1, "one member has stopped the partition, and is alone with it")
        assert f"{place.topic}/0 is stopped at 0" in stopped()[0]
        await send_sound(place, *good)
        await heard_all(database, good)
        assert len(stopped()) == 1
    assert set(await rows(database)) == set(good)
    assert await admin.backlog(place.broker, place.group, [place.topic]) == len(bad)


async def test_member_that_waits_for_the_database_does_not_hold_up_the_other(
    database: Database, place: Place, heard: Heard
) -> None:
    def away(_: UUID) -> None:
        raise Unavailable("the database is away")

    waiting = Heard()
    waiting.trouble = away
    ids = [one for partition in range(PARTITIONS) for one in ids_on(partition, 5)]
    async with consuming(database, member(place, 1), waiting) as one, consuming(database, member(place, 2), heard):
        await eventually(lambda: not one.problems(), "the first has partitions")
        await send_sound(place, *ids)
        await eventually(lambda: waiting.calls > 0, "the first has a batch in hand")

        async def all_of_one_partition() -> bool:
            there = set(await rows(database))
            return any(there >= set(ids[start : start + 5]) for start in range(0, len(ids), 5))

        await eventually(all_of_one_partition, "the other has handled a partition of its own")
        waiting.trouble = lambda _: None
        await heard_all(database, ids)
        await settled(place)
    assert {times for _, times in (await rows(database)).values()} == {1}


async def test_batch_held_up_while_partitions_went_and_came_back_does_not_take_offsets_back(
    database: Database, place: Place, heard: Heard
) -> None:
    slow, holding, go_on = Heard(), asyncio.Event(), asyncio.Event()

    async def hold(tx: Transaction, events: Sequence[ActivityEvent]) -> None:
        holding.set()
        await go_on.wait()
        await slow.hear(tx, events)

    early = [*ids_on(0, 3), *ids_on(1, 3)]
    await send_sound(place, *early)
    consumer = Consumer(
        place.service, database, place.broker, [Subscription(ActivityEvent, hold, (place.topic,))], group=place.group
    )
    await consumer.start()
    try:
        await holding.wait()
        async with consuming(database, place, heard) as other:
            await eventually(lambda: not other.problems(), "the other member has partitions")
            (mine,) = [each.partition for each in consumer._assignment.consumer.assignment()]
            await send_sound(place, *(late := ids_on(1 - mine, 5)))
            await heard_all(database, late)
        await eventually(lambda: len(consumer._assignment.consumer.assignment()) == 2, "all partitions are back")
        go_on.set()
        await heard_all(database, early)
        await settled(place)
        await eventually(lambda: not consumer.lag_s() and not consumer.problems(), "nothing is said to be behind")
    finally:
        go_on.set()
        await consumer.stop()
    assert await admin.backlog(place.broker, place.group, [place.topic]) == 0


async def test_rewind_refuses_while_the_group_has_members(database: Database, place: Place, heard: Heard) -> None:
    await send_sound(place, one := uuid7())
    async with consuming(database, place, heard):
        await heard_all(database, [one])
        with pytest.raises(admin.GroupBusy, match="stop its consumers"):
            await admin.rewind(place.broker, place.group, [place.topic])
    assert await admin.rewind(place.broker, place.group, [place.topic]) == 1
    async with consuming(database, place, heard):
        await settled(place)
    assert await rows(database) == {one: (1, 2)}


async def test_consumer_starts_while_the_broker_is_away(database: Database, place: Place, heard: Heard) -> None:
    away = replace(place, broker=replace(place.broker, bootstrap_servers="127.0.0.1:1"))
    async with consuming(database, away, heard) as consumer:
        await eventually(lambda: "KafkaConnectionError" in " ".join(consumer.problems()), "the broker is missed")


async def test_dropped_letter_is_not_listed_again(database: Database, place: Place, heard: Heard) -> None:
    await send(place, (uuid7(), b"{", headers_of(place)))
    async with relaying(database, place), consuming(database, place, heard):
        (letter,) = await set_aside(place, 1)
    assert await letters.drop(place.broker, place.service, [letter.id], "a test's own") == 1
    assert await letters.list_letters(place.broker, place.service) == []
    (dropped,) = await letters.list_letters(place.broker, place.service, settled=True)
    assert dropped.settled is not None
    assert (dropped.id, dropped.settled.how, dropped.settled.why) == (letter.id, "dropped", "a test's own")


async def test_replay_cut_off_before_it_is_noted_is_done_again(database: Database, place: Place, heard: Heard) -> None:
    one = uuid7()

    def refuse(_: UUID) -> None:
        raise Rejected("not now")

    heard.trouble = refuse
    await send_sound(place, one)
    async with relaying(database, place), consuming(database, place, heard):
        (letter,) = await set_aside(place, 1)
        heard.trouble = lambda _: None
        failpoints.arm(f"{place.service}.replay.sent=error@1")
        with pytest.raises(Unavailable):
            await letters.replay(place.broker, place.service, business_id=BUSINESS)
        assert [each.id for each in await letters.list_letters(place.broker, place.service)] == [letter.id]
        assert await letters.replay(place.broker, place.service, business_id=uuid7()) == 0
        assert await letters.replay(place.broker, place.service, business_id=BUSINESS) == 1
        await heard_all(database, [one])
        await settled(place)
        assert await letters.list_letters(place.broker, place.service) == []
    assert {version for version, _ in (await rows(database)).values()} == {1}


async def test_record_longer_than_any_letter_is_set_aside_cut_and_not_replayed(
    database: Database, place: Place, heard: Heard
) -> None:
    one, after = ids_on(0, 2)
    sender = AIOKafkaProducer(
        bootstrap_servers=place.broker.bootstrap_servers, compression_type="gzip", max_request_size=8_000_000
    )
    await sender.start()
    try:
        await sender.send_and_wait(place.topic, b"x" * 3_000_000, key_of(BUSINESS, one), 0, headers=headers_of(place))
    finally:
        await sender.stop()
    await send_sound(place, after)
    async with relaying(database, place), consuming(database, place, heard):
        await heard_all(database, [after])
        (letter,) = await set_aside(place, 1)
        assert (letter.cut, letter.size) == (3_000_000, VALUE_MAX_BYTES)
        with pytest.raises(Conflict, match="3000000 bytes"):
            await letters.replay(place.broker, place.service, [letter.id])
        await settled(place)


async def test_transports_closed_under_the_client_are_lost_connections(
    database: Database, place: Place, heard: Heard
) -> None:
    """As uvloop's say it: with RuntimeError, where asyncio's say nothing and aiokafka expects OSError."""

    class Closed:
        def __init__(self, writer: asyncio.StreamWriter) -> None:
            self.close = writer.close

        def write(self, data: bytes) -> None:
            raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    async with consuming(database, place, heard) as consumer:
        await send_sound(place, first := uuid7())
        await heard_all(database, [first])
        client = consumer._assignment.consumer
        assert client is not None
        for connection in client._client._conns.values():
            connection._writer = Closed(connection._writer)
        await send_sound(place, second := uuid7())
        await heard_all(database, [second])
        await eventually(lambda: not consumer.problems(), "all is well")


async def test_fetch_session_that_the_broker_does_not_know_is_begun_anew(
    database: Database, place: Place, heard: Heard
) -> None:
    async with consuming(database, place, heard) as consumer:
        await send_sound(place, first := uuid7())
        await heard_all(database, [first])
        client = consumer._assignment.consumer
        assert isinstance(client, PatientConsumer)
        assert client.sessions is not None
        for session in client.sessions._sessions.values():
            session.answered(0, 12_345)
        await send_sound(place, second := uuid7())
        await heard_all(database, [second])
        assert not consumer.problems()
    assert {times for _, times in (await rows(database)).values()} == {1}
