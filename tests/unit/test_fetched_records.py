"""Records that are read in one loop, against aiokafka's own way."""

from typing import Any

import pytest
from aiokafka.consumer.fetcher import FetchResult, PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from libs.messaging.flow import GATHER_MANY_S, GATHER_MOST_S, MANY_PER_S, MOST_PER_S, SPAN_S, WAVES_S, Flow
from libs.messaging.records import quicken

PLACE = TopicPartition("happened", 3)


class Held:
    """What the client keeps of a partition: how far it was read."""

    active, paused = True, False

    def __init__(self, position: int) -> None:
        self.position = position

    def state_value(self, _place: TopicPartition) -> "Held":
        return self

    def consumed_to(self, position: int) -> None:
        self.position = position


def written(first: int, count: int, compression: int) -> bytes:
    builder = DefaultRecordBatchBuilder(2, compression, 0, -1, -1, -1, 1_000_000)
    for number in range(count):
        value = None if number == 1 else b"value %d" % number
        builder.append(number, timestamp=7, key=b"key", value=value, headers=[("ce_type", b"x"), ("none", None)])
    return b"%b%b" % (first.to_bytes(8, "big"), bytes(builder.build())[8:])


def read(data: bytes, offset: int, *, quick: bool, most: int | None) -> list[tuple[Any, ...]]:
    records = PartitionRecords(PLACE, MemoryRecords(data), None, offset, None, None, False, 0)
    result = FetchResult(PLACE, assignment=Held(offset), partition_records=records, backoff=0)
    if quick:
        quicken([result])
    found: list[tuple[Any, ...]] = []
    while result.has_more():
        taken = result.getall(most)
        found += [(r.topic, r.partition, r.offset, r.timestamp, r.key, r.value, list(r.headers)) for r in taken]
    return [*found, (result._assignment.position,)]


@pytest.mark.parametrize("most", [None, 1, 4, 7])
@pytest.mark.parametrize("compression", [0, 3])
def test_records_are_those_that_the_client_reads(compression: int, most: int | None) -> None:
    data = written(100, 5, compression) + written(110, 6, compression)
    for offset in (100, 103, 110):
        wanted = read(data, offset, quick=False, most=most)
        assert len(wanted) > 1
        assert read(data, offset, quick=True, most=most) == wanted


def test_more_is_gathered_while_many_events_come_and_nothing_a_moment_later(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("libs.messaging.flow.time.monotonic", lambda: now)
    flow = Flow()
    assert flow.gather_s() == 0
    flow.note(int(2 * MANY_PER_S * SPAN_S))
    assert flow.gather_s() == GATHER_MANY_S
    now += SPAN_S
    assert flow.gather_s() == 0
    for _ in range(100):  # a steady stream of half as many
        now += 2 / MANY_PER_S
        flow.note(1)
        assert flow.gather_s() == 0
    flow.note(int(2 * MOST_PER_S * WAVES_S))
    now += WAVES_S / 2
    assert flow.gather_s() == GATHER_MOST_S  # between two waves, too
    now += WAVES_S
    assert flow.gather_s() == 0
