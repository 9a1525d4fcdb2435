"""A service's copy of businesses, members, roles and keys: the newest version of each wins, whatever the order."""

from collections.abc import Sequence
from typing import Any

import orjson

from libs.contracts.directory import ApiKey, Business, Member, Role
from libs.database import Transaction


async def save_businesses(tx: Transaction, events: Sequence[Business]) -> None:
    """Save the state of businesses where it is newer."""
    await tx.execute(
        """
        insert into business (business_id, version, name, zone, settings, created_at, deleted_at)
        select distinct on (id) id, version, name, zone, settings, created_at, deleted_at
        from jsonb_to_recordset($1::jsonb) as new (id uuid, version bigint, name text, zone text, settings jsonb,
                                                   created_at timestamptz, deleted_at timestamptz)
        order by id, version desc
        on conflict (business_id) do update
        set version = excluded.version, name = excluded.name, zone = excluded.zone, settings = excluded.settings,
            deleted_at = excluded.deleted_at
        where business.version < excluded.version
        """,
        _rows(events, "id", "version", "name", "zone", "settings", "created_at", "deleted_at"),
    )


async def save_members(tx: Transaction, events: Sequence[Member]) -> None:
    """Save the state of members where it is newer."""
    await tx.execute(
        """
        insert into member (business_id, id, version, name, email, zone, role_ids, created_at, deleted_at)
        select distinct on (business_id, id) business_id, id, version, name, email, zone, role_ids, created_at,
               deleted_at
        from jsonb_to_recordset($1::jsonb) as new (business_id uuid, id uuid, version bigint, name text, email text,
            zone text, role_ids uuid[], created_at timestamptz, deleted_at timestamptz)
        order by business_id, id, version desc
        on conflict (business_id, id) do update
        set version = excluded.version, name = excluded.name, email = excluded.email, zone = excluded.zone,
            role_ids = excluded.role_ids, deleted_at = excluded.deleted_at
        where member.version < excluded.version
        """,
        _rows(events, "business_id", "id", "version", "name", "email", "zone", "role_ids", "created_at", "deleted_at"),
    )


async def save_roles(tx: Transaction, events: Sequence[Role]) -> None:
    """Save the state of roles where it is newer."""
    await tx.execute(
        """
        insert into role (business_id, id, version, name, member_ids, permissions, created_at, deleted_at)
        select distinct on (business_id, id) business_id, id, version, name, member_ids, permissions, created_at,
               deleted_at
        from jsonb_to_recordset($1::jsonb) as new (business_id uuid, id uuid, version bigint, name text,
            member_ids uuid[], permissions jsonb, created_at timestamptz, deleted_at timestamptz)
        order by business_id, id, version desc
        on conflict (business_id, id) do update
        set version = excluded.version, name = excluded.name, member_ids = excluded.member_ids,
            permissions = excluded.permissions, deleted_at = excluded.deleted_at
        where role.version < excluded.version
        """,
        _rows(events, "business_id", "id", "version", "name", "member_ids", "permissions", "created_at", "deleted_at"),
    )


async def save_api_keys(tx: Transaction, events: Sequence[ApiKey]) -> None:
    """Save the state of keys where it is newer."""
    await tx.execute(
        """
        insert into api_key (business_id, id, version, kind, name, hash, scopes, member_id, created_at, expires_at,
                             revoked_at)
        select distinct on (business_id, id) business_id, id, version, kind, name, hash, scopes, member_id, created_at,
               expires_at, revoked_at
        from jsonb_to_recordset($1::jsonb) as new (business_id uuid, id uuid, version bigint, kind text, name text,
            hash text, scopes text[], member_id uuid, created_at timestamptz, expires_at timestamptz,
            revoked_at timestamptz)
        order by business_id, id, version desc
        on conflict (business_id, id) do update
        set version = excluded.version, name = excluded.name, scopes = excluded.scopes,
            member_id = excluded.member_id, expires_at = excluded.expires_at, revoked_at = excluded.revoked_at
        where api_key.version < excluded.version
        """,
        _rows(
            events, "business_id", "id", "version", "kind", "name", "hash", "scopes", "member_id", "created_at",
            "expires_at", "revoked_at",
        ),
    )  # fmt: skip


def _rows(events: Sequence[Any], *fields: str) -> bytes:
    return orjson.dumps([{field: getattr(event, field) for field in fields} for event in events], default=str)
