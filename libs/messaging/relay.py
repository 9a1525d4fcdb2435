"""The relay: takes events out of the outbox and publishes them, in order."""

from libs.database import Database
from libs.messaging.broker import BrokerSettings


class Relay:
    """Publishes one service's outbox; of several processes one is active at a time."""

    def __init__(self, database: Database, broker: BrokerSettings) -> None:
        self._database = database
        self._broker = broker

    async def run(self) -> None:
        """Publish until cancelled."""
        raise NotImplementedError

    def wake(self) -> None:
        """Look into the outbox now: something was committed."""

    def problems(self) -> list[str]:
        """Say what keeps events from leaving."""
        return []

    def backlog_bytes(self) -> int:
        """Tell how many bytes have not been published yet; known to the second."""
        return 0
