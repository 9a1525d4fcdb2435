"""Reports: that they were accepted, what became of them, their sources."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

import orjson

from libs.contracts.report import ReportAnswered
from libs.database import Transaction
from services.ingest.domain import HASH_FORMAT, Arrival, Known, Receipt, Report, status_of


async def insert_receipts(tx: Transaction, arrival: Arrival, reports: Sequence[Report]) -> set[UUID]:
    """Insert the identities that are new and return their receipts; each receipt at most once in `reports`.

    In the order of receipts, so that two writers of the same ones wait for each other instead of deadlocking.
    """
    rows = await tx.fetch(
        """
        insert into report_identity (business_id, receipt_id, activity_id, hash, hash_format, received_at)
        select $1, receipt_id, activity_id, hash, $5, $6
          from unnest($2::uuid[], $3::uuid[], $4::bytea[]) as new (receipt_id, activity_id, hash)
         order by receipt_id
        on conflict (business_id, receipt_id) do nothing
        returning receipt_id
        """,
        arrival.business_id,
        [report.receipt_id for report in reports],
        [report.activity_id for report in reports],
        [report.hash for report in reports],
        HASH_FORMAT, arrival.received_at,
    )  # fmt: skip
    return {row[0] for row in rows}


async def list_known(tx: Transaction, arrival: Arrival, receipt_ids: Collection[UUID]) -> dict[UUID, Known]:
    """Return what is known about reports that were accepted earlier.

    Each is found by itself: joined, or by `any`, the planner reads a whole business that it has not counted.
    """
    rows = await tx.fetch(
        """
        select known.receipt_id, known.activity_id, known.hash, known.received_at, answer.outcome
          from unnest($2::uuid[]) as wanted (receipt_id)
         cross join lateral (
            select receipt_id, activity_id, hash, received_at from report_identity
             where business_id = $1 and receipt_id = wanted.receipt_id limit 1) as known
          left join lateral (
            select outcome from report_outcome
             where business_id = $1 and receipt_id = wanted.receipt_id limit 1) as answer on true
        """,
        arrival.business_id, list(receipt_ids),
    )  # fmt: skip
    return {
        receipt_id: Known(activity_id, bytes(hash_then), status_of(outcome, received_at, arrival.received_at))
        for receipt_id, activity_id, hash_then, received_at, outcome in rows
    }


async def add_accepted(tx: Transaction, business_id: UUID, count: int) -> int:
    """Count reports accepted now, and return how many of the business are pending: accepted, but not answered."""
    pending: int = await tx.value(
        """
        insert into report_accepted as known (business_id, reports) values ($1, $2)
        on conflict (business_id) do update set reports = known.reports + excluded.reports
        returning reports - coalesce((select reports from report_answered where business_id = $1), 0)
        """,
        business_id, count,
    )  # fmt: skip
    return pending


async def insert_sources(tx: Transaction, arrival: Arrival, names: Collection[str], sources_max: int) -> frozenset[str]:
    """Make sources known as long as there is room, and return all that the business has. Two statements.

    One writer of a business at a time, or two would each take the last place.
    """
    business_id = arrival.business_id
    await tx.execute("select pg_advisory_xact_lock(hashtextextended('source' || $1::text, 0))", str(business_id))
    rows = await tx.fetch(
        """
        with known as (select name from source where business_id = $1), made as (
            insert into source (business_id, name, first_seen_at)
            select $1, name, $3 from unnest($2::text[]) as name
             where name not in (select name from known)
             limit greatest(0, $4 - (select count(*) from known))
            returning name)
        select name from known union all select name from made
        """,
        business_id, sorted(names), arrival.received_at, sources_max,
    )  # fmt: skip
    return frozenset(row[0] for row in rows)


async def find_receipt(tx: Transaction, business_id: UUID, receipt_id: UUID) -> Receipt | None:
    """Return what is stored about an accepted report."""
    row = await tx.find(
        """
        select receipt_id, activity_id, received_at, outcome, version, reasons
          from report_identity left join report_outcome using (business_id, receipt_id)
         where business_id = $1 and receipt_id = $2
        """,
        business_id, receipt_id,
    )  # fmt: skip
    return None if row is None else Receipt(*row)


async def save_outcomes(tx: Transaction, answers: Sequence[ReportAnswered]) -> None:
    """Save what became of reports, one answer each, and count those answered for the first time.

    `waiting` never replaces another outcome, every other replaces it; between two of a kind the newer one stays.
    """
    await tx.execute(
        """
        with saved as (
            insert into report_outcome as known (business_id, receipt_id, outcome, version, reasons, answered_at)
            select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::int[], $5::jsonb[], $6::timestamptz[])
            on conflict (business_id, receipt_id) do update
               set outcome = excluded.outcome, version = excluded.version,
                   reasons = excluded.reasons, answered_at = excluded.answered_at
             where (excluded.outcome <> 'waiting', excluded.answered_at)
                 > (known.outcome <> 'waiting', known.answered_at)
            returning business_id, receipt_id, xmax = 0 as is_new)
        insert into report_answered as known (business_id, reports)
        select business_id, count(*) from saved join report_identity using (business_id, receipt_id)
         where is_new group by business_id order by business_id
        on conflict (business_id) do update set reports = known.reports + excluded.reports
        """,
        [answer.business_id for answer in answers],
        [answer.receipt_id for answer in answers],
        [answer.outcome for answer in answers],
        [answer.version for answer in answers],
        [_reasons(answer) for answer in answers],
        [answer.answered_at for answer in answers],
    )  # fmt: skip


async def delete_outcomes(tx: Transaction, before: datetime, rows_max: int) -> int:
    """Forget up to `rows_max` outcomes that say no more than that it worked; return how many."""
    return await tx.execute(
        """
        delete from report_outcome where ctid = any(array(
            select ctid from report_outcome
             where answered_at < $1 and outcome in ('applied', 'unchanged') limit $2))
        """,
        before, rows_max,
    )  # fmt: skip


async def clear_reasons(tx: Transaction, before: datetime, rows_max: int) -> int:
    """Erase the reasons of up to `rows_max` other outcomes, which may quote the report; return how many."""
    return await tx.execute(
        """
        update report_outcome set reasons = '[]' where ctid = any(array(
            select ctid from report_outcome
             where answered_at < $1 and outcome not in ('applied', 'unchanged') and reasons <> '[]' limit $2))
        """,
        before, rows_max,
    )  # fmt: skip


def _reasons(answer: ReportAnswered) -> bytes:
    if not answer.reasons:
        return b"[]"
    return orjson.dumps([{"field": r.field, "code": r.code, "message": r.message} for r in answer.reasons])
