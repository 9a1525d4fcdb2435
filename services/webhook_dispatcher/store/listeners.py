"""Listeners: endpoints without a URL, whose deliveries a developer's machine fetches itself."""

from typing import Any
from uuid import UUID

from libs.database import Transaction


async def count_listeners(tx: Transaction, business_id: UUID) -> int:
    """Count a business's listeners."""
    return int(
        await tx.value(
            "select count(*) from endpoint where business_id = $1 and kind = 'listener' and deleted_at is null",
            business_id,
        )
    )


async def note_poll(tx: Transaction, business_id: UUID, id_: UUID) -> int:
    """Note that somebody listens; return whether there is such a listener."""
    return await tx.execute(
        """update endpoint set polled_at = now()
            where business_id = $1 and id = $2 and kind = 'listener' and deleted_at is null""",
        business_id, id_,
    )  # fmt: skip


async def take(tx: Transaction, business_id: UUID, id_: UUID, limit: int) -> list[dict[str, Any]]:
    """Take the next deliveries of a listener, oldest first: id and body; they count as delivered.

    They are named, and then found by their key one by one: joined, each of them read all that the business has, where
    that is not counted yet.
    """
    waiting = await tx.fetch(
        """
        select id from delivery where business_id = $1 and endpoint_id = $2 and status = 'parked'
         order by id limit $3 for update skip locked
        """,
        business_id, id_, limit,
    )  # fmt: skip
    taken = await tx.fetch_many(
        """
        update delivery d set status = 'delivered', attempts = 1, finished_at = now(), last_error = null
         where business_id = $1 and id = $2
        returning id, (select body from event v where v.business_id = $1 and v.day = d.event_day and v.id = d.event_id)
        """,
        [(business_id, row["id"]) for row in waiting],
    )
    return [dict(row) for row in taken if row["body"] is not None]


async def delete_silent(tx: Transaction, silent_s: float) -> int:
    """Delete the listeners that nobody has asked for so long."""
    return await tx.execute(
        """
        with silent as (
            update endpoint set deleted_at = now(), version = version + 1, status = 'disabled',
                   disabled_reason = 'deleted'
             where kind = 'listener' and deleted_at is null
               and coalesce(polled_at, created_at) < now() - make_interval(secs => $1)
            returning business_id, id)
        delete from endpoint_secret s using silent
         where s.business_id = silent.business_id and s.endpoint_id = silent.id
        """,
        silent_s,
    )
