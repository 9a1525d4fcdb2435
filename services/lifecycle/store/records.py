"""A copy of what records there are, and of what kinds."""

from collections.abc import Collection, Sequence
from uuid import UUID

import msgspec
import orjson

from libs.access.sight import readable
from libs.contracts.directory import Record, RecordObject
from libs.database import Transaction

_encode = msgspec.json.Encoder().encode


async def upsert_records(tx: Transaction, records: Sequence[Record]) -> None:
    """Save the state of records where it is newer, or has fields that were not kept before; at most one of each."""
    await tx.execute(
        """
        insert into record (business_id, id, version, object, name, deleted_at, visible_role_ids, merged_into, status,
                            owner_id, fields)
        select distinct on (business_id, id)
               business_id, id, version, object, name, deleted_at, visible_role_ids::uuid[], merged_into, status,
               owner_id, fields
        from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::timestamptz[], $7::text[],
                    $8::uuid[], $9::text[], $10::uuid[], $11::bytea[])
            as new (business_id, id, version, object, name, deleted_at, visible_role_ids, merged_into, status, owner_id,
                    fields)
        order by business_id, id, version desc
        on conflict (business_id, id) do update
        set version = excluded.version, object = excluded.object, name = excluded.name,
            deleted_at = excluded.deleted_at, visible_role_ids = excluded.visible_role_ids,
            merged_into = excluded.merged_into, status = excluded.status, owner_id = excluded.owner_id,
            fields = excluded.fields
        where record.version < excluded.version
            or record.version = excluded.version and record.fields is distinct from excluded.fields
        """,
        [record.business_id for record in records],
        [record.id for record in records],
        [record.version for record in records],
        [record.object for record in records],
        [record.name for record in records],
        [record.deleted_at for record in records],
        [f"{{{','.join(map(str, record.visible_role_ids))}}}" for record in records],
        [record.merged_into for record in records],
        [record.status for record in records],
        [record.owner_id for record in records],
        [_encode(record.fields) for record in records],
    )


async def list_records(
    tx: Transaction, business_id: UUID, record_ids: Collection[UUID], role_ids: Collection[UUID] | None = None
) -> dict[UUID, tuple[str, str, bool]]:
    """Find records: object, name, and whether it is deleted. Unknown ones are not in the answer.

    With `role_ids` neither are those that are for other roles only. Each is found by itself, here and below: for `any`
    of a list, too, the planner reads a whole business that it has not counted (see `activities.lock_activities`).
    """
    rows = await tx.fetch(
        f"""
        select record.* from unnest($2::uuid[]) as wanted (id)
        cross join lateral (
            select id, object, name, deleted_at is not null from record
            where business_id = $1 and id = wanted.id limit 1) as record
        where $3::uuid[] is null or {readable("$1", "array[record.id]", "$3")}
        """,  # noqa: S608 - fixed texts
        business_id, list(record_ids), None if role_ids is None else list(role_ids),
    )  # fmt: skip
    return {row[0]: (row[1], row[2], row[3]) for row in rows}


async def list_marks(
    tx: Transaction, business_id: UUID, record_ids: Collection[UUID], role_ids: Collection[UUID] | None
) -> dict[UUID, dict[str, str | bool | UUID]]:
    """Find what records are called (`name`), and which were deleted (`deleted`) or merged into another one
    (`merged_into`). With `role_ids` the names of those that are for other roles only are left out.
    """
    rows = await tx.fetch(
        f"""
        select record.*, $3::uuid[] is null or {readable("$1", "array[record.id]", "$3")}
        from unnest($2::uuid[]) as wanted (id)
        cross join lateral (
            select id, deleted_at is not null as deleted, merged_into, name from record
            where business_id = $1 and id = wanted.id limit 1) as record
        """,  # noqa: S608 - fixed texts
        business_id, list(record_ids), None if role_ids is None else list(role_ids),
    )  # fmt: skip
    return {
        row[0]: ({"deleted": True} if row[1] else {})
        | ({"merged_into": row[2]} if row[2] is not None else {})
        | ({"name": row[3]} if row[4] else {})
        for row in rows
    }


async def list_one(tx: Transaction, business_id: UUID, record_id: UUID) -> tuple[UUID, ...]:
    """List the records that are one with a record since they were merged, this one too."""
    rows = await tx.fetch(
        """
        with standing as materialized (
            select coalesce(merged_into, id) as id from record where business_id = $1 and id = $2 limit 1)
        select record.id from standing
        cross join lateral (select id from record where business_id = $1 and id = standing.id limit 1) as record
        union all
        select record.id from standing
        cross join lateral (
            select id from record where business_id = $1 and merged_into = standing.id offset 0) as record
        """,
        business_id, record_id,
    )  # fmt: skip
    return tuple(row[0] for row in rows)


async def list_guarded(
    tx: Transaction, business_id: UUID, record_ids: Collection[UUID], role_ids: Collection[UUID]
) -> set[UUID]:
    """Tell which of these records are for other roles only."""
    rows = await tx.fetch(
        f"""
        select record.id from unnest($2::uuid[]) as wanted (id)
        cross join lateral (select id from record where business_id = $1 and id = wanted.id limit 1) as record
        where not {readable("$1", "array[record.id]", "$3")}
        """,  # noqa: S608 - fixed texts
        business_id, list(record_ids), list(role_ids),
    )  # fmt: skip
    return {row[0] for row in rows}


async def is_guarded(
    tx: Transaction, business_id: UUID, record_ids: Collection[UUID], role_ids: Collection[UUID]
) -> bool:
    """Tell whether one of these records is for other roles only."""
    found: bool = await tx.value(
        f"select not {readable('$1', '$2::uuid[]', '$3')}",
        business_id, list(record_ids), list(role_ids),
    )  # fmt: skip
    return found


async def upsert_objects(tx: Transaction, kinds: Sequence[RecordObject]) -> None:
    """Save the state of record objects where it is newer; at most one state of each."""
    await tx.execute(
        """
        insert into record_object (business_id, id, version, api_name, deleted_at, locked_fields)
        select distinct on (business_id, id) business_id, id, version, api_name, deleted_at,
               array(select jsonb_array_elements_text(locked_fields))
        from unnest($1::uuid[], $2::uuid[], $3::int[], $4::text[], $5::timestamptz[], $6::jsonb[])
            as new (business_id, id, version, api_name, deleted_at, locked_fields)
        order by business_id, id, version desc
        on conflict (business_id, id) do update
        set version = excluded.version, deleted_at = excluded.deleted_at, locked_fields = excluded.locked_fields
        where record_object.version < excluded.version
        """,
        [kind.business_id for kind in kinds],
        [kind.id for kind in kinds],
        [kind.version for kind in kinds],
        [kind.api_name for kind in kinds],
        [kind.deleted_at for kind in kinds],
        [orjson.dumps(kind.locked_fields) for kind in kinds],
    )


async def list_objects(tx: Transaction, business_ids: Collection[UUID]) -> dict[UUID, dict[str, frozenset[str]]]:
    """List the live record objects of businesses, each with the fields that activities may not write."""
    rows = await tx.fetch(
        """
        select business_id, api_name, locked_fields from record_object
        where business_id = any($1::uuid[]) and deleted_at is null
        """,
        list(business_ids),
    )
    found: dict[UUID, dict[str, frozenset[str]]] = {}
    for business_id, api_name, locked in rows:
        found.setdefault(business_id, {})[api_name] = frozenset(locked)
    return found
