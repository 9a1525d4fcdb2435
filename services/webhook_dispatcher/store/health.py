"""Endpoints that keep failing, and what of their state has not been announced."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from libs.database import Transaction

Row = dict[str, Any]
COLUMNS = "business_id, id, version, url, status, disabled_reason, failing_since, last_failed_at, warned_at"


async def lock_failing(tx: Transaction, since: datetime, limit: int) -> list[Row]:
    """Lock active endpoints that have failed since before then and are not in somebody else's hands."""
    rows = await tx.fetch(
        f"""
        select {COLUMNS} from endpoint
         where failing_since is not null and failing_since <= $1 and deleted_at is null and status = 'active'
         order by business_id, id limit $2 for update skip locked
        """,  # noqa: S608
        since, limit,
    )  # fmt: skip
    return [dict(row) for row in rows]


async def lock_unannounced(tx: Transaction, limit: int) -> list[Row]:
    """Lock endpoints that were disabled, or enabled again, without its having been announced."""
    rows = await tx.fetch(
        f"""
        select {COLUMNS} from endpoint where announced <> (status = 'disabled') and deleted_at is null
         order by business_id, id limit $1 for update skip locked
        """,  # noqa: S608
        limit,
    )
    return [dict(row) for row in rows]


async def warn(tx: Transaction, business_id: UUID, id_: UUID) -> int:
    """Note that the owner was warned; return the new version."""
    return await _change(tx, business_id, id_, "warned_at = now()")


async def disable(tx: Transaction, business_id: UUID, id_: UUID) -> int:
    """Disable an endpoint that keeps failing; return the new version."""
    changes = "status = 'disabled', disabled_reason = 'failing', announced = true"
    return await _change(tx, business_id, id_, changes)


async def announce(tx: Transaction, business_id: UUID, id_: UUID) -> int:
    """Note that its state is announced; return the new version."""
    return await _change(tx, business_id, id_, "announced = (status = 'disabled')")


async def _change(tx: Transaction, business_id: UUID, id_: UUID, changes: str) -> int:
    return int(
        await tx.value(
            f"""
            with before as (
                select document from endpoint_revision where business_id = $1 and endpoint_id = $2
                 order by version desc limit 1),
            changed as (
                update endpoint set version = version + 1, updated_at = now(), {changes}
                 where business_id = $1 and id = $2 returning version, status, disabled_reason),
            kept as (
                insert into endpoint_revision (business_id, endpoint_id, version, document)
                select $1, $2, c.version,
                       b.document || jsonb_build_object('status', c.status, 'disabled_reason', c.disabled_reason)
                  from changed c cross join before b)
            select version from changed
            """,  # noqa: S608
            business_id, id_,
        )
    )  # fmt: skip


async def list_hearing(tx: Transaction, business_id: UUID, event_type: str) -> Sequence[tuple[UUID, str]]:
    """List the endpoints of a business that hear of such an operational event, with their status."""
    rows = await tx.fetch(
        """select id, status from endpoint
            where business_id = $1 and $2 = any(event_types) and status <> 'disabled' and deleted_at is null""",
        business_id, event_type,
    )  # fmt: skip
    return [(row[0], row[1]) for row in rows]


def body_of(event_type: str, at: str, data: Row) -> bytes:
    """Write the body of an operational webhook."""
    return orjson.dumps({"type": event_type, "timestamp": at, "data": data})
