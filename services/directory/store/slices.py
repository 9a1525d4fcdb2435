"""Everything again, in slices, for republishing."""

from typing import Any
from uuid import UUID

from libs.database import Transaction

Row = dict[str, Any]

SLICES: dict[str, str] = {
    "directory.business": """
        select business_id, business_id as id, version, name, zone, settings, created_at, deleted_at from business
        where (business_id, business_id) > ($1, $2) order by business_id limit $3 for share""",
    "directory.member": """
        select * from member where (business_id, id) > ($1, $2) order by business_id, id limit $3 for share""",
    "directory.role": """
        select * from role where (business_id, id) > ($1, $2) order by business_id, id limit $3 for share""",
    "directory.api_key": """
        select * from api_key where (business_id, id) > ($1, $2) order by business_id, id limit $3 for share""",
    "directory.object": """
        select * from record_object where (business_id, id) > ($1, $2) order by business_id, id limit $3 for share""",
    "directory.record": """
        select * from record where (business_id, id) > ($1, $2) order by business_id, id limit $3 for share""",
}
"""The rows behind each event's type. Locked, so that no newer version can come before the older one in the log."""


async def list_slice(tx: Transaction, event_type: str, after: tuple[UUID, UUID], limit: int) -> list[Row]:
    """Lock and list the next rows behind an event's type, in order of (business, id)."""
    return [dict(row) for row in await tx.fetch(SLICES[event_type], *after, limit)]
