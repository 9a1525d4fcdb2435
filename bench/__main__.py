"""python -m bench [step …]: measure, compare with the targets, write RESULTS.md with --write."""

import asyncio
import gc
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench import (
    accept,
    calibration,
    consumer,
    fairness,
    fields,
    figures,
    latency,
    lifecycle,
    lists,
    overload,
    rebuild,
    single,
    tracing,
    walk,
    writes,
)
from bench.figures import Figure
from bench.system import System, Tenant, alone, measured_system
from bench.webhooks import run as webhooks
from cli.place import Trouble
from libs.embedded.processes import ServerFailed

TOGETHER = "All services in one process"
APART = "A process for each service behind a gateway"
WEBHOOKS = "Webhooks"
TROUBLES = (Trouble, ServerFailed, subprocess.TimeoutExpired)
T = TypeVar("T")

console = Console(stderr=True)
app = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False)


@app.command()
def main(
    steps: Annotated[list[str] | None, typer.Argument(help="names of steps, or all; without any: all")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="measure the system that runs there")] = None,
    apart: Annotated[bool, typer.Option("--apart", help="with a process for each service")] = False,
    write: Annotated[bool, typer.Option("--write", help="write bench/RESULTS.md")] = False,
    only: Annotated[
        list[str] | None, typer.Option(help="with webhooks (all: some 15 minutes): W1 … W11 and others, each alone")
    ] = None,
) -> None:
    """Measure; the exit code is 1 when a target is missed."""
    if steps == ["webhooks"]:
        _measure_webhooks(only or [], write)
        return
    chosen = list(STEPS) if not steps or "all" in steps else steps
    unknown = [step for step in chosen if step not in STEPS]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is not a step; there are {', '.join(STEPS)}, all")
    before = calibration.measure()
    try:
        with measured_system(data_dir, apart) as system:
            found = _measure(system, chosen)
    except (*TROUBLES, ExceptionGroup) as error:
        for each in _troubles(error):
            console.print(f"error: {each}", style="red", markup=False)
        sys.exit(2)
    speeds = figures.machine_at(before, calibration.measure())
    Console().print(*speeds, figures.table_of(found), sep="\n")
    if write:
        figures.write(found, APART if system.apart else TOGETHER, speeds)
        console.print(f"written to {figures.RESULTS}")
    sys.exit(1 if any(figure.verdict == "MISSED" for figure in found) else 0)


def _measure_webhooks(only: Sequence[str], write: bool) -> None:
    """Measure the webhook dispatcher alone, on servers of its own."""
    unknown = [name for name in only if name not in webhooks.FIGURES]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is no figure; there are {', '.join(webhooks.FIGURES)}")
    before = calibration.measure()
    try:
        found = webhooks.measure(only, console.print)
    except (*TROUBLES, ExceptionGroup) as error:
        for each in _troubles(error):
            console.print(f"error: {each}", style="red", markup=False)
        sys.exit(2)
    speeds = figures.machine_at(before, calibration.measure())
    Console().print(*speeds, figures.table_of(found), sep="\n")
    if write:
        figures.write(found, WEBHOOKS, speeds)
    sys.exit(1 if any(figure.verdict == "MISSED" for figure in found) else 0)


def _troubles(error: Exception) -> list[Exception]:
    """List what was wrong, out of groups in groups. Raises what is no trouble of ours."""
    if isinstance(error, ExceptionGroup):
        return [each for inner in error.exceptions for each in _troubles(inner)]
    if not isinstance(error, TROUBLES):
        raise error
    return [error]


def _measure(system: System, steps: Sequence[str]) -> list[Figure]:
    """Run the steps; those that stop the services come last. Businesses are made before, while all services run."""
    if not system.own and (left := [step for step in steps if step in STOPPING]):
        console.print(f"left out, as they stop services: {', '.join(left)}; run them without --data-dir")
    chosen = [step for step in STEPS if step in steps and (system.own or step not in STOPPING)]
    tenants = {step: system.make_tenant(f"Bench: {step}") for step in chosen}
    found: list[Figure] = []
    for step in chosen:
        found += STEPS[step](system, tenants[step])
    return found


def _latency(system: System, tenant: Tenant) -> list[Figure]:
    total = latency.RATE * (latency.SECONDS + latency.WARM_S)
    return _run("latency", total, lambda advance: latency.measure(tenant, advance))


def _single(system: System, tenant: Tenant) -> list[Figure]:
    groups = system.groups()
    return _run("single", single.SECONDS, lambda advance: single.measure(tenant, groups, advance))


def _walk(system: System, tenant: Tenant) -> list[Figure]:
    groups = system.groups()
    measured = partial(walk.measure, tenant, groups, apart=system.apart)
    return _run("walk", walk.REPORTS // 1000, measured)


def _fairness(system: System, tenant: Tenant) -> list[Figure]:
    other = system.make_tenant("Bench: its neighbour")
    total = fairness.BULK_REPORTS // 1000
    return _run("fairness", total, lambda advance: fairness.measure(tenant, other, advance))


def _overload(system: System, tenant: Tenant) -> list[Figure]:
    total = overload.USUAL_S + overload.SECONDS
    return _run("overload", total, lambda advance: overload.measure(tenant, advance))


def _writes(system: System, tenant: Tenant) -> list[Figure]:
    groups = system.groups()
    return _run("writes", 3 * writes.SECONDS, lambda advance: writes.measure(tenant, groups, advance))


def _lists(system: System, tenant: Tenant) -> list[Figure]:
    return _run("lists", 4, lambda advance: lists.measure(system, tenant, advance))


def _rebuild(system: System, tenant: Tenant) -> list[Figure]:
    found: list[Figure] = []
    live_per_s = _run("live", rebuild.REPORTS // 1000, partial(rebuild.live, system, tenant, system.groups()))
    for service in rebuild.PROJECTIONS:
        found += _run("rebuild", None, partial(rebuild.measure, system, service, tenant, live_per_s))
    return found


def _accept(system: System, tenant: Tenant) -> list[Figure]:
    total = accept.REPORTS // 1000
    with alone(system, "ingest", tenant) as (there, groups):
        return _run("accept", total, lambda advance: accept.measure(there, groups, advance))


def _lifecycle(system: System, tenant: Tenant) -> list[Figure]:
    found: list[Figure] = []
    for count in (2, 1):
        with alone(system, "ingest", tenant) as (there, _):
            fill = partial(lifecycle.fill, system, there, f"admit-{count}")
            _run("reports", lifecycle.REPORTS // 1000, fill)
        found += _run("lifecycle", None, partial(lifecycle.measure, system, tenant, count))
    return found


def _consumer(system: System, tenant: Tenant) -> list[Figure]:
    return _run("consumer", 2 * consumer.ROUNDS, lambda advance: consumer.measure(system, advance))


def _tracing(system: System, tenant: Tenant) -> list[Figure]:
    """Measure off and on, twice each in turn."""
    cpu: dict[bool, list[float]] = {False: [], True: []}

    async def both(advance: Callable[[], None]) -> None:
        async with tracing.collector() as address:
            for on in (False, True, False, True):
                settings = tracing.settings_of(address) if on else {}
                running = alone(system, "all", tenant, settings)
                there, groups = await asyncio.to_thread(running.__enter__)  # the collector answers meanwhile
                try:
                    cpu[on].append(await tracing.cpu_us(there, groups[0], advance))
                finally:
                    await asyncio.to_thread(running.__exit__, None, None, None)

    _run("tracing", 4 * tracing.SECONDS, both)
    return tracing.figures_of(cpu[False], cpu[True])


def _fields(_system: System, _tenant: Tenant) -> list[Figure]:
    return _run("fields", fields.ROUNDS, fields.measure)


STEPS: dict[str, Callable[[System, Tenant], list[Figure]]] = {
    "latency": _latency, "single": _single, "walk": _walk, "fairness": _fairness, "overload": _overload,
    "writes": _writes, "lists": _lists,
    "rebuild": _rebuild, "lifecycle": _lifecycle, "consumer": _consumer, "tracing": _tracing, "fields": _fields,
    "accept": _accept,
}  # fmt: skip
"""In the order in which they are run; `accept` leaves reports that nobody has admitted to those after it."""
STOPPING = ("rebuild", "lifecycle", "consumer", "tracing", "accept")


def _run(step: str, total: int | None, measure: Callable[[Callable[[], None]], Awaitable[T]]) -> T:
    """Run one step with a progress bar."""
    bar = TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*bar, console=console, refresh_per_second=2) as progress:
        task = progress.add_task(step, total=total)
        gc.collect()
        gc.freeze()

        async def measured() -> T:
            return await measure(lambda: progress.advance(task))

        return uvloop.run(measured())


if __name__ == "__main__":
    app()
