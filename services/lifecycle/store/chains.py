"""The chains of versions as `verify` walks them: without their documents, which the database hashes itself."""

from typing import Any
from uuid import UUID

from libs.database import Transaction

Place = tuple[UUID, UUID, int]
"""Business, activity and version: the order in which chains are walked."""


async def page_versions(tx: Transaction, after: Place, upto: UUID, limit: int) -> list[Any]:
    """Page through all versions of the businesses up to `upto`: the skeleton, `content`, `hash`, and `newest`, the
    version that the activity is at by its row (None: it has no row).
    """
    return await tx.fetch(
        """
        select h.business_id, h.activity_id, h.version, h.type, h.recorded_at, h.by_member,
            coalesce(h.content_hash, sha256(h.salt || h.document)) as content, h.hash, a.version as newest
        from (select * from history where (business_id, activity_id, version) > ($1, $2, $3)
                and business_id <= $4
              order by business_id, activity_id, version limit $5) h
        left join activity a on a.business_id = h.business_id and a.activity_id = h.activity_id
        order by h.business_id, h.activity_id, h.version
        """,
        *after, upto, limit,
    )  # fmt: skip


async def page_heads(tx: Transaction, after: tuple[UUID, UUID], upto: UUID, limit: int) -> list[Any]:
    """Page through all activities of the businesses up to `upto`: business, activity, version, and whether the
    history has that version.
    """
    return await tx.fetch(
        """
        select a.business_id, a.activity_id, a.version, exists (
            select from history h where h.business_id = a.business_id and h.activity_id = a.activity_id
                and h.version = a.version) as told
        from (select * from activity where (business_id, activity_id) > ($1, $2)
                and business_id <= $3
              order by business_id, activity_id limit $4) a
        order by a.business_id, a.activity_id
        """,
        *after, upto, limit,
    )  # fmt: skip
