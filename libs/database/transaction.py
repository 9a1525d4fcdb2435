"""An open transaction: the only way to a service's tables."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any

from asyncpg import Record
from asyncpg.pool import PoolConnectionProxy


class Transaction:
    """An open transaction on one connection. Rows are asyncpg's: by name or by position.

    JSON goes in and comes out as bytes, so that stored documents can be passed on without being read.
    `appended` says whether something was put into the outbox, so that the relay is woken after the commit; `walled`
    that row-level security shows it one business alone; `outbox_full` that a route may not put more into the outbox;
    `traces` which event goes on with which trace, by its key.
    """

    __slots__ = ("_connection", "after_commit", "appended", "outbox_full", "traces", "walled")

    def __init__(self, connection: PoolConnectionProxy[Record]) -> None:
        self._connection = connection
        self.appended = False
        self.outbox_full = False
        self.walled = False
        self.traces: Mapping[bytes, str] | None = None
        self.after_commit: list[Callable[[], None]] = []

    def on_commit(self, call: Callable[[], None]) -> None:
        """Have `call` called once this transaction is committed, and not if it is rolled back."""
        self.after_commit.append(call)

    async def execute(self, sql: str, *arguments: Any) -> int:
        """Run a statement and return the number of rows it touched."""
        status = await self._connection.execute(sql, *arguments)
        _, _, count = status.rpartition(" ")
        return int(count) if count.isdigit() else 0

    async def fetch(self, sql: str, *arguments: Any) -> list[Record]:
        """Return all rows."""
        return await self._connection.fetch(sql, *arguments)

    async def fetch_many(self, sql: str, arguments: Iterable[Sequence[Any]]) -> list[Record]:
        """Run a statement for each of these arguments in one round trip, and return all rows together."""
        return await self._connection.fetchmany(sql, arguments)

    async def find(self, sql: str, *arguments: Any) -> Record | None:
        """Return the first row, or None."""
        return await self._connection.fetchrow(sql, *arguments)

    async def value(self, sql: str, *arguments: Any) -> Any:
        """Return the first column of the first row, or None."""
        return await self._connection.fetchval(sql, *arguments)

    async def copy(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """COPY rows into a table; cheaper than `unnest` for large batches."""
        await self._connection.copy_records_to_table(table, columns=list(columns), records=rows)

    async def scroll(self, sql: str, *arguments: Any, rows: int = 1_000) -> AsyncIterator[Record]:
        """Go through a long result with a cursor, `rows` at a time."""
        async for row in self._connection.cursor(sql, *arguments, prefetch=rows):
            yield row
