"""Records whose person is being erased, and the blanking of the conversations they were in."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from libs.contracts.directory import Record
from libs.database import Transaction


@dataclass(frozen=True, slots=True)
class Erasure:
    """A record being erased: its conversations up to `after_interaction_id` are blank.

    `attempts`: those in vain since the last that was not, and this one.
    """

    business_id: UUID
    record_id: UUID
    after_interaction_id: UUID
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


async def claim_next(tx: Transaction, first_s: float, max_s: float) -> Erasure | None:
    """Claim the oldest erasure that is not finished and may be tried, for `first_s` and twice as long each time.

    It is given back by `save_progress`; one that fails waits so long, and others go on.
    """
    row = await tx.find(
        """
        update erasure e set attempts = e.attempts + 1,
            try_at = now() + least($1 * 2 ^ least(e.attempts, 20), $2) * interval '1 s'
        from (select business_id, record_id from erasure
              where finished_at is null and try_at <= now()
              order by erased_at, business_id, record_id limit 1 for update skip locked) next
        where e.business_id = next.business_id and e.record_id = next.record_id
        returning e.business_id, e.record_id, e.after_interaction_id, e.attempts
        """,
        first_s, max_s,
    )  # fmt: skip
    return None if row is None else Erasure(*row)


async def lock_claimed(tx: Transaction, erasure: Erasure) -> bool:
    """Lock an erasure; False where the claim has run out and somebody else has it."""
    row = await tx.find(
        """
        select from erasure
        where business_id = $1 and record_id = $2 and attempts = $3 and after_interaction_id = $4 for update
        """,
        erasure.business_id, erasure.record_id, erasure.attempts, erasure.after_interaction_id,
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
        update erasure set after_interaction_id = $3, finished_at = $4, attempts = 0, try_at = '-infinity'
        where business_id = $1 and record_id = $2
        """,
        erasure.business_id, erasure.record_id, erasure.after_interaction_id, finished_at,
    )  # fmt: skip


async def page_interactions(tx: Transaction, erasure: Erasure, limit: int) -> list[UUID]:
    """Name the next conversations that the record was in, in the order of their ids."""
    rows = await tx.fetch(
        """
        select interaction_id from interaction_record
        where business_id = $1 and record_id = $2 and interaction_id > $3 order by interaction_id limit $4
        """,
        erasure.business_id, erasure.record_id, erasure.after_interaction_id, limit,
    )  # fmt: skip
    return [row[0] for row in rows]


async def blank_interactions(tx: Transaction, erasure: Erasure, interaction_ids: Sequence[UUID], at: datetime) -> None:
    """Take addresses, names, texts and the source's own ids away, as the conversation's next version.

    Times, counts, direction, queues, members and links stay; of the record's links the external ref goes.
    """
    await tx.fetch_many(
        """
        update interaction set version = version + 1, recorded_at = $4, erased_at = $4, address = null, agent = null,
            disposition = null, first_message = null, source_ref = interaction_id::text,
            links = coalesce((
                select jsonb_agg(case link ->> 'record_id' when $3::text then jsonb_set(link, '{external_ref}', 'null')
                                 else link end order by place)
                from jsonb_array_elements(links) with ordinality as l (link, place)), '[]')
        where business_id = $1 and interaction_id = $2 returning true
        """,
        [(erasure.business_id, each, str(erasure.record_id), at) for each in interaction_ids],
    )
    await tx.fetch_many(
        """
        update message set id = position::text, author = null, text = '', media_url = null, template = null
        where business_id = $1 and interaction_id = $2 returning true
        """,
        [(erasure.business_id, each) for each in interaction_ids],
    )
