"""What messaging decides without Kafka or PostgreSQL."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import orjson
import pytest
from aiokafka import TopicPartition

from libs.contracts.activity import ActivityEvent
from libs.contracts.directory import Business
from libs.contracts.ids import event_id_of, key_of, uuid7
from libs.contracts.interaction import InteractionClosed
from libs.contracts.topics import ACTIVITY_TOPICS
from libs.database import Transaction
from libs.messaging.assignment import Assignment, spans
from libs.messaging.broker import BrokerSettings, Sparing
from libs.messaging.floods import FLOOD_MIN, Floods
from libs.messaging.known import KEYS_MAX, Known
from libs.messaging.publisher import Publisher, event_id_text
from libs.messaging.reading import Reader, Reading
from libs.messaging.subscription import Subscription

BUSINESS = uuid7()
AT = "2026-01-31T09:00:00Z"


@dataclass
class Record:
    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    partition: int = 0
    offset: int = 0
    timestamp: int = 0


async def ignore(tx: Transaction, events: Sequence[object]) -> None:
    """Hear and do nothing."""


def subscription(*, latest: bool = False) -> Subscription:
    return Subscription(ActivityEvent, ignore, ACTIVITY_TOPICS, latest)


def record(event_type: str, activity_id: UUID, version: int, topic: str | None = None) -> Record:
    activity = {"business_id": str(BUSINESS), "activity_id": str(activity_id), "version": version, "type": "call"}
    activity |= {"type_id": str(BUSINESS), "type_name": "Call", "at": AT, "created_at": AT, "recorded_at": AT}
    value = orjson.dumps({"activity": activity, "change": {"type": event_type}})
    headers: Sequence[tuple[str, bytes | None]] = [("ce_type", event_type.encode()), ("ce_version", b"%d" % version)]
    return Record(topic or event_type, key_of(BUSINESS, activity_id), value, headers)


def read(reader: Reader, records: Sequence[Record]) -> Reading:
    return asyncio.run(reader.read(records))


def test_created_and_completed_of_one_version_are_heard_once() -> None:
    one = uuid7()
    reading = read(Reader([subscription()]), [record("activity.created", one, 1), record("activity.completed", one, 1)])
    ((_, events),) = reading.events
    assert [event.activity.version for event in events] == [1]
    assert reading.duplicates == 1


def test_version_that_was_committed_is_not_read_again_until_partitions_are_assigned_anew() -> None:
    one, other = uuid7(), uuid7()
    reader = Reader([subscription(latest=True)])
    again = [record("activity.completed", one, 2), record("activity.completed", other, 1)]
    reading = read(reader, [record("activity.updated", one, 2, "activity.changed"), again[1]])
    assert len(read(reader, again).events[0][1]) == 2  # nothing was committed yet
    reading.committed()
    repeated = read(reader, [*again, record("activity.created", one, 1)])
    assert (repeated.events, repeated.duplicates) == ([], 3)
    newer = read(reader, [*again, record("activity.appended", one, 3)])
    assert [event.activity.version for event in newer.events[0][1]] == [3]
    reader.forget()
    newer.committed()  # what was read before that is not known after it
    assert len(read(reader, again).events[0][1]) == 2


def test_versions_that_were_committed_are_forgotten_in_the_order_of_their_coming() -> None:
    known = Known()
    for number in range(3 * KEYS_MAX):
        known.note({b"%d" % number: 1})
    assert not known.has(b"0", 1)
    assert known.has(b"%d" % (2 * KEYS_MAX), 1)
    assert not known.has(b"%d" % (2 * KEYS_MAX), 2)


def test_events_of_a_key_keep_their_order() -> None:
    one = uuid7()
    records = [record("activity.updated", one, version, "activity.changed") for version in (2, 3, 4)]
    ((_, events),) = read(Reader([subscription()]), records).events
    assert [event.activity.version for event in events] == [2, 3, 4]


def test_latest_of_a_key_is_the_highest_version_whatever_the_order() -> None:
    one, other = uuid7(), uuid7()
    records = [record("activity.updated", one, version, "activity.changed") for version in (2, 9, 4)]
    records.append(record("activity.created", other, 1))
    ((_, events),) = read(Reader([subscription(latest=True)]), records).events
    assert [event.activity.version for event in events] == [9, 1]


def test_poisoned_newest_does_not_hide_the_sound_one_before_it() -> None:
    one = uuid7()
    broken = record("activity.updated", one, 3, "activity.changed")
    broken.value = b"{"
    records = [record("activity.updated", one, 2, "activity.changed"), broken]
    reading = read(Reader([subscription(latest=True)]), records)
    assert [event.activity.version for event in reading.events[0][1]] == [2]
    assert [item.record for item in reading.poison] == [broken]


def test_unknown_type_on_a_topic_is_ignored_and_counted() -> None:
    unknown = record("activity.sung", uuid7(), 1, "activity.changed")
    reading = read(Reader([subscription()]), [unknown])
    assert (reading.events, reading.poison, reading.ignored) == ([], [], 1)


def test_conversation_is_known_by_the_version_and_business_inside() -> None:
    one = uuid7()
    about = {"business_id": str(BUSINESS), "interaction_id": str(one), "version": 2, "source": "pbx", "source_ref": "1"}
    about |= {"channel": "voice", "direction": "inbound", "opened_at": AT, "closed_at": AT, "recorded_at": AT}
    value = orjson.dumps({"interaction": about})
    headers: Sequence[tuple[str, bytes | None]] = [("ce_type", b"interaction.closed"), ("ce_version", b"2")]
    reader = Reader([Subscription(InteractionClosed, ignore, ("interaction.closed",), True)])
    reading = read(reader, [Record("interaction.closed", key_of(BUSINESS, one), value, headers)])
    assert (len(reading.events), reading.poison) == (1, [])
    assert read(reader, [Record("interaction.closed", key_of(uuid7(), one), value, headers)]).poison
    headers = [headers[0], ("ce_version", b"1")]
    assert read(reader, [Record("interaction.closed", key_of(BUSINESS, one), value, headers)]).poison


def test_business_is_its_own_business() -> None:
    one = uuid7()
    value = orjson.dumps({"id": str(one), "version": 1, "name": "A", "zone": "UTC", "created_at": AT})
    headers: Sequence[tuple[str, bytes | None]] = [("ce_type", b"directory.business"), ("ce_version", b"1")]
    reader = Reader([Subscription(Business, ignore, ("directory.business",), True)])
    assert not read(reader, [Record("directory.business", key_of(one, one), value, headers)]).poison
    assert read(reader, [Record("directory.business", key_of(uuid7(), one), value, headers)]).poison


@pytest.mark.parametrize("headers", [[("ce_type", None)], [("ce_type", b"activity.created"), ("ce_version", None)]])
def test_header_without_content_does_no_harm(headers: Sequence[tuple[str, bytes | None]]) -> None:
    one = record("activity.created", uuid7(), 1)
    one.headers = headers
    read(Reader([subscription()]), [one])


def test_event_id_is_the_one_that_contracts_derive() -> None:
    for version in range(1, 200):
        subject = uuid7()
        text = event_id_text(key_of(BUSINESS, subject), "activity.created", version)
        assert text.decode() == str(event_id_of(subject, "activity.created", version))


def test_dead_letter_row_keeps_its_headers() -> None:
    row = {"topic": "t", "key": None, "value": None, "header_names": ["a", "a"], "header_values": [b"1", b"2"]}
    by_topic = asyncio.run(Publisher("probe", BrokerSettings(""))._by_topic([row]))
    assert by_topic == {"t": [(None, None, [("a", b"1"), ("a", b"2")])]}


def test_flood_needs_both_a_number_and_a_share() -> None:
    place, floods = TopicPartition("activity.received", 0), Floods()
    assert not floods.see(place, 1_000, range(FLOOD_MIN + 5))
    assert not floods.see(place, 100, range(100))
    assert floods.see(place, 200, range(200))


def test_few_poisoned_records_are_never_a_flood() -> None:
    assert not Floods().see(TopicPartition("activity.received", 0), FLOOD_MIN - 1, range(FLOOD_MIN - 1))


def test_topic_that_others_write_to_is_never_stopped() -> None:
    assert not Floods().see(TopicPartition("activity.inbound.acme", 0), 500, range(500))


def test_old_poison_weighs_less() -> None:
    place, floods = TopicPartition("activity.received", 0), Floods()
    assert not floods.see(place, 1_000, range(150))
    for _ in range(20):
        assert not floods.see(place, 1_000, range(5))


def test_poison_of_a_batch_that_comes_again_counts_once() -> None:
    place, floods = TopicPartition("activity.received", 0), Floods()
    for _ in range(FLOOD_MIN * 2):
        before = floods.counted()
        assert not floods.see(place, 2, [7])
        floods.count_again(before, [place])
    assert not floods.see(place, 2, [7])


def test_what_an_operator_tolerates_is_no_flood_even_with_newer_records_in_the_same_batch() -> None:
    place, floods = TopicPartition("activity.changed", 0), Floods()
    assert floods.see(place, 400, range(10, 410))
    floods.tolerate(place, 410)
    assert not floods.see(place, 420, range(10, 410))
    assert not floods.see(place, 10, range(430, 430 + FLOOD_MIN - 1))
    assert floods.see(place, 100, range(450, 550)), "what came later counts"


def test_spans_name_first_and_last_offset_of_each_partition() -> None:
    records = [Record("a", None, None, [], 0, 5), Record("a", None, None, [], 0, 9), Record("b", None, None, [], 1, 2)]
    assert spans(records) == [(TopicPartition("a", 0), 5, 9), (TopicPartition("b", 1), 2, 2)]


def test_lag_is_the_age_of_the_oldest_record_in_hand() -> None:
    assert Assignment().lag_s([]) == 0.0
    assert Assignment().lag_s([Record("a", None, None, [], timestamp=0)]) > 1e9


def test_same_line_of_a_driver_passes_once_in_a_while() -> None:
    sparing = Sparing(every_s=60.0)
    line = logging.LogRecord("aiokafka", logging.ERROR, "client.py", 10, "away", (), None)
    other = logging.LogRecord("aiokafka", logging.ERROR, "client.py", 11, "away", (), None)
    assert [sparing.filter(each) for each in (line, line, other)] == [True, False, True]


def test_member_that_hears_other_topics_is_another_one_so_that_the_new_topic_is_given_to_it() -> None:
    settings = BrokerSettings("127.0.0.1:1", instance="one")
    before = settings.instance_of("reporting", ["activity.created", "activity.changed"])
    assert before == settings.instance_of("reporting", ["activity.changed", "activity.created"])
    assert before != settings.instance_of("reporting", ["activity.changed", "activity.created", "interaction.closed"])
    assert BrokerSettings("127.0.0.1:1").instance_of("reporting", ["activity.created"]) is None
