"""Who hears what."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from libs.contracts.event import Event
from libs.database import Transaction
from libs.messaging.broker import Record

Handler = Callable[[Transaction, Sequence[Any]], Awaitable[None]]
AsideHandler = Callable[[Transaction, Record], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Subscription:
    """`handler` gets the events of `model` from `topics`, in order per key; with `latest` only each key's newest.

    `on_set_aside` is told of each record of these topics that is set aside, in the same transaction. It cannot rely on
    anything in the record.
    """

    model: type[Event]
    handler: Handler
    topics: tuple[str, ...]
    latest: bool = False
    on_set_aside: AsideHandler | None = None
