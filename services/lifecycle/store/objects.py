"""Activity objects: their latest definition."""

from collections.abc import Collection, Sequence
from uuid import UUID

import msgspec

from libs.contracts.activity_object import ActivityObject
from libs.contracts.decoding import decoder_of
from libs.database import Transaction

decode = decoder_of(ActivityObject)


async def list_objects(tx: Transaction, business_ids: Collection[UUID]) -> dict[UUID, list[ActivityObject]]:
    """List the activity objects of businesses, archived ones too, in their order."""
    rows = await tx.fetch(
        "select business_id, document from activity_object where business_id = any($1::uuid[]) order by position, id",
        list(business_ids),
    )
    found: dict[UUID, list[ActivityObject]] = {}
    for business_id, document in rows:
        found.setdefault(business_id, []).append(decode(document))
    return found


async def insert_objects(tx: Transaction, objects: Sequence[ActivityObject]) -> set[UUID]:
    """Insert those activity objects that are missing and return their ids."""
    rows = await tx.fetch(
        """
        insert into activity_object (business_id, id, version, api_name, position, document)
        select * from unnest($1::uuid[], $2::uuid[], $3::int[], $4::text[], $5::int[], $6::bytea[])
            as new (business_id, id, version, api_name, position, document)
        order by business_id, id on conflict do nothing returning id
        """,
        [each.business_id for each in objects],
        [each.id for each in objects],
        [each.version for each in objects],
        [each.api_name for each in objects],
        [each.order for each in objects],
        [document_of(each) for each in objects],
    )
    return {row[0] for row in rows}


async def page_objects(tx: Transaction, after: tuple[UUID, UUID] | None, limit: int) -> list[ActivityObject]:
    """Page through the activity objects of all businesses in the order of their keys."""
    business_id, object_id = after or (UUID(int=0), UUID(int=0))
    rows = await tx.fetch(
        """
        select document from activity_object
        where (business_id, id) > ($1, $2) order by business_id, id limit $3
        """,
        business_id, object_id, limit,
    )  # fmt: skip
    return [decode(row[0]) for row in rows]


def document_of(definition: ActivityObject) -> bytes:
    """Write a definition as the event that carries it."""
    if isinstance(definition, msgspec.Struct):
        return msgspec.json.encode(definition)
    return definition.model_dump_json().encode()
