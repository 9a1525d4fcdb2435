"""Erasures that were tried in vain, for `/healthz`: a person was promised to be gone."""

from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from libs.database import Database, Transaction

NAMED_MAX = 5

Found = Sequence[tuple[UUID, UUID, int, float]]
"""Business, record, attempts, and in how many seconds the next is."""


class FailingErasures:
    """Looks for them now and then; `list_failing(tx, limit)` is the service's own look into its table."""

    def __init__(self, list_failing: Callable[[Transaction, int], Awaitable[Found]]) -> None:
        self._list_failing = list_failing
        self._found: Found = ()

    async def look(self, database: Database) -> None:
        """Find the oldest of them."""
        async with database.work() as tx:
            self._found = await self._list_failing(tx, NAMED_MAX)

    def problems(self) -> list[str]:
        """Name each; the task's own line, or the log, has the reason."""
        return [
            f"the erasure of record {record_id} of business {business_id} has failed {attempts - 1} times; "
            f"tried again in {wait_s:.0f} s, others go on"
            for business_id, record_id, attempts, wait_s in self._found
        ]
