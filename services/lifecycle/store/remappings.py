"""Options that took another's place, and how far the search for planned activities that hold it has come."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from libs.database import Transaction

FIRST = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Remapping:
    """A replacement under way: activities up to `after_activity_id` have been looked at, `activities` were changed."""

    business_id: UUID
    id: UUID
    object_id: UUID
    field_name: str
    option_id: str
    replacement: Mapping[str, str]
    by_member: UUID | None
    after_activity_id: UUID = FIRST
    activities: int = 0


async def insert_remapping(tx: Transaction, new: Remapping, asked_at: datetime) -> None:
    """Note a replacement to be made."""
    await tx.execute(
        """
        insert into remapping (business_id, id, object_id, field_name, option_id, replacement, by_member, asked_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8)
        """,
        new.business_id, new.id, new.object_id, new.field_name, new.option_id, orjson.dumps(new.replacement),
        new.by_member, asked_at,
    )  # fmt: skip


async def lock_next(tx: Transaction, asked_before: datetime) -> Remapping | None:
    """Lock the oldest replacement that is open and was asked for before an instant, unless somebody is at it."""
    row = await tx.find(
        """
        select business_id, id, object_id, field_name, option_id, replacement, by_member, after_activity_id, activities
        from remapping where finished_at is null and asked_at < $1
        order by asked_at, id limit 1 for update skip locked
        """,
        asked_before,
    )
    if row is None:
        return None
    given: dict[str, Any] = dict(row)
    return Remapping(**given | {"replacement": orjson.loads(given["replacement"])})


async def page_planned(tx: Transaction, place: Remapping, limit: int) -> list[tuple[UUID, bool]]:
    """List the next activities of the business: id, and whether it is planned and of the object."""
    rows = await tx.fetch(
        """
        select activity_id, type_id = $3 and logged_at is null and deleted_at is null from activity
        where business_id = $1 and activity_id > $2 order by activity_id limit $4
        """,
        place.business_id, place.after_activity_id, place.object_id, limit,
    )  # fmt: skip
    return [(row[0], row[1]) for row in rows]


async def save_progress(tx: Transaction, place: Remapping, finished_at: datetime | None) -> None:
    """Note how far a replacement has come."""
    await tx.execute(
        """
        update remapping set after_activity_id = $3, activities = $4, finished_at = $5
        where business_id = $1 and id = $2
        """,
        place.business_id, place.id, place.after_activity_id, place.activities, finished_at,
    )  # fmt: skip
