"""Walks the chains of all histories and names what was changed, removed or put in by other means than the service."""

from collections.abc import AsyncIterator, Callable
from typing import NamedTuple
from uuid import UUID

from libs.database import Database
from services.lifecycle.domain.chain import Link, Skeleton, Walk
from services.lifecycle.store import chains

SLICE = 2_000
FIRST, LAST = UUID(int=0), UUID(int=(1 << 128) - 1)


class Break(NamedTuple):
    """A version that is not as it was written."""

    business_id: UUID
    activity_id: UUID
    version: int
    why: str

    def __str__(self) -> str:
        return f"activity {self.activity_id} of business {self.business_id}: version {self.version} {self.why}"


async def verify(
    database: Database, business_id: UUID | None, progress: Callable[[int], None] = lambda versions: None
) -> AsyncIterator[Break]:
    """Yield each break, of one business or of all, a short transaction for each slice; nobody is kept from writing.

    `progress` is told how many versions have been looked at.
    """
    async for each in _walk(database, business_id, progress):
        yield each
    async for each in _missing_heads(database, business_id):
        yield each


async def _walk(database: Database, business_id: UUID | None, progress: Callable[[int], None]) -> AsyncIterator[Break]:
    walk, after, count = Walk(), (business_id or FIRST, FIRST, 0), 0
    while True:
        async with database.work() as tx:
            rows = await chains.page_versions(tx, after, business_id or LAST, SLICE)
        for row in rows:
            skeleton = Skeleton(row[0], row[1], row[2], row[3], row[4], row[5])
            for why in walk.follow(Link(skeleton, row[6], row[7], row[8])):
                yield Break(*skeleton[:3], why)
        count += len(rows)
        progress(count)
        if len(rows) < SLICE:
            return
        after = (rows[-1][0], rows[-1][1], rows[-1][2])


async def _missing_heads(database: Database, business_id: UUID | None) -> AsyncIterator[Break]:
    after = (business_id or FIRST, FIRST)
    while True:
        async with database.work() as tx:
            rows = await chains.page_heads(tx, after, business_id or LAST, SLICE)
        for row in rows:
            if not row["told"]:
                yield Break(row[0], row[1], row[2], "is the newest, and the history does not have it")
        if len(rows) < SLICE:
            return
        after = (rows[-1][0], rows[-1][1])
