"""When poison is a flood: then something else is wrong, and setting aside wholesale would hide it. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from aiokafka import TopicPartition

FLOOD_SHARE = 0.2
"""Share of the recent records of a partition that may be poison."""
FLOOD_MIN = 20
"""Fewer poisoned records than this are never a flood."""
WINDOW_RECORDS = 2_000
"""About how many records count as recent: over that, old ones lose half their weight."""
INBOUND = "activity.inbound"
"""Topics that others write to: their bad records are only set aside and counted."""


class Floods:
    """Counts records and poison for each partition."""

    def __init__(self) -> None:
        self._counts: dict[TopicPartition, tuple[float, float]] = {}
        self._tolerated: dict[TopicPartition, int] = {}

    def see(self, partition: TopicPartition, records: int, poison: Sequence[int]) -> bool:
        """Count records, and the offsets of those that are poison; tell whether poison is now a flood there."""
        tolerated = self._tolerated.get(partition, 0)
        more = sum(offset >= tolerated for offset in poison)
        seen, poisoned = self._counts.get(partition, (0.0, 0.0))
        seen, poisoned = seen + records, poisoned + more
        flooded = more > 0 and poisoned >= FLOOD_MIN and poisoned > FLOOD_SHARE * seen
        if seen > WINDOW_RECORDS:
            seen, poisoned = seen / 2, poisoned / 2
        self._counts[partition] = seen, poisoned
        return flooded and not partition.topic.startswith(INBOUND)

    def counted(self) -> Mapping[TopicPartition, tuple[float, float]]:
        """Tell what is counted: to be given to `count_again` where a batch is put back."""
        return dict(self._counts)

    def count_again(
        self, counted: Mapping[TopicPartition, tuple[float, float]], partitions: Iterable[TopicPartition]
    ) -> None:
        """Go back to what was counted before a batch: it comes again, and its poison is not more by that."""
        for partition in partitions:
            self._counts[partition] = counted.get(partition, (0.0, 0.0))

    def forget(self, partition: TopicPartition) -> None:
        """Count anew: an operator has said that the cause is mended."""
        self._counts.pop(partition, None)
        self._tolerated.pop(partition, None)

    def tolerate(self, partition: TopicPartition, end: int) -> None:
        """Set poison aside one by one up to the offset `end`, however much it is: an operator has decided so."""
        self.forget(partition)
        self._tolerated[partition] = end
