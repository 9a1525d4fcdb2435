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
from asyncpg.pool import PoolConnectionProxy

from libs.beat import to_next
from libs.database import Database
from libs.errors import Unavailable
from libs.messaging import metrics, outbox
from libs.messaging.backlog import READ_ONLY, Backlog
from libs.messaging.broker import BrokerSettings, spare_logs
from libs.messaging.flow import Flow
from libs.messaging.held import Held, save_held
from libs.messaging.publisher import Publisher
from libs.messaging.windows import Windows

LOCK_KEY = 4_713_000_002
GATHER_S = 0.005
GATHER_PER_S = 10_000
"""Unless a read brings 50 rows, the next begins 5 ms after it: small batches make consumers 40 times dearer. Events
that have waited here once come in groups to the next relay and do not wait there again. While many come it is longer
(`Flow`), and as many more rows that a read has to bring."""
POLL_S = 0.020
STAND_BY_S = 1.0
RETRY_MAX_S = 5.0
MEASURE_S, MEASURE_IDLE_S = 1.0, 10.0
"""Where nothing is behind it is only asked whether the database may be written to."""
HOUSEKEEPING_S = 3_600
KEPT_DAYS = 2
ATTEMPTS_KEPT = STOPS_KEPT = "7 days"
"""A stop keeps the bytes of a record, which may be about somebody erased: no longer than old states of records."""
STALE_S = 60.0
"""An event that is not published after so long is somebody's business; caught up with 100,000 are in 10 s."""

FROZEN_STUCKS = 2
_END_FROZEN = """
    select pg_terminate_backend(a.pid) from pg_locks l
    join pg_database d on d.oid = l.database and d.datname = current_database()
    join pg_stat_activity a on a.pid = l.pid and a.usename = current_user
    where l.locktype = 'advisory' and l.granted and l.classid::bigint << 32 | l.objid::bigint = $1
        and a.wait_event_type = 'Client' and a.state_change < now() - make_interval(secs => $2::float8)"""
"""A client that froze between the messages of one statement (seen: after Parse) does not count as idle with the server,
and would keep the lock for good. A relay that works says something at least every `publish_timeout_s`."""

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
        self._read_at = self._turned_at = time.monotonic()
        self._done = ""
        self._held = Held(database.name, self._publisher)
        self._backlog = Backlog()
        self._flow = Flow()
        database.on_append(self.wake)

    def wake(self) -> None:
        """Look into the outbox now: something was committed."""
        self._woken.set()

    def problems(self) -> list[str]:
        """Say what keeps events from leaving."""
        problems = [*self._trouble.values(), *(self._held.problems() if self._windows is not None else ())]
        if (silent_s := time.monotonic() - self._turned_at) > self._broker.stuck_s:
            problems.append(f"relay: has not looked into the outbox for {silent_s:.0f} s")
        if "broker" in self._trouble or self.age_s() > STALE_S:
            problems.append(f"relay: the oldest event that is not published is {self.age_s():.0f} s old")
        if self._windows is None and (still_s := self._backlog.still_s()) > self._broker.stuck_s:
            text = (
                f"relay: the oldest event that is not published is more than {still_s:.0f} s old, and the process that"
            )
            problems.append(
                f"{text} publishes (another one) has not moved since: Kafka takes nothing from it, or it is frozen"
            )
        if self._database.outbox_full:
            problems.append(f"relay: the outbox holds {self._backlog.bytes} bytes and is full; routes answer 503")
        return problems

    def backlog_bytes(self) -> int:
        """Tell how many bytes have not been published yet; known to the second."""
        return self._backlog.bytes

    def age_s(self) -> float:
        """Tell the age of the oldest event that is not published yet; 0 when nothing is behind."""
        return 0.0 if self._behind_since is None else time.monotonic() - self._behind_since

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
                        await self._stand_by(connection)
                        await connection.execute("set synchronous_commit = off")  # a cursor lost is a chunk twice
                        if await connection.fetchval(READ_ONLY):
                            raise Unavailable("the database is read-only")
                        await self._lead(connection, Windows(connection))
                    finally:
                        self._windows = None
                        connection.terminate()  # gives the lock back, whatever state the session is in
            except _LOST as error:
                self._trouble["database"] = f"relay: the outbox cannot be read ({type(error).__name__}: {error})"
                self._turned_at = time.monotonic()
            await asyncio.sleep(random.uniform(0.2, STAND_BY_S))  # noqa: S311

    async def _stand_by(self, connection: "PoolConnectionProxy[asyncpg.Record]") -> None:
        """Wait for the lock. A process that froze loses it: its session is idle too long, or is ended from here."""
        stuck_s = self._broker.stuck_s
        await connection.execute(f"set idle_session_timeout = '{stuck_s:.0f}s'")  # before it has the lock
        while not await connection.fetchval("select pg_try_advisory_lock($1)", LOCK_KEY):
            self._forget_trouble()
            if await connection.fetch(_END_FROZEN, LOCK_KEY, FROZEN_STUCKS * stuck_s):
                _log.warning("frozen relay's session ended", service=self._database.name)
            await asyncio.sleep(STAND_BY_S)

    async def _lead(self, connection: "PoolConnectionProxy[asyncpg.Record]", windows: Windows) -> None:
        adopted = await windows.load()
        await self._held.load(connection)
        behind_s = await connection.fetchval(
            "select extract(epoch from now() - behind_since)::float8 from outbox_cursor"
        )
        self._read_at = time.monotonic() - (behind_s or 0.0)
        if adopted >= 0:
            text = f"relay: this database was restored into another cluster; {adopted} events are published again"
            self._trouble["restored"] = text
            _log.warning("outbox adopted", service=self._database.name, rows=adopted)
        self._windows = windows
        self._backlog.lead()
        self._trouble.pop("database", None)
        poll_s, retry_s = POLL_S, 0.1
        while True:
            self._woken.clear()
            began = self._turned_at = time.monotonic()
            try:
                await self._held.publish(connection)
                count = await self._publish_next(connection, windows)
            except Unavailable as error:
                self._trouble["broker"] = f"relay: {error.message}"
                await asyncio.sleep(random.uniform(0.5, 1.0) * retry_s)  # noqa: S311
                retry_s = min(retry_s * 2, RETRY_MAX_S)
                continue
            retry_s = 0.1
            self._flow.note(count)
            gather_s = max(GATHER_S, self._flow.gather_s())
            if count >= GATHER_PER_S * gather_s:
                continue
            poll_s = POLL_S if count else min(poll_s * 2, self._broker.outbox_poll_max_s)
            if count or gather_s > GATHER_S:
                await asyncio.sleep(max(0.0, began + gather_s - time.monotonic()))
            await self._sleep(poll_s if poll_s < MEASURE_S else to_next(poll_s))

    def _forget_trouble(self) -> None:
        """Another process publishes, and says what is wrong: of what was wrong here only what others do here counts."""
        self._turned_at, self._behind_since = time.monotonic(), None
        self._trouble = {what: self._trouble[what] for what in ("read-only", "days") if what in self._trouble}

    async def _publish_next(self, connection: "PoolConnectionProxy[asyncpg.Record]", windows: Windows) -> int:
        now = time.monotonic()
        rows = await windows.read()
        if rows:
            if windows.place[0] != self._done:  # a new window: of what was committed since the one before was read
                self._done, self._behind_since, self._read_at = windows.place[0], self._read_at, now
            left = await self._publisher.publish(rows, self._held.places)
            if left:
                async with connection.transaction():
                    await save_held(connection, left)
                    await windows.advance(rows[-1]["id"])
                    await windows.store()
                self._held.add(left)
            else:
                await windows.advance(rows[-1]["id"])
            self._backlog.published(sum(len(row["value"] or b"") for row in rows))
        else:
            await windows.store()
            self._behind_since, self._read_at = None, now
            self._trouble.pop("restored", None)
        self._trouble.pop("broker", None)
        return len(rows)

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            pass

    async def _measure_forever(self) -> None:
        measured_at = -MEASURE_IDLE_S
        while True:
            await asyncio.sleep(to_next(MEASURE_S))
            if self._idle() and time.monotonic() < measured_at + MEASURE_IDLE_S:
                continue
            measured_at = time.monotonic()
            try:
                await self._measure()
            except _LOST:
                continue  # nothing is known now; what was known stays
            self._database.outbox_full = self._backlog.bytes > self._broker.outbox_backlog_max_bytes
            metrics.BACKLOG_BYTES.labels(self._database.name).set(self._backlog.bytes)

    def _idle(self) -> bool:
        """Tell whether this process publishes and has nothing to count."""
        counts = self.age_s() > MEASURE_S or self._backlog.bytes or self._held.places or self._trouble
        return self._windows is not None and not counts

    async def _measure(self) -> None:
        windows, behind = self._windows, self.age_s() > MEASURE_S
        async with self._database.work() as tx:
            if await tx.value(READ_ONLY):
                self._trouble["read-only"] = "relay: the database is read-only; what would write answers 503"
                return
            self._trouble.pop("read-only", None)
            if windows is None:
                await self._backlog.read(tx)
            elif behind or self._backlog.bytes or self._held.places:
                await self._backlog.count(tx, windows.place if behind else None, self.age_s() if behind else None)

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
            await tx.execute("delete from consumer_stop where stopped_at < now() - $1::text::interval", STOPS_KEPT)
        async with self._database.work() as tx:
            await tx.value("select outbox_drop_days($1)", datetime.now(UTC).date() - timedelta(days=KEPT_DAYS))
