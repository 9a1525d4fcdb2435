"""What a person sees: progress on standard error, results on standard output."""

import json
import logging
import sys
from contextlib import suppress
from typing import Any

from rich.console import Console
from rich.logging import RichHandler

progress = Console(stderr=True, highlight=False, soft_wrap=True)
result = Console(highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Say what is being done; where that is kept on a full disk, it is not."""
    with suppress(OSError):
        progress.print(text, markup=False)


def hear_servers() -> None:
    """Let the embedded servers say what they do, too."""
    handler = RichHandler(console=progress, show_time=False, show_level=False, show_path=False)
    logging.getLogger("libs.embedded").addHandler(handler)
    logging.getLogger("libs.embedded").setLevel(logging.INFO)


def print_json(content: Any) -> None:
    """Print JSON and nothing else on standard output."""
    sys.stdout.write(json.dumps(content, indent=2) + "\n")


def print_credentials(found: dict[str, Any]) -> None:
    """Print address, business and keys so that each can be copied."""
    result.print()
    result.print(f"  [bold green]Activities is up[/]   {found['url']}")
    result.print()
    names = {
        "business": "business_id",
        "user": "user_id",
        "X-API-KEY": "api_key",
        "Bearer": "bearer_token",
        "operator": "operator_key",
    }
    for label, name in names.items():
        result.print(f"  [dim]{label:<10}[/] {found[name]}")
    result.print()
