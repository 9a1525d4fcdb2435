"""A copy of what records there are."""

from collections.abc import Collection, Sequence
from uuid import UUID

from libs.contracts.directory import Record
from libs.database import Transaction


async def upsert_records(tx: Transaction, records: Sequence[Record]) -> None:
    """Save the state of records where it is newer; at most one state of each."""
    await tx.execute(
        """
        insert into record (business_id, id, version, object, name, deleted_at)
        select distinct on (business_id, id) *
        from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::timestamptz[])
            as new (business_id, id, version, object, name, deleted_at)
        order by business_id, id, version desc
        on conflict (business_id, id) do update
        set version = excluded.version, object = excluded.object, name = excluded.name, deleted_at = excluded.deleted_at
        where record.version < excluded.version
        """,
        [record.business_id for record in records],
        [record.id for record in records],
        [record.version for record in records],
        [record.object for record in records],
        [record.name for record in records],
        [record.deleted_at for record in records],
    )


async def list_records(
    tx: Transaction, business_id: UUID, record_ids: Collection[UUID]
) -> dict[UUID, tuple[str, str, bool]]:
    """Find records: object, name, and whether it is deleted. Unknown ones are not in the answer."""
    rows = await tx.fetch(
        """
        select id, object, name, deleted_at is not null from record
        where business_id = $1 and id = any($2::uuid[])
        """,
        business_id, list(record_ids),
    )  # fmt: skip
    return {row[0]: (row[1], row[2], row[3]) for row in rows}
