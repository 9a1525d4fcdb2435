"""Markers by folder, and databases for tests."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from shutil import which

import pytest

from libs.database import Database
from tests.support.databases import fresh_database

TIERS = ("unit", "contracts", "integration", "e2e")
MakeDatabase = Callable[[str], Awaitable[Database]]


def pytest_report_header() -> str | None:
    """Say what this machine cannot test."""
    return None if which("node") else "no node here: webhook signatures are not checked in JavaScript"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by its folder; unit and contract tests may not open sockets."""
    root = Path(__file__).parent
    for item in items:
        tier = item.path.relative_to(root).parts[0]
        if tier in TIERS:
            item.add_marker(tier)
        if tier in ("unit", "contracts"):
            item.add_marker("disable_socket")


@pytest.fixture
async def make_database() -> AsyncIterator[MakeDatabase]:
    """Give migrated databases of services: `await make_database("ingest")`."""
    async with AsyncExitStack() as stack:

        async def make(package: str) -> Database:
            return await stack.enter_async_context(fresh_database(package))

        yield make
