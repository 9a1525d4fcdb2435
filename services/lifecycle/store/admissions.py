"""What became of each report, and the reports that still wait."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from libs.contracts.decoding import decoder_of
from libs.contracts.report import ReportReceived
from libs.database import Transaction
from libs.errors import Unavailable

Key = tuple[UUID, UUID]
decode = decoder_of(ReportReceived)


class Admission(NamedTuple):
    """What became of a report. `reasons` is JSON."""

    business_id: UUID
    receipt_id: UUID
    activity_id: UUID
    outcome: str
    version: int | None
    reasons: bytes | None


async def list_admissions(tx: Transaction, receipts: Collection[Key]) -> dict[Key, Admission]:
    """Find what became of reports, by (business, receipt); new ones are not in the answer."""
    rows = await tx.fetch(
        """
        select found.* from unnest($1::uuid[], $2::uuid[]) as wanted (business_id, receipt_id)
        cross join lateral (
            select a.business_id, a.receipt_id, a.activity_id, a.outcome, a.version, a.reasons from admission a
            where a.business_id = wanted.business_id and a.receipt_id = wanted.receipt_id limit 1) as found
        """,
        [business_id for business_id, _ in receipts],
        [receipt_id for _, receipt_id in receipts],
    )
    return {(row[0], row[1]): Admission(*row) for row in rows}


async def insert_admissions(tx: Transaction, admissions: Sequence[Admission]) -> None:
    """Note what became of new reports. Raises Unavailable when somebody else has one of them in hand."""
    await tx.insert(
        """
        insert into admission (business_id, receipt_id, activity_id, outcome, version, reasons)
        select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::int[], $6::jsonb[])
            as new (business_id, receipt_id, activity_id, outcome, version, reasons)
        order by business_id, receipt_id
        """,
        *_columns(admissions),
    )


async def finish_admissions(tx: Transaction, admissions: Sequence[Admission]) -> None:
    """Note what became of reports that waited, and forget that they do. Raises Unavailable when they wait no more."""
    if await (_finish_one_by_one(tx, admissions) if tx.walled else _finish(tx, admissions)) != len(admissions):
        raise Unavailable("some of these reports were answered by somebody else just now")


async def insert_waiting(tx: Transaction, reports: Sequence[ReportReceived], seen: Sequence[int]) -> None:
    """Keep reports that wait, with the version of their activity that did not suit them (0: none)."""
    await tx.execute(
        """
        insert into waiting (business_id, activity_id, receipt_id, seen_version, received_at, document)
        select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::int[], $5::timestamptz[], $6::bytea[])
        on conflict do nothing
        """,
        [report.business_id for report in reports],
        [report.activity_id for report in reports],
        [report.receipt_id for report in reports],
        list(seen),
        [report.received_at for report in reports],
        [msgspec.json.encode(report) for report in reports],
    )


async def list_waiting(tx: Transaction, keys: Collection[Key]) -> dict[Key, list[ReportReceived]]:
    """List the reports that wait for activities, oldest first, by (business, activity)."""
    rows = await tx.fetch(
        """
        select found.business_id, found.activity_id, found.document
        from unnest($1::uuid[], $2::uuid[]) as wanted (business_id, activity_id)
        cross join lateral (
            select w.business_id, w.activity_id, w.document, w.received_at, w.receipt_id from waiting w
            where w.business_id = wanted.business_id and w.activity_id = wanted.activity_id offset 0) as found
        order by found.received_at, found.receipt_id
        """,
        [business_id for business_id, _ in keys],
        [activity_id for _, activity_id in keys],
    )
    return _by_key(rows)


async def list_moved(tx: Transaction, limit: int) -> list[Key]:
    """Name activities that have moved on since a report that waits for them last looked."""
    rows = await tx.fetch(
        """
        select distinct w.business_id, w.activity_id from waiting w
        join activity a on a.business_id = w.business_id and a.activity_id = w.activity_id
        where a.version > w.seen_version limit $1
        """,
        limit,
    )
    return [(row[0], row[1]) for row in rows]


async def list_expired(tx: Transaction, before: datetime, limit: int) -> list[ReportReceived]:
    """Lock and list reports that have waited since before an instant."""
    rows = await tx.fetch(
        """
        select document from waiting where received_at < $1
        order by received_at limit $2 for update skip locked
        """,
        before, limit,
    )  # fmt: skip
    return [decode(row[0]) for row in rows]


async def note_seen(tx: Transaction, keys: Collection[Key]) -> None:
    """Note that what still waits for these activities, which are known, has looked at their current version."""
    await tx.fetch_many(
        """
        update waiting set seen_version = (
            select a.version from activity a where a.business_id = $1 and a.activity_id = $2)
        where business_id = $1 and activity_id = $2
        returning true
        """,
        sorted(keys),
    )


async def _finish(tx: Transaction, admissions: Sequence[Admission]) -> int:
    finished = await tx.execute(
        """
        update admission a set outcome = new.outcome, version = new.version, reasons = new.reasons
        from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::int[], $6::jsonb[])
            as new (business_id, receipt_id, activity_id, outcome, version, reasons)
        where a.business_id = new.business_id and a.receipt_id = new.receipt_id and a.outcome = 'waiting'
        """,
        *_columns(admissions),
    )
    await tx.execute(
        """
        delete from waiting w
        using unnest($1::uuid[], $2::uuid[], $3::uuid[]) as done (business_id, receipt_id, activity_id)
        where w.business_id = done.business_id and w.activity_id = done.activity_id and w.receipt_id = done.receipt_id
        """,
        *_columns(admissions)[:3],
    )
    return finished


async def _finish_one_by_one(tx: Transaction, admissions: Sequence[Admission]) -> int:
    """As `_finish` behind the wall, in two round trips (see `activities.lock_activities`)."""
    finished = await tx.fetch_many(
        """
        update admission set outcome = $4, version = $5, reasons = $6
        where business_id = $1 and receipt_id = $2 and activity_id = $3 and outcome = 'waiting' returning true
        """,
        admissions,
    )
    await tx.fetch_many(
        "delete from waiting where business_id = $1 and receipt_id = $2 and activity_id = $3 returning true",
        [each[:3] for each in admissions],
    )
    return len(finished)


def _by_key(rows: Sequence[Any]) -> dict[Key, list[ReportReceived]]:
    found: dict[Key, list[ReportReceived]] = {}
    for business_id, activity_id, document in rows:
        found.setdefault((business_id, activity_id), []).append(decode(document))
    return found


def _columns(admissions: Sequence[Admission]) -> tuple[list[Any], ...]:
    return (
        [each.business_id for each in admissions],
        [each.receipt_id for each in admissions],
        [each.activity_id for each in admissions],
        [each.outcome for each in admissions],
        [each.version for each in admissions],
        [each.reasons for each in admissions],
    )
