"""Records that were found to be one: which stands for which."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.database import Transaction
from services.directory.store.security import By

Row = dict[str, Any]


async def insert_merge(tx: Transaction, by: By, record_id: UUID, survivor_id: UUID, at: datetime) -> None:
    """Note that a survivor stands for a record from now on."""
    await tx.execute(
        """
        insert into record_merge (business_id, record_id, survivor_id, merged_at, by_key, by_member)
        values ($1, $2, $3, $4, $5, $6)
        """,
        by.business_id, record_id, survivor_id, at, by.key_id, by.member_id,
    )  # fmt: skip


async def undo_merge(tx: Transaction, business_id: UUID, record_id: UUID, at: datetime) -> None:
    """Note that a record stands for itself again."""
    await tx.execute(
        "update record_merge set undone_at = $3 where business_id = $1 and record_id = $2 and undone_at is null",
        business_id, record_id, at,
    )  # fmt: skip


async def list_below(tx: Transaction, business_id: UUID, record_id: UUID) -> set[UUID]:
    """List the records that a record stands for, and those that these stand for, and so on."""
    rows = await tx.fetch(
        """
        with recursive below as (
            select record_id from record_merge where business_id = $1 and survivor_id = $2 and undone_at is null
            union
            select m.record_id from below
            join record_merge m on m.business_id = $1 and m.survivor_id = below.record_id and m.undone_at is null
        )
        select record_id from below
        """,
        business_id, record_id,
    )  # fmt: skip
    return {row[0] for row in rows}


async def list_one_person(tx: Transaction, business_id: UUID, record_id: UUID) -> list[UUID]:
    """List the records that were found to be one with a record, this one too, in the order of their ids."""
    rows = await tx.fetch(
        """
        with standing as materialized (
            select coalesce(merged_into, id) as id from record where business_id = $1 and id = $2 limit 1)
        select id from standing
        union all
        select record.id from standing
        cross join lateral (
            select id from record where business_id = $1 and merged_into = standing.id offset 0) as record
        order by id
        """,
        business_id, record_id,
    )  # fmt: skip
    return [row[0] for row in rows]


async def point_to(
    tx: Transaction, business_id: UUID, record_ids: Collection[UUID], survivor_id: UUID | None, at: datetime
) -> list[Row]:
    """Let locked records lead to a survivor, or to themselves, as their next versions."""
    rows = await tx.fetch_many(
        """
        update record set version = version + 1, merged_into = $3, updated_at = $4
        where business_id = $1 and id = $2 and merged_into is distinct from $3 returning *
        """,
        [(business_id, each, survivor_id, at) for each in record_ids],
    )
    return [dict(row) for row in rows]
