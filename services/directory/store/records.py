"""Records of all objects."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.database import Transaction

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A record to be saved; `fields` is JSON."""

    id: UUID
    external_ref: str | None
    name: str
    status: str | None
    owner_id: UUID | None
    fields: bytes


@dataclass(frozen=True, slots=True)
class Place:
    """Where records are: the object of a business."""

    business_id: UUID
    object: str


async def save_records(
    tx: Transaction, place: Place, records: Sequence[NewRecord], at: datetime, *, replace: bool
) -> list[Row]:
    """Insert records and return what was written; ids must be different from each other.

    With `replace` those that exist are brought to the new state as their next version, unless they have it already.
    Without it they stay as they are. Deleted ones come back either way, erased ones never.
    """
    rows = await tx.fetch(
        """
        insert into record (business_id, id, version, object, external_ref, name, status, owner_id, fields,
                            created_at, updated_at)
        select $1, id, 1, $2, external_ref, name, status, owner_id, fields, $3, $3
        from unnest($5::uuid[], $6::text[], $7::text[], $8::text[], $9::uuid[], $10::jsonb[])
             as new (id, external_ref, name, status, owner_id, fields)
        order by id
        on conflict (business_id, id) do update
        set version = record.version + 1, name = excluded.name, status = excluded.status,
            owner_id = excluded.owner_id, fields = excluded.fields, updated_at = excluded.updated_at,
            deleted_at = null
        where record.erased_at is null and (record.deleted_at is not null
           or $4 and (record.name, record.status, record.owner_id, record.fields)
                     is distinct from (excluded.name, excluded.status, excluded.owner_id, excluded.fields))
        returning *
        """,
        place.business_id,
        place.object,
        at,
        replace,
        [record.id for record in records],
        [record.external_ref for record in records],
        [record.name for record in records],
        [record.status for record in records],
        [record.owner_id for record in records],
        [record.fields for record in records],
    )
    return [dict(row) for row in rows]


async def find_record(tx: Transaction, place: Place, record_id: UUID) -> Row | None:
    """Find a record that is not deleted."""
    row = await tx.find(
        "select * from record where business_id = $1 and object = $2 and id = $3 and deleted_at is null",
        place.business_id,
        place.object,
        record_id,
    )
    return dict(row) if row else None


async def lock_record(tx: Transaction, place: Place, record_id: UUID) -> Row | None:
    """Lock a record that is not deleted."""
    row = await tx.find(
        "select * from record where business_id = $1 and object = $2 and id = $3 and deleted_at is null for update",
        place.business_id,
        place.object,
        record_id,
    )
    return dict(row) if row else None


async def lock_any(tx: Transaction, place: Place, record_id: UUID) -> Row | None:
    """Lock a record, deleted or not."""
    row = await tx.find(
        "select * from record where business_id = $1 and object = $2 and id = $3 for update",
        place.business_id,
        place.object,
        record_id,
    )
    return dict(row) if row else None


async def erase_record(tx: Transaction, business_id: UUID, record_id: UUID, at: datetime) -> Row:
    """Take everything personal from a locked record, as its next version; its id stays what its ref made it."""
    rows = await tx.fetch(
        """
        update record
        set version = version + 1, name = 'Erased', external_ref = null, fields = '{}', updated_at = $3, erased_at = $3
        where business_id = $1 and id = $2 returning *
        """,
        business_id, record_id, at,
    )  # fmt: skip
    return dict(rows[0])


async def find_erased(tx: Transaction, place: Place, record_id: UUID) -> Row | None:
    """Find a record that was erased, deleted or not."""
    row = await tx.find(
        "select * from record where business_id = $1 and object = $2 and id = $3 and erased_at is not null",
        place.business_id,
        place.object,
        record_id,
    )
    return dict(row) if row else None


async def list_erased(tx: Transaction, business_id: UUID, record_ids: Collection[UUID]) -> set[UUID]:
    """Tell which of the records were erased."""
    rows = await tx.fetch(
        "select id from record where business_id = $1 and id = any($2::uuid[]) and erased_at is not null",
        business_id,
        list(record_ids),
    )
    return {row[0] for row in rows}


async def save_record(tx: Transaction, record: Row) -> Row:
    """Save a locked record as its next version."""
    rows = await tx.fetch(
        """
        update record
        set version = version + 1, name = $3, status = $4, owner_id = $5, fields = $6, updated_at = $7, deleted_at = $8
        where business_id = $1 and id = $2 returning *
        """,
        record["business_id"],
        record["id"],
        record["name"],
        record["status"],
        record["owner_id"],
        record["fields"],
        record["updated_at"],
        record["deleted_at"],
    )
    return dict(rows[0])


async def list_records(
    tx: Transaction, place: Place, search: str | None, after: tuple[datetime, UUID], limit: int
) -> list[Row]:
    """List records that are not deleted, newest first; `search` is a part of the name in any case."""
    rows = await tx.fetch(
        """
        select * from record
        where business_id = $1 and object = $2 and deleted_at is null and (created_at, id) < ($3, $4)
          and ($5::text is null or name ilike $5)
        order by created_at desc, id desc limit $6
        """,
        place.business_id,
        place.object,
        *after,
        None if search is None else f"%{escape_like(search)}%",
        limit,
    )
    return [dict(row) for row in rows]


def escape_like(text: str) -> str:
    r"""Take the special meaning from `%`, `_` and `\` in a pattern."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
