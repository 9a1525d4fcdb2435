"""Deliveries and their attempts as their owner sees them; what is too old goes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from libs.database import Transaction

Row = dict[str, Any]
COLUMNS = """id, coalesce(replay_of, id) as webhook_id, replay_of, replay_id, endpoint_id, event_type, activity_id,
             version, status, attempts, next_at, last_error, created_at, finished_at"""


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries are listed; None means all. Ids lie between two, both left out."""

    endpoint_id: UUID | None
    status: str | None
    event_type: str | None
    activity_id: UUID | None
    first_id: UUID
    end_id: UUID

    def text(self) -> str:
        """Write it, so that a cursor can be bound to it."""
        return " ".join(str(getattr(self, name)) for name in self.__slots__)


async def list_deliveries(
    tx: Transaction, business_id: UUID, wanted: DeliveryFilter, before: UUID | None, limit: int
) -> list[Row]:
    """List deliveries, newest first. Only conditions that are asked for are in the statement: each has its index."""
    values: list[Any] = [business_id, wanted.first_id, min(wanted.end_id, before or wanted.end_id), limit]
    conditions = ""
    for name in ("endpoint_id", "status", "event_type"):
        if (value := getattr(wanted, name)) is not None:
            values.append(value)
            conditions += f" and {name} = ${len(values)}"
    if wanted.activity_id is not None:
        values.append(wanted.activity_id)
        conditions += f""" and activity_id = ${len(values)} and id in (
            select id from delivery where business_id = $1 and activity_id = ${len(values)} and replay_of is null
            union all
            select r.id from delivery d join delivery r on r.business_id = d.business_id and r.replay_of = d.id
             where d.business_id = $1 and d.activity_id = ${len(values)} and d.replay_of is null)"""  # noqa: S608
    rows = await tx.fetch(
        f"""select {COLUMNS} from delivery where business_id = $1 and id > $2 and id < $3{conditions}
             order by id desc limit $4""",  # noqa: S608
        *values,
    )
    return [dict(row) for row in rows]


async def find_delivery(tx: Transaction, business_id: UUID, id_: UUID, *, lock: bool = False) -> Row | None:
    """Find one delivery; `kept`: whether its body is still there; `now`: the database's time."""
    row = await tx.find(
        f"""
        select {COLUMNS}, exists (select from event v where v.business_id = d.business_id and v.day = d.event_day
                                     and v.id = d.event_id) as kept, now()
          from delivery d where business_id = $1 and id = $2 {"for update" if lock else ""}
        """,  # noqa: S608
        business_id, id_,
    )  # fmt: skip
    return None if row is None else dict(row)


async def find_body(tx: Transaction, business_id: UUID, id_: UUID) -> bytes | None:
    """Find the body of a delivery, as far as it is still kept."""
    body: bytes | None = await tx.value(
        """select v.body from delivery d
             join event v on v.business_id = d.business_id and v.day = d.event_day and v.id = d.event_id
            where d.business_id = $1 and d.id = $2""",
        business_id, id_,
    )  # fmt: skip
    return body


async def list_attempts(tx: Transaction, business_id: UUID, delivery: Row) -> list[Row]:
    """List the attempts of a delivery, oldest first. The days that they can be of are named, for their index."""
    first, last = delivery["created_at"].date(), (delivery["finished_at"] or delivery["now"]).date()
    days = [first + timedelta(days=n) for n in range(-1, (last - first).days + 2)]
    rows = await tx.fetch(
        """
        select number, at, duration_ms, result, http_status, address, phases, headers, answer from attempt
         where business_id = $1 and day = any($3::date[]) and delivery_id = $2 order by number
        """,
        business_id, delivery["id"], days,
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
