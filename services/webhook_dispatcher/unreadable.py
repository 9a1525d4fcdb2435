"""Deliveries that cannot be signed, because no master key of this process opens their endpoints' secrets."""

from collections.abc import Sequence
from uuid import UUID

from libs.database import Database
from services.webhook_dispatcher.sealing import Sealer, Unsealable
from services.webhook_dispatcher.store import queue

ENDPOINTS_MAX = 1_000


class Unreadable:
    """Counts them, and says so until a master key is there that opens the secrets."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self._count = 0

    async def look(self, database: Database) -> None:
        """Count the deliveries that were tried in vain and that this process could not sign either."""
        async with database.work() as tx:
            with tx.alone():
                found = await queue.list_unreadable(tx, ENDPOINTS_MAX)
        self._count = sum(each.waiting for each in found if not self._opens(each.secrets, *each.place))

    def problems(self) -> list[str]:
        """Say how many there are."""
        if not self._count:
            return []
        text = (
            f"the secrets of {self._count} deliveries cannot be opened: WEBHOOK_MASTER_KEY must hold the key that "
            "sealed them, beside the one that seals now"
        )
        return [text]

    def _opens(self, secrets: Sequence[bytes], business_id: UUID, endpoint_id: UUID) -> bool:
        try:
            return all(self._sealer.open(sealed, business_id, endpoint_id) for sealed in secrets)
        except Unsealable:
            return False
