"""Activity objects: their latest definition, and how many activities of each were logged."""

from collections.abc import Collection, Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec

from libs.contracts.activity_object import ActivityObject
from libs.contracts.decoding import decoder_of
from libs.database import Transaction

DEFINITIONS_KEPT_MAX = 20_000
"""Definitions that are kept decoded at a time."""

decode = decoder_of(ActivityObject)
_kept: dict[tuple[UUID, UUID], ActivityObject] = {}


class Place(NamedTuple):
    """Which version of which activity object."""

    business_id: UUID
    id: UUID
    version: int


async def list_objects(tx: Transaction, business_ids: Collection[UUID]) -> dict[UUID, list[ActivityObject]]:
    """List the activity objects of businesses, archived ones too, in their order.

    Their versions are read each time, and only documents that are newer than those kept in memory. To be called before
    a transaction writes definitions: what is kept must have been committed.
    """
    rows = await tx.fetch(
        """
        select business_id, id, version from activity_object
        where business_id = any($1::uuid[]) order by position, id
        """,
        list(business_ids),
    )
    return await list_at(tx, [Place(*row) for row in rows])


async def list_at(tx: Transaction, places: Sequence[Place]) -> dict[UUID, list[ActivityObject]]:
    """List definitions by business, in the order of places that were read in this transaction; see `list_objects`."""
    kept = {place: each for place in places if (each := _kept_of(place)) is not None}
    if len(kept) < len(places):
        kept |= await _keep(tx, [place for place in places if place not in kept])
    found: dict[UUID, list[ActivityObject]] = {}
    for place in places:
        found.setdefault(place.business_id, []).append(kept[place])
    return found


async def insert_objects(tx: Transaction, objects: Sequence[ActivityObject]) -> set[UUID]:
    """Insert those activity objects whose id and api_name are not taken, and return their ids."""
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


async def lock_object(tx: Transaction, business_id: UUID, object_id: UUID) -> ActivityObject | None:
    """Lock an activity object and read its latest definition."""
    document = await tx.value(
        "select document from activity_object where business_id = $1 and id = $2 for no key update",
        business_id, object_id,
    )  # fmt: skip
    return None if document is None else decode(document)


async def save_object(tx: Transaction, definition: ActivityObject) -> None:
    """Save the next version of a locked activity object."""
    await tx.execute(
        """
        update activity_object set version = $3, position = $4, deleted_at = $5, document = $6
        where business_id = $1 and id = $2
        """,
        definition.business_id, definition.id, definition.version, definition.order, definition.deleted_at,
        document_of(definition),
    )  # fmt: skip


async def count_logged(tx: Transaction, business_id: UUID, object_ids: Collection[UUID]) -> dict[UUID, int]:
    """Count the logged activities of objects, as they are now; deleted ones do not count, of several that tell of one
    event one does.
    """
    rows = await tx.fetch(
        """
        select type_id, sum(number)::bigint from (
            select type_id, count(*) as number from activity
            where business_id = $1 and type_id = any($2::uuid[]) and logged_at is not null and deleted_at is null
            group by type_id
            union all
            select type_id, -count(*) from activity
            where business_id = $1 and type_id = any($2::uuid[]) and logged_at is not null and deleted_at is null
                and same_as is not null
            group by type_id) as counted
        group by type_id
        """,
        business_id, list(object_ids),
    )  # fmt: skip
    return {row[0]: row[1] for row in rows}


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
    return msgspec.json.encode(definition)


def _kept_of(place: Place) -> ActivityObject | None:
    kept = _kept.get((place.business_id, place.id))
    return kept if kept is not None and kept.version == place.version else None


async def _keep(tx: Transaction, places: Sequence[Place]) -> dict[Place, ActivityObject]:
    """Read definitions and keep them in memory; one may be newer by now than its place says."""
    rows = await tx.fetch(
        """
        select o.business_id, o.id, o.document from activity_object o
        join unnest($1::uuid[], $2::uuid[]) as wanted (business_id, id)
            on o.business_id = wanted.business_id and o.id = wanted.id
        """,
        [place.business_id for place in places],
        [place.id for place in places],
    )
    read = {(row[0], row[1]): decode(row[2]) for row in rows}
    if len(_kept) > DEFINITIONS_KEPT_MAX:
        _kept.clear()
    _kept.update(read)
    return {place: read[place.business_id, place.id] for place in places}
