"""Records whose person is being erased, what is linked to them, and taking the contents of versions away."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from libs.contracts.directory import Record
from libs.contracts.report import ReportReceived
from libs.database import Transaction
from services.lifecycle.store.activities import Key
from services.lifecycle.store.admissions import decode


@dataclass(frozen=True, slots=True)
class Erasure:
    """A record being erased: activities up to `after_activity_id` have been looked at, `activities` were erased.

    `attempts`: those in vain since the last that was not, and this one.
    """

    business_id: UUID
    record_id: UUID
    after_activity_id: UUID
    activities: int
    attempts: int = 1


async def insert_erasures(tx: Transaction, records: Sequence[Record]) -> None:
    """Note records to be erased; those known are done or being done."""
    await tx.execute(
        """
        insert into erasure (business_id, record_id, erased_at)
        select * from unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) order by 1, 2 on conflict do nothing
        """,
        [record.business_id for record in records],
        [record.id for record in records],
        [record.erased_at for record in records],
    )


async def count_open(tx: Transaction) -> tuple[int, float]:
    """Count the erasures that are not finished; with the age of the oldest in seconds, 0 where there is none."""
    row = await tx.find(
        """
        select count(*), coalesce(extract(epoch from now() - min(erased_at)), 0)::float8
        from erasure where finished_at is null
        """
    )
    assert row is not None
    return row[0], max(0.0, row[1])


async def has_new(tx: Transaction) -> bool:
    """Tell whether there are erasures that have not begun."""
    return bool(await tx.value("select exists (select from erasure where begun_at is null and finished_at is null)"))


async def begin(tx: Transaction) -> None:
    """Let new erasures begin, once every transaction is over that has looked for erasures and did not find them.

    Must be the transaction's first statement: it waits for those who read the table, and holds nothing meanwhile.
    """
    await tx.execute("lock table erasure in access exclusive mode")
    await tx.execute("update erasure set begun_at = now() where begun_at is null and finished_at is null")


async def list_since(
    tx: Transaction, business_ids: Collection[UUID], since: datetime
) -> list[tuple[UUID, UUID, datetime]]:
    """List the records of businesses that were erased after an instant: business, record, `erased_at`."""
    rows = await tx.fetch(
        "select business_id, record_id, erased_at from erasure where business_id = any($1::uuid[]) and erased_at > $2",
        list(business_ids),
        since,
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def claim_next(tx: Transaction, first_s: float, max_s: float) -> Erasure | None:
    """Claim the oldest erasure that is not finished and may be tried, for `first_s` and twice as long each time.

    It is given back by `save_progress`; one that fails waits so long, and others go on.
    """
    row = await tx.find(
        """
        update erasure e set attempts = e.attempts + 1,
            try_at = now() + least($1 * 2 ^ least(e.attempts, 20), $2) * interval '1 s'
        from (select business_id, record_id from erasure
              where finished_at is null and begun_at is not null and try_at <= now()
              order by erased_at, business_id, record_id limit 1 for update skip locked) next
        where e.business_id = next.business_id and e.record_id = next.record_id
        returning e.business_id, e.record_id, e.after_activity_id, e.activities, e.attempts
        """,
        first_s, max_s,
    )  # fmt: skip
    return None if row is None else Erasure(*row)


async def lock_claimed(tx: Transaction, erasure: Erasure) -> bool:
    """Lock an erasure; False where the claim has run out and somebody else has it."""
    row = await tx.find(
        """
        select from erasure
        where business_id = $1 and record_id = $2 and attempts = $3 and after_activity_id = $4 for update
        """,
        erasure.business_id, erasure.record_id, erasure.attempts, erasure.after_activity_id,
    )  # fmt: skip
    return row is not None


async def list_failing(tx: Transaction, limit: int) -> list[tuple[UUID, UUID, int, float]]:
    """List erasures that were tried in vain: business, record, attempts, and in how many seconds the next is."""
    rows = await tx.fetch(
        """
        select business_id, record_id, attempts, greatest(extract(epoch from try_at - now()), 0)::float8
        from erasure where finished_at is null and attempts > 1 order by erased_at, business_id, record_id limit $1
        """,
        limit,
    )
    return [(row[0], row[1], row[2], row[3]) for row in rows]


async def save_progress(tx: Transaction, erasure: Erasure, finished_at: datetime | None) -> None:
    """Note how far a locked erasure has come, and give it back."""
    await tx.execute(
        """
        update erasure set after_activity_id = $3, activities = $4, finished_at = $5, attempts = 0, try_at = '-infinity'
        where business_id = $1 and record_id = $2
        """,
        erasure.business_id, erasure.record_id, erasure.after_activity_id, erasure.activities, finished_at,
    )  # fmt: skip


async def page_linked(tx: Transaction, erasure: Erasure, limit: int) -> list[tuple[UUID, bool]]:
    """Page through the business's activities: each id, and whether any of its versions names the record in a link.

    There is no index of links: erasing is rare, and writing activities is not.
    """
    rows = await tx.fetch(
        """
        select a.activity_id, exists (
            select from history h where h.business_id = $1 and h.activity_id = a.activity_id
                and position($4::bytea in h.document) > 0)
        from (select activity_id from activity where business_id = $1 and activity_id > $2
              order by activity_id limit $3) a
        order by a.activity_id
        """,
        erasure.business_id, erasure.after_activity_id, limit, f'"record_id":"{erasure.record_id}"'.encode(),
    )  # fmt: skip
    return [(row[0], row[1]) for row in rows]


async def erase_versions(tx: Transaction, keys: Collection[Key]) -> None:
    """Take the documents of all versions before the current one of locked activities away, and their additions."""
    columns = [business_id for business_id, _ in keys], [activity_id for _, activity_id in keys]
    await tx.execute(
        """
        update history h set content_hash = sha256(h.salt || h.document), document = null, salt = null
        from unnest($1::uuid[], $2::uuid[]) as erased (business_id, activity_id)
        join activity a on a.business_id = erased.business_id and a.activity_id = erased.activity_id
        where h.business_id = a.business_id and h.activity_id = a.activity_id and h.version < a.version
            and h.document is not null
        """,
        *columns,
    )
    await tx.execute(
        """
        update activity_append p set document = null
        from unnest($1::uuid[], $2::uuid[]) as erased (business_id, activity_id)
        where p.business_id = erased.business_id and p.activity_id = erased.activity_id and p.document is not null
        """,
        *columns,
    )


async def page_waiting(tx: Transaction, business_id: UUID, after: Key, limit: int) -> list[ReportReceived]:
    """Page through a business's waiting reports in the order of (activity, receipt), locked."""
    rows = await tx.fetch(
        """
        select document from waiting where business_id = $1 and (activity_id, receipt_id) > ($2, $3)
        order by activity_id, receipt_id limit $4 for update
        """,
        business_id, *after, limit,
    )  # fmt: skip
    return [decode(row[0]) for row in rows]
