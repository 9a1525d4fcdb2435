"""Fetched records in one loop: 1.0 instead of 1.5 µs each [measured], of which a report on its walk is five or six.

aiokafka reads them through a generator in an iterator, with what we do not use: deserializers, transactions, sizes.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from aiokafka.consumer.fetcher import FetchResult, PartitionRecords


class Fetched(msgspec.Struct, gc=False):
    """A record as it was fetched (`broker.Record`)."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


class Quick(PartitionRecords):  # type: ignore[misc]
    """The records of one partition's answer, which may begin with some before the one that was asked for."""

    next_fetch_offset: int

    def __iter__(self) -> Iterator[Fetched]:
        return self._records_iterator  # type: ignore[no-any-return]

    def _unpack_records(self) -> Iterator[Fetched]:
        topic, partition = self._tp
        records = self._records
        while records.has_next():
            batch = records.next_batch()
            if not batch.is_control_batch:
                for record in batch:
                    offset = record.offset
                    if offset >= self.next_fetch_offset:
                        self.next_fetch_offset = offset + 1
                        yield Fetched(
                            topic, partition, offset, record.timestamp, record.key, record.value, record.headers
                        )
            self.next_fetch_offset = batch.next_offset


def quicken(results: Iterable[Any]) -> None:
    """Have what came just now read so; errors are among the results too."""
    for result in results:
        if type(result) is FetchResult and type(records := result._partition_records) is PartitionRecords:  # noqa: SLF001
            records.__class__ = Quick
            records._records_iterator = records._unpack_records()  # noqa: SLF001
