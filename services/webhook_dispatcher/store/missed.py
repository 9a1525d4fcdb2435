"""What disabled endpoints missed: kept with its bodies, so that it can be replayed, and never sent by itself."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from libs.database import Transaction
from services.webhook_dispatcher.store.queue import Owed

COUNTED_MAX = 100_000


async def insert_missed(tx: Transaction, owed: Sequence[Owed]) -> None:
    """Keep what endpoints miss that is not there yet, and the events that tell it."""
    ordered = sorted(owed, key=lambda one: (one.event.activity_id.int, one.event.version, one.endpoint_id.int))
    events = [one.event for one in ordered]
    await tx.execute(
        """
        with missed as (
            select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::uuid[], $7::int[],
                                 $8::timestamptz[], $9::bytea[], $10::text[])
                as m (business_id, id, endpoint_id, event_id, event_type, activity_id, version, logged_at, body,
                      trace)),
        made as (
            insert into delivery (business_id, id, endpoint_id, event_id, event_type, activity_id, version, logged_at,
                                  status, next_at, last_error)
            select business_id, id, endpoint_id, event_id, event_type, activity_id, version, logged_at, 'missed', null,
                   'endpoint_disabled' from missed
            on conflict do nothing returning business_id, id)
        insert into event (business_id, id, event_type, activity_id, version, logged_at, body, traceparent)
        select distinct on (m.business_id, m.event_id) m.business_id, m.event_id, m.event_type, m.activity_id,
               m.version, m.logged_at, m.body, m.trace
          from missed m join made on made.business_id = m.business_id and made.id = m.id
        on conflict do nothing
        """,
        [event.business_id for event in events], [one.id for one in ordered], [one.endpoint_id for one in ordered],
        [event.id for event in events], [event.event_type for event in events],
        [event.activity_id for event in events], [event.version for event in events],
        [event.logged_at for event in events], [event.body for event in events],
        [event.traceparent for event in events],
    )  # fmt: skip


async def count_missed(tx: Transaction, business_id: UUID, endpoint_id: UUID) -> tuple[int, datetime | None]:
    """Count what an endpoint missed while it was disabled, up to a bound, and say since when."""
    row = await tx.find(
        """
        select count(*) as n, min(created_at) as since from (
            select created_at from delivery
             where business_id = $1 and endpoint_id = $2 and status = 'missed' order by id limit $3) m
        """,
        business_id, endpoint_id, COUNTED_MAX,
    )  # fmt: skip
    assert row is not None
    return row["n"], row["since"]
