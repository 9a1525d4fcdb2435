"""What reports read: numbers from the roll-ups, and the facts behind each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.database import Transaction
from services.reporting.domain.facts import QUARTER, quarter_of

_COUNTED = """
    select 'activity' as kind, activity_id as id, interaction_id, version, at, type, state, source, source_kind,
           direction, agent
    from fact where business_id = $1 and counted and at >= $2 and at < $3
    union all
    select 'interaction', interaction_id, interaction_id, version, at, type, state, source, source_kind, direction,
           agent
    from interaction_fact where business_id = $1 and counted and at >= $2 and at < $3
"""
_ROLLED_UP = """
    select quarter as at, type, state, source, source_kind, direction, agent, count
    from rollup
    where business_id = $1 and quarter >= $2 and quarter < $3 and not (state = 'due' and quarter = $5)
    union all
    select at, type, state, source, source_kind, direction, agent, 1
    from fact
    where business_id = $1 and counted and state = 'due'
      and at >= greatest($2, $5) and at < least($3, $6)
"""
_CHOSEN = """
    ($5::text is null or type = $5) and ($6::text is null or state_word(state, at, $4) = $6)
    and ($7::text is null or source = $7) and ($8::text is null or source_kind = $8)
    and ($9::text is null or direction = $9) and ($10::text is null or agent = $10)
"""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which facts: those with `since <= at < until` and these values ('' is no value), as things are at `moment`."""

    business_id: UUID
    since: datetime
    until: datetime
    moment: datetime
    values: Mapping[str, str]

    def value(self, name: str) -> str | None:
        """Return the value that a column must have; None: any."""
        return self.values.get(name)


async def sum_volume(
    tx: Transaction, chosen: Selection, bounds: Sequence[datetime], group_by: Sequence[str], limit: int
) -> list[Any]:
    """Count by bucket (1 is from `bounds[0]` to `bounds[1]`, and so on) and by the columns named in `group_by`.

    From roll-ups; only what is due in the quarter hour of `moment` is looked at fact by fact, to tell what is overdue.
    Rows: bucket, type, state, source, source_kind, direction, agent (null where not grouped), count.
    """
    present = quarter_of(chosen.moment)
    return await tx.fetch(
        f"""
        with counted as ({_ROLLED_UP}), named as (
            select at, type, state_word(state, at, $4) as state, source, source_kind, direction, agent, count
            from counted
        )
        select width_bucket(at, $7::timestamptz[]) as bucket,
               case when 'type' = any ($8::text[]) then type end as type,
               case when 'state' = any ($8::text[]) then state end as state,
               case when 'source' = any ($8::text[]) then source end as source,
               case when 'source_kind' = any ($8::text[]) then source_kind end as source_kind,
               case when 'direction' = any ($8::text[]) then direction end as direction,
               case when 'agent' = any ($8::text[]) then agent end as agent,
               sum(count)::bigint as count
        from named
        where ($9::text is null or type = $9) and ($10::text is null or state = $10)
          and ($11::text is null or source = $11) and ($12::text is null or source_kind = $12)
          and ($13::text is null or direction = $13) and ($14::text is null or agent = $14)
        group by 1, 2, 3, 4, 5, 6, 7
        order by 1, 2, 3, 4, 5, 6, 7
        limit $15
        """,  # noqa: S608 - constants of ours
        chosen.business_id,
        chosen.since,
        chosen.until,
        chosen.moment,
        present,
        present + QUARTER,
        bounds,
        group_by,
        *_values(chosen),
        limit,
    )


async def list_counted(
    tx: Transaction, chosen: Selection, after: tuple[datetime, UUID] | None, limit: int
) -> list[Any]:
    """List the activities and conversations chosen, newest first by (at, id), from behind `after`.

    Rows: kind (activity, interaction), id, interaction_id, version, at and the columns of reports.
    """
    return await tx.fetch(
        f"""
        select kind, id, interaction_id, version, at, type, state_word(state, at, $4) as state, source, source_kind,
               direction, agent
        from ({_COUNTED}) as counted
        where {_CHOSEN}
          and (at, id) < (coalesce($11, 'infinity'::timestamptz), $12)
        order by at desc, id desc
        limit $13
        """,  # noqa: S608 - constants of ours
        *_arguments(chosen),
        after[0] if after else None,
        after[1] if after else UUID(int=(1 << 128) - 1),
        limit,
    )


async def count_counted(tx: Transaction, chosen: Selection) -> int:
    """Count the activities and conversations chosen, one by one."""
    count: int = await tx.value(
        f"select count(*) from ({_COUNTED}) as counted where {_CHOSEN}",  # noqa: S608 - constants of ours
        *_arguments(chosen),
    )
    return count


async def find_versions(tx: Transaction, business_id: UUID, ids: Sequence[UUID]) -> dict[UUID, int]:
    """Tell the versions held of activities and conversations."""
    rows = await tx.fetch(
        """
        select activity_id, version from fact where business_id = $1 and activity_id = any ($2)
        union all
        select interaction_id, version from interaction_fact where business_id = $1 and interaction_id = any ($2)
        """,
        business_id,
        ids,
    )
    return {row[0]: row[1] for row in rows}


def _arguments(chosen: Selection) -> list[Any]:
    return [chosen.business_id, chosen.since, chosen.until, chosen.moment, *_values(chosen)]


def _values(chosen: Selection) -> list[str | None]:
    names = ("type", "state", "source", "source_kind", "direction", "agent")
    return [chosen.value(name) for name in names]
