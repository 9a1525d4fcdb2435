"""Servers and a system for the end-to-end tests: two systems on the same servers at a time would share their groups."""

from collections.abc import AsyncIterator

import httpx
import pytest

from libs.embedded.kafka import QUICK_SESSION
from tests.support.system import BOTH_WAYS, Business, Servers, System, running_servers, thrown_away


@pytest.fixture(scope="session")
async def servers() -> AsyncIterator[Servers]:
    """PostgreSQL and Kafka of the end-to-end tests; one file's systems find there what those before left."""
    with thrown_away("e2e") as directory:
        async with running_servers(directory) as running:
            yield running


@pytest.fixture(scope="module")
async def own_servers() -> AsyncIterator[Servers]:
    """PostgreSQL and Kafka of one file, which changes them, or needs them new."""
    with thrown_away("e2e-own") as directory:
        async with running_servers(directory) as running:
            yield running


@pytest.fixture(scope="module")
async def killed_servers() -> AsyncIterator[Servers]:
    """PostgreSQL and Kafka of one file, which kills them and has them back quickly."""
    with thrown_away("e2e-killed") as directory:
        async with running_servers(directory, QUICK_SESSION) as running:
            yield running


@pytest.fixture(scope="module", params=BOTH_WAYS)
async def system(request: pytest.FixtureRequest, servers: Servers) -> AsyncIterator[System]:
    """All services, running: in one process, and apart."""
    running = System(servers, apart=request.param)
    await running.prepare()
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def client(system: System) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the running system."""
    async with httpx.AsyncClient(base_url=system.url, timeout=20) as opened:
        yield opened


@pytest.fixture
async def business(system: System, client: httpx.AsyncClient) -> Business:
    """A new business."""
    return await system.make_business(client)
