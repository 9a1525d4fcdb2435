"""./activities faults: break a running system on purpose, and check what must hold."""

import asyncio
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from libs.service import logs
from tests.faults import results
from tests.faults.catching import Caught, catch
from tests.faults.installation import installed
from tests.faults.named import FAULTS
from tests.faults.plan import Manner, run_round, write_failure
from tests.faults.planted import PLANTED
from tests.faults.results import Summary
from tests.faults.soak import Order, Soak

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)
Seed = Annotated[int, typer.Option(help="draws everything; the same seed, the same plan")]
Write = Annotated[bool, typer.Option("--write", help="add a row to bench/FAULTS.md")]
Apart = Annotated[bool, typer.Option("--apart/--together", help="a process per service, or one for all")]
Kept = Annotated[Path | None, typer.Option(help="where what is found is kept; a new directory under /tmp")]
RATE = 45.0
Outcome = TypeVar("Outcome")


@app.command("list")
def list_() -> None:
    """Name every fault with its meaning."""
    for each in FAULTS.values():
        typer.echo(f"{each.name:<30} {each.meaning}{' (alone)' if each.needs == 'alone' else ''}")


@app.command()
def run(
    names: Annotated[list[str], typer.Argument(help="faults, one after the other under load; see `list`")],
    seed: Seed = 1,
    apart: Apart = False,
    rate: Annotated[float, typer.Option(help="reports a second")] = 60.0,
    long: Annotated[bool, typer.Option("--long", help="long outages: the broker is away for 600 s")] = False,
    write: Write = False,
) -> None:
    """Run faults under load and check; exit code 1: something that must hold did not."""
    for name in names:
        if name not in FAULTS:
            raise typer.BadParameter(f"{name!r} is no fault; `list` names them")
    apart = apart or any(FAULTS[name].needs == "alone" for name in names)

    async def all_of_it() -> Summary:
        directory = Path(tempfile.mkdtemp(prefix="activities-faults-"))
        directory.chmod(0o755)
        summary = Summary(" ".join(names), seed)
        try:
            async with installed(directory / "run", apart=apart) as installation:
                done = await run_round(installation, names, seed, Manner(tenants=2, rate=rate / 2, long=long))
                summary.add(done)
                summary.seconds = done.seconds
                if done.broken:
                    write_failure(done, directory)
                    shutil.copy(str(done.history), directory)
                    for log in installation.logs():
                        shutil.copy(log, directory)
        finally:
            shutil.rmtree(directory / "run", ignore_errors=True)
            if not any(directory.iterdir()):
                directory.rmdir()
            else:
                typer.echo(f"what was found is in {directory}")
        return summary

    _end(_ending_in_order(all_of_it()), write)


@app.command()
def soak(
    seconds: Annotated[float, typer.Option(help="how long")] = 3_600,
    seed: Seed = 1,
    activities: Annotated[int | None, typer.Option(help="how many to acknowledge about; sets the rate")] = None,
    apart: Apart = True,
    kept: Kept = None,
    write: Write = False,
) -> None:
    """Run rounds of faults until the time is up; prints progress each 30 s and a summary at the end."""
    directory = kept or Path(tempfile.mkdtemp(prefix="activities-soak-"))
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o755)
    rate = RATE if activities is None else activities / seconds * 1.5  # some time goes into checking
    typer.echo(f"soaking for {seconds:.0f} s with seed {seed} at {rate:.0f} reports/s; findings go to {directory}")
    _end(_ending_in_order(Soak(Order(seconds, seed, rate, directory, apart)).run()), write)


@app.command()
def planted(
    names: Annotated[list[str] | None, typer.Argument(help="bugs; all of them if none is named")] = None,
    seed: Seed = 1,
    write: Write = False,
) -> None:
    """Start the services with one bug after the other and see the checker catch each; takes about 25 minutes."""
    chosen = names or list(PLANTED)
    began = time.monotonic()

    async def all_of_it() -> list[Caught]:
        directory = Path(tempfile.mkdtemp(prefix="activities-planted-"))
        try:
            async with installed(directory) as installation:
                return await catch(installation, chosen, seed, typer.echo)
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    found = _ending_in_order(all_of_it())
    right = [each for each in found if each.right]
    caught = sum(bool(each.expected) for each in right)
    seconds = time.monotonic() - began
    typer.echo(
        f"{caught} of {len(chosen)} planted bugs caught, {len(right) - caught} of {len(found) - len(chosen)} runs "
        f"without a bug green, {seconds:.0f} s"
    )
    if write:
        results.write_planted(caught, len(chosen), seed, seconds)
    sys.exit(0 if len(right) == len(found) else 1)


def _ending_in_order(work: Coroutine[Any, Any, Outcome]) -> Outcome:
    """Run it; SIGTERM ends it as Ctrl-C does, so that no server is left behind."""

    async def run_it() -> Outcome:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work

    return asyncio.run(run_it())


def _end(summary: Summary, write: bool) -> None:
    typer.echo("\n".join(summary.lines()))
    if write:
        results.write(summary.row())
    sys.exit(1 if summary.broken else 0)


if __name__ == "__main__":
    logs.set_up("error")
    app(prog_name="activities faults")
