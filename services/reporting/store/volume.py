"""What reports read: numbers from the roll-ups, and the facts behind each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.access.sight import Sight, admitted, arguments_of, seen
from libs.database import Transaction
from services.reporting.domain.facts import QUARTER, quarter_of
from services.reporting.store import narrow

_COUNTED = """
    select 'activity' as kind, activity_id as id, interaction_id, version, at, type, state, source, source_kind,
           direction, agent
    from fact where business_id = $1 and counted and at >= $2 and at < $3
    union all
    select 'interaction', interaction_id, interaction_id, version, at, type, state, source, source_kind, direction,
           agent
    from interaction_fact where business_id = $1 and counted and at >= $2 and at < $3
"""
_PARTS = """
    select 'activity' as kind, activity_id as id, interaction_id, version, at, type, state, source, source_kind,
           direction, agent, business_id, type_id, assignee_member_id, assignee_role_id, own, linked, readers, team_of,
           case when state in ('completed', 'logged') then at end as logged_at
    from fact where business_id = $1 and counted and at >= $2 and at < $3
    union all
    select 'interaction', interaction_id, interaction_id, version, at, type, state, source, source_kind, direction,
           agent, business_id, type_id, null, null, array_remove(array[agent_id], null), linked, null, null, at
    from interaction_fact where business_id = $1 and counted and at >= $2 and at < $3
"""
"""As `_COUNTED`, with what decides who is told of it. What lacks a type came before that was known: nobody is."""

_ROLLED_UP = """
    select quarter as at, type, state, source, source_kind, direction, agent, count
    from rollup
    where business_id = $1 and quarter >= $2 and quarter < $3 and not (state = 'due' and quarter = $begin) and {told}
    union all
    select at, type, state, source, source_kind, direction, agent, 1
    from fact
    where business_id = $1 and counted and state = 'due'
      and at >= greatest($2, $begin) and at < least($3, $end) and {told}
"""
_UNTOLD = """
    select at, type, state, source, source_kind, direction, agent, -1
    from fact as facts
    where business_id = $1 and counted and readers is not null and at >= $2 and at < $3 and not {admitted}
"""
"""What roll-ups count and a member who sees all that is for everybody is not told of."""
_CHOSEN = """
    ($5::text is null or type = $5) and ($6::text is null or state_word(state, at, $4) = $6)
    and ($7::text is null or source = $7) and ($8::text is null or source_kind = $8)
    and ($9::text is null or direction = $9) and ($10::text is null or agent = $10)
"""
_PAGE = f"{_CHOSEN} and (at, id) < (coalesce($11, 'infinity'::timestamptz), $12)"
_ORDER = "order by at desc, id desc limit $13"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which facts: those with `since <= at < until` and these values ('' is no value), as things are at `moment`.

    `sight`: only those that this member is told of; None: all. `shut`: the names of the types that are not shared with
    the member; None: not known of all of them.
    """

    business_id: UUID
    since: datetime
    until: datetime
    moment: datetime
    values: Mapping[str, str]
    sight: Sight | None = None
    shut: tuple[str, ...] | None = None

    @property
    def is_found(self) -> bool:
        """Tell whether what a member sees who does not see everything is found without looking at all there is."""
        return self.sight is not None and self.shut is not None and not self.sight.is_wide and not self.sight.guarded

    @property
    def is_looked_at(self) -> bool:
        """Tell whether all facts are looked at one by one: where records are for some roles only."""
        return self.sight is not None and not self.sight.is_wide and not self.is_found

    def value(self, name: str) -> str | None:
        """Return the value that a column must have; None: any."""
        return self.values.get(name)


async def sum_volume(
    tx: Transaction, chosen: Selection, bounds: Sequence[datetime], group_by: Sequence[str], limit: int
) -> list[Any]:
    """Count by bucket (1 is from `bounds[0]` to `bounds[1]`, and so on) and by the columns named in `group_by`.

    From roll-ups; only what is due in the quarter hour of `moment` is looked at fact by fact, to tell what is overdue.
    For members from whom more is hidden than what is private see `narrow`; where records are for some roles only, all
    facts are looked at.
    Rows: bucket, type, state, source, source_kind, direction, agent (null where not grouped), count.
    """
    told, arguments = _told(chosen, 14)
    return await tx.fetch(
        f"""
        with counted as ({told}), named as (
            select at, type, state_word(state, at, $4) as state, source, source_kind, direction, agent, count
            from counted
        )
        select width_bucket(at, $5::timestamptz[]) as bucket,
               case when 'type' = any ($6::text[]) then type end as type,
               case when 'state' = any ($6::text[]) then state end as state,
               case when 'source' = any ($6::text[]) then source end as source,
               case when 'source_kind' = any ($6::text[]) then source_kind end as source_kind,
               case when 'direction' = any ($6::text[]) then direction end as direction,
               case when 'agent' = any ($6::text[]) then agent end as agent,
               sum(count)::bigint as count
        from named
        where ($7::text is null or type = $7) and ($8::text is null or state = $8)
          and ($9::text is null or source = $9) and ($10::text is null or source_kind = $10)
          and ($11::text is null or direction = $11) and ($12::text is null or agent = $12)
        group by 1, 2, 3, 4, 5, 6, 7
        having sum(count) > 0
        order by 1, 2, 3, 4, 5, 6, 7
        limit $13
        """,  # noqa: S608 - constants of ours
        chosen.business_id,
        chosen.since,
        chosen.until,
        chosen.moment,
        bounds,
        group_by,
        *_values(chosen),
        limit,
        *arguments,
    )


def _told(chosen: Selection, first: int) -> tuple[str, tuple[Any, ...]]:
    """Write what is counted, in roll-ups or one by one, with its arguments from `$first` on."""
    sight, present = chosen.sight, quarter_of(chosen.moment)
    if sight is not None and chosen.is_looked_at:
        return f"select *, 1 as count from ({_looked_at(first)}) as told", arguments_of(sight)  # noqa: S608 - constants
    times, behind = (present, present + QUARTER), first + 2
    rolled_up = _ROLLED_UP.replace("$begin", f"${first}").replace("$end", f"${first + 1}")
    if sight is None:
        return rolled_up.format(told="true"), times
    if not chosen.is_found:
        untold = _UNTOLD.format(admitted=admitted("facts", behind))
        parts = rolled_up.format(told="true"), untold
        return " union all ".join(parts), (*times, sight.user_id, list(sight.role_ids))
    parts = rolled_up.format(told=narrow.rolled_up(behind)), narrow.less(behind)
    if "all" not in (sight.scheduled, sight.logged):
        return " union all ".join(_one_by_one(first)), _sight(chosen)
    return " union all ".join((*parts, *_one_by_one(behind))), (*times, *_sight(chosen), list(chosen.shut or ()))


def _one_by_one(first: int) -> list[str]:
    """Write what is found one by one; the arguments of the sight are from `$first` on."""
    return [f"select {narrow.VALUES}, 1 as count from ({each}) as one" for each in narrow.found(first)]  # noqa: S608


def _looked_at(first: int) -> str:
    """Write what is told to a member of all facts; the arguments of the sight are from `$first` on."""
    told = f"facts.type_id is not null and {seen('facts', first)} and {admitted('facts', first)}"
    return f"select * from ({_PARTS}) as facts where {told}"  # noqa: S608 - constants of ours


def _listed(chosen: Selection, first: int) -> str:
    """Write the facts that a page may hold; the arguments of the sight are from `$first` on."""
    if chosen.is_found:
        has_whole = chosen.sight is not None and "all" in (chosen.sight.scheduled, chosen.sight.logged)
        parts = (*(narrow.all_of(first) if has_whole else ()), *narrow.found(first))
        return " union all ".join(f"(select * from ({each}) as one where {_PAGE} {_ORDER})" for each in parts)  # noqa: S608
    rows = _COUNTED if chosen.sight is None else _looked_at(first)
    return f"select * from ({rows}) as one where {_PAGE}"  # noqa: S608 - constants of ours


def _sight(chosen: Selection) -> tuple[Any, ...]:
    return () if chosen.sight is None else arguments_of(chosen.sight)


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
        from ({_listed(chosen, 14)}) as counted
        {_ORDER}
        """,  # noqa: S608 - constants of ours
        *_arguments(chosen),
        after[0] if after else None,
        after[1] if after else UUID(int=(1 << 128) - 1),
        limit,
        *_sight(chosen),
    )


async def count_counted(tx: Transaction, chosen: Selection) -> int:
    """Count the activities and conversations chosen, as `sum_volume` does."""
    told, arguments = _told(chosen, 11)
    count: int = await tx.value(
        f"select coalesce(sum(count), 0)::bigint from ({told}) as counted where {_CHOSEN}",  # noqa: S608 - constants of ours
        *_arguments(chosen),
        *arguments,
    )
    return count


async def count_all(tx: Transaction, chosen: Selection) -> int:
    """Count all that lies in the time chosen, whoever is told of it, and whatever it is."""
    count: int = await tx.value(
        """
        select coalesce(sum(count), 0)::bigint from rollup
        where business_id = $1 and quarter >= $2 and quarter < $3
        """,
        chosen.business_id,
        chosen.since,
        chosen.until,
    )
    return count


async def find_versions(tx: Transaction, business_id: UUID, ids: Sequence[UUID]) -> dict[UUID, int]:
    """Tell the versions held of activities and conversations."""
    rows = await tx.fetch(
        """
        select found.* from unnest($2::uuid[]) as wanted (id)
        cross join lateral (
            (select activity_id, version from fact where business_id = $1 and activity_id = wanted.id limit 1)
            union all
            (select interaction_id, version from interaction_fact
             where business_id = $1 and interaction_id = wanted.id limit 1)) as found
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
