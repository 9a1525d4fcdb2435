"""API keys and member tokens: their hashes, never their text."""

from datetime import datetime
from typing import Any
from uuid import UUID

from libs.database import Transaction

Row = dict[str, Any]


async def insert_key(tx: Transaction, key: Row) -> Row:
    """Insert a key (business_id, id, kind, name, hash, scopes, member_id, created_at, expires_at)."""
    rows = await tx.fetch(
        """
        insert into api_key (business_id, id, version, kind, name, hash, scopes, member_id, created_at, expires_at)
        values ($1, $2, 1, $3, $4, $5, $6::text[], $7, $8, $9) returning *
        """,
        key["business_id"],
        key["id"],
        key["kind"],
        key["name"],
        key["hash"],
        key["scopes"],
        key["member_id"],
        key["created_at"],
        key["expires_at"],
    )
    return dict(rows[0])


async def revoke_key(tx: Transaction, business_id: UUID, key_id: UUID, at: datetime) -> Row | None:
    """Revoke a live key and return its next version; None where there is none or it was revoked before."""
    row = await tx.find(
        """
        update api_key set version = version + 1, revoked_at = $3
        where business_id = $1 and id = $2 and revoked_at is null returning *
        """,
        business_id,
        key_id,
        at,
    )
    return dict(row) if row else None


async def end_key(tx: Transaction, business_id: UUID, key_id: UUID, at: datetime) -> Row | None:
    """Let a live key of kind `api` end at `at`, or earlier where that was said; None where there is none."""
    row = await tx.find(
        """
        update api_key set version = version + 1, expires_at = least(expires_at, $3)
        where business_id = $1 and id = $2 and kind = 'api' and revoked_at is null
            and (expires_at is null or expires_at > now())
        returning *
        """,
        business_id,
        key_id,
        at,
    )
    return dict(row) if row else None


async def find_key(tx: Transaction, business_id: UUID, key_id: UUID) -> Row | None:
    """Find a key, revoked or not."""
    row = await tx.find("select * from api_key where business_id = $1 and id = $2", business_id, key_id)
    return dict(row) if row else None


async def list_keys(tx: Transaction, business_id: UUID, after: tuple[datetime, UUID], limit: int) -> list[Row]:
    """List keys and tokens, newest first, revoked ones too."""
    rows = await tx.fetch(
        """
        select * from api_key where business_id = $1 and (created_at, id) < ($2, $3)
        order by created_at desc, id desc limit $4
        """,
        business_id,
        *after,
        limit,
    )
    return [dict(row) for row in rows]
