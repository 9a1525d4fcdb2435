"""The release before and this one side by side under load: forward, back, forward, on one set of stores and topics.

With `ACTIVITIES_APART=1` this one runs apart; the one before is in one process always: it knows nothing else.
"""

import asyncio
import io
import random
import subprocess
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from cli import restarting
from cli.fleet import TOGETHER, Fleet, Part
from cli.place import Place, read_json, write_json
from libs.embedded import processes
from tests.support.judging import RETRIES, judge
from tests.support.load import Upstream
from tests.support.sink import Sink
from tests.support.system import ROOT, Business, Servers, System, eventually

PREVIOUS = "6ceca03"
"""The commit of the release before this one; it needs no other packages than this one's."""
STEP_ACTIVITIES = 150
SEED = 20261121


class Either(httpx.AsyncHTTPTransport):
    """Sends each request to one of the systems that are up, as a gateway would."""

    def __init__(self, chooser: random.Random) -> None:
        super().__init__()
        self.systems: list[System] = []
        self._chooser = chooser

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not self.systems:
            raise httpx.ConnectError("no release is up")
        request.url = request.url.copy_with(port=self._chooser.choice(self.systems).port)
        return await super().handle_async_request(request)


def previous_release(directory: Path) -> Path:
    """Put the code of the release before into a directory; skip where the history is not there."""
    done = subprocess.run(["git", "archive", PREVIOUS], cwd=ROOT, capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"the history does not hold {PREVIOUS}, the release before this one: a shallow clone")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(directory, filter="data")
    return directory


@pytest.fixture
async def releases(own_servers: Servers, tmp_path: Path) -> AsyncIterator[tuple[System, System]]:
    """The release before, prepared, and this one, not yet; neither is running."""
    extra = {RETRIES[0]: RETRIES[1]}
    compiled = {"PYTHONPYCACHEPREFIX": str(tmp_path / "bytecode")}
    before = System(own_servers, extra=extra | compiled, root=previous_release(tmp_path))
    now = System(own_servers, extra={**extra, "OPERATOR_KEY": before.operator_key})
    yield before, now
    for system in (before, now):
        await system.stop()


@pytest.mark.timeout(900)
async def test_releases_side_by_side_lose_nothing_forward_back_and_forward(releases: tuple[System, System]) -> None:
    before, now = releases
    transport = Either(random.Random(SEED))
    async with (
        Sink.started() as sink,
        httpx.AsyncClient(base_url=before.url, transport=transport, timeout=10) as client,
    ):
        await before.prepare()
        await before.start()
        transport.systems = [before]
        business = await before.make_business(client)
        made = await client.post(
            "/api/webhooks/endpoints",
            headers=business.headers,
            json={"url": sink.url(f"/{business.id}"), "event_types": ["activity.logged"]},
        )
        assert made.status_code == 201, made.text
        upstream = Upstream(client, business, SEED)
        async with asyncio.TaskGroup() as group:
            group.create_task(upstream.run())
            await _more(client, upstream, business)
            await now.prepare()  # migrations suit the code before them
            await _more(client, upstream, business)
            for joining, leaving in ((now, before), (before, now), (now, before)):
                await joining.start()
                transport.systems = [before, now]
                await _more(client, upstream, business)
                transport.systems = [joining]
                await leaving.stop()
                await _more(client, upstream, business)
            upstream.stop()
        await upstream.finish()
        await _tell_again(now)
        await judge(now, client, sink, (business, upstream))


async def _tell_again(system: System) -> None:
    """Send the owners' state again, as the operator's guide says of releases whose projections keep more."""
    await system.do("republish", "lifecycle", "ingest", "directory")


async def _more(client: httpx.AsyncClient, upstream: Upstream, business: Business) -> None:
    """Wait until more activities are acknowledged, and the last report has gone all the way to its answer."""
    enough = len(upstream.ledger.activities) + STEP_ACTIVITIES

    async def reached() -> bool:
        return len(upstream.ledger.activities) >= enough

    await eventually(reached, 120, f"{enough} activities are acknowledged")
    receipt_id = list(upstream.ledger.receipts.values())[-1]

    async def answered() -> bool:
        receipt = await client.get(f"/ingest/receipts/{receipt_id}", headers=business.headers)
        return receipt.status_code == 200 and receipt.json()["status"] != "accepted"

    await eventually(answered, 90, f"receipt {receipt_id} is answered")


async def test_restart_brings_databases_up_to_date_before_it_replaces_anything(
    own_servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = System(own_servers)
    await system.prepare()
    owner = await asyncpg.connect(own_servers.postgres.admin_url)
    await owner.execute("drop database activities_reporting with (force)")
    await owner.close()
    for name in ("DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS"):
        monkeypatch.setenv(name, system.environment[name])
    place, secret = Place(tmp_path), {"database_roles_secret": system.environment["DATABASE_ROLES_SECRET"]}
    (tmp_path / "logs").mkdir()
    write_json(tmp_path / "secrets.json", {"operator_key": "o", "webhook_master_key": "w", **secret})
    [port] = processes.choose_ports(tmp_path / "services.port", 1)
    running = Fleet(place, [Part(TOGETHER, "all", port, ("run", "reporting", "--port", str(port)), {})])

    async def restart() -> dict[str, Any]:
        write_json(tmp_path / restarting.FILE, {"service": "all"})
        await asyncio.to_thread(restarting.do_what_is_asked, place, running)
        return read_json(tmp_path / restarting.FILE) or {}

    running.start()
    try:
        answer = await restart()
        assert answer["done"] == "", "it is ready, which it cannot be without its database"
        assert [line for line in answer["prepared"] if line.startswith("reporting: applied reporting/0001")]
        monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
        before = place.find(TOGETHER)
        assert (await restart())["done"].endswith("nothing was restarted")
        assert place.find(TOGETHER) == before is not None
    finally:
        running.stop()
