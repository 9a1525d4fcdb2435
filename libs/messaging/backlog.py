"""How much of the outbox has not been published: each row is counted once, and taken off once when it has left."""

import time

from libs.database import Transaction

READ_ONLY = "select pg_is_in_recovery() or current_setting('transaction_read_only')::bool"


_READ = """
    select backlog_bytes, concat_ws(' ', done, seen, after_id) as place, exists (
        select from outbox where xid >= pg_snapshot_xmin(done) and not pg_visible_in_snapshot(xid, done)
            and not (seen is not null and id <= after_id and pg_visible_in_snapshot(xid, seen))) as waits
    from outbox_cursor"""


class Backlog:
    """Bytes not published, with those of topics that take none; stored for the processes whose relay is not active."""

    def __init__(self) -> None:
        self.bytes = 0
        self._direct = 0
        self._counted_to: str | None = None
        self._still: tuple[str, float] | None = None

    def still_s(self) -> float:
        """Tell for how long events have waited while the active relay, another process's, has not moved."""
        return 0.0 if self._still is None else time.monotonic() - self._still[1]

    async def read(self, tx: Transaction) -> None:
        """Read what the active relay has counted, and whether it moves."""
        row = await tx.find(_READ)
        assert row is not None
        self.bytes = row["backlog_bytes"]
        if not row["waits"]:
            self._still = None
        elif self._still is None or self._still[0] != row["place"]:
            self._still = row["place"], time.monotonic()

    def lead(self) -> None:
        """Note that the active relay is this process's own now: what it counted when it was before is over."""
        self._still, self._direct, self._counted_to = None, 0, None

    async def count(self, tx: Transaction, place: tuple[str, int] | None, age_s: float | None) -> None:
        """Count rows not counted yet, after `place` (None: nothing is behind); store that and the age of the oldest."""
        if place is None:
            self._direct, self._counted_to = 0, None
        else:
            await self._count_after(tx, *place)
        held: int = await tx.value("select coalesce(sum(octet_length(value)), 0)::bigint from outbox_held")
        self.bytes = self._direct + held
        await tx.execute(
            """update outbox_cursor
            set backlog_bytes = $1, behind_since = now() - make_interval(secs => $2::float8)""",
            self.bytes,
            age_s,
        )

    def published(self, size: int) -> None:
        """Take off what has left."""
        self._direct = max(0, self._direct - size)
        self.bytes = max(0, self.bytes - size)

    async def _count_after(self, tx: Transaction, done: str, after_id: int) -> None:
        if self._counted_to is None:
            self._direct = 0
        else:
            done, after_id = self._counted_to, 0
        row = await tx.find(
            """select coalesce(sum(octet_length(value)), 0)::bigint as more, pg_current_snapshot()::text as seen
            from outbox where xid >= pg_snapshot_xmax($1::text::pg_snapshot) and id > $2""",
            done,
            after_id,
        )
        assert row is not None
        self._direct += row["more"]
        self._counted_to = row["seen"]
