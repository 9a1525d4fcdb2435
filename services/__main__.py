"""python -m services run|prepare|migrate|topics|replay|republish|rebuild <name|all>: each service by itself."""

import asyncio
import importlib
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer
import uvloop

from libs.database.migrations import folders_of
from libs.database.migrations import migrate as apply_migrations
from libs.errors import ActivitiesError
from libs.messaging import admin
from libs.service import Service, logs
from libs.service.process import Process
from libs.service.settings import ServiceSettings

NAMES = ("directory", "ingest", "lifecycle", "timeline-projector", "reporting", "webhook-dispatcher")
PROJECTIONS = ("timeline-projector", "reporting")
TRUTHS = ("directory", "ingest", "lifecycle")

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)
Name = Annotated[str, typer.Argument(help=f"one of {', '.join(NAMES)}, or all")]


def create(name: str) -> Service:
    """Wire a service by its name. Raises BadParameter for a name that is none."""
    if name not in NAMES:
        raise typer.BadParameter(f"{name!r} is not a service; there are {', '.join(NAMES)}")
    package = f"services.{name.replace('-', '_')}"
    settings = importlib.import_module(f"{package}.settings").Settings()
    service: Service = importlib.import_module(f"{package}.app").create(settings)
    return service


def _named(name: str) -> tuple[str, ...]:
    return NAMES if name == "all" else (name.replace("_", "-"),)


@app.command()
def run(name: Name, host: str = "127.0.0.1", port: int = 8080) -> None:
    """Serve until SIGTERM."""
    settings = ServiceSettings()
    logs.set_up(settings.log_level)
    process = Process([create(each) for each in _named(name)])
    uvloop.run(process.run(host, port))


@app.command()
def prepare(name: Name = "all") -> None:
    """Migrate and make topics in one go."""

    async def both() -> None:
        await asyncio.gather(
            admin.create_topics(ServiceSettings().broker()), *(_migrate(each) for each in _named(name))
        )

    _do(both)


@app.command()
def migrate(name: Name) -> None:
    """Make the database with its login roles, or bring it up to date."""

    async def each_one() -> None:
        await asyncio.gather(*(_migrate(each) for each in _named(name)))

    _do(each_one)


@app.command()
def topics(name: Name = "all") -> None:
    """Make the topics that are missing."""
    _do(lambda: admin.create_topics(ServiceSettings().broker()))


async def _migrate(name: str) -> None:
    package = name.replace("-", "_")
    applied = await apply_migrations(ServiceSettings().urls(package), folders_of(package))
    for each in applied:
        typer.echo(f"{name}: applied {each}", err=True)


def _do(work: Callable[[], Awaitable[None]]) -> None:
    async def wrapped() -> None:
        await work()

    try:
        uvloop.run(wrapped())
    except ActivitiesError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    app()
