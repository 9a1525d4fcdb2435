"""What Kafka does between services, without it: events leave one's outbox and come to the handlers of another."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from libs.contracts.activity import ActivityEvent
from libs.contracts.decoding import decoder_of
from libs.contracts.event import Event
from libs.contracts.topics import TOPICS
from libs.database import Database, Transaction

VERSIONS = frozenset(name for topic in TOPICS if topic.model is ActivityEvent for name in topic.types)
"""The types of events that tell of an activity's version."""
_read_version = decoder_of(ActivityEvent)
Handler = Callable[[Transaction, Sequence[Any]], Awaitable[None]]
Heard = Mapping[str, tuple[type[Event], Handler]]
"""Who hears events of a type, and in which shape."""


class Outbox:
    """What a service has to say of one business, read on from where it was read before."""

    def __init__(self, database: Database, business_id: UUID) -> None:
        self._database = database
        self._key = str(business_id).encode()
        self._after = 0

    async def read(self) -> list[tuple[str, bytes]]:
        """Give the types and values of what has come since."""
        async with self._database.work() as tx:
            rows = await tx.fetch(
                "select id, types, value from outbox where id > $1 and substr(key, 1, $2) = $3 order by id",
                self._after, len(self._key), self._key,
            )  # fmt: skip
        if rows:
            self._after = rows[-1][0]
        return [(row[1], row[2]) for row in rows]


def versions_in(events: Sequence[tuple[str, bytes]], *types: str) -> list[ActivityEvent]:
    """Read those that tell of an activity's version, of these types if any are named."""
    chosen = [(set(name.split(",")), value) for name, value in events]
    wanted = VERSIONS.intersection(types or VERSIONS)
    return [_read_version(value) for names, value in chosen if names & wanted]


async def deliver(events: Sequence[tuple[str, bytes]], database: Database, heard: Heard) -> None:
    """Bring events to the handlers of a service, in one transaction; of other types it does not hear."""
    read: dict[str, list[Event]] = {}
    for types, value in events:
        if types in heard:
            read.setdefault(types, []).append(decoder_of(heard[types][0])(value))
    if read:
        async with database.work() as tx:
            for types, told in read.items():
                await heard[types][1](tx, told)
