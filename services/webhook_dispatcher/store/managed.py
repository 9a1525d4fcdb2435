"""Endpoints that belong to activity objects: made, changed and retired with them."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from libs.database import Transaction
from services.webhook_dispatcher.store.endpoints import COLUMNS

Row = dict[str, Any]


async def lock_managed(tx: Transaction, business_ids: Sequence[UUID], ids: Sequence[UUID]) -> dict[UUID, Row]:
    """Lock those of these endpoints that there are, retired ones too."""
    rows = await tx.fetch(
        f"""
        select {COLUMNS}, deleted_at, activity_object_version from endpoint
         where business_id = any($1::uuid[]) and id = any($2::uuid[]) order by business_id, id for update
        """,  # noqa: S608
        business_ids, ids,
    )  # fmt: skip
    return {row["id"]: dict(row) for row in rows}


async def note_object(tx: Transaction, endpoint: tuple[UUID, UUID], version: int, *, revived: bool) -> None:
    """Note which version of its activity object an endpoint follows; a revived one begins anew."""
    await tx.execute(
        """
        update endpoint set activity_object_version = $3, deleted_at = case when $4 then null else deleted_at end,
               created_at = case when $4 then now() else created_at end
         where business_id = $1 and id = $2
        """,
        *endpoint, version, revived,
    )  # fmt: skip
