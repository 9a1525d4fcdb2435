"""Servers and systems for the end-to-end tests: most files share one of each kind, and are put into that order."""

from collections.abc import AsyncIterator

import httpx
import pytest

from libs.embedded.kafka import QUICK_SESSION
from tests.support.stage import Stage
from tests.support.system import BOTH_WAYS, Business, Servers, System, running_servers, thrown_away


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let those who share a system follow each other: together first, then systems of their own, then apart."""
    places = [place for place, item in enumerate(items) if item.get_closest_marker("e2e")]
    for place, item in zip(places, sorted((items[place] for place in places), key=_kind), strict=True):
        items[place] = item


def _kind(item: pytest.Item) -> int:
    """Number the kind of system that a test runs against; pytest's own order stays as it is within each."""
    is_apart = getattr(item, "callspec", None) and item.callspec.params.get("system")  # type: ignore[attr-defined]
    return {False: 0, None: 1, True: 2}[is_apart]


@pytest.fixture(scope="session")
async def stage() -> AsyncIterator[Stage]:
    """Servers with one system at a time; each finds there what those before left."""
    with thrown_away("e2e") as directory:
        async with running_servers(directory) as running:
            shared = Stage(running)
            try:
                yield shared
            finally:
                await shared.end()


@pytest.fixture(scope="module")
async def own_servers() -> AsyncIterator[Servers]:
    """PostgreSQL and Kafka of one file, which changes them, or needs them new."""
    with thrown_away("e2e-own") as directory:
        async with running_servers(directory) as running:
            yield running


@pytest.fixture(scope="session")
async def killed_servers() -> AsyncIterator[Servers]:
    """PostgreSQL and Kafka of the files that kill them, and have them back quickly."""
    with thrown_away("e2e-killed") as directory:
        async with running_servers(directory, QUICK_SESSION) as running:
            yield running


@pytest.fixture(scope="module", params=BOTH_WAYS)
async def system(request: pytest.FixtureRequest, stage: Stage) -> System:
    """All services, running: in one process, and apart. Other files have the same; leave it as it was."""
    return await stage.have(apart=request.param)


@pytest.fixture
async def client(system: System) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the running system."""
    async with httpx.AsyncClient(base_url=system.url, timeout=60) as opened:
        yield opened


@pytest.fixture
async def business(system: System, client: httpx.AsyncClient) -> Business:
    """A new business."""
    return await system.make_business(client)
