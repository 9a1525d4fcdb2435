"""Lists of scheduled activities."""

from datetime import datetime
from typing import Any
from uuid import UUID

from libs.access.sight import arguments_of, seen
from libs.contracts import activity as contract
from libs.database import Transaction
from services.lifecycle.domain.plans import Filter
from services.lifecycle.store.activities import decode

ORDERINGS = {
    "due_datetime": "due_at asc nulls last, activity_id",
    "-due_datetime": "due_at desc nulls last, activity_id desc",
    "created": "created_at, activity_id",
    "-created": "created_at desc, activity_id desc",
}

_WHERE = f"""
    a.business_id = $1 and a.planned_at is not null and a.deleted_at is null and a.cancelled_at is null
    and ($2::text is null or a.search like $2)
    and ($3::timestamptz is null or a.due_at >= $3) and ($4::timestamptz is null or a.due_at < $4)
    and (not $5::boolean or a.assignee_member_id = any($6::uuid[]) or a.assignee_role_id = any($7::uuid[]))
    and ($8::boolean is null or (a.logged_at is not null) = $8)
    and ($9::boolean is null or coalesce(a.logged_at is null and a.due_at < $10::timestamptz, false) = $9)
    and ($11::uuid is null or a.type_id = $11)
    and {seen("a", 12)}
    """


async def count_planned(tx: Transaction, business_id: UUID, wanted: Filter, now: datetime) -> int:
    """Count the scheduled activities that a filter lets through."""
    count: int = await tx.value(
        f"select count(*) from activity a where {_WHERE}",  # noqa: S608 - a fixed text
        *_arguments(business_id, wanted, now),
    )
    return count


async def list_planned(
    tx: Transaction, business_id: UUID, wanted: Filter, now: datetime, page: tuple[int, int]
) -> list[contract.Activity]:
    """List a page of them: (rows to skip, rows to show)."""
    order = ORDERINGS[wanted.ordering]
    rows = await tx.fetch(
        f"""
        with chosen as materialized (
            select a.business_id, a.activity_id, a.version, a.due_at, a.created_at from activity a
            where {_WHERE} order by {order} offset $18 limit $19)
        select h.document from chosen
        join history h using (business_id, activity_id, version) order by {order}
        """,  # noqa: S608 - fixed texts, the order from a list
        *_arguments(business_id, wanted, now), *page,
    )  # fmt: skip
    return [decode(row[0]).activity for row in rows]


def _arguments(business_id: UUID, wanted: Filter, now: datetime) -> tuple[Any, ...]:
    search = None
    if wanted.search is not None:
        escaped = wanted.search.lower().replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
        search = f"%{escaped}%"
    assigned = bool(wanted.member_ids or wanted.role_ids)
    return (
        business_id, search, wanted.due_from, wanted.due_before, assigned, list(wanted.member_ids),
        list(wanted.role_ids), wanted.completed, wanted.overdue, now, wanted.type_id, *arguments_of(wanted.sight),
    )  # fmt: skip
