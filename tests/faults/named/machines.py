"""Machines that run out of disk or memory, or whose clock jumps."""

import asyncio
import os
import resource
import shutil
import subprocess
from pathlib import Path

import orjson

from tests.faults.installation import Process
from tests.faults.named import NotRun, fault
from tests.faults.rig import Rig
from tests.support.system import eventually

DISK_BYTES = 700 << 20
FULL_S = 6.0
MEMORY_OVER_BYTES = 24 << 20
"""What a process may still take when its memory is limited under load."""


@fault("disk-full", "PostgreSQL's disk is full: reports get 503 and are never acknowledged, then it goes on", "alone")
async def disk_full(rig: Rig) -> None:
    """Move the database to a small tmpfs, fill it, empty it."""
    if os.geteuid() != 0:
        raise NotRun("mounting a tmpfs needs root")
    place, server = rig.installation, rig.installation.postgres
    await place.stop_all()
    await asyncio.to_thread(server.stop)
    aside = server.directory / "data.aside"
    server._data.rename(aside)
    server._data.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(server._data)]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode != 0:
        server._data.rmdir()
        aside.rename(server._data)
        raise NotRun(f"a tmpfs cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        await asyncio.to_thread(subprocess.run, ["cp", "-a", f"{aside}/.", str(server._data)], check=True)
        await asyncio.to_thread(server.start)
        await place.start_all()
        await _fill(rig, server._data / "filler")
    finally:
        await place.stop_all()
        await asyncio.to_thread(server.stop)
        shutil.rmtree(aside)
        await asyncio.to_thread(subprocess.run, ["cp", "-a", str(server._data), str(aside)], check=True)
        subprocess.run(["umount", str(server._data)], check=True)
        server._data.rmdir()
        aside.rename(server._data)


async def _fill(rig: Rig, filler: Path) -> None:
    """Fill the disk until reports are refused, leave it so for a while, make room again."""
    statuses: set[int] = set()

    async def refused() -> bool:
        _write_until_full(filler)
        answer = await rig.tenants[0].call("POST", "/ingest/activities", _report(rig))
        statuses.add(answer.status)
        return answer.status == 503 or answer.status <= 0

    try:
        await eventually(refused, 60, "reports are refused", lambda: statuses)
        await asyncio.sleep(FULL_S)
    finally:
        filler.unlink(missing_ok=True)
    await asyncio.to_thread(rig.installation.postgres.start)  # a full disk under its log ends it


def _write_until_full(filler: Path) -> None:
    try:
        with filler.open("ab", buffering=0) as file:
            while True:
                file.write(b"\0" * (1 << 20))
    except OSError:
        return


def _report(rig: Rig) -> dict[str, str]:
    tenant, ref = rig.tenants[0], f"full{rig.chance.randrange(1 << 40)}"
    number = tenant.history.invoke(tenant.business.id, "report", key=f"{ref}-log", ref=ref, src="crm", act="log")
    tenant.history.end(number, "unknown")
    return {
        "source": "crm", "source_ref": f"{ref}-log", "activity_ref": ref, "action": "log", "type": "call",
        "occurred_at": "2026-05-01T10:00:00Z", "summary": f"{tenant.canary} {ref}",
    }  # fmt: skip


@fault("memory-limited", "a process may take 24 MiB more and gets large bulks: it refuses or dies, and loses nothing")
async def memory_limited(rig: Rig) -> None:
    process = rig.installation.process_of("ingest")
    assert process.process is not None
    pid = process.process.pid
    size = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.prlimit(pid, resource.RLIMIT_AS, (size + MEMORY_OVER_BYTES, resource.RLIM_INFINITY))
    tenant = rig.tenants[0]
    line = orjson.dumps({"source": "crm", "source_ref": "large", "action": "none", "notes": "x" * 4_000})
    body, kind = b"\n".join([line] * 1_500), {"content_type": "application/x-ndjson"}
    try:
        await asyncio.gather(*(tenant.call("POST", "/ingest/activities/bulk", body, **kind) for _ in range(6)))
        await asyncio.sleep(3)
    finally:
        if process.running():
            resource.prlimit(pid, resource.RLIMIT_AS, limits)


@fault("clock-jumps", "a service's clock is an hour ahead, then an hour behind (needs libfaketime)")
async def clock_jumps(rig: Rig) -> None:
    library = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
    if library is None:
        raise NotRun("no libfaketime on this machine (Debian: apt-get install libfaketime)")
    process: Process = rig.any_process()
    faked = {"LD_PRELOAD": str(library), "FAKETIME_NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1"}
    try:
        for offset in ("+1h", "-1h"):
            await process.stop()
            process.environment |= {**faked, "FAKETIME": offset}
            await process.start()
            await asyncio.sleep(4)
    finally:
        for name in (*faked, "FAKETIME"):
            process.environment.pop(name, None)
        await process.stop()
        await process.start()
