"""./activities check: drains, then compares the source of truth with everything that was made of it."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from uuid import UUID

from rich.console import Console
from rich.progress import Progress

from cli.check.drain import Groups, Stuck, drain
from cli.check.pages import list_businesses
from cli.check.reconcile import Stores, reconcile
from libs.database import Database
from libs.errors import ActivitiesError
from libs.service import logs
from libs.service.settings import ServiceSettings
from services import NAMES
from services.__main__ import create

DIFFERENT, NOT_DRAINED = 1, 2
PATIENCE_S = 240.0
"""How long a test lets everything drain, on a slow machine too."""
CONNECTIONS = {"routes_max": 1, "workers_max": 2}


async def run(business: str | None, full: bool) -> int:
    """Check one business or all, and return the exit code: 0 clean, 1 differences (printed), 2 not drained."""
    console = Console(stderr=True)
    logs.set_up("error")
    settings = ServiceSettings()
    async with open_stores(settings) as stores:
        try:
            with console.status("draining: outboxes and topics") as status:
                await drain(stores, groups(), settings.broker(), lambda left: status.update(f"draining: {left}"))
        except Stuck as stuck:
            console.print(f"[red]{stuck}")
            return NOT_DRAINED
        businesses = await list_businesses(stores["directory"])
        if business is not None:
            businesses = [each for each in businesses if str(each[0]) == business]
            if not businesses:
                raise ActivitiesError(f"there is no business {business!r}; leave --business out to check all")
        differences = 0
        with Progress(console=console, transient=True) as progress:
            for business_id, name in progress.track(businesses, description="comparing"):
                async for difference in reconcile(stores, business_id, full):
                    differences += 1
                    sys.stdout.write(f"{name} ({business_id}): {difference}\n")
    console.print(
        f"{len(businesses)} businesses compared: {f'{differences} differences' if differences else 'all agree'}"
    )
    return DIFFERENT if differences else 0


async def drain_and_reconcile(environment: Mapping[str, str], business: str) -> list[str]:
    """Drain, then return every difference of one business of the installation that the environment names."""
    with surroundings(environment):
        settings, heard = ServiceSettings(), groups()
        async with open_stores(settings) as stores:
            await drain(stores, heard, settings.broker(), lambda left: None, PATIENCE_S)
            return [difference async for difference in reconcile(stores, UUID(business), full=True)]


@contextmanager
def surroundings(environment: Mapping[str, str]) -> Iterator[None]:
    """Take the settings from another environment for a while, and leave this process's own as it was."""
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def check(business: str | None = None, full: bool = False) -> int:
    """Run the check with the settings of the environment."""
    return asyncio.run(run(business, full))


@asynccontextmanager
async def open_stores(settings: ServiceSettings) -> AsyncIterator[Stores]:
    """Open every service's database with its worker's role."""
    stores: dict[str, Database] = {}
    try:
        for name in NAMES:
            package = name.replace("-", "_")
            stores[package] = Database(settings.urls(package), **CONNECTIONS)
            await stores[package].open()
        yield stores
    finally:
        for database in stores.values():
            await database.close()


def groups() -> Groups:
    """Name every service's consumer groups with what they hear."""
    return {name: topics for service in map(create, NAMES) for name, topics in service.groups().items()}
