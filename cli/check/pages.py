"""Reading the stores for comparison: pages of activities or receipts by range of id, from each service's database."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from libs.contracts.activity import ActivityEvent
from libs.contracts.decoding import decoder_of
from libs.database import Database

PAGE_ROWS = 5_000
FIRST, LAST = UUID(int=0), UUID(int=(1 << 128) - 1)

decode = decoder_of(ActivityEvent)


@dataclass(frozen=True, slots=True)
class Page:
    """The truth about the activities with `after < id <= upto`; `versions` counts each one's history."""

    business_id: UUID
    after: UUID
    upto: UUID
    events: dict[UUID, ActivityEvent]
    versions: dict[UUID, int]

    @property
    def span(self) -> tuple[UUID, UUID, UUID]:
        """Business and range, as the statements take them."""
        return self.business_id, self.after, self.upto


async def list_businesses(directory: Database) -> list[tuple[UUID, str]]:
    """List all businesses with their names."""
    async with directory.work() as tx:
        rows = await tx.fetch("select business_id, name from business order by business_id")
    return [(row[0], row[1]) for row in rows]


async def pages_of(lifecycle: Database, business_id: UUID) -> AsyncIterator[Page]:
    """Go through a business's activities; the last page reaches to the end of all ids, so that strays are found."""
    after = FIRST
    while True:
        async with lifecycle.work() as tx:
            rows = await tx.fetch(
                """
                select a.activity_id, h.document from activity a
                join history h using (business_id, activity_id, version)
                where a.business_id = $1 and a.activity_id > $2 order by a.activity_id limit $3
                """,
                business_id, after, PAGE_ROWS,
            )  # fmt: skip
            upto = rows[-1][0] if len(rows) == PAGE_ROWS else LAST
            counts = await tx.fetch(
                """
                select activity_id, count(*) as versions, max(version) as newest from history
                where business_id = $1 and activity_id > $2 and activity_id <= $3 group by activity_id
                """,
                business_id, after, upto,
            )  # fmt: skip
        versions = {row[0]: row[1] if row[1] == row[2] else -row[2] for row in counts}
        yield Page(business_id, after, upto, {row[0]: decode(row[1]) for row in rows}, versions)
        if upto == LAST:
            return
        after = upto


async def rows_of(database: Database, sql: str, *arguments: Any) -> list[Any]:
    """Run one statement for the worker, who sees all businesses."""
    async with database.work() as tx:
        return await tx.fetch(sql, *arguments)


async def keyed(database: Database, sql: str, arguments: Sequence[Any]) -> dict[Any, Any]:
    """Run one statement and key its rows by their first column."""
    return {row[0]: row for row in await rows_of(database, sql, *arguments)}
