"""Who is who: members, roles and zones as this service's copy knows them. For routes and handlers alike."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from libs.database import Transaction


@dataclass(frozen=True, slots=True)
class KnownMember:
    """A member, live or deleted. `zone` is the member's own, if any."""

    id: UUID
    name: str
    email: str
    zone: str | None
    role_ids: tuple[UUID, ...]
    live: bool


@dataclass(frozen=True, slots=True)
class KnownRole:
    """A role, live or deleted."""

    id: UUID
    name: str
    member_ids: tuple[UUID, ...]
    live: bool


async def find_members(
    tx: Transaction, business_id: UUID, references: Collection[UUID | str]
) -> dict[str, KnownMember]:
    """Find members by id or e-mail address; the answer is by the reference's text, unknown ones are not in it."""
    found = await list_members(tx, [(business_id, str(reference)) for reference in references])
    return {reference: member for (_, reference), member in found.items()}


async def list_members(
    tx: Transaction, references: Collection[tuple[UUID, str]]
) -> dict[tuple[UUID, str], KnownMember]:
    """As `find_members`, for (business, reference) of any number of businesses. Live ones win over deleted ones."""
    by_id = {(business_id, text): _uuid_of(text) for business_id, text in references}
    rows = await tx.fetch(
        """
        select wanted.business_id, wanted.reference, m.id, m.name, m.email, m.zone, m.role_ids,
               m.deleted_at is null as live
        from unnest($1::uuid[], $2::text[], $3::uuid[]) as wanted (business_id, reference, id)
        cross join lateral (
            select * from member where business_id = wanted.business_id and id = wanted.id limit 1) as m
        union all
        select wanted.business_id, wanted.reference, m.id, m.name, m.email, m.zone, m.role_ids,
               m.deleted_at is null as live
        from unnest($1::uuid[], $2::text[], $3::uuid[]) as wanted (business_id, reference, id)
        cross join lateral (
            select * from member where business_id = wanted.business_id and lower(email) = lower(wanted.reference)
            offset 0) as m
        where wanted.id is null and wanted.reference like '%@%'
        order by live
        """,
        [business_id for business_id, _ in by_id],
        [text for _, text in by_id],
        list(by_id.values()),
    )
    return {(row[0], row[1]): KnownMember(row[2], row[3], row[4], row[5], tuple(row[6]), row[7]) for row in rows}


async def find_roles(tx: Transaction, business_id: UUID, role_ids: Collection[UUID]) -> dict[UUID, KnownRole]:
    """Find roles by id; unknown ones are not in the answer."""
    found = await list_roles(tx, [(business_id, role_id) for role_id in role_ids])
    return {role_id: role for (_, role_id), role in found.items()}


async def list_roles(tx: Transaction, places: Collection[tuple[UUID, UUID]]) -> dict[tuple[UUID, UUID], KnownRole]:
    """As `find_roles`, for (business, id) of any number of businesses."""
    rows = await tx.fetch(
        """
        select r.business_id, r.id, r.name, r.member_ids, r.deleted_at is null
        from unnest($1::uuid[], $2::uuid[]) as wanted (business_id, id)
        cross join lateral (
            select * from role where business_id = wanted.business_id and id = wanted.id limit 1) as r
        """,
        [business_id for business_id, _ in places],
        [role_id for _, role_id in places],
    )
    return {(row[0], row[1]): KnownRole(row[1], row[2], tuple(row[3]), row[4]) for row in rows}


async def business_zone(tx: Transaction, business_id: UUID) -> str | None:
    """Find a business's zone (IANA name), None while the business is not known here."""
    return (await list_zones(tx, [business_id])).get(business_id)


async def list_zones(tx: Transaction, business_ids: Collection[UUID]) -> dict[UUID, str]:
    """Find the zones of businesses; unknown ones are not in the answer."""
    rows = await tx.fetch(
        "select business_id, zone from business where business_id = any($1::uuid[])", list(business_ids)
    )
    return {row[0]: row[1] for row in rows}


async def list_zones_and_settings(tx: Transaction, business_ids: Collection[UUID]) -> dict[UUID, tuple[str, bytes]]:
    """Find the zones of businesses, with their settings as JSON; unknown ones are not in the answer."""
    rows = await tx.fetch(
        "select business_id, zone, settings from business where business_id = any($1::uuid[])", list(business_ids)
    )
    return {row[0]: (row[1], row[2]) for row in rows}


async def list_settings(tx: Transaction, business_ids: Collection[UUID]) -> dict[UUID, dict[str, Any]]:
    """Find the settings of businesses; unknown ones are not in the answer."""
    rows = await tx.fetch(
        "select business_id, settings from business where business_id = any($1::uuid[])", list(business_ids)
    )
    return {row[0]: orjson.loads(row[1]) for row in rows}


def _uuid_of(text: str) -> UUID | None:
    try:
        return UUID(text) if len(text) == 36 else None
    except ValueError:
        return None
