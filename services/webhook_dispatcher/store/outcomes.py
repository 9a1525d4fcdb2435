"""What came of deliveries that were claimed: one statement for many."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from libs.database import Transaction
from services.webhook_dispatcher.store.queue import Claimed

ATTEMPT_FIELDS = ("at", "duration_ms", "http_status", "address", "phases", "headers", "answer")


@dataclass(frozen=True, slots=True)
class Finished:
    """What an attempt came to. `delay_s` is until the next; `attempt` the row to keep, None when nothing was sent."""

    claimed: Claimed
    status: str
    delay_s: float | None
    error: str | None
    gone: bool = False
    attempt: Mapping[str, Any] | None = None


class Held(NamedTuple):
    """For how many seconds an endpoint is left alone (0: no more), why, and how often its breaker opened in a row."""

    business_id: UUID
    endpoint_id: UUID
    seconds: float
    why: str
    times: int


# What is pending has a `next_at`, and rows are found by their key: with `status = 'pending'` PostgreSQL may take the
# index of what waits, and reads all that the business is owed for each row (1.3 s for 512 of 16,000).
_FINISH = """
    with outcome as (
        select * from unnest($1::uuid[], $2::uuid[], $3::int[], $4::text[], $5::float8[], $6::text[],
                             $7::bool[], $8::bool[], $9::timestamptz[], $10::int[], $11::int[],
                             $12::text[], $13::jsonb[], $14::jsonb[], $15::bytea[])
            as o (business_id, id, lease_no, status, delay_s, error, gone, sent, at, duration_ms, http_status,
                  address, phases, headers, answer)),
    done as (
        update delivery d
           set status = o.status, attempts = d.attempts + o.sent::int, worker = null,
               last_error = case when o.sent or o.error is not null then o.error else d.last_error end,
               rank = case when o.sent and o.status = 'pending' then greatest(d.rank, 1) else d.rank end,
               next_at = case when o.status = 'pending' then now() + make_interval(secs => o.delay_s) end,
               finished_at = case when o.status in ('delivered', 'exhausted', 'cancelled') then now() end
          from outcome o
         where d.business_id = o.business_id and d.id = o.id and d.lease_no = o.lease_no
           and d.next_at is not null
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
"""


async def finish(tx: Transaction, finished: Sequence[Finished]) -> int:
    """Note what attempts came to, keep them, note the endpoints' health; return how many leases were still ours.

    A lease that has been taken over changes nothing.
    """
    claims = [one.claimed for one in finished]
    attempts = [one.attempt for one in finished]
    return int(
        await tx.value(
            _FINISH,
            [one.business_id for one in claims], [one.id for one in claims], [one.lease_no for one in claims],
            [one.status for one in finished], [one.delay_s for one in finished], [one.error for one in finished],
            [one.gone for one in finished], [one is not None for one in attempts],
            *([None if one is None else one[name] for one in attempts] for name in ATTEMPT_FIELDS),
        )
    )  # fmt: skip


async def lock_active(tx: Transaction, claims: Sequence[Claimed]) -> set[UUID]:
    """Say which endpoints of these deliveries are active; none of them changes before this transaction ends."""
    rows = await tx.fetch(
        """select id, status = 'active' and deleted_at is null as active from endpoint
            where business_id = any($1) and id = any($2) order by business_id, id for share""",
        list({one.business_id for one in claims}), list({one.endpoint_id for one in claims}),
    )  # fmt: skip
    return {row["id"] for row in rows if row["active"]}


async def save_holds(tx: Transaction, held: Sequence[Held]) -> None:
    """Note which endpoints are left alone, so that another worker does so too."""
    latest = {one.endpoint_id: one for one in held}.values()
    await tx.execute(
        """
        update endpoint e
           set held_until = case when h.seconds > 0 then now() + make_interval(secs => h.seconds) end,
               held_for = case when h.seconds > 0 then h.why end, holds = h.times
          from unnest($1::uuid[], $2::uuid[], $3::float8[], $4::text[], $5::int[])
            as h (business_id, endpoint_id, seconds, why, times)
         where e.business_id = h.business_id and e.id = h.endpoint_id
        """,
        [one.business_id for one in latest], [one.endpoint_id for one in latest], [one.seconds for one in latest],
        [one.why for one in latest], [one.times for one in latest],
    )  # fmt: skip


async def hand_back(tx: Transaction, claims: Sequence[Claimed]) -> int:
    """End leases early, so that another worker goes on at once."""
    return await tx.execute(
        """update delivery d set next_at = now(), worker = null
             from unnest($1::uuid[], $2::uuid[], $3::int[]) as c (business_id, id, lease_no)
            where d.business_id = c.business_id and d.id = c.id and d.lease_no = c.lease_no
              and d.next_at is not null""",
        [one.business_id for one in claims], [one.id for one in claims], [one.lease_no for one in claims],
    )  # fmt: skip
