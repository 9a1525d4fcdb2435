"""The pools of one service, and the transactions they give out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal, Protocol
from uuid import UUID

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from libs import failpoints
from libs.database.arrays import encode_lists_quickly
from libs.database.line import Line, open_line
from libs.database.transaction import Transaction
from libs.database.urls import Role, Urls
from libs.errors import Unavailable

ROUTES_MAX = 6
WORKERS_MAX = 4
KEYS_MAX = 1
QUEUES_MAX = 3
ACQUIRE_S = 5.0
"""How long a caller waits for a free connection before it is told that there is none."""
CLOSE_S = 5.0

DISK_FULL_S = 60.0

SESSION = {
    "statement_timeout": "15s",
    "idle_in_transaction_session_timeout": "5s",  # an open writing transaction holds every relay back
    "lock_timeout": "10s",
    "jit": "off",
    "timezone": "UTC",
}

ANEW = {"plan_cache_mode": "force_custom_plan"}
Kind = Role | Literal["queue"]
"""Of a pool: `queue` are connections of workers who look into tables that fill and empty quickly."""

_GONE = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection that was cut in the middle of a statement
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    TimeoutError,
)


class Tenant(Protocol):
    """Whoever acts in one business."""

    @property
    def business_id(self) -> UUID: ...


class Database:
    """A service's database. Open it once; close it last."""

    def __init__(self, urls: Urls, *, routes_max: int = ROUTES_MAX, workers_max: int = WORKERS_MAX) -> None:
        self.urls = urls
        self.name = urls.service
        self._sizes: dict[Kind, int] = {
            "routes": routes_max, "worker": workers_max, "keys": KEYS_MAX, "queue": QUEUES_MAX,
        }  # fmt: skip
        self._pools: dict[Kind, asyncpg.Pool[asyncpg.Record]] = {}
        self._woken: list[Callable[[], None]] = []
        self._disk_full_at: float | None = None
        self.outbox_full = False  # set by the relay: routes may not append until it has caught up

    async def open(self) -> None:
        """Open the pools. Raises Unavailable when the server does not answer."""
        encode_lists_quickly()
        with _unavailable(self.name):
            for kind, size in self._sizes.items():
                queue, role = kind == "queue", _role(kind)
                self._pools[kind] = await asyncpg.create_pool(
                    self.urls.of(role),
                    min_size=0 if queue else 1,
                    max_size=size,
                    max_inactive_connection_lifetime=0,
                    init=_speak_json_as_bytes,
                    reset=_keep,
                    server_settings=SESSION | {"application_name": self.urls.user_of(role)} | (ANEW if queue else {}),
                    command_timeout=20,
                )

    async def close(self) -> None:
        """Close the pools, each waiting up to `CLOSE_S` for those who still hold a connection."""
        for pool in self._pools.values():
            try:
                await asyncio.wait_for(pool.close(), CLOSE_S)
            except TimeoutError:
                pool.terminate()
        self._pools.clear()

    def connections(self) -> dict[Kind, tuple[int, int]]:
        """Count for each pool the connections in use and those it may have."""
        return {kind: (pool.get_size() - pool.get_idle_size(), self._sizes[kind]) for kind, pool in self._pools.items()}

    def on_append(self, wake: Callable[[], None]) -> None:
        """Call `wake` after each commit that put something into the outbox."""
        self._woken.append(wake)

    @asynccontextmanager
    async def transaction(self, principal: Tenant) -> AsyncIterator[Transaction]:
        """Open a transaction of a route: row-level security shows it the principal's business alone."""
        begin = f"begin; select set_config('app.business_id', '{UUID(str(principal.business_id))}', true)"
        async with self._transaction("routes", begin) as tx:
            yield tx

    @asynccontextmanager
    async def work(self, *, plan_anew: bool = False) -> AsyncIterator[Transaction]:
        """Open a transaction of a consumer or loop, which sees all businesses.

        With `plan_anew` its statements are planned for the tables as they are now: a plan kept from when a queue was
        empty reads it whole (claiming fell from 2,800 to 390 deliveries/s [measured]). It has connections of its own.
        """
        async with self._transaction("queue" if plan_anew else "worker", "begin") as tx:
            yield tx

    @asynccontextmanager
    async def key_lookup(self) -> AsyncIterator[Transaction]:
        """Open a transaction that may read the tables of keys and members and nothing else."""
        async with self._transaction("keys", "begin read only") as tx:
            yield tx

    def problems(self) -> list[str]:
        """Say that the disk is full: until something was written again, at most a minute after it was seen."""
        if self._disk_full_at is None or _now() > self._disk_full_at + DISK_FULL_S:
            return []
        return [f"the disk of the database {self.name} is full: writes answer 503 until there is space again"]

    async def answers(self) -> bool:
        """Tell whether the database answers within a second."""
        try:
            async with asyncio.timeout(1), self.work() as tx:
                await tx.value("select 1")
        except (Unavailable, TimeoutError):
            return False
        return True

    @asynccontextmanager
    async def session(self) -> AsyncIterator[PoolConnectionProxy[asyncpg.Record]]:
        """Take a worker's connection out of the pool, for locks that outlive a transaction."""
        async with self._connection("worker") as connection:
            yield connection

    @asynccontextmanager
    async def line(self, channel: str) -> AsyncIterator[Line]:
        """Open a worker's connection beside the pool that hears what is said on a channel. Raises Unavailable."""
        settings = SESSION | {"application_name": self.urls.user_of("worker")}
        async with open_line(self.urls.of("worker"), channel, settings) as line:
            yield line

    @asynccontextmanager
    async def _transaction(self, kind: Kind, begin: str) -> AsyncIterator[Transaction]:
        async with self._connection(kind) as connection:
            with _unavailable(self.name):
                tx = Transaction(connection, begin, self.name)
                tx.walled = kind == "routes"
                tx.outbox_full = self.outbox_full and tx.walled
                try:
                    yield tx
                    if tx.begun:
                        failpoints.reach(f"{self.name}.commit.before")
                except BaseException as error:
                    self._disk_full_at = _now() if isinstance(error, asyncpg.DiskFullError) else self._disk_full_at
                    if isinstance(error, asyncpg.PostgresError):
                        error.detail = None  # it quotes rows, and what an error says is logged and told by /healthz
                    if tx.begun:
                        await _roll_back(connection)
                    raise
                if tx.begun:
                    await connection.execute("commit")
        if tx.appended:
            self._disk_full_at = None
        failpoints.reach(f"{self.name}.commit.after")
        for call in (*tx.after_commit, *(self._woken if tx.appended else ())):
            call()
        failpoints.reach(f"{self.name}.commit.reported")

    @asynccontextmanager
    async def _connection(self, kind: Kind) -> AsyncIterator[PoolConnectionProxy[asyncpg.Record]]:
        if kind not in self._pools:
            raise Unavailable(f"{self.name}: the database is not open")
        pool = self._pools[kind]
        with _unavailable(self.name):
            connection = await pool.acquire(timeout=None if _has_one_ready(pool) else ACQUIRE_S)
        try:
            yield connection
        finally:
            await _release(pool, connection)


def _has_one_ready(pool: asyncpg.Pool[asyncpg.Record]) -> bool:
    """Tell whether the connection that is given out next is there: taking it waits for nobody.

    A timeout costs 6 µs for each transaction with asyncpg 0.32 [measured], and a task before.
    """
    free: Any = pool._queue._queue  # type: ignore[attr-defined]  # noqa: SLF001 - there is no other way to see it
    return bool(free) and free[-1].is_connected()


async def _release(pool: asyncpg.Pool[asyncpg.Record], connection: PoolConnectionProxy[asyncpg.Record]) -> None:
    """Give a connection back, as the pool does but without a task of its own, where there is nothing to wait for."""
    inner: Any = connection._con  # type: ignore[attr-defined]  # noqa: SLF001 - there is no seam for it
    if inner is None or inner._protocol._is_cancelling():  # noqa: SLF001
        await pool.release(connection)
        return
    inner._on_release()  # noqa: SLF001
    await connection._holder.release(None)  # noqa: SLF001


def _role(kind: Kind) -> Role:
    return "worker" if kind == "queue" else kind


def _now() -> float:
    return time.monotonic()


@contextmanager
def _unavailable(name: str) -> Iterator[None]:
    """Say `Unavailable` where the server is gone, busy or stopped; a rolled back transaction may be tried again."""
    try:
        yield
    except asyncpg.ReadOnlySQLTransactionError as error:
        raise Unavailable(f"{name}: the database is read-only for now") from error
    except _GONE as error:
        raise Unavailable(f"{name}: the database does not answer ({type(error).__name__}: {error})") from error


async def _roll_back(connection: PoolConnectionProxy[asyncpg.Record]) -> None:
    if connection.is_closed():
        return
    try:
        await connection.execute("rollback")
    except (*_GONE, asyncpg.PostgresError):
        connection.terminate()


async def _speak_json_as_bytes(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=lambda document: b"\x01" + document,
        decoder=lambda binary: bytes(binary[1:]),
        format="binary",
    )


async def _keep(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Leave a released connection as it is: nothing here outlives a transaction, and a reset costs a round trip."""
