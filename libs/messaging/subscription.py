"""Who hears what."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from libs.contracts.event import Event
from libs.database import Transaction

Handler = Callable[[Transaction, Sequence[Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Subscription:
    """`handler` gets the events of `model` from `topics`, in order per key; with `latest` only each key's newest."""

    model: type[Event]
    handler: Handler
    topics: tuple[str, ...]
    latest: bool = False
