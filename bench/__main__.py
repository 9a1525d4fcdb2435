"""python -m bench [latency|walk|accept|all …]: measure, compare with the targets, write RESULTS.md with --write."""

import gc
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench import accept, figures, latency, walk
from bench.figures import Figure
from bench.system import System, ingest_alone, measured_system
from cli.place import Trouble
from libs.embedded.processes import ServerFailed

STEPS = ("latency", "walk", "accept")
PROCESSES = "all services in one process; PostgreSQL, Kafka and the load on the same machine"
TROUBLES = (Trouble, ServerFailed, subprocess.TimeoutExpired)
Measure = Callable[[Callable[[], None]], Awaitable[list[Figure]]]

console = Console(stderr=True)
app = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False)


@app.command()
def main(
    steps: Annotated[list[str] | None, typer.Argument(help="latency, walk, accept or all; without any: all")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="measure the system that runs there")] = None,
    write: Annotated[bool, typer.Option("--write", help="write bench/RESULTS.md")] = False,
) -> None:
    """Measure; the exit code is 1 when a target is missed."""
    chosen = STEPS if not steps or "all" in steps else tuple(steps)
    unknown = [step for step in chosen if step not in STEPS]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is not a step; there are {', '.join(STEPS)}, all")
    try:
        with measured_system(data_dir) as system:
            found = _measure(system, chosen)
    except (*TROUBLES, ExceptionGroup) as error:
        for each in _troubles(error):
            console.print(f"error: {each}", style="red", markup=False)
        sys.exit(2)
    Console().print(figures.machine(), figures.table_of(found), sep="\n")
    if write:
        figures.write(found, PROCESSES)
        console.print(f"written to {figures.RESULTS}")
    sys.exit(1 if any(figure.verdict == "MISSED" for figure in found) else 0)


def _troubles(error: Exception) -> list[Exception]:
    """List what was wrong, out of groups in groups. Raises what is no trouble of ours."""
    if isinstance(error, ExceptionGroup):
        return [each for inner in error.exceptions for each in _troubles(inner)]
    if not isinstance(error, TROUBLES):
        raise error
    return [error]


def _measure(system: System, steps: tuple[str, ...]) -> list[Figure]:
    found: list[Figure] = []
    if "latency" in steps:
        tenant = system.make_tenant("Bench: latency")
        total = latency.RATE * (latency.SECONDS + latency.WARM_S)
        found += _run("latency", total, lambda advance: latency.measure(tenant, advance))
    last = system.make_tenant("Bench: accept") if "accept" in steps else None
    if "walk" in steps:
        walker, groups = system.make_tenant("Bench: walk"), system.groups()
        found += _run("walk", walk.REPORTS // 1000, lambda advance: walk.measure(walker, groups, advance))
    if last is not None and system.own:
        with ingest_alone(system, last) as (tenant_alone, alone):
            total = accept.REPORTS // 1000
            found += _run("accept", total, lambda advance: accept.measure(tenant_alone, alone, advance))
    elif last is not None:
        console.print("accept needs a system of its own, which it stops: left out; run it without --data-dir")
    return found


def _run(step: str, total: int, measure: Measure) -> list[Figure]:
    """Run one step with a progress bar."""
    bar = TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*bar, console=console, refresh_per_second=2) as progress:
        task = progress.add_task(step, total=total)
        gc.collect()
        gc.freeze()

        async def measured() -> list[Figure]:
            return await measure(lambda: progress.advance(task))

        return uvloop.run(measured())


if __name__ == "__main__":
    app()
