"""Commands of an operator that every service has: dead letters and stopped partitions."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, NoReturn
from uuid import UUID

import typer
import uvloop

from libs.database import Database
from libs.errors import ActivitiesError
from libs.messaging import letters as dead_letters
from libs.messaging import stops as partition_stops
from libs.messaging.broker import Headers
from libs.service.service import Service

Ids = Annotated[list[str], typer.Argument(help="of dead letters, as `letters` lists them")]
Business = Annotated[UUID | None, typer.Option(help="this business's alone")]


def make_commands(create: Callable[[str], Service]) -> typer.Typer:
    """Make the commands; `create` wires a service by its name."""
    app = typer.Typer()
    for add in (_add_letters, _add_settling, _add_stops):
        add(app, create)
    return app


def do(work: Callable[[], Awaitable[None]]) -> None:
    """Run a command's work; one of our errors becomes its sentence and exit code 1."""

    async def wrapped() -> None:
        await work()

    try:
        uvloop.run(wrapped())
    except ActivitiesError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)


def refuse(why: str) -> NoReturn:
    """Say why a command cannot be meant; exit code 2."""
    typer.echo(f"error: {why}", err=True)
    sys.exit(2)


def _add_letters(app: typer.Typer, create: Callable[[str], Service]) -> None:
    @app.command()
    def letters(
        name: str,
        letter_id: Annotated[str | None, typer.Argument(help="show this one with its bytes and headers")] = None,
        business: Business = None,
        settled: Annotated[bool, typer.Option("--settled", help="what was replayed or dropped, and why")] = False,
    ) -> None:
        """List what a service has set aside, oldest first: id, origin, key, reason."""
        service = create(name)
        broker, package = service.settings.broker(), service.package

        async def all_of_them() -> None:
            for letter in await dead_letters.list_letters(broker, package, business_id=business, settled=settled):
                typer.echo(_line_of(letter))

        async def this_one() -> None:
            assert letter_id is not None
            letter = await dead_letters.get_letter(broker, package, letter_id)
            typer.echo(_line_of(letter))
            _show_record(letter.headers, letter.value)

        do(this_one if letter_id else all_of_them)


def _add_settling(app: typer.Typer, create: Callable[[str], Service]) -> None:
    @app.command()
    def replay(
        name: str,
        ids: Annotated[list[str] | None, typer.Argument(help="of dead letters; all if none")] = None,
        business: Business = None,
    ) -> None:
        """Send what a service has set aside back to where it came from, to be handled again."""
        service = create(name)
        broker, package = service.settings.broker(), service.package

        async def send_back() -> None:
            count = await dead_letters.replay(broker, package, ids or None, business_id=business)
            typer.echo(f"{name}: {count} records sent back", err=True)

        do(send_back)

    @app.command()
    def drop(name: str, ids: Ids, reason: Annotated[str, typer.Option(help="kept with the letters")]) -> None:
        """Give up dead letters for good: they are not open any more; `letters --settled` shows why."""

        async def give_up() -> None:
            service = create(name)
            count = await dead_letters.drop(service.settings.broker(), service.package, ids, reason)
            typer.echo(f"{name}: {count} dead letters dropped", err=True)

        do(give_up)


def _add_stops(app: typer.Typer, create: Callable[[str], Service]) -> None:
    @app.command()
    def stops(name: str) -> None:
        """Show the partitions that a flood of poison has stopped, each with the record that decided it."""

        async def show() -> None:
            async with _opened(create(name)) as database, database.work() as tx:
                for each in await partition_stops.list_stops(tx):
                    guilty = each.stop.guilty
                    place = f"{guilty.topic}/{guilty.partition}"
                    typer.echo(f"{place}\tstopped at {each.stop.offset}\tby {guilty.offset}\t{each.stop.reason}")
                    _show_record([(title, content or b"") for title, content in guilty.headers], guilty.value)

        do(show)

    @app.command()
    def resume(
        name: str,
        partition: Annotated[str | None, typer.Argument(help="as `stops` names it, such as activity.created/3")] = None,
        set_aside: Annotated[bool, typer.Option("--set-aside", help="what is poison up to now, however much")] = False,
    ) -> None:
        """Let stopped partitions go on (all of the service if none is named); no process has to be started again."""
        topic, _, number = (partition or "").rpartition("/")
        if partition is not None and not (topic and number.isdigit()):
            refuse(f"{partition!r} is not <topic>/<partition>, such as activity.created/3")

        async def go_on() -> None:
            place = (topic, int(number)) if partition else None
            async with _opened(create(name)) as database, database.work() as tx:
                asked = await partition_stops.ask(tx, "set_aside" if set_aside else "resume", place)
            typer.echo(f"{name}: {asked} partitions go on within some seconds", err=True)

        do(go_on)


def _line_of(letter: dead_letters.DeadLetter) -> str:
    key = (letter.key or b"").decode(errors="replace")
    line = f"{letter.id}\t{letter.topic}/{letter.partition}@{letter.offset}\t{key}\t{letter.reason}"
    return line if letter.settled is None else f"{line}\t{letter.settled.how}: {letter.settled.why}"


def _show_record(headers: Headers, value: bytes | None) -> None:
    for title, content in headers:
        typer.echo(f"  {title}: {content.decode(errors='backslashreplace')}")
    typer.echo(f"  {(value or b'').decode(errors='backslashreplace')}")


@asynccontextmanager
async def _opened(service: Service) -> AsyncIterator[Database]:
    await service.database.open()
    try:
        yield service.database
    finally:
        await service.database.close()
