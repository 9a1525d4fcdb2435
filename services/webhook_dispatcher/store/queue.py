"""What is owed, and by whom it is being sent: insert, claim with a lease, finish."""

from collections.abc import Sequence
from datetime import datetime
from math import inf
from typing import NamedTuple
from uuid import UUID

from libs.database import Transaction
from services.webhook_dispatcher.store.subscribers import CHANGE, HEARING, Presumed


class OwedEvent(NamedTuple):
    """An event that at least one endpoint is told; `body` are the bytes to be sent."""

    business_id: UUID
    id: UUID
    event_type: str
    activity_id: UUID
    version: int
    logged_at: datetime | None
    body: bytes
    traceparent: str | None = None


class Owed(NamedTuple):
    """A delivery to be inserted: which endpoint is told which event.

    `leased`: sent at once after the commit; `parked`: kept until its endpoint, which is paused, goes on.
    """

    id: UUID
    endpoint_id: UUID
    event: OwedEvent
    leased: bool = False
    parked: bool = False


class Claimed(NamedTuple):
    """A delivery that this worker has a lease on.

    `message_id`: the webhook-id where it is not its own, but that of the delivery which this one replays. `until`: the
    worker's own clock, after which it is not sent.
    """

    business_id: UUID
    id: UUID
    endpoint_id: UUID
    lease_no: int
    attempts: int
    rank: int
    body: bytes | None
    traceparent: str | None
    message_id: UUID | None = None
    until: float = inf


class Wanted(NamedTuple):
    """How many rows of a rank a lane wants; of an ordered one those that no earlier one of their activity holds up."""

    business_id: UUID
    endpoint_id: UUID
    rank: int
    rows: int
    ordered: bool


_INSERT = """
    with known as materialized (select HOLDS as holds),
    made as (
        insert into delivery (business_id, id, endpoint_id, event_id, event_type, activity_id, version, logged_at,
                              lease_no, next_at, status, last_error, worker)
        select o.business_id, o.id, o.endpoint_id, o.event_id, o.event_type, o.activity_id, o.version, o.logged_at,
               o.leased::int,
               case when o.leased then now() + make_interval(secs => $17) when not o.parked then now() end,
               case when o.parked then 'parked' else 'pending' end,
               case when o.parked then 'endpoint_paused' end, case when o.leased then $20::uuid end
          from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::uuid[], $7::int[],
                      $8::timestamptz[], $9::bool[], $18::bool[])
            as o (business_id, id, endpoint_id, event_id, event_type, activity_id, version, logged_at, leased, parked)
         where (select holds from known)
        on conflict do nothing returning business_id, id, event_id),
    stored as (
        insert into event (business_id, id, event_type, activity_id, version, logged_at, body, traceparent)
        select e.* from unnest($10::uuid[], $11::uuid[], $12::text[], $13::uuid[], $14::int[], $15::timestamptz[],
                               $16::bytea[], $19::text[])
            as e (business_id, id, event_type, activity_id, version, logged_at, body, traceparent)
         where exists (select from made where made.business_id = e.business_id and made.event_id = e.id)
        on conflict do nothing)
    select (select holds from known), array(select id from made) as made
"""
_PRESUMED = f"""
    (select coalesce(array_agg(e.id order by e.id), '{{}}') = $22::uuid[]
            and coalesce(array_agg({CHANGE} order by e.id), '{{}}') = $23::bigint[]
       from endpoint e where e.business_id = any($21::uuid[]) and {HEARING})
    and to_regclass('event_' || to_char(current_date, 'YYYYMMDD')) is not null
    and not exists (select from unnest($10::uuid[], $13::uuid[]) as a (business_id, activity_id)
                      join erased_activity x on x.business_id = a.business_id and x.activity_id = a.activity_id)"""  # noqa: S608
INSERT, INSERT_PRESUMING = _INSERT.replace("HOLDS", "true"), _INSERT.replace("HOLDS", _PRESUMED)


async def insert_deliveries(
    tx: Transaction, owed: Sequence[Owed], lease_s: float, worker: UUID | None = None, presumed: Presumed | None = None
) -> set[UUID] | None:
    """Insert deliveries that are not there yet, and the events they tell; return the ids of those inserted.

    What is `leased` begins with lease 1, which `worker` has; everything else that is not `parked` is due at once.
    None: nothing was inserted, since what is `presumed` is not so any more, an activity of these was erased, or the
    day has no partitions.
    """
    ordered = sorted(owed, key=lambda one: (one.event.activity_id.int, one.event.version, one.endpoint_id.int))
    events = list({one.event.id: one.event for one in ordered}.values())
    row = await tx.find(
        INSERT if presumed is None else INSERT_PRESUMING,
        [one.event.business_id for one in ordered], [one.id for one in ordered],
        [one.endpoint_id for one in ordered], [one.event.id for one in ordered],
        [one.event.event_type for one in ordered], [one.event.activity_id for one in ordered],
        [one.event.version for one in ordered], [one.event.logged_at for one in ordered],
        [one.leased for one in ordered],
        [event.business_id for event in events], [event.id for event in events],
        [event.event_type for event in events], [event.activity_id for event in events],
        [event.version for event in events], [event.logged_at for event in events], [event.body for event in events],
        lease_s, [one.parked for one in ordered], [event.traceparent for event in events], worker,
        *(presumed or ()),
    )  # fmt: skip
    assert row is not None
    return set(row["made"]) if row["holds"] else None


async def claim(tx: Transaction, wanted: Sequence[Wanted], lease_s: float, worker: UUID | None) -> list[Claimed]:
    """Take a lease on what is due for these lanes, oldest first; what somebody else is looking at is passed over."""
    rows = await tx.fetch(
        """
        with wanted as (
            select * from unnest($1::uuid[], $2::uuid[], $3::smallint[], $4::int[], $5::bool[])
                as w (business_id, endpoint_id, rank, rows, ordered)),
        chosen as materialized (
            select c.business_id, c.id from wanted w cross join lateral (
                select d.business_id, d.id from delivery d
                 where d.status = 'pending' and d.business_id = w.business_id and d.endpoint_id = w.endpoint_id
                   and d.rank = w.rank and d.next_at <= now() and (not w.ordered or not exists (
                       select from delivery p join endpoint e
                                on e.business_id = p.business_id and e.id = p.endpoint_id
                        where p.business_id = d.business_id and p.activity_id = d.activity_id
                          and p.endpoint_id = d.endpoint_id and p.status = 'pending'
                          and p.replay_of is null and (p.version, p.id) < (d.version, d.id)
                          and p.created_at > now() - make_interval(secs => e.skip_after_s)))
                 order by d.next_at limit w.rows for update of d skip locked) c),
        claimed as (
            update delivery d
               set next_at = now() + make_interval(secs => $6), lease_no = d.lease_no + 1, worker = $7
              from chosen c where d.business_id = c.business_id and d.id = c.id
            returning d.business_id, d.id, d.endpoint_id, d.lease_no, d.attempts, d.rank, d.event_day, d.event_id,
                      d.replay_of)
        select c.business_id, c.id, c.endpoint_id, c.lease_no, c.attempts, c.rank, v.body, v.traceparent, c.replay_of
          from claimed c
          left join event v on v.business_id = c.business_id and v.day = c.event_day and v.id = c.event_id
         order by c.id
        """,
        [one.business_id for one in wanted], [one.endpoint_id for one in wanted], [one.rank for one in wanted],
        [one.rows for one in wanted], [one.ordered for one in wanted], lease_s, worker,
    )  # fmt: skip
    return [Claimed(*row) for row in rows]


class Waiting(NamedTuple):
    """The earliest that an endpoint is owed of a rank: in how many seconds it is due (negative: since when)."""

    business_id: UUID
    endpoint_id: UUID
    rank: int
    due_s: float


WAITING = """
    with recursive waiting as (
        (select business_id, endpoint_id, rank, next_at from delivery where status = 'pending'
          order by business_id, endpoint_id, rank, next_at limit 1)
        union all
        select n.* from waiting w cross join lateral (
            select d.business_id, d.endpoint_id, d.rank, d.next_at from delivery d
             where d.status = 'pending'
               and (d.business_id, d.endpoint_id, d.rank) > (w.business_id, w.endpoint_id, w.rank)
             order by d.business_id, d.endpoint_id, d.rank, d.next_at limit 1) n)
"""
"""Jumps from one endpoint to the next in the index: its cost goes with the endpoints that wait, not with the rows."""


async def reclaim(tx: Transaction, workers: Sequence[UUID], lease_s: float) -> int:
    """End the leases of workers that are gone; the fence keeps them out should they come back."""
    return await tx.execute(
        f"""
        {WAITING}, theirs as (
            select d.business_id, d.id from waiting w cross join lateral (
                select d.business_id, d.id, d.worker from delivery d
                 where d.status = 'pending' and d.business_id = w.business_id and d.endpoint_id = w.endpoint_id
                   and d.rank = w.rank and d.next_at > now() and d.next_at <= now() + make_interval(secs => $2)) d
             where d.worker = any($1::uuid[]))
        update delivery d set next_at = now(), lease_no = d.lease_no + 1, worker = null
          from theirs t where d.business_id = t.business_id and d.id = t.id and d.next_at is not null
        """,  # noqa: S608
        workers, lease_s,
    )  # fmt: skip


class Closed(NamedTuple):
    """An endpoint (`place`: business and id) of which a secret could not be opened, and how many deliveries wait."""

    place: tuple[UUID, UUID]
    waiting: int
    secrets: list[bytes]


async def list_unreadable(tx: Transaction, limit: int) -> list[Closed]:
    """List endpoints of which a secret could not be opened, with their live secrets."""
    rows = await tx.fetch(
        """
        select d.business_id, d.endpoint_id, d.waiting,
               array(select s.sealed from endpoint_secret s
                      where s.business_id = d.business_id and s.endpoint_id = d.endpoint_id
                        and (s.expires_at is null or s.expires_at > now()))
          from (select business_id, endpoint_id, count(*)::int as waiting from delivery
                 where status = 'pending' and last_error = 'secret_unreadable'
                 group by business_id, endpoint_id limit $1) d
        """,
        limit,
    )
    return [Closed((row[0], row[1]), row[2], row[3]) for row in rows]
