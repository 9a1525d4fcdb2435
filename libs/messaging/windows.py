"""Reading the outbox window by window, so that log order is version order.

A window is what one snapshot of the database sees and the one before did not; all of it is published in order of `id`,
then the next begins. Rows get their `id` after their row's lock: whoever sees version 6 of a key sees version 5 too, in
the same window or an earlier one, and in the same one 5 has the lower `id`. A transaction that stays open holds nobody
back. (A window of `lo <= xid < xmin` would: and an open transaction between the xids of 6 and 5 puts 6 first.)
"""

import time
from collections.abc import Sequence
from typing import Any

from asyncpg import Record
from asyncpg.pool import PoolConnectionProxy

CHUNK_ROWS = 2_000
"""How many rows are read, published and left behind at once."""
PAGE_ROWS = 50_000
"""After an outage a window may hold millions of rows: their places are sorted by pages of this many."""

FEW_S = 2.0
"""A window is short where the one before was read so lately: it holds what was committed since then."""

CURSOR_S = 0.05
"""The cursor is stored at most so often: a relay that dies publishes again what it has published since."""

_COLUMNS = "o.id, o.types, o.topic, o.key, o.value, o.version, o.event_id, o.header_names, o.header_values"

# $1 what is done, $2 the window's snapshot (null: now), $3 the last id done in it
_PAGE = """
    with edge as materialized (
        select coalesce($2::text::pg_snapshot, pg_current_snapshot()) as seen, $1::text::pg_snapshot as done
    ), page as materialized (
        select xid, id, day from (
            select xid, id, day from outbox
            where xid >= (select pg_snapshot_xmax(done) from edge) and xid < (select pg_snapshot_xmax(seen) from edge)
            union all
            select o.xid, o.id, o.day from pg_snapshot_xip((select done from edge)) as open (xid)
            cross join lateral (select xid, id, day from outbox where xid = open.xid offset 0) o
        ) as candidate
        where id > $3 and pg_visible_in_snapshot(xid, (select seen from edge)) order by id limit """

_READ = f"""{_PAGE} {CHUNK_ROWS})
    select edge.seen::text as seen, {_COLUMNS} from edge left join (page cross join lateral (
        select * from outbox where xid = page.xid and id = page.id and day = page.day limit 1
    ) o) on true order by o.id"""  # noqa: S608

_READ_FEW = f"""
    with edge as materialized (
        select coalesce($2::text::pg_snapshot, pg_current_snapshot()) as seen, $1::text::pg_snapshot as done
    )
    select edge.seen::text as seen, {_COLUMNS} from edge left join (
        select {_COLUMNS} from (
            select o.xid, {_COLUMNS} from outbox o
            where xid >= (select pg_snapshot_xmax(done) from edge) and xid < (select pg_snapshot_xmax(seen) from edge)
                and id > $3
            union all
            select o.* from pg_snapshot_xip((select done from edge)) as open (xid) cross join lateral (
                select o.xid, {_COLUMNS} from outbox o where xid = open.xid and id > $3 offset 0) o
        ) as o
        where pg_visible_in_snapshot(xid, (select seen from edge)) order by id limit {CHUNK_ROWS}
    ) o on true order by o.id"""  # noqa: S608
"""As `_READ`, in one go over whole rows: a third of its cost for a window of a moment, too much for a long one."""

_PLACES = f"{_PAGE} {PAGE_ROWS}) select xid::text, id, day from page order by id"  # noqa: S608

_READ_PLACES = f"""
    select {_COLUMNS} from unnest($1::text[], $2::bigint[], $3::date[]) as place (xid, id, day) cross join lateral (
        select * from outbox where xid = place.xid::xid8 and id = place.id and day = place.day limit 1
    ) o order by o.id"""  # noqa: S608


class Windows:
    """The cursor and the window in hand, on the connection that holds the relay's lock."""

    def __init__(self, connection: "PoolConnectionProxy[Record]") -> None:
        self._connection = connection
        self._done = "3:3:"
        self._seen: str | None = None
        self._after_id = 0
        self._places: Sequence[Record] = ()
        self._whole = True
        self._unstored = False
        self._stored_at = 0.0
        self._read_at = -FEW_S

    @property
    def place(self) -> tuple[str, int]:
        """Tell how far everything is published: a snapshot, and in the window after it the last `id`."""
        return self._done, self._after_id

    async def load(self) -> int:
        """Read the stored cursor. Rows of another cluster (a restored copy) are adopted: returns how many, else -1."""
        row = await self._connection.fetchrow(
            "select done::text, seen::text, after_id, system_identifier = outbox_cluster() as ours from outbox_cursor"
        )
        assert row is not None
        if not row["ours"]:
            await self._connection.execute("set statement_timeout = '10min'")
            adopted: int = await self._connection.fetchval("select outbox_adopt()", timeout=600)
            await self._connection.execute("set statement_timeout = '15s'")
            await self.load()
            return adopted
        self._done, self._seen, self._after_id = row["done"], row["seen"], row["after_id"]
        return -1

    async def read(self) -> list[Record]:
        """Return the next rows in order; the same again until `advance`. Empty: all that is committed is published."""
        while True:
            if not self._whole:
                rows = await self._read_places()
                if rows:
                    return rows
                continue
            now = time.monotonic()
            few, self._read_at = now < self._read_at + FEW_S, now
            rows = await self._connection.fetch(_READ_FEW if few else _READ, self._done, self._seen, self._after_id)
            if rows[0]["id"] is not None:
                self._seen, self._whole = rows[0]["seen"], len(rows) < CHUNK_ROWS
                return rows
            stored = self._seen is not None
            self._begin(rows[0]["seen"])
            if not stored:
                return []

    async def advance(self, last_id: int) -> None:
        """Leave everything up to `last_id` behind; stored at once within a long window, else if not done just now."""
        whole = self._whole
        if whole and self._seen is not None:
            self._begin(self._seen)
        else:
            self._after_id = last_id
            self._places = [place for place in self._places if place["id"] > last_id]
        self._unstored = True
        if not whole or time.monotonic() - self._stored_at >= CURSOR_S:
            await self.store()

    async def store(self) -> None:
        """Store the cursor, unless it is."""
        if not self._unstored:
            return
        self._unstored, self._stored_at = False, time.monotonic()
        await self._connection.execute(
            "update outbox_cursor set done = $1::text::pg_snapshot, seen = $2::text::pg_snapshot, after_id = $3",
            self._done,
            self._seen,
            self._after_id,
        )

    async def _read_places(self) -> list[Record]:
        assert self._seen is not None
        if not self._places:
            self._places = await self._connection.fetch(_PLACES, self._done, self._seen, self._after_id)
        places: Any = self._places[:CHUNK_ROWS]
        if not places:
            self._begin(self._seen)
            return []
        xids, ids, days = zip(*places, strict=True)
        return await self._connection.fetch(_READ_PLACES, xids, ids, days)

    def _begin(self, done: str) -> None:
        self._done, self._seen, self._after_id = done, None, 0
        self._places, self._whole = (), True
