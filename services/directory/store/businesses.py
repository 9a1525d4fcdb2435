"""Businesses and the objects of their records."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.database import Transaction

Row = dict[str, Any]


async def insert_business(tx: Transaction, business_id: UUID, name: str, zone: str, at: datetime) -> Row:
    """Insert a business and return it."""
    rows = await tx.fetch(
        """
        insert into business (business_id, version, name, zone, settings, created_at)
        values ($1, 1, $2, $3, '{}', $4)
        returning business_id, business_id as id, version, name, zone, settings, created_at, deleted_at
        """,
        business_id,
        name,
        zone,
        at,
    )
    return dict(rows[0])


async def find_business(tx: Transaction, business_id: UUID, *, lock: bool = False) -> Row | None:
    """Find a business, and lock it if asked."""
    row = await tx.find(
        f"""
        select business_id, business_id as id, version, name, zone, settings, created_at, deleted_at from business
        where business_id = $1 and deleted_at is null {"for update" if lock else ""}
        """,  # noqa: S608 - fixed texts
        business_id,
    )
    return dict(row) if row else None


async def save_settings(tx: Transaction, business_id: UUID, settings: bytes) -> Row:
    """Save the settings (JSON) of a locked business as its next version."""
    rows = await tx.fetch(
        """
        update business set version = version + 1, settings = $2 where business_id = $1
        returning business_id, business_id as id, version, name, zone, settings, created_at, deleted_at
        """,
        business_id, settings,
    )  # fmt: skip
    return dict(rows[0])


async def list_businesses(tx: Transaction, after: tuple[datetime, UUID], limit: int) -> list[Row]:
    """List all businesses, newest first (for the operator: worker's transaction)."""
    rows = await tx.fetch(
        """
        select business_id as id, version, name, zone, created_at, deleted_at from business
        where (created_at, business_id) < ($1, $2)
        order by created_at desc, business_id desc limit $3
        """,
        *after,
        limit,
    )
    return [dict(row) for row in rows]


async def insert_objects(
    tx: Transaction, business_id: UUID, objects: Sequence[tuple[UUID, str, str, list[str]]], at: datetime
) -> list[Row]:
    """Insert record objects given as (id, api_name, name, statuses) and return them."""
    inserted = []
    for object_id, api_name, name, statuses in objects:
        rows = await tx.fetch(
            """
            insert into record_object (business_id, id, version, name, api_name, statuses, created_at)
            values ($1, $2, 1, $3, $4, $5::text[], $6) returning *
            """,
            business_id,
            object_id,
            name,
            api_name,
            statuses,
            at,
        )
        inserted.append(dict(rows[0]))
    return inserted


async def find_object(tx: Transaction, business_id: UUID, api_name: str) -> Row | None:
    """Find a record object by its api_name."""
    row = await tx.find(
        "select * from record_object where business_id = $1 and api_name = $2 and deleted_at is null",
        business_id,
        api_name,
    )
    return dict(row) if row else None
