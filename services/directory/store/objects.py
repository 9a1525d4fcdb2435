"""Record objects: the presets and a business's own."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.database import Transaction

Row = dict[str, Any]


async def save_object(tx: Transaction, new: Row) -> Row | None:
    """Insert a record object, or bring a deleted one back as its next version; None where there is a live one."""
    row = await tx.find(
        """
        insert into record_object (business_id, id, version, name, api_name, statuses, created_at, locked_fields)
        values ($1, $2, 1, $3, $4, $5::text[], $6, $7::text[])
        on conflict (business_id, api_name) do update
        set version = record_object.version + 1, name = excluded.name, statuses = excluded.statuses, deleted_at = null,
            locked_fields = excluded.locked_fields
        where record_object.deleted_at is not null
        returning *
        """,
        new["business_id"], new["id"], new["name"], new["api_name"], new["statuses"], new["created_at"],
        new["locked_fields"],
    )  # fmt: skip
    return dict(row) if row else None


async def find_object(tx: Transaction, business_id: UUID, text: str, object_id: UUID | None) -> Row | None:
    """Find a record object that is not deleted, by api_name or id."""
    row = await tx.find(
        """
        select * from record_object
        where business_id = $1 and (api_name = $2 or id = $3) and deleted_at is null
        """,
        business_id, text, object_id,
    )  # fmt: skip
    return dict(row) if row else None


async def lock_object(tx: Transaction, business_id: UUID, text: str, object_id: UUID | None) -> Row | None:
    """Lock a record object that is not deleted, by api_name or id; whoever writes records of it has to wait."""
    row = await tx.find(
        """
        select * from record_object
        where business_id = $1 and (api_name = $2 or id = $3) and deleted_at is null for update
        """,
        business_id, text, object_id,
    )  # fmt: skip
    return dict(row) if row else None


async def hold_object(tx: Transaction, business_id: UUID, api_name: str) -> Row | None:
    """Find a record object to write records of, and keep it from being deleted meanwhile."""
    row = await tx.find(
        """
        select * from record_object
        where business_id = $1 and api_name = $2 and deleted_at is null for key share
        """,
        business_id, api_name,
    )  # fmt: skip
    return dict(row) if row else None


async def list_objects(tx: Transaction, business_id: UUID, after: tuple[datetime, UUID], limit: int) -> Sequence[Row]:
    """List record objects that are not deleted, newest first."""
    rows = await tx.fetch(
        """
        select * from record_object
        where business_id = $1 and deleted_at is null and (created_at, id) < ($2, $3)
        order by created_at desc, id desc limit $4
        """,
        business_id, *after, limit,
    )  # fmt: skip
    return [dict(row) for row in rows]


async def update_object(tx: Transaction, changed: Row) -> Row:
    """Save a locked record object as its next version."""
    rows = await tx.fetch(
        """
        update record_object set version = version + 1, name = $3, statuses = $4::text[], deleted_at = $5,
            locked_fields = $6::text[]
        where business_id = $1 and id = $2 returning *
        """,
        changed["business_id"], changed["id"], changed["name"], changed["statuses"], changed["deleted_at"],
        changed["locked_fields"],
    )  # fmt: skip
    return dict(rows[0])


async def has_records(tx: Transaction, business_id: UUID, api_name: str) -> bool:
    """Tell whether there are records of an object that are not deleted."""
    found: bool = await tx.value(
        "select exists (select from record where business_id = $1 and object = $2 and deleted_at is null)",
        business_id, api_name,
    )  # fmt: skip
    return found
