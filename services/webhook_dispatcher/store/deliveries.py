"""Deliveries and their attempts as their owner sees them; what is too old goes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.database import Transaction

Row = dict[str, Any]
COLUMNS = """id, endpoint_id, event_id, event_type, activity_id, version, status, attempts, next_at, last_error,
             created_at, finished_at"""


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries are listed; None means all."""

    endpoint_id: UUID | None
    status: str | None


async def list_deliveries(
    tx: Transaction, business_id: UUID, wanted: DeliveryFilter, before: UUID | None, limit: int
) -> list[Row]:
    """List deliveries, newest first."""
    rows = await tx.fetch(
        f"""
        select {COLUMNS} from delivery
         where business_id = $1
           and ($2::uuid is null or endpoint_id = $2) and ($3::text is null or status = $3)
           and ($4::uuid is null or id < $4)
         order by id desc limit $5
        """,  # noqa: S608
        business_id, wanted.endpoint_id, wanted.status, before, limit,
    )  # fmt: skip
    return [dict(row) for row in rows]


async def find_delivery(tx: Transaction, business_id: UUID, id_: UUID) -> Row | None:
    """Find one delivery."""
    row = await tx.find(f"select {COLUMNS} from delivery where business_id = $1 and id = $2", business_id, id_)  # noqa: S608
    return None if row is None else dict(row)


async def list_attempts(tx: Transaction, business_id: UUID, delivery_id: UUID) -> list[Row]:
    """List the attempts of a delivery, oldest first."""
    rows = await tx.fetch(
        """
        select number, at, duration_ms, result, http_status, address, phases, headers, answer from attempt
         where business_id = $1 and delivery_id = $2 order by number
        """,
        business_id, delivery_id,
    )  # fmt: skip
    return [dict(row) for row in rows]


async def list_businesses(tx: Transaction) -> Sequence[UUID]:
    """List the businesses that have or had endpoints."""
    return [row["business_id"] for row in await tx.fetch("select distinct business_id from endpoint")]


async def delete_finished(tx: Transaction, business_id: UUID, before: datetime, limit: int) -> int:
    """Delete deliveries made before that time whose life has ended; the oldest first."""
    return await tx.execute(
        """
        delete from delivery where business_id = $1 and id in (
            select id from delivery where business_id = $1 and created_at < $2 and status <> 'pending'
             order by id limit $3)
        """,
        business_id, before, limit,
    )  # fmt: skip


async def make_days(tx: Transaction, ahead: int) -> None:
    """Make the partitions of today and of the days ahead."""
    await tx.execute("select make_day(current_date + n) from generate_series(0, $1::int) as n", ahead)


async def drop_days(tx: Transaction, kept_days: int) -> int:
    """Drop the partitions of days that are no longer kept."""
    return int(await tx.value("select drop_days_before(current_date - $1::int)", kept_days))
