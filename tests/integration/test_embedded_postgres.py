"""PostgreSQL of our own: loses nothing when killed, is found again, believes no stale file."""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from libs.embedded import processes
from libs.embedded.postgres import PostgresServer


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that the servers' account may enter."""
    made = Path(tempfile.mkdtemp(prefix="activities-embedded-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def server(directory: Path) -> Iterator[PostgresServer]:
    """A running server with real durability."""
    running = PostgresServer(directory / "postgres")
    running.start()
    yield running
    running.stop()


def running_pid(server: PostgresServer) -> int | None:
    """The process it runs as now."""
    return server.pid


async def _fetch(server: PostgresServer, sql: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(server.admin_url)
    try:
        return await connection.fetch(sql)
    finally:
        await connection.close()


async def test_rows_survive_a_kill(server: PostgresServer) -> None:
    await _fetch(server, "create table kept as select generate_series(1, 1000) as number")
    server.kill()
    await asyncio.to_thread(server.start)
    assert (await _fetch(server, "select count(*) from kept"))[0][0] == 1000


async def test_running_server_is_adopted(server: PostgresServer) -> None:
    other = PostgresServer(server.directory)
    await asyncio.to_thread(other.start)
    assert other.pid == server.pid
    assert other.admin_url == server.admin_url


async def test_two_starts_at_once_make_one_server(directory: Path) -> None:
    servers = [PostgresServer(directory / "postgres", throwaway=True) for _ in range(2)]
    await asyncio.gather(*(asyncio.to_thread(each.start) for each in servers))
    try:
        assert servers[0].pid == servers[1].pid
    finally:
        servers[0].stop()


async def test_stale_process_id_of_a_stranger_does_no_harm(directory: Path) -> None:
    server = PostgresServer(directory / "postgres", throwaway=True)
    await asyncio.to_thread(server.start)
    server.kill()
    stale = server.directory / "data" / "postmaster.pid"
    lines = stale.read_text().splitlines()
    stale.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")  # our own id, as if it had been given out again
    assert running_pid(server) is None
    server.stop()
    await asyncio.to_thread(server.start)
    assert running_pid(server) not in (None, os.getpid())
    server.stop()


async def test_server_is_durable_and_asks_for_a_password(server: PostgresServer) -> None:
    rows = await _fetch(server, "select name, setting from pg_settings where name in ('fsync', 'max_connections')")
    assert {row["name"]: row["setting"] for row in rows} == {"fsync": "on", "max_connections": "200"}
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(server.admin_url.replace(":" + server.admin_url.split(":")[2].split("@")[0], ":wrong"))
    assert (server.directory / "password").stat().st_mode & 0o777 == 0o600


def test_directory_out_of_reach_is_named(directory: Path) -> None:
    account = processes.server_account() or processes.Account("other", os.getuid() + 1, os.getgid() + 1)
    closed = directory / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(processes.ServerFailed, match=str(closed)):
        processes.make_reachable(closed / "postgres", account)


def test_process_with_a_recycled_id_is_not_the_one_noted(directory: Path) -> None:
    ticks = processes.start_ticks(os.getpid())
    assert ticks is not None
    assert not processes.works_in(os.getpid(), directory, "postgres")
    processes.end(2**22 + 1, [(signal.SIGKILL, 0.1)])  # no such process: nothing happens
