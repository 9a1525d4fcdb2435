"""The commands `./activities webhooks …`."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import output
from cli.place import Trouble, find_place

if TYPE_CHECKING:
    from cli.listening import Client

app = typer.Typer(no_args_is_help=True, help="Listen to webhooks on this machine, test endpoints, watch deliveries.")

DataDir = Annotated[Path | None, typer.Option(help="where everything is kept; .activities beside the launcher")]
Url = Annotated[str | None, typer.Option("--api", help="address of the API; that of the data directory")]
Key = Annotated[str | None, typer.Option("--api-key", envvar="ACTIVITIES_API_KEY", help="a business's key")]


@app.command()
def listen(
    forward_to: Annotated[str, typer.Option(help="such as http://127.0.0.1:3000/hook")],
    event: Annotated[list[str] | None, typer.Option(help="event type, may be repeated; activity.logged")] = None,
    expression: Annotated[str, typer.Option("--filter", help="CEL over the body, such as data.type == 'call'")] = "",
    count: Annotated[int | None, typer.Option(min=1, help="end after so many")] = None,
    api: Url = None,
    api_key: Key = None,
    data_dir: DataDir = None,
) -> None:
    """Receive a business's webhooks and hand each on to a URL of this machine, signed as in production."""
    from cli import listening

    types = event or ["activity.logged"]

    def work() -> None:
        url = listening.check_url("--forward-to", forward_to)
        listening.listen(_client(api, api_key, data_dir), url, types, expression, count)

    _attempt(work)


@app.command("test")
def send_test(
    endpoint_id: str,
    event: Annotated[str | None, typer.Option(help="event type of the sample")] = None,
    api: Url = None,
    api_key: Key = None,
    data_dir: DataDir = None,
) -> None:
    """Send one signed sample to an endpoint and print everything about it; exit code 1: it was not delivered."""
    from cli import listening

    _attempt(lambda: sys.exit(0 if listening.test(_client(api, api_key, data_dir), endpoint_id, event) else 1))


@app.command()
def tail(
    endpoint: Annotated[str | None, typer.Option(help="of one endpoint, by id")] = None,
    once: Annotated[bool, typer.Option("--once", help="the latest, and end")] = False,
    api: Url = None,
    api_key: Key = None,
    data_dir: DataDir = None,
) -> None:
    """Print deliveries as they change."""
    from cli import listening

    _attempt(lambda: listening.tail(_client(api, api_key, data_dir), endpoint, once))


def _client(api: str | None, api_key: str | None, data_dir: Path | None) -> "Client":
    from cli import listening, status

    if api and api_key:
        return listening.Client(api, api_key)
    if api:
        raise Trouble("--api needs --api-key (or ACTIVITIES_API_KEY): the keys of this machine are for its own API")
    found = status.credentials(find_place(data_dir))
    return listening.Client(found["url"], api_key or found["api_key"])


def _attempt(work: Callable[[], object]) -> None:
    """Do it until it ends or Ctrl-C; trouble becomes its sentence and exit code 1."""
    try:
        work()
    except KeyboardInterrupt:
        output.say("ended")
    except (Trouble, OSError) as error:
        output.say(f"error {error}")
        sys.exit(1)
