"""All SQL that looks a caller up. It reads the same columns in a service's copy and in directory's own tables."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import orjson
from asyncpg import Record

from libs.access.levels import PERMISSIONS, join_levels
from libs.access.principal import Standing
from libs.contracts.directory import KeyKind
from libs.database import Transaction


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key as look-up needs it. `ended`: its business or the member it belongs to is deleted."""

    business_id: UUID
    id: UUID
    kind: KeyKind
    hash: str
    scopes: frozenset[str]
    member_id: UUID | None
    expires_at: datetime | None
    revoked_at: datetime | None
    zone: str
    ended: bool


async def list_keys(tx: Transaction, places: Collection[tuple[UUID, UUID]]) -> dict[tuple[UUID, UUID], KeyRow]:
    """Look up keys by (business, id). A key whose business or own member is not known yet is not known either."""
    rows = await tx.fetch(
        """
        select k.business_id, k.id, k.kind, k.hash, k.scopes, k.member_id, k.expires_at, k.revoked_at, b.zone,
               b.deleted_at is not null or m.deleted_at is not null as ended
        from unnest($1::uuid[], $2::uuid[]) as wanted (business_id, id)
        join api_key k on k.business_id = wanted.business_id and k.id = wanted.id
        join business b on b.business_id = k.business_id
        left join member m on m.business_id = k.business_id and m.id = k.member_id
        where k.member_id is null or m.id is not null
        """,
        [business_id for business_id, _ in places],
        [key_id for _, key_id in places],
    )
    return {(row[0], row[1]): _key_of(row) for row in rows}


async def list_standings(tx: Transaction, places: Collection[tuple[UUID, UUID]]) -> dict[tuple[UUID, UUID], Standing]:
    """Look up live members by (business, id): what their roles allow them together.

    A role that is not known here yet allows nothing; it keeps those that say nothing from meaning the default.
    """
    rows = await tx.fetch(
        """
        select m.business_id, m.id, m.role_ids, held.role_ids, held.permissions, held.known
        from unnest($1::uuid[], $2::uuid[]) as wanted (business_id, id)
        join member m on m.business_id = wanted.business_id and m.id = wanted.id and m.deleted_at is null
        cross join lateral (
            select coalesce(array_agg(r.id) filter (where r.deleted_at is null), '{}') as role_ids,
                   coalesce(jsonb_agg(r.permissions) filter (where r.deleted_at is null), '[]') as permissions,
                   count(*) as known
            from role r where r.business_id = m.business_id and r.id = any(m.role_ids)
        ) as held
        """,
        [business_id for business_id, _ in places],
        [member_id for _, member_id in places],
    )
    return {(row[0], row[1]): _standing_of(row) for row in rows}


async def find_copy_age(tx: Transaction) -> float | None:
    """Find how many seconds ago this copy was up to date; None before the first time."""
    age_s = await tx.value("select extract(epoch from now() - fresh_at)::float8 from access_copy")
    return None if age_s is None else float(age_s)


async def save_copy_age(tx: Transaction, age_s: float) -> None:
    """Note that this copy was up to date so many seconds ago."""
    await tx.execute(
        """insert into access_copy (fresh_at) values (now() - make_interval(secs => $1::float8))
        on conflict (one) do update set fresh_at = greatest(access_copy.fresh_at, excluded.fresh_at)""",
        age_s,
    )


def _standing_of(row: Record) -> Standing:
    roles = orjson.loads(row["permissions"])
    if row["known"] < len(set(row[2])):
        roles.append(dict.fromkeys(PERMISSIONS, "none"))
    return Standing(frozenset(row[3]), join_levels(roles))


def _key_of(row: Record) -> KeyRow:
    return KeyRow(
        business_id=row["business_id"],
        id=row["id"],
        kind=row["kind"],
        hash=row["hash"],
        scopes=frozenset(row["scopes"]),
        member_id=row["member_id"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        zone=row["zone"],
        ended=row["ended"],
    )
