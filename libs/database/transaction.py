"""An open transaction: the only way to a service's tables."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from asyncpg import Record, UniqueViolationError
from asyncpg.pool import PoolConnectionProxy

from libs import failpoints
from libs.errors import Unavailable
from libs.turns import SLICE, take_turn


class Transaction:
    """A transaction on one connection, which begins with its first statement. Rows are asyncpg's: by name or position.

    JSON goes in and comes out as bytes, so that stored documents can be passed on without being read.
    `appended` says whether something was put into the outbox, so that the relay is woken after the commit; `walled`
    that row-level security shows it one business alone; `outbox_full` that a route may not put more into the outbox;
    `traces` which event goes on with which trace, by its key.
    """

    __slots__ = ("_begin", "_connection", "_name", "after_commit", "appended", "outbox_full", "traces", "walled")

    def __init__(self, connection: PoolConnectionProxy[Record], begin: str, name: str) -> None:
        self._connection = connection
        self._begin: str | None = begin
        self._name = name
        self.appended = False
        self.outbox_full = False
        self.walled = False
        self.traces: Mapping[bytes, str] | None = None
        self.after_commit: list[Callable[[], None]] = []

    @property
    def begun(self) -> bool:
        """Whether anything was done in it."""
        return self._begin is None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let each statement in here be a transaction of its own, committed when it returns, before this one begins.

        A single statement takes one round trip so, instead of three. What comes after does not undo it.
        """
        assert self._begin is not None, "this transaction has begun"
        begin, self._begin = self._begin, None
        try:
            failpoints.reach(f"{self._name}.commit.before")
            yield
        finally:
            self._begin = begin

    async def _start(self) -> None:
        if self._begin is not None:
            begin, self._begin = self._begin, None
            await self._connection.execute(begin)

    def on_commit(self, call: Callable[[], None]) -> None:
        """Have `call` called once this transaction is committed, and not if it is rolled back."""
        self.after_commit.append(call)

    async def say(self, channel: str, text: str) -> None:
        """Say something on a line once this transaction is committed. Seldom: such commits wait for one another."""
        await self.execute("select pg_notify($1, $2)", channel, text)

    async def execute(self, sql: str, *arguments: Any) -> int:
        """Run a statement and return the number of rows it touched."""
        if not self.walled and _are_many(arguments):
            await take_turn()
        await self._start()
        status = await self._connection.execute(sql, *arguments)
        _, _, count = status.rpartition(" ")
        return int(count) if count.isdigit() else 0

    async def insert(self, sql: str, *arguments: Any) -> None:
        """Run a statement that makes rows. Raises Unavailable where somebody else made one of them just now.

        Less than `on conflict do nothing` and counting: that looks each key up before, and logs each row twice.
        """
        try:
            await self.execute(sql, *arguments)
        except UniqueViolationError:
            raise Unavailable("some of these were made by somebody else just now") from None

    async def fetch(self, sql: str, *arguments: Any) -> list[Record]:
        """Return all rows."""
        if not self.walled and _are_many(arguments):
            await take_turn()
        await self._start()
        return await self._connection.fetch(sql, *arguments)

    async def fetch_many(self, sql: str, arguments: Iterable[Sequence[Any]]) -> list[Record]:
        """Run a statement for each of these arguments in one round trip, and return all rows together."""
        await self._start()
        return await self._connection.fetchmany(sql, arguments)

    async def find(self, sql: str, *arguments: Any) -> Record | None:
        """Return the first row, or None."""
        await self._start()
        return await self._connection.fetchrow(sql, *arguments)

    async def value(self, sql: str, *arguments: Any) -> Any:
        """Return the first column of the first row, or None."""
        await self._start()
        return await self._connection.fetchval(sql, *arguments)

    async def copy(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """COPY rows into a table; cheaper than `unnest` for large batches."""
        if not self.walled:
            await take_turn()
        await self._start()
        await self._connection.copy_records_to_table(table, columns=list(columns), records=rows)

    async def scroll(self, sql: str, *arguments: Any, rows: int = 1_000) -> AsyncIterator[Record]:
        """Go through a long result with a cursor, `rows` at a time."""
        await self._start()
        async for row in self._connection.cursor(sql, *arguments, prefetch=rows):
            yield row


def _are_many(arguments: Sequence[Any]) -> bool:
    """Tell whether writing the arguments takes longer than a slice: 31 lists of 1,000 took 8 ms of a busy processor."""
    return bool(arguments) and isinstance(arguments[0], list | tuple) and len(arguments[0]) > SLICE
