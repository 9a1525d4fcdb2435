"""The consumer: one batch, one transaction, and the three kinds of trouble decided in one place."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from libs.contracts.event import Event
from libs.database import Database, Transaction
from libs.messaging.broker import BrokerSettings

Handler = Callable[[Transaction, Sequence[Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Subscription:
    """Who hears what: `handler` gets the events of `model` from `topics`; with `latest` only each key's newest."""

    model: type[Event]
    handler: Handler
    topics: tuple[str, ...]
    latest: bool = False


class Consumer:
    """Hears a service's topics."""

    def __init__(
        self,
        service: str,
        database: Database,
        broker: BrokerSettings,
        subscriptions: Sequence[Subscription],
        *,
        group: str,
    ) -> None:
        self._service = service

    async def start(self) -> None:
        """Begin to hear; returns at once, also while the broker is away."""

    async def stop(self) -> None:
        """Finish the batch in hand and leave the group."""

    def problems(self) -> list[str]:
        """Say what keeps events from being handled."""
        return []

    def lag_s(self) -> float:
        """Tell the age of the oldest event not handled yet."""
        return 0.0
