"""python -m services run|prepare|letters|replay|drop|stops|resume|republish|rebuild|verify <name>; gateway, openapi."""

import asyncio
import importlib
import os
import sys
from pathlib import Path
from typing import Annotated
from uuid import UUID

import orjson
import typer
import uvloop

from libs import tracing
from libs.database.migrations import folders_of
from libs.database.migrations import migrate as apply_migrations
from libs.gateway.replicas import NotAnAddress, read_upstreams
from libs.gateway.table import FILE, Program, Table
from libs.messaging import admin
from libs.service import Service, commands, logs
from libs.service.process import Process
from libs.service.settings import ServiceSettings
from services import NAMES

PROJECTIONS = ("timeline-projector", "reporting")
TRUTHS = ("directory", "lifecycle", "ingest")

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


app.add_typer(commands.make_commands(create))


def _named(name: str) -> tuple[str, ...]:
    return NAMES if name == "all" else (name.replace("_", "-"),)


@app.command()
def run(name: Name, host: str = "127.0.0.1", port: int = 8080) -> None:
    """Serve until SIGTERM; with `DRAIN_S` set, that long without new connections first. SIGINT stops at once."""
    settings = ServiceSettings()
    logs.set_up(settings.log_level)
    tracing.set_up(settings.otel_exporter_otlp_endpoint, settings.otel_traces_sampler_arg)
    process = Process([create(each) for each in _named(name)])
    uvloop.run(process.run(host, port, settings.drain_s))


@app.command()
def gateway(
    upstream: Annotated[list[str], typer.Option(help="service=host:port; any number of each service")],
    listen: Annotated[str, typer.Option(help="host:port")] = "127.0.0.1:8080",
    directory: Annotated[Path, typer.Option(help="of its own, for what it keeps")] = Path("gateway"),
    program: Annotated[Program, typer.Option(envvar="GATEWAY_PROGRAM", help="auto: nginx if installed")] = "auto",
    show: Annotated[bool, typer.Option("--print", help="print a configuration for an nginx of yours and end")] = False,
) -> None:
    """Serve all services on one address, each from its own processes."""
    logs.set_up("warning")  # on standard error: what is printed is a configuration alone
    try:
        table = _table(listen, program, upstream)
    except NotAnAddress as error:
        commands.refuse(str(error))
    if show:
        nginx = importlib.import_module("libs.gateway.nginx")  # with it comes an HTTP client, which takes its time
        processes = importlib.import_module("libs.gateway.upstreams").Upstreams(read_upstreams(upstream))
        typer.echo(nginx.configuration(table, processes, directory.absolute(), front=None))
        return
    directory.mkdir(parents=True, exist_ok=True)
    table.write(directory / FILE)
    os.execv(sys.executable, [sys.executable, "-m", "libs.gateway", str(directory)])  # noqa: S606 we become it


def _table(listen: str, program: Program, upstream: list[str]) -> Table:
    """Ask each service for its routes. Raises NotAnAddress."""
    ((_, host, port),) = read_upstreams([f"listen={listen}"])
    named = {service for service, _, _ in read_upstreams(upstream)}
    if named != set(NAMES):
        raise NotAnAddress(f"name at least one --upstream of each of {', '.join(NAMES)}, and no other")
    services = _undriven()
    described = Process(services).openapi()
    return Table(host, port, program, upstream, {each.name: sorted(each.prefixes()) for each in services}, described)


def _undriven() -> list[Service]:
    """Make all services to ask them for their routes: address and key stand for what is never opened."""
    os.environ |= {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "WEBHOOK_MASTER_KEY": "never used to seal"}
    return [create(name) for name in NAMES]


@app.command()
def openapi() -> None:
    """Print what `/openapi.json` answers, without starting anything."""
    logs.set_up("warning")
    typer.echo(orjson.dumps(Process(_undriven()).openapi()))


@app.command()
def prepare(name: Name = "all") -> None:
    """Migrate and make topics in one go."""

    async def both() -> None:
        await asyncio.gather(_create_topics(), *(_migrate(each) for each in _named(name)))

    commands.do(both)


@app.command()
def migrate(name: Name) -> None:
    """Make the database with its login roles, or bring it up to date."""

    async def each_one() -> None:
        await asyncio.gather(*(_migrate(each) for each in _named(name)))

    commands.do(each_one)


@app.command()
def topics(name: Name = "all") -> None:
    """Make the topics that are missing."""
    commands.do(_create_topics)


@app.command()
def republish(name: Name) -> None:
    """Send the current state of everything again, for projections and copies that are rebuilt."""
    if name not in TRUTHS:
        commands.refuse(f"{name} owns no truth that others copy; {', '.join(TRUTHS)} do")
    module = importlib.import_module(f"services.{name}.republish")

    async def all_of_it() -> None:
        service = create(name)
        await service.database.open()
        try:
            typer.echo(f"{name}: {await module.republish(service.database)} events put into the outbox", err=True)
        finally:
            await service.database.close()

    commands.do(all_of_it)


@app.command()
def rebuild(name: Name) -> None:
    """Empty a projection and let it hear everything again; stop its processes first."""
    if name not in PROJECTIONS:
        commands.refuse(
            f"{name} owns truth or owes deliveries, which no event brings back; only {', '.join(PROJECTIONS)} can"
        )
    service = create(name)
    store = importlib.import_module(f"services.{service.package}.store")

    async def from_zero() -> None:
        records = await _rewind(service)
        await service.database.open()
        try:
            async with service.database.work() as tx:
                await store.empty(tx)
        finally:
            await service.database.close()
        typer.echo(f"{name}: emptied; {records} events will be heard again when it runs", err=True)
        typer.echo("what is older than the topics comes with: republish directory, lifecycle and ingest", err=True)

    commands.do(from_zero)


@app.command()
def verify(
    name: Annotated[str, typer.Argument(help="lifecycle, which keeps a history")] = "lifecycle",
    business: Annotated[UUID | None, typer.Option(help="one business, by id")] = None,
) -> None:
    """Walk the hash chains of all histories and name each break; exit code 1: there are some."""
    if name != "lifecycle":
        commands.refuse(f"{name} keeps no chain of versions; lifecycle does")
    module = importlib.import_module(f"services.{name}.verify")
    breaks = 0

    def progress(versions: int) -> None:
        typer.echo(f"{name}: {versions} versions looked at", err=True)

    async def all_of_it() -> None:
        nonlocal breaks
        service = create(name)
        await service.database.open()
        try:
            async for each in module.verify(service.database, business, progress):
                breaks += 1
                typer.echo(str(each))
        finally:
            await service.database.close()

    commands.do(all_of_it)
    typer.echo(f"{name}: {breaks} breaks" if breaks else f"{name}: every version is as it was written", err=True)
    sys.exit(1 if breaks else 0)


@app.command()
def reseal() -> None:
    """Seal the webhook secrets again under the first of WEBHOOK_MASTER_KEY's keys, so that the others can go."""
    module = importlib.import_module("services.webhook_dispatcher.resealing")

    async def all_of_them() -> None:
        service = create("webhook-dispatcher")
        keys = importlib.import_module("services.webhook_dispatcher.settings").Settings().webhook_master_key
        await service.database.open()
        try:
            done, lost = await module.reseal(service.database, keys.get_secret_value())
        finally:
            await service.database.close()
        typer.echo(f"webhook-dispatcher: {done} secrets sealed again", err=True)
        if lost:
            commands.refuse(
                f"{lost} secrets are opened by none of the keys; put the key that sealed them behind the others"
            )

    commands.do(all_of_them)


async def _rewind(service: Service) -> int:
    """Rewind a service's group; a process that has just ended counts as a member until its session is over."""
    broker = service.settings.broker()
    for _ in range(broker.session_timeout_ms // 1_000):
        try:
            return await admin.rewind(broker, service.package, service.groups()[service.package])
        except admin.GroupBusy:
            await asyncio.sleep(1)
    return await admin.rewind(broker, service.package, service.groups()[service.package])


async def _create_topics() -> None:
    inbound = importlib.import_module("services.ingest.settings").Settings().inbound_topics
    packages = [name.replace("-", "_") for name in NAMES]
    for topic in await admin.create_topics(ServiceSettings().broker(), packages, tuple(inbound)):
        typer.echo(f"made topic {topic}", err=True)


async def _migrate(name: str) -> None:
    package = name.replace("-", "_")
    applied = await apply_migrations(ServiceSettings().urls(package), folders_of(package))
    for each in applied:
        typer.echo(f"{name}: applied {each}", err=True)


if __name__ == "__main__":
    app()
