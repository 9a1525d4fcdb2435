"""Members and roles. Who locks both locks members first, each in order of id; who locks the rights does so before."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.database import Transaction

Row = dict[str, Any]


async def insert_member(tx: Transaction, member: Row) -> Row | None:
    """Insert a member (business_id, id, name, email, zone, role_ids, created_at); None if the address is taken."""
    row = await tx.find(
        """
        insert into member (business_id, id, version, name, email, zone, role_ids, created_at)
        values ($1, $2, 1, $3, $4, $5, $6::uuid[], $7)
        on conflict (business_id, lower(email)) where deleted_at is null do nothing
        returning *
        """,
        member["business_id"],
        member["id"],
        member["name"],
        member["email"],
        member["zone"],
        member["role_ids"],
        member["created_at"],
    )
    return dict(row) if row else None


async def find_member_by_email(tx: Transaction, business_id: UUID, email: str) -> Row | None:
    """Find the live member with that address."""
    row = await tx.find(
        "select * from member where business_id = $1 and lower(email) = lower($2) and deleted_at is null",
        business_id,
        email,
    )
    return dict(row) if row else None


async def find_member(tx: Transaction, business_id: UUID, member_id: UUID) -> Row | None:
    """Find a live member."""
    row = await tx.find(
        "select * from member where business_id = $1 and id = $2 and deleted_at is null", business_id, member_id
    )
    return dict(row) if row else None


async def lock_members(tx: Transaction, business_id: UUID, member_ids: Collection[UUID]) -> list[Row]:
    """Lock live members and return those that exist."""
    rows = await tx.fetch(
        """
        select * from member where business_id = $1 and id = any($2::uuid[]) and deleted_at is null
        order by id for update
        """,
        business_id,
        list(member_ids),
    )
    return [dict(row) for row in rows]


async def list_member_ids(tx: Transaction, business_id: UUID, member_ids: Collection[UUID]) -> set[UUID]:
    """Tell which of these are live members."""
    rows = await tx.fetch(
        """
        select member.id from unnest($2::uuid[]) as wanted (id)
        cross join lateral (
            select id, deleted_at from member where business_id = $1 and id = wanted.id limit 1) as member
        where deleted_at is null
        """,
        business_id,
        list(member_ids),
    )
    return {row["id"] for row in rows}


async def save_member(tx: Transaction, member: Row) -> Row:
    """Save a locked member as its next version."""
    rows = await tx.fetch(
        """
        update member
        set version = version + 1, name = $3, email = $4, zone = $5, role_ids = $6::uuid[], deleted_at = $7
        where business_id = $1 and id = $2 returning *
        """,
        member["business_id"],
        member["id"],
        member["name"],
        member["email"],
        member["zone"],
        member["role_ids"],
        member["deleted_at"],
    )
    return dict(rows[0])


async def list_members(tx: Transaction, business_id: UUID, after: tuple[datetime, UUID], limit: int) -> list[Row]:
    """List live members, newest first."""
    rows = await tx.fetch(
        """
        select * from member
        where business_id = $1 and deleted_at is null and (created_at, id) < ($2, $3)
        order by created_at desc, id desc limit $4
        """,
        business_id,
        *after,
        limit,
    )
    return [dict(row) for row in rows]


async def lock_rights(tx: Transaction, business_id: UUID) -> None:
    """Let nobody else take rights away in a business until this transaction is over."""
    await tx.execute("select from business where business_id = $1 for no key update", business_id)


async def list_permissions(tx: Transaction, business_id: UUID) -> list[tuple[UUID, bytes]]:
    """List what the live roles of a business allow: id, permissions as JSON."""
    rows = await tx.fetch("select id, permissions from role where business_id = $1 and deleted_at is null", business_id)
    return [(row[0], row[1]) for row in rows]


async def has_any(tx: Transaction, business_id: UUID, role_ids: Collection[UUID]) -> bool:
    """Tell whether a live member has one of these roles."""
    found = (
        "select exists (select from member where business_id = $1 and deleted_at is null and role_ids && $2::uuid[])"
    )
    return bool(await tx.value(found, business_id, list(role_ids)))


async def insert_role(tx: Transaction, role: Row) -> Row:
    """Insert a role (business_id, id, name, member_ids, permissions as JSON, created_at)."""
    rows = await tx.fetch(
        """
        insert into role (business_id, id, version, name, member_ids, permissions, created_at)
        values ($1, $2, 1, $3, $4::uuid[], $5, $6) returning *
        """,
        role["business_id"],
        role["id"],
        role["name"],
        role["member_ids"],
        role["permissions"],
        role["created_at"],
    )
    return dict(rows[0])


async def lock_roles(tx: Transaction, business_id: UUID, role_ids: Collection[UUID]) -> set[UUID]:
    """Lock live roles and tell which of these there are."""
    rows = await tx.fetch(
        """
        select id from role where business_id = $1 and id = any($2::uuid[]) and deleted_at is null
        order by id for update
        """,
        business_id,
        list(role_ids),
    )
    return {row["id"] for row in rows}


async def list_role_ids(tx: Transaction, business_id: UUID, role_ids: Collection[UUID]) -> set[UUID]:
    """Tell which of these are live roles."""
    rows = await tx.fetch(
        """
        select role.id from unnest($2::uuid[]) as wanted (id)
        cross join lateral (
            select id, deleted_at from role where business_id = $1 and id = wanted.id limit 1) as role
        where deleted_at is null
        """,
        business_id,
        list(role_ids),
    )
    return {row["id"] for row in rows}


async def add_to_roles(tx: Transaction, business_id: UUID, role_ids: Collection[UUID], member_id: UUID) -> list[Row]:
    """Put a member into locked roles and return their next versions."""
    rows = await tx.fetch(
        """
        update role set version = version + 1, member_ids = array_append(array_remove(member_ids, $3), $3)
        where business_id = $1 and id = any($2::uuid[]) returning *
        """,
        business_id,
        list(role_ids),
        member_id,
    )
    return [dict(row) for row in rows]


async def take_from_roles(tx: Transaction, business_id: UUID, role_ids: Collection[UUID], member_id: UUID) -> list[Row]:
    """Take a member out of locked roles and return their next versions."""
    rows = await tx.fetch(
        """
        update role set version = version + 1, member_ids = array_remove(member_ids, $3)
        where business_id = $1 and id = any($2::uuid[]) returning *
        """,
        business_id,
        list(role_ids),
        member_id,
    )
    return [dict(row) for row in rows]


async def add_role_to_members(
    tx: Transaction, business_id: UUID, member_ids: Collection[UUID], role_id: UUID
) -> list[Row]:
    """Give locked members a role and return their next versions."""
    rows = await tx.fetch(
        """
        update member set version = version + 1, role_ids = array_append(array_remove(role_ids, $3), $3)
        where business_id = $1 and id = any($2::uuid[]) returning *
        """,
        business_id,
        list(member_ids),
        role_id,
    )
    return [dict(row) for row in rows]


async def find_role(tx: Transaction, business_id: UUID, role_id: UUID) -> Row | None:
    """Find a live role."""
    row = await tx.find(
        "select * from role where business_id = $1 and id = $2 and deleted_at is null", business_id, role_id
    )
    return dict(row) if row else None


async def lock_role(tx: Transaction, business_id: UUID, role_id: UUID) -> Row | None:
    """Lock a live role; whoever changes its members holds them locked before."""
    row = await tx.find(
        "select * from role where business_id = $1 and id = $2 and deleted_at is null for update", business_id, role_id
    )
    return dict(row) if row else None


async def save_role(tx: Transaction, role: Row) -> Row:
    """Save a locked role as its next version; `permissions` is JSON."""
    rows = await tx.fetch(
        """
        update role
        set version = version + 1, name = $3, member_ids = $4::uuid[], permissions = $5, deleted_at = $6
        where business_id = $1 and id = $2 returning *
        """,
        role["business_id"], role["id"], role["name"], role["member_ids"], role["permissions"], role["deleted_at"],
    )  # fmt: skip
    return dict(rows[0])


async def take_role_from_members(
    tx: Transaction, business_id: UUID, member_ids: Collection[UUID], role_id: UUID
) -> list[Row]:
    """Take a role from locked members and return their next versions."""
    rows = await tx.fetch(
        """
        update member set version = version + 1, role_ids = array_remove(role_ids, $3)
        where business_id = $1 and id = any($2::uuid[]) and deleted_at is null returning *
        """,
        business_id, list(member_ids), role_id,
    )  # fmt: skip
    return [dict(row) for row in rows]


async def list_roles(tx: Transaction, business_id: UUID, after: tuple[datetime, UUID], limit: int) -> list[Row]:
    """List live roles, newest first."""
    rows = await tx.fetch(
        """
        select * from role
        where business_id = $1 and deleted_at is null and (created_at, id) < ($2, $3)
        order by created_at desc, id desc limit $4
        """,
        business_id,
        *after,
        limit,
    )
    return [dict(row) for row in rows]
