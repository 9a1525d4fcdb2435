"""Records of all objects."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.access.sight import readable
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
    account_id: UUID | None = None
    visible_role_ids: tuple[UUID, ...] | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where records are: the object of a business; with `role_ids` those alone that members of these roles see."""

    business_id: UUID
    object: str
    role_ids: tuple[UUID, ...] | None = None


def _seen(place: str) -> str:
    return f"({place}::uuid[] is null or {readable('record.business_id', 'array[record.id]', place)})"


async def save_records(
    tx: Transaction, place: Place, records: Sequence[NewRecord], at: datetime, *, replace: bool
) -> list[Row]:
    """Insert records and return what was written; ids must be different from each other.

    With `replace` those that exist are brought to the new state as their next version, unless they have it already;
    their account and who sees them stay where nothing is said of them. Without it they stay as they are. Deleted ones
    come back either way, erased ones never. The caller holds those that exist locked.
    """
    rows = await tx.fetch(
        f"""
        insert into record (business_id, id, version, object, external_ref, name, status, owner_id, fields,
                            account_id, visible_role_ids, created_at, updated_at)
        select $1, new.id, 1, $2, new.external_ref, new.name, new.status, new.owner_id, new.fields,
               coalesce(new.account_id, held.account_id),
               coalesce(new.visible_role_ids::uuid[], held.visible_role_ids, '{{}}'), $3, $3
        from unnest($5::uuid[], $6::text[], $7::text[], $8::text[], $9::uuid[], $10::jsonb[], $11::uuid[], $12::text[])
             as new (id, external_ref, name, status, owner_id, fields, account_id, visible_role_ids)
        left join lateral (
            select account_id, visible_role_ids from record
            where business_id = $1 and id = new.id limit 1) as held on true
        order by new.id
        on conflict (business_id, id) do update
        set version = record.version + 1, name = excluded.name, status = excluded.status,
            owner_id = excluded.owner_id, fields = excluded.fields, account_id = excluded.account_id,
            visible_role_ids = excluded.visible_role_ids, updated_at = excluded.updated_at, deleted_at = null
        where record.erased_at is null and {_seen("$13")} and (record.deleted_at is not null
           or $4 and (record.name, record.status, record.owner_id, record.fields, record.account_id,
                      record.visible_role_ids)
                     is distinct from (excluded.name, excluded.status, excluded.owner_id, excluded.fields,
                                       excluded.account_id, excluded.visible_role_ids))
        returning *
        """,  # noqa: S608 - a fixed text
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
        [record.account_id for record in records],
        [None if record.visible_role_ids is None else _ids(record.visible_role_ids) for record in records],
        place.role_ids,
    )
    return [dict(row) for row in rows]


def _ids(found: Collection[UUID]) -> str:
    return f"{{{','.join(map(str, found))}}}"


async def lock_existing(tx: Transaction, business_id: UUID, record_ids: Collection[UUID]) -> dict[UUID, Row]:
    """Lock those of the records that exist, deleted ones too, in the order of their ids.

    Each is found by itself, here and below: for `any` of a list the planner reads a whole business that it has not
    counted, so that every batch of an import read all that came before it.
    """
    rows = await tx.fetch(
        """
        select record.* from unnest($2::uuid[]) as wanted (id)
        cross join lateral (
            select * from record where business_id = $1 and id = wanted.id limit 1 for update) as record
        """,
        business_id, sorted(record_ids),
    )  # fmt: skip
    return {row["id"]: dict(row) for row in rows}


async def find_record(tx: Transaction, place: Place, record_id: UUID) -> Row | None:
    """Find a record that is not deleted."""
    row = await tx.find(
        f"""
        select * from record
        where business_id = $1 and object = $2 and id = $3 and deleted_at is null and {_seen("$4")}
        """,  # noqa: S608 - a fixed text
        *_whose(place, record_id),
    )
    return dict(row) if row else None


async def lock_record(tx: Transaction, place: Place, record_id: UUID) -> Row | None:
    """Lock a record that is not deleted."""
    row = await tx.find(
        f"""
        select * from record
        where business_id = $1 and object = $2 and id = $3 and deleted_at is null and {_seen("$4")} for update
        """,  # noqa: S608 - a fixed text
        *_whose(place, record_id),
    )
    return dict(row) if row else None


async def find_any(tx: Transaction, place: Place, record_id: UUID) -> Row | None:
    """Find a record, deleted or not."""
    row = await tx.find(
        f"select * from record where business_id = $1 and object = $2 and id = $3 and {_seen('$4')}",  # noqa: S608
        *_whose(place, record_id),
    )
    return dict(row) if row else None


async def erase_records(tx: Transaction, business_id: UUID, record_ids: Collection[UUID], at: datetime) -> list[Row]:
    """Take everything personal from locked records, as their next versions; an id stays what its ref made it."""
    rows = await tx.fetch_many(
        """
        update record
        set version = version + 1, name = 'Erased', external_ref = null, fields = '{}', updated_at = $3, erased_at = $3
        where business_id = $1 and id = $2 returning *
        """,
        [(business_id, each, at) for each in record_ids],
    )
    return [dict(row) for row in rows]


async def list_ids(tx: Transaction, place: Place, record_ids: Collection[UUID]) -> set[UUID]:
    """Tell which of these are records there that are not deleted."""
    rows = await tx.fetch(
        f"""
        select record.id from unnest($3::uuid[]) as wanted (id)
        cross join lateral (
            select business_id, id, object, deleted_at from record
            where business_id = $1 and id = wanted.id limit 1) as record
        where object = $2 and deleted_at is null and {_seen("$4")}
        """,  # noqa: S608 - a fixed text
        place.business_id, place.object, list(record_ids), place.role_ids,
    )  # fmt: skip
    return {row[0] for row in rows}


async def find_erased(tx: Transaction, place: Place, record_id: UUID) -> Row | None:
    """Find a record that was erased, deleted or not."""
    row = await tx.find(
        f"""
        select * from record
        where business_id = $1 and object = $2 and id = $3 and erased_at is not null and {_seen("$4")}
        """,  # noqa: S608 - a fixed text
        *_whose(place, record_id),
    )
    return dict(row) if row else None


async def list_erased(tx: Transaction, business_id: UUID, record_ids: Collection[UUID]) -> set[UUID]:
    """Tell which of the records were erased."""
    rows = await tx.fetch(
        """
        select record.id from unnest($2::uuid[]) as wanted (id)
        cross join lateral (
            select id, erased_at from record where business_id = $1 and id = wanted.id limit 1) as record
        where erased_at is not null
        """,
        business_id, list(record_ids),
    )  # fmt: skip
    return {row[0] for row in rows}


async def save_record(tx: Transaction, record: Row) -> Row:
    """Save a locked record as its next version."""
    rows = await tx.fetch(
        """
        update record
        set version = version + 1, name = $3, status = $4, owner_id = $5, fields = $6, updated_at = $7, deleted_at = $8,
            archived_at = $9, visible_role_ids = $10::uuid[], account_id = $11, merged_into = $12, converted_to = $13
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
        record["archived_at"],
        record["visible_role_ids"],
        record["account_id"],
        record["merged_into"],
        record["converted_to"],
    )
    return dict(rows[0])


async def list_records(
    tx: Transaction, place: Place, wanted: tuple[str | None, bool], after: tuple[datetime, UUID], limit: int
) -> list[Row]:
    """List records that are not deleted nor merged into others, newest first.

    `wanted`: a part of the name in any case, and whether those that are archived, or those that are not.
    """
    search, archived = wanted
    rows = await tx.fetch(
        f"""
        select * from record
        where business_id = $1 and object = $2 and deleted_at is null and (created_at, id) < ($3, $4)
          and ($5::text is null or name ilike $5) and (archived_at is not null) = $7 and merged_into is null
          and {_seen("$8")}
        order by created_at desc, id desc limit $6
        """,  # noqa: S608 - a fixed text
        place.business_id,
        place.object,
        *after,
        None if search is None else f"%{escape_like(search)}%",
        limit,
        archived,
        place.role_ids,
    )
    return [dict(row) for row in rows]


def _whose(place: Place, record_id: UUID) -> tuple[Any, ...]:
    return place.business_id, place.object, record_id, place.role_ids


def escape_like(text: str) -> str:
    r"""Take the special meaning from `%`, `_` and `\` in a pattern."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
