"""Activities whose texts were erased, and the bodies that still hold such texts."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.database import Transaction

Key = tuple[UUID, UUID]
"""Business and activity."""


async def save_erased(tx: Transaction, erased: Mapping[Key, datetime]) -> None:
    """Note when activities were erased last."""
    await tx.execute(
        """
        insert into erased_activity (business_id, activity_id, erased_at)
        select * from unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) order by 1, 2
        on conflict (business_id, activity_id) do update
        set erased_at = greatest(erased_activity.erased_at, excluded.erased_at)
        """,
        [business_id for business_id, _ in erased],
        [activity_id for _, activity_id in erased],
        list(erased.values()),
    )


async def list_erased(tx: Transaction, keys: Sequence[Key]) -> dict[Key, datetime]:
    """Tell which of the activities were erased, and when."""
    rows = await tx.fetch(
        """
        select e.business_id, e.activity_id, e.erased_at from erased_activity e
        join unnest($1::uuid[], $2::uuid[]) as wanted (business_id, activity_id)
            on e.business_id = wanted.business_id and e.activity_id = wanted.activity_id
        """,
        [business_id for business_id, _ in keys],
        [activity_id for _, activity_id in keys],
    )
    return {(row[0], row[1]): row[2] for row in rows}


async def list_bodies(tx: Transaction, keys: Sequence[Key]) -> list[Any]:
    """List what is or was told of activities: `business_id`, `day`, `id`, `activity_id`, `body`."""
    return await tx.fetch(
        """
        select distinct e.business_id, e.day, e.id, e.activity_id, e.body
        from unnest($1::uuid[], $2::uuid[]) as wanted (business_id, activity_id)
        join delivery d on d.business_id = wanted.business_id and d.activity_id = wanted.activity_id
            and d.replay_of is null
        join event e on e.business_id = d.business_id and e.day = d.event_day and e.id = d.event_id
        """,
        [business_id for business_id, _ in keys],
        [activity_id for _, activity_id in keys],
    )


async def save_bodies(tx: Transaction, rows: Sequence[Any], bodies: Sequence[bytes]) -> None:
    """Put other bodies in the place of those of these rows."""
    await tx.execute(
        """
        update event e set body = new.body
        from unnest($1::uuid[], $2::date[], $3::uuid[], $4::bytea[]) as new (business_id, day, id, body)
        where e.business_id = new.business_id and e.day = new.day and e.id = new.id
        """,
        [row["business_id"] for row in rows],
        [row["day"] for row in rows],
        [row["id"] for row in rows],
        list(bodies),
    )


async def forget_old(tx: Transaction, kept_days: int) -> None:
    """Forget activities erased so long ago that nothing is told any more of their versions before that."""
    await tx.execute("delete from erased_activity where erased_at < now() - make_interval(days => $1)", kept_days)
