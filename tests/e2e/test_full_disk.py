"""`up` on a disk that fills: two at once make one, writes are refused while it is full, and it goes on by itself."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from services import NAMES
from tests.support.system import APART, eventually

ROOT = Path(__file__).resolve().parents[2]
DISK_MIB = 420
UP_S = 110
UP = ("up", "--detach", *(("--apart",) if APART else ()))
AGAIN_S = 60

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def small_disk() -> Iterator[Path]:
    """A disk of its own with little room."""
    directory = Path(tempfile.mkdtemp(prefix="activities-small-"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=711", "tmpfs", str(directory)]
    try:
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            pytest.skip("the full disk is tested where a tmpfs can be mounted: as root, and not in every container")
        yield directory
        subprocess.run(["umount", str(directory)], check=True)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def run(*words: str, data: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.endswith(("DATABASE_URL", "SERVERS"))}
    return await asyncio.to_thread(
        subprocess.run, [sys.executable, "-m", "cli", *words, "--data-dir", str(data / "data")], cwd=ROOT,
        env={**environment, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=UP_S, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
async def installation(small_disk: Path) -> AsyncIterator[Path]:
    """An installation that was started twice at once."""
    first, second = await asyncio.gather(*(run(*UP, data=small_disk) for _ in range(2)))
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    yield small_disk
    await run("down", data=small_disk)


async def test_two_ups_at_once_are_one_installation(installation: Path) -> None:
    found = json.loads((await run("status", "--json", data=installation)).stdout)
    assert found["ready"]
    serving = [*(f"{name}-1" for name in NAMES), "gateway"] if APART else ["services"]
    assert sorted(process["name"] for process in found["processes"]) == sorted([*serving, "supervisor"])


async def report(client: httpx.AsyncClient, ref: str) -> httpx.Response:
    body = {"source": "disk", "source_ref": ref, "action": "log", "type": "call", "summary": "x" * 1_500}
    return await client.post("/ingest/activities", json={**body, "occurred_at": "2026-11-20T09:30:00Z"})


async def test_full_disk_refuses_writes_until_there_is_space_and_loses_nothing(installation: Path) -> None:
    keys = json.loads((installation / "data" / "credentials.json").read_text())
    kept: list[str] = []
    url, headers = f"http://127.0.0.1:{keys['port']}", {"X-API-KEY": keys["api_key"]}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=20) as client:

        async def refused() -> bool:
            answer = await report(client, f"full-{len(kept)}")
            if answer.status_code == 202:
                kept.append(f"full-{len(kept)}")
                return False
            assert answer.status_code == 503, answer.text
            assert int(answer.headers["retry-after"]) >= 1
            return True

        async def named() -> bool:
            await refused()
            answer = await client.get("/healthz/ingest")
            return answer.status_code == 503 and "disk of the database ingest is full" in answer.text

        async def taken_again() -> bool:
            try:
                return (await report(client, "again")).status_code in (200, 202)
            except httpx.TransportError:
                return False

        async def applied() -> bool:
            asked = [client.get("/ingest/receipts", params={"source": "disk", "source_ref": ref}) for ref in kept]
            return all(answer.json().get("status") == "applied" for answer in await asyncio.gather(*asked))

        async def well() -> bool:
            return (await client.get("/healthz")).status_code == 200

        assert (await report(client, "before")).status_code == 202
        kept.append("before")
        fill(installation)
        await eventually(refused, AGAIN_S, "writes are refused")
        await eventually(named, AGAIN_S, "the health of ingest names the full disk")
        (installation / "filler").unlink()
        await eventually(taken_again, AGAIN_S, "writes are taken again")
        await eventually(applied, AGAIN_S, "every acknowledged report is applied")
        await eventually(well, AGAIN_S, "everything is healthy again")


def fill(disk: Path) -> None:
    """Leave no block free."""
    with (disk / "filler").open("wb", buffering=0) as filler:
        for size in (1 << 20, 4 << 10):
            try:
                while filler.write(bytes(size)) == size:
                    pass
            except OSError:
                continue


async def test_up_on_a_full_disk_says_so_and_doctor_too(installation: Path) -> None:
    await run("down", data=installation)
    fill(installation)
    try:
        done = await run(*UP, data=installation)
        looked = await run("doctor", "--json", data=installation)
    finally:
        (installation / "filler").unlink()
    assert done.returncode == 1
    assert "has 0 MiB free, at least 64 MiB are needed to start" in done.stderr
    assert looked.returncode == 1
    assert [each["name"] for each in json.loads(looked.stdout)["findings"] if not each["well"]] == ["disk"]
