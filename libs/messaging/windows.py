"""Reading the outbox window by window, so that log order is version order.

A window is `lo <= xid < hi` with `hi` the oldest transaction still running; nothing more can appear in it. All of it
is published in order of `id`, then the next begins. Rows get their `id` after their row's lock, so for one key `id`
and version rise together; going by xid first would put version 3 before 2.
"""

from collections.abc import Sequence
from typing import Any

from asyncpg import Record
from asyncpg.pool import PoolConnectionProxy

CHUNK_ROWS = 2_000
"""How many rows are read, published and left behind at once."""
PAGE_ROWS = 50_000
"""After an outage a window may hold millions of rows: their places are sorted by pages of this many."""

_COLUMNS = "o.id, o.types, o.topic, o.key, o.value, o.version, o.event_id, o.header_names, o.header_values"

_READ = f"""
    with edge as materialized (
        select coalesce($2::text::xid8, pg_snapshot_xmin(pg_current_snapshot())) as hi
    ), page as materialized (
        select xid, id, day from outbox
        where xid >= $1::text::xid8 and xid < (select hi from edge) and id > $3 order by id limit {CHUNK_ROWS}
    )
    select edge.hi::text as hi, exists (select from outbox where xid >= edge.hi) as waiting, {_COLUMNS}
    from edge left join (page cross join lateral (
        select * from outbox where xid = page.xid and id = page.id and day = page.day limit 1
    ) o) on true order by o.id"""  # noqa: S608

_PAGE = f"""
    select xid::text, id, day from outbox
    where xid >= $1::text::xid8 and xid < $2::text::xid8 and id > $3 order by id limit {PAGE_ROWS}"""  # noqa: S608

_PLACES = f"""
    select {_COLUMNS} from unnest($1::text[], $2::bigint[], $3::date[]) as place (xid, id, day)
    cross join lateral (
        select * from outbox where xid = place.xid::xid8 and id = place.id and day = place.day limit 1
    ) o order by o.id"""  # noqa: S608


class Windows:
    """The cursor and the window in hand, on the connection that holds the relay's lock."""

    def __init__(self, connection: "PoolConnectionProxy[Record]") -> None:
        self._connection = connection
        self._lo = "3"
        self._hi: str | None = None
        self._after_id = 0
        self._places: Sequence[Record] = ()
        self._through = True
        self.waiting = False
        """Whether there are committed rows that an older open transaction holds back."""

    @property
    def place(self) -> tuple[str, int]:
        """Tell how far everything is published: `lo`, and within its window the last `id`."""
        return self._lo, self._after_id

    async def load(self) -> int:
        """Read the stored cursor. Rows of another cluster (a restored copy) are adopted: returns how many, or -1."""
        row = await self._connection.fetchrow(
            """select lo::text, hi::text, after_id, system_identifier = outbox_cluster() as ours from outbox_cursor"""
        )
        assert row is not None
        if not row["ours"]:
            await self._connection.execute("set statement_timeout = '10min'", timeout=5)
            adopted: int = await self._connection.fetchval("select outbox_adopt()", timeout=600)
            await self._connection.execute("set statement_timeout = '15s'", timeout=5)
            await self.load()
            return adopted
        self._lo, self._hi, self._after_id = row["lo"], row["hi"], row["after_id"]
        return -1

    async def read(self) -> list[Record]:
        """Return the next rows in order; the same again until `advance`. Empty: all is published."""
        if self._hi is not None and not self._through:
            return await self._read_places(self._hi)
        rows = await self._connection.fetch(_READ, self._lo, self._hi, self._after_id)
        self.waiting = rows[0]["waiting"]
        if rows[0]["id"] is None:
            if self._hi is not None:
                self._begin(rows[0]["hi"])
                return await self.read()
            self._begin(rows[0]["hi"])
            return []
        self._hi = rows[0]["hi"]
        self._through = len(rows) < CHUNK_ROWS
        return rows

    async def advance(self, last_id: int) -> None:
        """Leave everything up to `last_id` behind."""
        if self._through and self._hi is not None:
            self._begin(self._hi)
        else:
            self._after_id = last_id
            self._places = [place for place in self._places if place["id"] > last_id]
        await self._connection.execute(
            "update outbox_cursor set lo = $1::text::xid8, hi = $2::text::xid8, after_id = $3",
            self._lo,
            self._hi,
            self._after_id,
        )

    async def _read_places(self, hi: str) -> list[Record]:
        if not self._places:
            self._places = await self._connection.fetch(_PAGE, self._lo, hi, self._after_id)
        places: Any = self._places[:CHUNK_ROWS]
        if not places:
            self._begin(hi)
            return await self.read()
        columns = list(zip(*places, strict=True))
        return await self._connection.fetch(_PLACES, columns[0], columns[1], columns[2])

    def _begin(self, lo: str) -> None:
        self._lo, self._hi, self._after_id = lo, None, 0
        self._places, self._through = (), True
