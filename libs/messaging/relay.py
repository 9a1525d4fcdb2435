"""The relay: takes events out of the outbox and publishes them, in order, at least once.

The cursor moves after the broker's acknowledgement, on the connection that holds the lock: a relay that has lost the
one has lost the other. Killed before it is stored, it publishes the chunks of the last 50 ms again.
"""

import asyncio
import random
import time
from datetime import UTC, datetime, timedelta

import asyncpg
import structlog

from libs.database import Database
from libs.errors import Unavailable
from libs.messaging import metrics, outbox
from libs.messaging.broker import BrokerSettings, spare_logs
from libs.messaging.publisher import Publisher
from libs.messaging.windows import Windows

LOCK_KEY = 4_713_000_002
GATHER_ROWS = 50
GATHER_S = 0.005
"""Unless a read brings 50 rows, the next begins 5 ms after it: small batches make consumers 40 times dearer. Events
that have waited here once come in groups to the next relay and do not wait there again."""
POLL_S = 0.020
POLL_MAX_S = 1.0
RETRY_MAX_S = 5.0
MEASURE_S = 1.0
HOUSEKEEPING_S = 3_600
KEPT_DAYS = 2
ATTEMPTS_KEPT = "7 days"

_LOST = (Unavailable, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
_log = structlog.get_logger(__name__)


class Relay:
    """Publishes one service's outbox; of several processes one is active at a time (an advisory lock)."""

    def __init__(self, database: Database, broker: BrokerSettings) -> None:
        self._database = database
        self._broker = broker
        self._publisher = Publisher(database.name, broker)
        self._woken = asyncio.Event()
        self._windows: Windows | None = None
        self._trouble: dict[str, str] = {}
        self._behind_since: float | None = None
        self._backlog = _Backlog()
        database.on_append(self.wake)

    def wake(self) -> None:
        """Look into the outbox now: something was committed."""
        self._woken.set()

    def problems(self) -> list[str]:
        """Say what keeps events from leaving."""
        problems = list(self._trouble.values())
        if self._database.outbox_full:
            problems.append(f"relay: the outbox holds {self._backlog.bytes} bytes and is full; routes answer 503")
        return problems

    def backlog_bytes(self) -> int:
        """Tell how many bytes have not been published yet; known to the second."""
        return self._backlog.bytes

    async def run(self) -> None:
        """Publish until cancelled."""
        spare_logs()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._publish_forever())
                group.create_task(self._measure_forever())
                group.create_task(self._keep_house_forever())
        finally:
            await self._publisher.close()

    async def _publish_forever(self) -> None:
        while True:
            try:
                async with self._database.session() as connection:
                    try:
                        while not await connection.fetchval("select pg_try_advisory_lock($1)", LOCK_KEY):  # noqa: ASYNC110
                            await asyncio.sleep(POLL_MAX_S)
                        await connection.execute("set synchronous_commit = off")  # a cursor lost is a chunk twice
                        await self._lead(Windows(connection))
                    finally:
                        self._windows = None
                        connection.terminate()  # gives the lock back, whatever state the session is in
            except _LOST as error:
                self._trouble["database"] = f"relay: the outbox cannot be read ({type(error).__name__}: {error})"
            await asyncio.sleep(random.uniform(0.2, POLL_MAX_S))  # noqa: S311

    async def _lead(self, windows: Windows) -> None:
        adopted = await windows.load()
        if adopted >= 0:
            text = f"relay: this database was restored into another cluster; {adopted} events are published again"
            self._trouble["restored"] = text
            _log.warning("outbox adopted", service=self._database.name, rows=adopted)
        self._windows = windows
        self._trouble.pop("database", None)
        poll_s, retry_s = POLL_S, 0.1
        while True:
            self._woken.clear()
            began = time.monotonic()
            try:
                count = await self._publish_next(windows)
            except Unavailable as error:
                self._trouble["broker"] = f"relay: {error.message}"
                await asyncio.sleep(random.uniform(0.5, 1.0) * retry_s)  # noqa: S311
                retry_s = min(retry_s * 2, RETRY_MAX_S)
                continue
            retry_s = 0.1
            if count >= GATHER_ROWS:
                continue
            poll_s = POLL_S if count else min(poll_s * 2, POLL_MAX_S)
            await asyncio.sleep(max(0.0, began + GATHER_S - time.monotonic()))
            await self._sleep(poll_s)

    async def _publish_next(self, windows: Windows) -> int:
        rows = await windows.read()
        if rows:
            self._behind_since = self._behind_since or time.monotonic()
            await self._publisher.publish(rows)
            await windows.advance(rows[-1]["id"])
            self._backlog.published(sum(len(row["value"] or b"") for row in rows))
        else:
            await windows.store()
            self._behind_since = None
        self._trouble.pop("broker", None)
        return len(rows)

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            pass

    async def _measure_forever(self) -> None:
        while True:
            await asyncio.sleep(MEASURE_S)
            try:
                await self._measure()
            except _LOST:
                continue  # nothing is known now; what was known stays
            self._database.outbox_full = self._backlog.bytes > self._broker.outbox_backlog_max_bytes
            metrics.BACKLOG_BYTES.labels(self._database.name).set(self._backlog.bytes)

    async def _measure(self) -> None:
        """Count what is behind: the active relay counts rows not counted before, the others read its result."""
        windows = self._windows
        if windows is None:
            async with self._database.work() as tx:
                self._backlog.bytes = await tx.value("select backlog_bytes from outbox_cursor")
            return
        behind = self._behind_since is not None and time.monotonic() - self._behind_since > MEASURE_S
        if not behind and not self._backlog.bytes:
            self._backlog.clear()
            return
        async with self._database.work() as tx:
            if behind:
                done, after_id = self._backlog.begin(*windows.place)
                row = await tx.find(
                    """select coalesce(sum(octet_length(value)), 0)::bigint as more, pg_current_snapshot()::text as seen
                    from outbox where xid >= pg_snapshot_xmax($1::text::pg_snapshot) and id > $2""",
                    done,
                    after_id,
                )
                assert row is not None
                self._backlog.counted(row["more"], row["seen"])
            else:
                self._backlog.clear()
            await tx.execute("update outbox_cursor set backlog_bytes = $1", self._backlog.bytes)

    async def _keep_house_forever(self) -> None:
        while True:
            try:
                await self._keep_house()
            except _LOST as error:
                self._trouble["days"] = f"relay: days of the outbox could not be kept ({type(error).__name__}: {error})"
                await asyncio.sleep(RETRY_MAX_S)
                continue
            self._trouble.pop("days", None)
            await asyncio.sleep(HOUSEKEEPING_S)

    async def _keep_house(self) -> None:
        async with self._database.work() as tx:
            await outbox.keep_days(tx)
            await tx.execute("delete from consumer_attempt where failed_at < now() - $1::text::interval", ATTEMPTS_KEPT)
        async with self._database.work() as tx:
            await tx.value("select outbox_drop_days($1)", datetime.now(UTC).date() - timedelta(days=KEPT_DAYS))


class _Backlog:
    """Bytes not published: each row is counted once, and taken off once when it has left."""

    def __init__(self) -> None:
        self.bytes = 0
        self._counted_to: str | None = None

    def clear(self) -> None:
        self.bytes, self._counted_to = 0, None

    def begin(self, done: str, after_id: int) -> tuple[str, int]:
        if self._counted_to is None:
            self.bytes = 0
            return done, after_id
        return self._counted_to, 0

    def counted(self, more: int, seen: str) -> None:
        self.bytes += more
        self._counted_to = seen

    def published(self, size: int) -> None:
        self.bytes = max(0, self.bytes - size)
