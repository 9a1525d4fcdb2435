"""Activities: what customers' records have planned and lived through."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cli import output, webhooks
from cli.place import ROOT, Place, Trouble, find_place
from libs.embedded.processes import ServerFailed
from libs.errors import ActivitiesError

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)

app.add_typer(webhooks.app, name="webhooks")

DataDir = Annotated[Path | None, typer.Option(help="where everything is kept; .activities beside the launcher")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON only")]
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


@app.command()
def up(
    port: Annotated[int | None, typer.Option(help="8080, or the next free one", min=1, max=65535)] = None,
    data_dir: DataDir = None,
    detach: Annotated[bool, typer.Option("--detach", help="return when everything is ready")] = False,
    apart: Annotated[bool, typer.Option("--apart", help="a process for each service, behind a gateway")] = False,
    replicas: Annotated[list[str] | None, typer.Option(help="service=number, such as timeline-projector=2")] = None,
    silent: Annotated[bool, typer.Option("--silent", hidden=True)] = False,
) -> None:
    """Start everything, print address, business and keys, and run until Ctrl-C."""
    from cli import fleet, running

    def start() -> None:
        counted = fleet.read_replicas(replicas or [])
        running.up(_place(data_dir), port, counted if apart or replicas else None, detach, silent)

    output.hear_servers()
    _attempt(start)


@app.command()
def down(data_dir: DataDir = None) -> None:
    """End everything; nothing is lost."""
    from cli import running

    _attempt(lambda: running.down(_place(data_dir)))


@app.command()
def restart(
    service: Annotated[str, typer.Argument(help="its name, or all")] = "all",
    data_dir: DataDir = None,
) -> None:
    """Restart the processes of a service one at a time, each when the one before is ready again."""
    from cli import restarting

    _attempt(lambda: restarting.restart(_place(data_dir), service))


@app.command()
def reset(
    data_dir: DataDir = None,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """End everything and remove all data."""
    from cli import running

    place = _place(data_dir)
    if not yes:
        typer.confirm(f"Remove {place.directory} with everything in it?", abort=True, err=True)
    _attempt(lambda: running.reset(place))


@app.command()
def status(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Say what runs."""
    from cli import status as found

    content = found.status(_place(data_dir), lag=True)
    if as_json:
        output.print_json(content)
        return
    output.result.print("ready" if content["ready"] else "not ready")
    for process in content["processes"]:
        where = f"process {process['pid']:<8} port {process['port']:<6} {process['rss_mib']:>4} MiB"
        output.result.print(f"  {process['name']:<20} {where}{'' if process['ready'] else '  not ready'}")
    for name, problems in content["health"].items():
        for problem in problems:
            output.result.print(f"  {name:<20} {problem}", markup=False, style="red")
    for name, database in content["databases"].items():
        behind = f"  {content['lag'][name]} events not heard" if content["lag"].get(name) else ""
        reachable = "" if database["reachable"] else "  not reachable"
        output.result.print(f"  {name:<20} {database['url']}{reachable}{behind}")
    kafka = content["kafka"]
    where = kafka["bootstrap_servers"] or "was never started; ./activities up starts it"
    silent = bool(kafka["bootstrap_servers"]) and not kafka["reachable"]
    output.result.print(f"  {'kafka':<20} {where}{'  not reachable' if silent else ''}")


@app.command()
def credentials(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Print address and keys of the sample business."""
    from cli import status as found

    def show() -> None:
        content = found.credentials(_place(data_dir))
        output.print_json(content) if as_json else output.print_credentials(content)

    _attempt(show)


@app.command("operator-key")
def operator_key() -> None:
    """Print a new operator's key, for an installation that is not run by `up`."""
    from libs.access.keys import generate_key

    output.result.print(generate_key("operator").text)


@app.command("secrets")
def make_secrets(directory: Annotated[Path, typer.Argument(help="made if missing; what is there is kept")]) -> None:
    """Write new secrets for docker-compose.yml, a file for each; for an installation that is not run by `up`."""
    from cli import secret_files

    _attempt(lambda: secret_files.write(directory))


@app.command(context_settings=PASS_ON)
def test(
    context: typer.Context,
    faults: Annotated[bool, typer.Option("--faults", help="every kill at every failpoint, too")] = False,
    containers: Annotated[bool, typer.Option("--containers", help="servers from public images (needs Docker)")] = False,
    apart: Annotated[bool, typer.Option("--apart", help="end to end, a process for each service")] = False,
) -> None:
    """Run all checks and tests; with arguments, pytest alone with those."""
    from cli import testing

    output.hear_servers()
    _attempt(lambda: sys.exit(testing.run(context.args, faults, containers, apart)))


@app.command()
def check(
    full: Annotated[bool, typer.Option("--full", help="compare contents too, not versions and counts alone")] = False,
    business: Annotated[str | None, typer.Option(help="one business, by id")] = None,
    data_dir: DataDir = None,
) -> None:
    """Compare the truth with everything that was made from it; exit code 1: differences, 2: not drained in 60 s."""
    from cli.check import check as run

    def compare() -> None:
        os.environ.update(_place(data_dir).installed())
        sys.exit(run(business, full))

    _attempt(compare)


@app.command()
def verify(
    business: Annotated[str | None, typer.Option(help="one business, by id")] = None,
    data_dir: DataDir = None,
) -> None:
    """Walk the hash chains of all histories and name each break; exit code 1: there are some."""
    chosen = ["--business", business] if business is not None else []
    _attempt(lambda: _run_services(data_dir, "verify", "lifecycle", *chosen))


@app.command()
def sample(activities: int = 10_000, seed: int = 7, data_dir: DataDir = None) -> None:
    """Fill three businesses with realistic data through the public interface."""
    from cli.sample import sample as run

    _attempt(lambda: run(activities=activities, seed=seed, data_dir=_place(data_dir).directory))


@app.command(context_settings=PASS_ON)
def bench(context: typer.Context) -> None:
    """Measure; the arguments are those of `python -m bench`."""
    sys.exit(subprocess.run([sys.executable, "-m", "bench", *context.args], cwd=ROOT, check=False).returncode)


@app.command(context_settings=PASS_ON)
def faults(context: typer.Context) -> None:
    """Break a running system on purpose; the arguments are those of `python -m tests.faults`: list, run, soak."""
    output.hear_servers()
    sys.exit(subprocess.run([sys.executable, "-m", "tests.faults", *context.args], cwd=ROOT, check=False).returncode)


def _run_services(data_dir: Path | None, *arguments: str) -> None:
    command = [sys.executable, "-m", "services", *arguments]
    sys.exit(subprocess.run(command, cwd=ROOT, env=_place(data_dir).installed(), check=False).returncode)


def _operate(name: str, summary: str) -> None:
    """Make a command of `python -m services` one of ours, for the installation in the data directory."""

    def operate(context: typer.Context, data_dir: DataDir = None) -> None:
        _attempt(lambda: _run_services(data_dir, name, *context.args))

    app.command(name, help=f"{summary} `{name} SERVICE --help` says more.", context_settings=PASS_ON)(operate)


_operate("letters", "Show what a service has set aside.")
_operate("replay", "Send what a service has set aside back, to be handled again.")
_operate("drop", "Give up dead letters.")
_operate("stops", "Show partitions that a flood of poison has stopped.")
_operate("resume", "Let stopped partitions go on.")


@app.command()
def lock() -> None:
    """Write requirements/*.txt again from pyproject.toml, with hashes."""
    from cli import locking

    _attempt(locking.lock)


@app.command()
def client(directory: Annotated[Path, typer.Argument(help="where to write it; what is there is replaced")]) -> None:
    """Write a typed Python client, made from the description of the routes."""
    from cli import client as writing

    _attempt(lambda: output.say(writing.write(directory)))


@app.command()
def contracts() -> None:
    """Write today's event schemas as those of the newest release in libs/contracts/CHANGELOG.md."""
    from libs.contracts import schemas

    for path in schemas.write_release():
        output.say(f"wrote {path.relative_to(ROOT)}")


@app.command()
def doctor(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Say what of this machine is there, what is missing and how to get it; exit code 1: something is missing."""
    from cli import doctor as looking

    findings = looking.examine(_place(data_dir))
    if as_json:
        output.print_json({"well": looking.is_well(findings), "findings": [asdict(each) for each in findings]})
    else:
        looking.show(findings)
    sys.exit(0 if looking.is_well(findings) else 1)


def _place(data_dir: Path | None) -> Place:
    place = find_place(data_dir)
    if data_dir is None and place.directory.parent != ROOT:
        output.say(f"the servers' account may not enter {ROOT}; data are in {place.directory}")
    return place


def _attempt(work: Callable[[], object]) -> None:
    """Do it; trouble becomes its sentence and exit code 1."""
    try:
        work()
    except (Trouble, ServerFailed, ActivitiesError, OSError) as error:
        output.progress.print(f"[bold red]error[/] {str(error).replace('[', chr(92) + '[')}")
        sys.exit(1)


if __name__ == "__main__":
    app(prog_name="activities")
