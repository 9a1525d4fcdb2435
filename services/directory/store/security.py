"""The history of what concerns security: one row an event, never changed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from libs.database import Transaction

Row = dict[str, Any]
Kind = Literal["key.made", "key.rotated", "key.revoked", "record.erased"]


@dataclass(frozen=True, slots=True)
class By:
    """By whom and by which request something was done; the operator has neither key nor member."""

    business_id: UUID
    key_id: UUID | None
    member_id: UUID | None
    request_id: str


async def insert_event(tx: Transaction, kind: Kind, subject_id: UUID, by: By, reason: str | None = None) -> Row:
    """Note what was done to a key or a record, in the transaction that does it."""
    rows = await tx.fetch(
        """
        insert into security_event (business_id, kind, subject_id, by_key, by_member, reason, request_id)
        values ($1, $2, $3, $4, $5, $6, $7) returning *
        """,
        by.business_id, kind, subject_id, by.key_id, by.member_id, reason, by.request_id,
    )  # fmt: skip
    return dict(rows[0])


async def find_event(tx: Transaction, business_id: UUID, kind: Kind, subject_id: UUID) -> Row | None:
    """Find the newest event of a kind about a key or a record."""
    row = await tx.find(
        """
        select * from security_event where business_id = $1 and kind = $2 and subject_id = $3
        order by created_at desc, id desc limit 1
        """,
        business_id, kind, subject_id,
    )  # fmt: skip
    return dict(row) if row else None


async def list_events(tx: Transaction, business_id: UUID, after: tuple[datetime, UUID], limit: int) -> list[Row]:
    """List events, newest first."""
    rows = await tx.fetch(
        """
        select * from security_event where business_id = $1 and (created_at, id) < ($2, $3)
        order by created_at desc, id desc limit $4
        """,
        business_id, *after, limit,
    )  # fmt: skip
    return [dict(row) for row in rows]
