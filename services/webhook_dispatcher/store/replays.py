"""Replays: what is to be sent again, a slice at a time, and how far each one is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from libs.contracts.ids import uuid7
from libs.database import Transaction

Row = dict[str, Any]
COLUMNS = """id, endpoint_id, statuses, event_types, only_missed, backfill, status, reason, total, released, expired,
             passed, created_at, finished_at"""
RANK = 2
"""What is replayed goes after first attempts and retries within its lane."""

_CHOSEN = """d.business_id = $1 and d.endpoint_id = $2 and d.id > $3 and d.id < $4 and d.status = any($5)
             and (cardinality($6::text[]) = 0 or d.event_type = any($6)) and d.replay_of is null
             and (not $7 or not exists (select from delivery r where r.business_id = d.business_id
                                           and r.replay_of = d.id and r.status in ('delivered', 'pending')))"""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which deliveries of an endpoint: those with ids between two (both left out), of these statuses and types.

    No types: all. `only_missed`: not those of which a replay has arrived or is under way. `backfill`: those of the
    other endpoints instead (store/told.py).
    """

    endpoint_id: UUID
    first_id: UUID
    end_id: UUID
    statuses: Sequence[str]
    event_types: Sequence[str]
    only_missed: bool
    backfill: bool = False

    def values(self) -> tuple[Any, ...]:
        """List its values as statements take them."""
        return self.endpoint_id, self.first_id, self.end_id, self.statuses, self.event_types, self.only_missed


async def count_chosen(tx: Transaction, business_id: UUID, selection: Selection, most: int) -> int:
    """Count the deliveries of a selection, up to a bound."""
    return int(
        await tx.value(
            f"select count(*) from (select from delivery d where {_CHOSEN} limit $8) c",  # noqa: S608
            business_id, *selection.values(), most,
        )
    )  # fmt: skip


async def insert_replay(
    tx: Transaction, business_id: UUID, selection: Selection, total: int, by_key: UUID | None
) -> Row:
    """Insert a replay that runs from now on."""
    row = await tx.find(
        f"""
        insert into replay (business_id, id, endpoint_id, first_id, end_id, statuses, event_types, only_missed,
                            after_id, total, by_key, backfill)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $4, $9, $10, $11) returning {COLUMNS}
        """,  # noqa: S608
        business_id, uuid7(), *selection.values(), total, by_key, selection.backfill,
    )  # fmt: skip
    assert row is not None
    return dict(row)


async def count_running(tx: Transaction, business_id: UUID) -> int:
    """Count a business's replays that run."""
    return int(await tx.value("select count(*) from replay where business_id = $1 and status = 'running'", business_id))


async def find_replay(tx: Transaction, business_id: UUID, id_: UUID, *, lock: bool = False) -> Row | None:
    """Find a replay."""
    row = await tx.find(
        f"select {COLUMNS} from replay where business_id = $1 and id = $2 {'for update' if lock else ''}",  # noqa: S608
        business_id, id_,
    )  # fmt: skip
    return None if row is None else dict(row)


async def list_replays(tx: Transaction, business_id: UUID, before: UUID | None, limit: int) -> list[Row]:
    """List replays, newest first."""
    rows = await tx.fetch(
        f"""select {COLUMNS} from replay where business_id = $1 and ($2::uuid is null or id < $2)
             order by id desc limit $3""",  # noqa: S608
        business_id, before, limit,
    )  # fmt: skip
    return [dict(row) for row in rows]


async def count_outcomes(tx: Transaction, business_id: UUID, replay_id: UUID) -> dict[str, int]:
    """Count what became of what a replay released, by status."""
    rows = await tx.fetch(
        "select status, count(*) as n from delivery where business_id = $1 and replay_id = $2 group by status",
        business_id, replay_id,
    )  # fmt: skip
    return {row["status"]: row["n"] for row in rows}


async def end_replay(tx: Transaction, business_id: UUID, id_: UUID, status: str, reason: str | None = None) -> Row:
    """End a replay."""
    row = await tx.find(
        f"""update replay set status = $3, reason = $4, finished_at = now() where business_id = $1 and id = $2
            returning {COLUMNS}""",  # noqa: S608
        business_id, id_, status, reason,
    )  # fmt: skip
    assert row is not None
    return dict(row)


async def take_back(tx: Transaction, business_id: UUID, replay_id: UUID) -> int:
    """Take back what a replay released and nobody is sending: copies are cancelled, what was missed is so again."""
    return await tx.execute(
        """
        update delivery set status = case when replay_of is null then 'missed' else 'cancelled' end, next_at = null,
               finished_at = now(), last_error = 'replay_cancelled'
         where business_id = $1 and replay_id = $2 and status in ('pending', 'parked')
        """,
        business_id, replay_id,
    )  # fmt: skip


async def list_running(tx: Transaction) -> list[tuple[UUID, UUID]]:
    """List the replays that run, whosever they are: business and id."""
    rows = await tx.fetch("select business_id, id from replay where status = 'running' order by id")
    return [(row[0], row[1]) for row in rows]


async def lock_step(tx: Transaction, business_id: UUID, id_: UUID) -> Row | None:
    """Lock a running replay for its next slice: its selection, its endpoint, how much of it is in hand, and whether
    anything fresh has been due for that endpoint for a second. None: it ended, or another worker has it.
    """
    row = await tx.find(
        """
        select r.endpoint_id, r.end_id, r.after_id, r.statuses, r.event_types, r.only_missed, r.backfill,
               e.deleted_at is null as there, e.status as endpoint_status,
               (select count(*) from (select from delivery d where d.business_id = r.business_id
                   and d.replay_id = r.id and d.status = 'pending' limit 1000) p)::int as in_hand,
               exists (select from delivery d where d.business_id = r.business_id and d.endpoint_id = r.endpoint_id
                   and d.rank = 0 and d.status = 'pending' and d.next_at < now() - interval '1 second') as behind
          from replay r join endpoint e on e.business_id = r.business_id and e.id = r.endpoint_id
         where r.business_id = $1 and r.id = $2 and r.status = 'running' for update of r skip locked
        """,
        business_id, id_,
    )  # fmt: skip
    return None if row is None else dict(row)


async def list_chosen(tx: Transaction, business_id: UUID, selection: Selection, limit: int) -> list[Row]:
    """List the next deliveries of a selection, oldest first: id, status, and whether their body is still kept."""
    rows = await tx.fetch(
        f"""
        select d.id, d.status, exists (select from event v where v.business_id = d.business_id and v.day = d.event_day
                                          and v.id = d.event_id) as kept
          from delivery d where {_CHOSEN} order by d.id limit $8
        """,  # noqa: S608
        business_id, *selection.values(), limit,
    )  # fmt: skip
    return [dict(row) for row in rows]


async def release_missed(tx: Transaction, business_id: UUID, replay_id: UUID | None, ids: Sequence[UUID]) -> int:
    """Let deliveries that were missed be sent for the first time.

    Each is found by its key: for `any` of a list, or through the index of what was missed (which PostgreSQL may not
    take for a condition in `coalesce`), all that the business has is read for a few.
    """
    released = await tx.fetch_many(
        """
        update delivery set status = 'pending', next_at = now(), last_error = null, rank = $4, replay_id = $2
         where business_id = $1 and id = $3 and coalesce(status = 'missed', false) returning true
        """,
        [(business_id, replay_id, each, RANK) for each in ids],
    )
    return len(released)


async def insert_copies(tx: Transaction, business_id: UUID, replay_id: UUID | None, ids: Sequence[UUID]) -> list[UUID]:
    """Owe deliveries again, each under the webhook-id of its first sending; return the ids of the new ones."""
    made = [uuid7() for _ in ids]
    await tx.execute(
        """
        insert into delivery (business_id, id, endpoint_id, event_id, event_day, event_type, activity_id, version,
                              logged_at, rank, replay_of, replay_id)
        select d.business_id, n.new_id, d.endpoint_id, d.event_id, d.event_day, d.event_type, d.activity_id, d.version,
               d.logged_at, $5, coalesce(d.replay_of, d.id), $2
          from unnest($3::uuid[], $4::uuid[]) as n (id, new_id)
         cross join lateral (select * from delivery where business_id = $1 and id = n.id limit 1) as d
        """,
        business_id, replay_id, ids, made, RANK,
    )  # fmt: skip
    return made


async def delete_old(tx: Transaction, kept_days: int) -> int:
    """Delete replays that ended so long ago that what they sent is not kept any more either."""
    return await tx.execute("delete from replay where finished_at < now() - make_interval(days => $1)", kept_days)


async def advance(tx: Transaction, replay: tuple[UUID, UUID], after_id: UUID, counts: tuple[int, int, int]) -> None:
    """Note how far a replay is: the last delivery looked at, how many were released, had expired, were not for it."""
    await tx.execute(
        """update replay set after_id = $3, released = released + $4, expired = expired + $5, passed = passed + $6
            where business_id = $1 and id = $2""",
        *replay, after_id, *counts,
    )  # fmt: skip
