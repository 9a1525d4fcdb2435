"""Events of topics that take none: kept in a table in their order, so that the other topics go on.

A topic that is missing, or that its broker forbids or bounds otherwise than we do, would hold up the whole outbox.
Its events are moved here with the cursor's step that leaves them behind, and so are all that follow on that topic,
until those kept here have been published: order within the topic holds.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from asyncpg import Record
from asyncpg.pool import PoolConnectionProxy

from libs.messaging.publisher import Sending

CHUNK_ROWS = 500


async def save_held(connection: "PoolConnectionProxy[Record]", refused: Mapping[str, Sequence[Sending]]) -> None:
    """Keep events by topic, in their order."""
    for topic, sendings in refused.items():
        await connection.executemany(
            """insert into outbox_held (topic, key, value, header_names, header_values)
            values ($1, $2, $3, $4::text[], $5::bytea[])""",
            [
                (topic, key, value, [name for name, _ in headers], [content for _, content in headers])
                for key, value, headers in sendings
            ],
        )


async def list_held_topics(connection: "PoolConnectionProxy[Record]") -> dict[str, tuple[int, float]]:
    """Name the topics of which events are kept: how many, and the age of the oldest in seconds."""
    rows = await connection.fetch(
        """select topic, count(*) as events, extract(epoch from now() - min(held_at))::float8 as age_s
        from outbox_held group by topic order by topic"""
    )
    return {row["topic"]: (row["events"], row["age_s"]) for row in rows}


async def list_held(connection: "PoolConnectionProxy[Record]", topic: str) -> list[tuple[int, Sending]]:
    """List the first events kept of a topic, in their order."""
    rows: Sequence[Any] = await connection.fetch(
        "select * from outbox_held where topic = $1 order by id limit $2", topic, CHUNK_ROWS
    )
    return [
        (row["id"], (row["key"], row["value"], list(zip(row["header_names"], row["header_values"], strict=True))))
        for row in rows
    ]


async def delete_held(connection: "PoolConnectionProxy[Record]", topic: str, last_id: int) -> None:
    """Forget events that were published."""
    await connection.execute("delete from outbox_held where topic = $1 and id <= $2", topic, last_id)
