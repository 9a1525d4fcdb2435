"""Events of topics and partitions that take none: kept in a table in their order, so that all others go on.

A topic that is missing, or that its broker forbids or bounds otherwise than we do, or a partition without a leader,
would hold up the whole outbox. Its events are moved here with the cursor's step that leaves them behind, and so are all
that follow there, until those kept here have been published: order within the topic, and so for each key, holds.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import structlog
from asyncpg import Record
from asyncpg.pool import PoolConnectionProxy

from libs.messaging.publisher import ALL, MISSING_S, Place, Publisher, Sending

CHUNK_ROWS = 500
RETRY_S = 2.0
TRY_S = 2.0
"""A try of what is held takes at most so long, and looking for a topic besides: the outbox waits meanwhile."""

_log = structlog.get_logger(__name__)


class Held:
    """The places of one service's outbox of which events are held, and their way out."""

    def __init__(self, service: str, publisher: Publisher) -> None:
        self.places: set[Place] = set()
        self._service = service
        self._publisher = publisher
        self._waiting: dict[Place, tuple[int, float]] = {}
        self._tried_at = 0.0

    async def load(self, connection: "PoolConnectionProxy[Record]") -> None:
        """Take over what is held, as the relay that publishes now."""
        self._waiting = await list_held_places(connection)
        self.places = set(self._waiting)

    def add(self, places: Iterable[Place]) -> None:
        """Note places that took nothing; their events must be saved."""
        for place in set(places) - self.places:
            _log.error("no events are taken", service=self._service, place=_name(place))
            self.places.add(place)

    def problems(self) -> list[str]:
        """Name each place, why it takes nothing, and what waits."""
        return [
            f"relay: {_name(place)} takes no events ({self._publisher.refusals.get(place, '')}): {events} wait, "
            f"the oldest for {age_s:.0f} s"
            for place, (events, age_s) in self._waiting.items()
        ]

    async def publish(self, connection: "PoolConnectionProxy[Record]") -> None:
        """Try again what was not taken, a chunk of each place; what follows there waits behind it. Raises Unavailable.

        What is held of a whole topic waits for what is held of its partitions, which is older.
        """
        if not self.places or time.monotonic() - self._tried_at < RETRY_S:
            return
        rows = {place: await list_held(connection, place) for place in self.places}
        self.places = {place for place in self.places if rows[place]}
        taken: set[Place] = set()
        parts = {place: _sendings(rows[place]) for place in self.places if place[1] != ALL}
        if parts:
            taken |= parts.keys() - await self._publisher.send_again(parts, TRY_S)
        for topic, _ in self.places - parts.keys() - {(topic, ALL) for topic, _ in parts}:
            if not await self._publisher.send({topic: _sendings(rows[topic, ALL])}, (), MISSING_S + TRY_S):
                taken.add((topic, ALL))
        for place in taken:
            await delete_held(connection, place, rows[place][-1][0])
        self._tried_at = 0.0 if taken else time.monotonic()  # trying takes time: others get as much
        self._waiting = await list_held_places(connection)


async def save_held(connection: "PoolConnectionProxy[Record]", refused: Mapping[Place, Sequence[Sending]]) -> None:
    """Keep events by place, in their order."""
    for (topic, part), sendings in refused.items():
        await connection.executemany(
            """insert into outbox_held (topic, part, key, value, header_names, header_values)
            values ($1, $2, $3, $4, $5::text[], $6::bytea[])""",
            [
                (topic, part, key, value, [name for name, _ in headers], [content for _, content in headers])
                for key, value, headers in sendings
            ],
        )


async def list_held_places(connection: "PoolConnectionProxy[Record]") -> dict[Place, tuple[int, float]]:
    """Name the places of which events are kept: how many, and the age of the oldest in seconds."""
    rows = await connection.fetch(
        """select topic, part, count(*) as events, extract(epoch from now() - min(held_at))::float8 as age_s
        from outbox_held group by topic, part order by topic, part"""
    )
    return {(row["topic"], row["part"]): (row["events"], row["age_s"]) for row in rows}


async def list_held(connection: "PoolConnectionProxy[Record]", place: Place) -> list[tuple[int, Sending]]:
    """List the first events kept of a place, in their order."""
    rows: Sequence[Any] = await connection.fetch(
        "select * from outbox_held where topic = $1 and part = $2 order by id limit $3", *place, CHUNK_ROWS
    )
    return [
        (row["id"], (row["key"], row["value"], list(zip(row["header_names"], row["header_values"], strict=True))))
        for row in rows
    ]


async def delete_held(connection: "PoolConnectionProxy[Record]", place: Place, last_id: int) -> None:
    """Forget events that were published."""
    await connection.execute("delete from outbox_held where topic = $1 and part = $2 and id <= $3", *place, last_id)


def _sendings(rows: Sequence[tuple[int, Sending]]) -> list[Sending]:
    return [sending for _, sending in rows]


def _name(place: Place) -> str:
    topic, part = place
    return f"topic {topic}" if part == ALL else f"partition {topic}/{part}"
