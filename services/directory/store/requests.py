"""Requests of activities to change records: each is answered once."""

from collections.abc import Sequence
from uuid import UUID

from libs.contracts.record import RecordRequested
from libs.database import Transaction


async def claim(tx: Transaction, requests: Sequence[RecordRequested]) -> set[tuple[UUID, UUID]]:
    """Note that requests are being answered, and tell which of them, by (business, request), never were before."""
    rows = await tx.fetch(
        """
        insert into record_request (business_id, request_id, record_id, answered_at)
        select *, now() from unnest($1::uuid[], $2::uuid[], $3::uuid[]) order by 1, 2 on conflict do nothing
        returning business_id, request_id
        """,
        [each.business_id for each in requests],
        [each.request_id for each in requests],
        [each.record_id for each in requests],
    )
    return {(row[0], row[1]) for row in rows}
