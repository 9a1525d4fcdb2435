"""Topics that others write to: nothing in a record is trusted, and what is bad is set aside one by one, never a flood.

Records have no headers or keys of ours. What may be said about them is said by their topic alone.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from libs.database import Transaction
from libs.errors import Rejected
from libs.messaging.broker import Record
from libs.messaging.reading import Poison, Reading
from libs.turns import give_way


@dataclass(frozen=True, slots=True)
class Inbound:
    """`read` makes something of a record or raises Rejected; `handler` gets the records of a batch with what was read.

    It returns those that are to be set aside after all; the others are kept with its transaction.
    """

    read: Callable[[Record], Any]
    handler: Callable[[Transaction, Sequence[tuple[Record, Any]]], Awaitable[Sequence[Poison]]]
    topics: tuple[str, ...]

    def by_topic(self) -> list["Inbound"]:
        """Take the topics apart, so that one that is missing, or whose business has to wait, holds up no other."""
        return [replace(self, topics=(topic,)) for topic in self.topics]


class InboundReader:
    """Reads batches of inbound topics."""

    def __init__(self, inbound: Inbound) -> None:
        self._inbound = inbound

    @property
    def topics(self) -> list[str]:
        """Name the topics that are heard."""
        return sorted(self._inbound.topics)

    def forget(self) -> None:
        """Nothing is known of what others write: each record is read, and known by what it says."""

    async def read(self, records: Sequence[Record]) -> Reading:
        """Read each record by itself."""
        read: list[tuple[Record, Any]] = []
        poison: list[Poison] = []
        for number, record in enumerate(records):
            await give_way(number)
            try:
                read.append((record, self._inbound.read(record)))
            except (Rejected, ValueError, RecursionError) as error:
                poison.append(Poison(record, reason_of(error)))
        return Reading([(self._inbound, read)] if read else [], poison)


def reason_of(error: Exception) -> str:
    """Say in one line why a record is set aside, with each field that is wrong."""
    if not isinstance(error, Rejected):
        return f"{type(error).__name__}: {error}"
    told = "; ".join(f"{problem.field}: {problem.message}" for problem in error.problems)
    return f"{error.code}: {told or error.message}"
