"""What a business's endpoints were told, as the source of what another of them is told later."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

from libs.database import Transaction
from services.webhook_dispatcher.store.replays import RANK, Selection

_TOLD = """d.business_id = $1 and d.endpoint_id <> $2 and d.id > $3 and d.id < $4 and d.event_type = any($5)
           and d.activity_id <> $2 and d.replay_of is null"""
"""An endpoint is not told of what happened to itself."""


class Told(NamedTuple):
    """A delivery to another endpoint, with its body as far as that is kept."""

    id: UUID
    event_type: str
    activity_id: UUID
    version: int
    logged_at: datetime | None
    event_id: UUID
    event_day: date
    body: bytes | None


class Telling(NamedTuple):
    """A delivery of our own to be made of another's (`of`): with its event, or with one in another form."""

    id: UUID
    of: UUID
    event_id: UUID
    event_day: date


async def count_told(tx: Transaction, business_id: UUID, selection: Selection, most: int) -> int:
    """Count what others than this endpoint were told, up to a bound."""
    return int(
        await tx.value(
            f"select count(*) from (select from delivery d where {_TOLD} limit $6) c",  # noqa: S608
            business_id, selection.endpoint_id, selection.first_id, selection.end_id, selection.event_types, most,
        )
    )  # fmt: skip


async def list_told(tx: Transaction, business_id: UUID, selection: Selection, limit: int) -> list[Told]:
    """List what others than this endpoint were told, oldest first."""
    rows = await tx.fetch(
        f"""
        select d.id, d.event_type, d.activity_id, d.version, d.logged_at, d.event_id, d.event_day, v.body
          from delivery d
          left join lateral (
              select body from event where business_id = d.business_id and day = d.event_day and id = d.event_id
               limit 1) as v on true
         where {_TOLD} order by d.id limit $6
        """,  # noqa: S608
        business_id, selection.endpoint_id, selection.first_id, selection.end_id, selection.event_types, limit,
    )  # fmt: skip
    return [Told(*row) for row in rows]


async def insert_thin(tx: Transaction, business_id: UUID, events: Sequence[tuple[Told, UUID, bytes]]) -> date:
    """Keep thin bodies made of full ones, under ids of their own; return the day under which they are kept."""
    return date.fromisoformat(
        await tx.value(
            """
            with kept as (
                insert into event (business_id, id, event_type, activity_id, version, logged_at, body)
                select $1, * from unnest($2::uuid[], $3::text[], $4::uuid[], $5::int[], $6::timestamptz[], $7::bytea[])
                on conflict do nothing)
            select current_date::text
            """,
            business_id, [id_ for _, id_, _ in events], [one.event_type for one, _, _ in events],
            [one.activity_id for one, _, _ in events], [one.version for one, _, _ in events],
            [one.logged_at for one, _, _ in events], [body for _, _, body in events],
        )
    )  # fmt: skip


async def insert_tellings(
    tx: Transaction, replay: tuple[UUID, UUID], endpoint_id: UUID, tellings: Sequence[Telling]
) -> int:
    """Owe an endpoint what it was not told yet; return how many deliveries that makes."""
    business_id, replay_id = replay
    return await tx.execute(
        """
        insert into delivery (business_id, id, endpoint_id, event_id, event_day, event_type, activity_id, version,
                              logged_at, rank, replay_id)
        select d.business_id, n.id, $2, n.event_id, n.event_day, d.event_type, d.activity_id, d.version, d.logged_at,
               $8, $3
          from unnest($4::uuid[], $5::uuid[], $6::uuid[], $7::date[]) as n (id, source, event_id, event_day)
         cross join lateral (select * from delivery where business_id = $1 and id = n.source limit 1) as d
         order by d.id
        on conflict do nothing
        """,
        business_id, endpoint_id, replay_id, [one.id for one in tellings], [one.of for one in tellings],
        [one.event_id for one in tellings], [one.event_day for one in tellings], RANK,
    )  # fmt: skip
