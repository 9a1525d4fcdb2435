"""Who is told, as the handler of events needs it: endpoints with their filters and secrets, expressions that failed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from libs.database import Transaction
from services.webhook_dispatcher.domain.subscriptions import Subscriber
from services.webhook_dispatcher.store.targets import COLUMNS, Target, target_of

MISSED_DAYS = 30
"""For so long after it was disabled it is kept what an endpoint misses."""
HEARING = f"e.deleted_at is null and (e.status <> 'disabled' or e.updated_at > now() - interval '{MISSED_DAYS} days')"
CHANGE = """hashtextextended(concat(e.xmin, (
              select string_agg(s.xmin::text, ' ' order by s.id) from endpoint_secret s
               where s.business_id = e.business_id and s.endpoint_id = e.id
                 and (s.expires_at is null or s.expires_at > now()))), 0)"""
"""Another after whatever changed of an endpoint or its live secrets."""


class Presumed(NamedTuple):
    """What is taken for true of some businesses: which endpoints hear, as of which change of each."""

    business_ids: list[UUID]
    endpoint_ids: list[UUID]
    changes: list[int]


@dataclass(frozen=True, slots=True)
class Audience:
    """Who hears of the events of some businesses, the same as targets, the database's time, and whether lately any
    activity was erased.

    The time is None when today's partitions are missing: nothing can be kept then.
    """

    subscribers: Sequence[Subscriber]
    targets: Sequence[Target]
    presumed: Presumed
    now: datetime | None
    any_erased: bool


async def lock_paused(tx: Transaction, business_ids: Sequence[UUID], ids: Sequence[UUID]) -> set[UUID]:
    """Say which of these endpoints are paused; none of them is resumed before this transaction ends."""
    rows = await tx.fetch(
        """select id from endpoint where business_id = any($1) and id = any($2) and status = 'paused'
            order by business_id, id for share""",
        business_ids, ids,
    )  # fmt: skip
    return {row[0] for row in rows}


async def list_subscribers(tx: Transaction, business_ids: Sequence[UUID]) -> Audience:
    """List the endpoints of some businesses that are to be told, those disabled lately too."""
    rows = await tx.fetch(
        f"""
        select {COLUMNS}, e.created_at, e.event_types, e.sources, e.activity_objects, e.record_objects, e.expression,
               e.body_form, {CHANGE} as change,
               case when to_regclass('event_' || to_char(current_date, 'YYYYMMDD')) is not null then now() end as now,
               exists (select from erased_activity) as any_erased
          from endpoint e where e.business_id = any($1) and {HEARING} order by e.id
        """,  # noqa: S608
        business_ids,
    )  # fmt: skip
    subscribers = [
        Subscriber(
            row["business_id"], row["id"], row["created_at"],
            frozenset(row["event_types"]), frozenset(row["sources"]), frozenset(row["activity_objects"]),
            frozenset(row["record_objects"]), row["expression"], row["body_form"] == "thin", row["url"],
            tuple(row["secrets"]), row["status"] == "active", row["status"] == "disabled",
        )
        for row in rows
    ]  # fmt: skip
    now, any_erased = (rows[0]["now"], rows[0]["any_erased"]) if rows else (None, False)
    presumed = Presumed(list(business_ids), [row["id"] for row in rows], [row["change"] for row in rows])
    return Audience(subscribers, [target_of(row) for row in rows], presumed, now, any_erased)


async def note_filter_failures(tx: Transaction, failures: Mapping[tuple[UUID, UUID], tuple[int, str]]) -> None:
    """Count expressions that had no answer, by (business, endpoint): how often now, and why the last time."""
    keys = sorted(failures, key=lambda key: (key[0].int, key[1].int))
    await tx.execute(
        """
        insert into filter_failure (business_id, endpoint_id, failures, last_error, last_at)
        select *, now() from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[])
        on conflict (business_id, endpoint_id) do update
        set failures = filter_failure.failures + excluded.failures, last_error = excluded.last_error, last_at = now()
        """,
        [key[0] for key in keys], [key[1] for key in keys],
        [failures[key][0] for key in keys], [failures[key][1] for key in keys],
    )  # fmt: skip


async def find_filter_failure(tx: Transaction, business_id: UUID, endpoint_id: UUID) -> dict[str, Any]:
    """Find how often an endpoint's expression had no answer, and why the last time."""
    row = await tx.find(
        """select failures as count, last_error, last_at from filter_failure
            where business_id = $1 and endpoint_id = $2""",
        business_id, endpoint_id,
    )  # fmt: skip
    return {"count": 0, "last_error": None, "last_at": None} if row is None else dict(row)
