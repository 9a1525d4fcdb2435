"""How endpoints do: from their latest deliveries and attempts, so many at most, whatever the tables hold."""

from typing import Any
from uuid import UUID

from libs.contracts.ids import uuid7
from libs.database import Transaction

Row = dict[str, Any]
LATEST_MAX, WAITING_MAX, WINDOW_S = 200, 1_000, 3_600


async def list_stats(tx: Transaction, business_id: UUID, endpoint_id: UUID | None) -> list[Row]:
    """List each endpoint with its figures.

    Over its latest deliveries of the last hour, 200 at most: how many, over how long, how many arrived; the times of
    their latest attempts. What waits is counted up to 1,000, each by the index of what waits.
    """
    since = first_id_at_window()
    rows = await tx.fetch(
        """
        select e.id as endpoint_id, e.status, e.disabled_reason, e.failing_since, e.held_until, e.held_for,
               l.deliveries, l.delivered, l.ended, l.span_s, l.p50_ms, l.p95_ms,
               w.waiting, w.oldest_pending_at, w.oldest_due_at
          from endpoint e
          cross join lateral (
              select count(*)::int as deliveries, count(*) filter (where d.status = 'delivered')::int as delivered,
                     count(*) filter (where d.status in ('delivered', 'exhausted'))::int as ended,
                     extract(epoch from now() - min(d.created_at))::float8 as span_s,
                     percentile_disc(0.5) within group (order by a.duration_ms) as p50_ms,
                     percentile_disc(0.95) within group (order by a.duration_ms) as p95_ms
                from (select id, status, attempts, created_at from delivery
                       where business_id = $1 and endpoint_id = e.id and id > $3 and status <> 'missed'
                       order by id desc limit $4) d
                left join lateral (
                    select duration_ms from attempt a
                     where a.business_id = $1 and a.day in (current_date, current_date - 1) and a.delivery_id = d.id
                       and a.number = d.attempts limit 1) a on true) l
          cross join lateral (
              select count(*)::int as waiting, min(p.created_at) as oldest_pending_at,
                     min(p.next_at) filter (where p.next_at <= now()) as oldest_due_at
                from (select created_at, next_at from delivery
                       where business_id = $1 and endpoint_id = e.id and status = 'pending'
                       order by rank, next_at limit $5) p) w
         where e.business_id = $1 and e.deleted_at is null and e.kind <> 'listener' and ($2::uuid is null or e.id = $2)
         order by e.id desc
        """,
        business_id, endpoint_id, since, LATEST_MAX, WAITING_MAX,
    )  # fmt: skip
    return [dict(row) for row in rows]


def first_id_at_window() -> UUID:
    """Return the lowest id of the window that figures are about."""
    return UUID(int=max(0, (uuid7().int >> 80) - WINDOW_S * 1000) << 80)
