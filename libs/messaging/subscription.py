"""Who hears what."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from libs.contracts.event import Event
from libs.database import Transaction
from libs.messaging.broker import Record

Handler = Callable[[Transaction, Sequence[Any]], Awaitable[None]]
E = TypeVar("E", bound=Event)
AsideHandler = Callable[[Transaction, Record], Awaitable[None]]


class Part(NamedTuple, Generic[E]):
    """Events of a shape, read no further than these fields of what they are about: decoding takes half as long."""

    model: type[E]
    only: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Subscription:
    """`handler` gets the events of `model` from `topics`, in order per key; with `latest` only each key's newest.

    `on_set_aside` is told of each record of these topics that is set aside, in the same transaction. It cannot rely on
    anything in the record. `only`: see `Part`.
    """

    model: type[Event]
    handler: Handler
    topics: tuple[str, ...]
    latest: bool = False
    on_set_aside: AsideHandler | None = None
    only: tuple[str, ...] = ()
