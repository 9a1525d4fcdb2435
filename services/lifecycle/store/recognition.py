"""Where activities are looked for that may tell of the same event, and what was said of pairs by hand."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from libs.database import Transaction
from services.lifecycle.domain.alike import DURATION_MAX, Case
from services.lifecycle.domain.held import Held
from services.lifecycle.domain.recognition import Pair, Verdict
from services.lifecycle.store.activities import Key, decode

_LOCK = 471_303
"""The first key of the advisory locks that this module takes; the second follows from the business and a slot."""

SLOTS = 256
"""Locks of a business: whoever brings activities to a place holds the slot of that place until the commit."""

_FIRST, _LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)


class Near(NamedTuple):
    """Where and when to look for activities that somebody else tells of."""

    place: UUID
    teller: str
    starts_at: datetime
    ends_at: datetime


def near_of(case: Case, places: Iterable[UUID], tolerance_s: int | None) -> list[Near]:
    """Say where to look for what is like a case; `tolerance_s` None: at any time."""
    if tolerance_s is None:
        return [Near(place, case.teller, _FIRST, _LAST) for place in places]
    reach = timedelta(seconds=tolerance_s)
    return [Near(place, case.teller, case.starts_at - reach, case.ends_at + reach) for place in places]


async def lock_slots(tx: Transaction, business_id: UUID, places: Collection[UUID]) -> None:
    """Let one at a time bring activities to a place. Whoever holds slots must not wait for a row."""
    own = int.from_bytes(business_id.bytes[-4:], signed=True)
    await tx.execute(
        "select pg_advisory_xact_lock($1, key) from unnest($2::int[]) as key",
        _LOCK,
        sorted({own ^ (place.int % SLOTS) for place in places}),
    )


async def list_merged(tx: Transaction, business_id: UUID, record_ids: Collection[UUID]) -> dict[UUID, UUID]:
    """Tell which record stands for others: for these and for all that were merged with them."""
    rows = await tx.fetch(
        """
        with standing as (
            select distinct coalesce(r.merged_into, wanted.id) as id from unnest($2::uuid[]) as wanted (id)
            left join lateral (
                select merged_into from record where business_id = $1 and id = wanted.id limit 1) as r on true)
        select merged.* from standing
        cross join lateral (
            select r.id, r.merged_into from record r where r.business_id = $1 and r.merged_into = standing.id
            offset 0) as merged
        """,
        business_id, list(record_ids),
    )  # fmt: skip
    return {row[0]: row[1] for row in rows}


async def save_recognisable(tx: Transaction, cases: Iterable[tuple[Case, Collection[UUID]]]) -> None:
    """Note where activities are to be looked for: each with its places."""
    rows = sorted(
        (case.activity.business_id, case.activity.activity_id, place, case.teller, case.starts_at, case.ends_at)
        for case, places in cases
        for place in places
    )
    if not rows:
        return
    await tx.execute(
        """
        insert into recognisable (business_id, activity_id, place, teller, starts_at, ends_at)
        select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::timestamptz[], $6::timestamptz[])
        on conflict (business_id, activity_id, place) do update
        set teller = excluded.teller, starts_at = excluded.starts_at, ends_at = excluded.ends_at
        """,
        *zip(*rows, strict=True),
    )


async def list_near(tx: Transaction, business_id: UUID, wanted: Sequence[Near], limit: int) -> set[UUID]:
    """Name the activities of other tellers at these places and times, up to `limit` for each of them."""
    rows = await tx.fetch(
        """
        select distinct found.activity_id
        from unnest($2::uuid[], $3::text[], $4::timestamptz[], $5::timestamptz[])
            as wanted (place, teller, starts_at, ends_at)
        cross join lateral (
            select r.activity_id from recognisable r
            where r.business_id = $1 and r.place = wanted.place and r.teller <> wanted.teller
                and r.starts_at >= wanted.starts_at - $6::interval and r.starts_at <= wanted.ends_at
                and r.ends_at >= wanted.starts_at
            order by r.starts_at limit $7) as found
        """,
        business_id, *zip(*wanted, strict=True), DURATION_MAX, limit,
    )  # fmt: skip
    return {row[0] for row in rows}


async def lock_free(tx: Transaction, business_id: UUID, activity_ids: Collection[UUID]) -> dict[UUID, Held]:
    """Lock those activities that nobody else has in hand, and read their current state."""
    locked = await tx.fetch(
        """
        select found.* from (select id from unnest($2::uuid[]) as wanted (id) order by id) as wanted
        cross join lateral (
            select activity_id, version, heard, said from activity
            where business_id = $1 and activity_id = wanted.id for no key update skip locked) as found
        """,
        business_id, list(activity_ids),
    )  # fmt: skip
    rows = await tx.fetch(
        """
        select found.* from unnest($2::uuid[], $3::int[]) as wanted (activity_id, version)
        cross join lateral (
            select h.activity_id, h.document, h.hash from history h
            where h.business_id = $1 and h.activity_id = wanted.activity_id and h.version = wanted.version
            limit 1) as found
        """,
        business_id, [row[0] for row in locked], [row[1] for row in locked],
    )  # fmt: skip
    beside = {row[0]: (row[2], row[3]) for row in locked}
    return {row[0]: Held(decode(row[1]).activity, *beside[row[0]], row[2]) for row in rows}


async def list_verdicts(tx: Transaction, business_id: UUID, activity_ids: Collection[UUID]) -> dict[Pair, Verdict]:
    """List what was said by hand of these activities, each with whichever other one."""
    rows = await tx.fetch(
        """
        select one_id, other_id, is_same, by_member from same_verdict
        where business_id = $1 and (one_id = any($2::uuid[]) or other_id = any($2::uuid[]))
        """,
        business_id, list(activity_ids),
    )  # fmt: skip
    return {(row[0], row[1]): Verdict(row[2], row[3]) for row in rows}


async def save_verdicts(tx: Transaction, business_id: UUID, verdicts: Mapping[Pair, Verdict], at: datetime) -> None:
    """Note what somebody says by hand of pairs; the newest word counts."""
    await tx.execute(
        """
        insert into same_verdict (business_id, one_id, other_id, is_same, by_member, at)
        select $1, one_id, other_id, is_same, by_member, $6
        from unnest($2::uuid[], $3::uuid[], $4::bool[], $5::uuid[]) as new (one_id, other_id, is_same, by_member)
        order by one_id, other_id
        on conflict (business_id, one_id, other_id) do update
        set is_same = excluded.is_same, by_member = excluded.by_member, at = excluded.at
        """,
        business_id,
        [pair[0] for pair in verdicts],
        [pair[1] for pair in verdicts],
        [each.is_same for each in verdicts.values()],
        [each.by for each in verdicts.values()],
        at,
    )


async def list_receipts(tx: Transaction, business_id: UUID, activity_ids: Collection[UUID], since: datetime) -> Any:
    """List the receipts of the reports that made or logged activities since an instant: (receipt, activity)."""
    rows = await tx.fetch(
        """
        select found.activity_id, found.document from unnest($2::uuid[]) as wanted (id)
        cross join lateral (
            select activity_id, version, document from history
            where business_id = $1 and activity_id = wanted.id and type in ('activity.created', 'activity.completed')
                and recorded_at > $3 and document is not null
            offset 0) as found
        order by found.activity_id, found.version
        """,
        business_id, list(activity_ids), since,
    )  # fmt: skip
    told = [(decode(row[1]).change.receipt_id, row[0]) for row in rows]
    return [(receipt_id, activity_id) for receipt_id, activity_id in told if receipt_id is not None]


async def save_reasons(tx: Transaction, business_id: UUID, reasons: Mapping[UUID, bytes]) -> list[Any]:
    """Note what is to be said of reports that were applied, by receipt; returns the rows of their admissions."""
    return await tx.fetch_many(
        """
        update admission set reasons = $3 where business_id = $1 and receipt_id = $2 and outcome = 'applied'
        returning receipt_id, activity_id, version
        """,
        [(business_id, receipt_id, said) for receipt_id, said in reasons.items()],
    )


async def put_off(tx: Transaction, business_id: UUID, activity_ids: Collection[UUID]) -> None:
    """Have activities looked at again."""
    await tx.execute(
        """
        insert into recheck (business_id, activity_id)
        select $1, id from unnest($2::uuid[]) as id order by id on conflict do nothing
        """,
        business_id, list(activity_ids),
    )  # fmt: skip


async def list_logged(tx: Transaction, business_id: UUID, span: tuple[datetime, datetime], limit: int) -> list[UUID]:
    """Name activities that were logged between two instants."""
    rows = await tx.fetch(
        """
        select found.activity_id from activity_object o
        cross join lateral (
            select a.activity_id from activity a
            where a.business_id = $1 and a.type_id = o.id and a.logged_at >= $2 and a.logged_at < $3
                and a.deleted_at is null offset 0) as found
        where o.business_id = $1 limit $4
        """,
        business_id, *span, limit,
    )  # fmt: skip
    return [row[0] for row in rows]


async def count_put_off(tx: Transaction, business_id: UUID) -> int:
    """Count the activities of a business that are to be looked at again."""
    return int(await tx.value("select count(*) from recheck where business_id = $1", business_id))


async def list_put_off(tx: Transaction, limit: int) -> list[Key]:
    """Name activities that are to be looked at again."""
    return [(row[0], row[1]) for row in await tx.fetch("select business_id, activity_id from recheck limit $1", limit)]


async def take_put_off(tx: Transaction, key: Key) -> bool:
    """Take an activity in hand that is to be looked at again; false: somebody else did."""
    return bool(await tx.execute("delete from recheck where business_id = $1 and activity_id = $2", *key))
