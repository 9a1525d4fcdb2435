"""What is owed, and by whom it is being sent: insert, claim with a lease, finish."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from libs.database import Transaction


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
    """A delivery that this worker has a lease on, and all it takes to send it."""

    business_id: UUID
    id: UUID
    endpoint_id: UUID
    lease_no: int
    attempts: int
    url: str
    endpoint_status: str
    deleted: bool
    body: bytes | None
    traceparent: str | None
    secrets: Sequence[bytes]
    message_id: UUID | None = None
    """The webhook-id, where it is not its own: of the delivery that this one replays."""


@dataclass(frozen=True, slots=True)
class Finished:
    """What an attempt came to. `delay_s` is until the next; `attempt` the row to keep, None when nothing was sent."""

    claimed: Claimed
    status: str
    delay_s: float | None
    error: str | None
    gone: bool = False
    attempt: Mapping[str, Any] | None = None


async def insert_deliveries(tx: Transaction, owed: Sequence[Owed], lease_s: float) -> set[UUID]:
    """Insert deliveries that are not there yet, and the events they tell; return the ids of those inserted.

    What is `leased` begins with lease 1; everything else that is not `parked` is due at once.
    """
    ordered = sorted(owed, key=lambda one: (one.event.activity_id.int, one.event.version, one.endpoint_id.int))
    events = list({one.event.id: one.event for one in ordered}.values())
    rows = await tx.fetch(
        """
        with made as (
            insert into delivery (business_id, id, endpoint_id, event_id, event_type, activity_id, version, logged_at,
                                  lease_no, next_at, status, last_error)
            select o.business_id, o.id, o.endpoint_id, o.event_id, o.event_type, o.activity_id, o.version, o.logged_at,
                   o.leased::int,
                   case when o.leased then now() + make_interval(secs => $17) when not o.parked then now() end,
                   case when o.parked then 'parked' else 'pending' end,
                   case when o.parked then 'endpoint_paused' end
              from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::uuid[], $7::int[],
                          $8::timestamptz[], $9::bool[], $18::bool[])
                as o (business_id, id, endpoint_id, event_id, event_type, activity_id, version, logged_at, leased,
                      parked)
            on conflict do nothing returning business_id, id, event_id),
        stored as (
            insert into event (business_id, id, event_type, activity_id, version, logged_at, body, traceparent)
            select e.* from unnest($10::uuid[], $11::uuid[], $12::text[], $13::uuid[], $14::int[], $15::timestamptz[],
                                   $16::bytea[], $19::text[])
                as e (business_id, id, event_type, activity_id, version, logged_at, body, traceparent)
             where exists (select from made where made.business_id = e.business_id and made.event_id = e.id)
            on conflict do nothing)
        select id from made
        """,
        [one.event.business_id for one in ordered], [one.id for one in ordered],
        [one.endpoint_id for one in ordered], [one.event.id for one in ordered],
        [one.event.event_type for one in ordered], [one.event.activity_id for one in ordered],
        [one.event.version for one in ordered], [one.event.logged_at for one in ordered],
        [one.leased for one in ordered],
        [event.business_id for event in events], [event.id for event in events],
        [event.event_type for event in events], [event.activity_id for event in events],
        [event.version for event in events], [event.logged_at for event in events], [event.body for event in events],
        lease_s, [one.parked for one in ordered], [event.traceparent for event in events],
    )  # fmt: skip
    return {row["id"] for row in rows}


@dataclass(frozen=True, slots=True)
class Room:
    """How much may be claimed: rows in all, rows for one endpoint, what is left of those in use, who is left out."""

    rows_max: int
    endpoint_max: int
    left: Mapping[UUID, int]
    excluded: Sequence[UUID]


async def plan_anew(tx: Transaction) -> None:
    """Let this transaction's statements be planned for the tables as they are now.

    A plan kept from when the queue was empty reads it whole: claiming fell from 2,800 to 390 deliveries/s [measured].
    """
    await tx.execute("set local plan_cache_mode = force_custom_plan")


async def claim_due(tx: Transaction, room: Room, lease_s: float) -> list[Claimed]:
    """Take a lease on what is due, oldest first; what another worker is looking at is passed over."""
    rows = await tx.fetch(
        """
        with due as materialized (
            select business_id, id, endpoint_id, next_at from delivery
             where status = 'pending' and next_at <= now() and endpoint_id <> all($1::uuid[])
             order by next_at limit $2),
        placed as (
            select business_id, id, endpoint_id, row_number() over (partition by endpoint_id order by next_at) as place
              from due),
        chosen as (
            select d.business_id, d.id from placed p
              join delivery d on d.business_id = p.business_id and d.id = p.id
              left join unnest($3::uuid[], $4::int[]) as used (endpoint_id, room) on used.endpoint_id = p.endpoint_id
             where p.place <= coalesce(used.room, $5) and d.status = 'pending' and d.next_at <= now()
               for update of d skip locked),
        claimed as (
            update delivery d set next_at = now() + make_interval(secs => $6), lease_no = d.lease_no + 1
              from chosen c where d.business_id = c.business_id and d.id = c.id
            returning d.business_id, d.id, d.endpoint_id, d.lease_no, d.attempts, d.event_day, d.event_id,
                      d.replay_of)
        select c.business_id, c.id, c.endpoint_id, c.lease_no, c.attempts, e.url, e.status,
               e.deleted_at is not null as deleted, v.body, v.traceparent,
               array(select s.sealed from endpoint_secret s
                      where s.business_id = c.business_id and s.endpoint_id = c.endpoint_id
                        and (s.expires_at is null or s.expires_at > now()) order by s.id desc) as secrets,
               c.replay_of
          from claimed c
          join endpoint e on e.business_id = c.business_id and e.id = c.endpoint_id
          left join event v on v.business_id = c.business_id and v.day = c.event_day and v.id = c.event_id
        """,
        room.excluded, room.rows_max, list(room.left), list(room.left.values()), room.endpoint_max, lease_s,
    )  # fmt: skip
    return [Claimed(*row) for row in rows]


async def find_earliest(tx: Transaction, excluded: Sequence[UUID]) -> float | None:
    """Find in how many seconds the next delivery is due (negative: since when), None when nothing is pending."""
    value = await tx.value(
        """select extract(epoch from next_at - now())::float8 from delivery
            where status = 'pending' and endpoint_id <> all($1::uuid[]) order by next_at limit 1""",
        excluded,
    )
    return None if value is None else float(value)


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


async def finish(tx: Transaction, finished: Sequence[Finished]) -> int:
    """Note what attempts came to, keep them, note the endpoints' health; return how many leases were still ours.

    A lease that has been taken over changes nothing.
    """
    claims = [one.claimed for one in finished]
    attempts = [one.attempt for one in finished]
    return int(
        await tx.value(
            """
            with outcome as (
                select * from unnest($1::uuid[], $2::uuid[], $3::int[], $4::text[], $5::float8[], $6::text[],
                                     $7::bool[], $8::bool[], $9::timestamptz[], $10::int[], $11::int[],
                                     $12::text[], $13::jsonb[], $14::jsonb[], $15::bytea[])
                    as o (business_id, id, lease_no, status, delay_s, error, gone, sent, at, duration_ms, http_status,
                          address, phases, headers, answer)),
            done as (
                update delivery d
                   set status = o.status, attempts = d.attempts + o.sent::int, last_error = o.error,
                       next_at = case when o.status = 'pending' then now() + make_interval(secs => o.delay_s) end,
                       finished_at = case when o.status in ('delivered', 'exhausted', 'cancelled') then now() end
                  from outcome o
                 where d.business_id = o.business_id and d.id = o.id and d.lease_no = o.lease_no
                   and d.status = 'pending'
                returning d.endpoint_id, d.attempts as number, o.*),
            kept as (
                insert into attempt (business_id, delivery_id, number, endpoint_id, at, duration_ms, result,
                                     http_status, address, phases, headers, answer)
                select business_id, id, number, endpoint_id, at, duration_ms, coalesce(error, 'delivered'),
                       http_status, address, phases, headers, answer from done where sent),
            health as (
                update endpoint e
                   set failing_since = case when h.worked then null else coalesce(e.failing_since, now()) end,
                       last_failed_at = case when h.worked then e.last_failed_at else now() end,
                       status = case when h.gone then 'disabled' else e.status end,
                       disabled_reason = case when h.gone then 'gone' else e.disabled_reason end,
                       version = e.version + h.gone::int
                  from (select business_id, endpoint_id, bool_or(status = 'delivered') as worked, bool_or(gone) as gone
                          from done where sent group by business_id, endpoint_id) h
                 where e.business_id = h.business_id and e.id = h.endpoint_id and e.deleted_at is null
                   and (h.gone or h.worked = (e.failing_since is not null)
                        or (not h.worked and e.last_failed_at < now() - interval '1 hour')))
            select count(*) from done
            """,
            [one.business_id for one in claims], [one.id for one in claims], [one.lease_no for one in claims],
            [one.status for one in finished], [one.delay_s for one in finished], [one.error for one in finished],
            [one.gone for one in finished], [one is not None for one in attempts],
            *([None if one is None else one[name] for one in attempts] for name in ATTEMPT_FIELDS),
        )
    )  # fmt: skip


ATTEMPT_FIELDS = ("at", "duration_ms", "http_status", "address", "phases", "headers", "answer")


async def hand_back(tx: Transaction, claims: Sequence[Claimed]) -> int:
    """End leases early, so that another worker goes on at once."""
    return await tx.execute(
        """update delivery d set next_at = now()
             from unnest($1::uuid[], $2::uuid[], $3::int[]) as c (business_id, id, lease_no)
            where d.business_id = c.business_id and d.id = c.id and d.lease_no = c.lease_no and d.status = 'pending'""",
        [one.business_id for one in claims], [one.id for one in claims], [one.lease_no for one in claims],
    )  # fmt: skip
