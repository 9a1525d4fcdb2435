"""Activities that not everybody may see."""

from collections.abc import Collection, Sequence
from uuid import UUID

from libs.database import Transaction
from services.lifecycle.domain.privacy import Restricted

HIDDEN = """exists (
    select from restricted r where r.business_id = a.business_id and r.activity_id = a.activity_id
    and r.privacy <> 'public' and not {reader} = any (r.member_ids) and not (r.privacy = 'team' and exists (
        select from member maker join member reader
            on reader.business_id = maker.business_id and reader.role_ids && maker.role_ids
        where maker.business_id = a.business_id and maker.id = r.creator_id and reader.id = {reader}
            and reader.deleted_at is null)) offset 0)"""
"""Whether activity `a` is hidden from a member: a condition, for lists; `reader` is the member's parameter. The offset
keeps it from being joined: the planner would go through all that is restricted in a business that it has not counted.
"""

NOBODY = UUID(int=0)


async def save_restricted(tx: Transaction, rows: Sequence[Restricted]) -> None:
    """Keep who may see activities; the last of several rows about one counts."""
    for row in {row[:2]: row for row in rows}.values():
        await tx.execute(
            """
            insert into restricted (business_id, activity_id, privacy, creator_id, member_ids)
            values ($1, $2, $3, $4, $5)
            on conflict (business_id, activity_id) do update set privacy = excluded.privacy,
                creator_id = excluded.creator_id, member_ids = excluded.member_ids
            """,
            *row,
        )


async def has_restricted(tx: Transaction, business_id: UUID) -> bool:
    """Tell whether a business has activities that are not for everybody."""
    query = "select exists (select from restricted where business_id = $1 and privacy <> 'public')"
    return bool(await tx.value(query, business_id))


async def list_hidden(
    tx: Transaction, business_id: UUID, activity_ids: Collection[UUID], member_id: UUID | None
) -> set[UUID]:
    """Tell which of these activities are hidden from a member, or from a caller who is none."""
    hidden = HIDDEN.format(reader="$3")
    rows = await tx.fetch(
        f"""
        select a.activity_id from (select $1::uuid as business_id, id as activity_id from unnest($2::uuid[]) as id) as a
        where {hidden}
        """,  # noqa: S608 - fixed
        business_id,
        list(activity_ids),
        member_id or NOBODY,
    )
    return {row[0] for row in rows}


async def is_hidden(tx: Transaction, business_id: UUID, activity_id: UUID, member_id: UUID | None) -> bool:
    """Tell whether an activity is hidden from a member, or from a caller who is none."""
    hidden = HIDDEN.format(reader="$3")
    return bool(
        await tx.value(
            f"select {hidden} from activity a where a.business_id = $1 and a.activity_id = $2",  # noqa: S608 - fixed
            business_id,
            activity_id,
            member_id or NOBODY,
        )
    )
