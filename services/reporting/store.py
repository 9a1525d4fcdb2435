"""All SQL of reporting."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.database import Transaction
from services.reporting.domain.facts import QUARTER, ActivityKey, Cell, Fact, quarter_of


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


async def replace_facts(tx: Transaction, facts: Mapping[ActivityKey, Fact]) -> dict[ActivityKey, Fact | None]:
    """Save the facts that are newer than what is held, and tell what each of them was before (None: new).

    Missing ones are inserted and then known ones locked, both in the order of their keys: of two writers the second
    waits for the first and sees what it wrote, so that both cannot see "not counted yet".
    """
    rows = await tx.fetch(
        """
        insert into fact (business_id, activity_id, version, counted, at, type, state, source, source_kind, direction,
                          agent)
        select * from unnest($1::uuid[], $2::uuid[], $3::int[], $4::bool[], $5::timestamptz[], $6::text[], $7::text[],
                             $8::text[], $9::text[], $10::text[], $11::text[])
        order by 1, 2
        on conflict (business_id, activity_id) do nothing
        returning business_id, activity_id
        """,
        *zip(*facts.values(), strict=True),
    )
    if len(rows) == len(facts):
        return dict.fromkeys(facts)
    earlier: dict[ActivityKey, Fact | None] = {(row[0], row[1]): None for row in rows}
    known = await _lock_older(tx, [fact for key, fact in facts.items() if key not in earlier])
    if known:
        await _save(tx, [facts[key] for key in known])
    return earlier | known


async def _lock_older(tx: Transaction, facts: Sequence[Fact]) -> dict[ActivityKey, Fact]:
    rows = await tx.fetch(
        """
        select held.* from (select * from unnest($1::uuid[], $2::uuid[], $3::int[]) as new (business_id, id, version)
                            order by 1, 2) as new
        cross join lateral (
            select business_id, activity_id, version, counted, at, type, state, source, source_kind, direction, agent
            from fact
            where fact.business_id = new.business_id and fact.activity_id = new.id and fact.version < new.version
            for update
        ) as held
        """,
        [fact.business_id for fact in facts],
        [fact.activity_id for fact in facts],
        [fact.version for fact in facts],
    )
    return {(row[0], row[1]): Fact(*row) for row in rows}


async def _save(tx: Transaction, facts: Sequence[Fact]) -> None:
    await tx.execute(
        """
        insert into fact (business_id, activity_id, version, counted, at, type, state, source, source_kind, direction,
                          agent)
        select * from unnest($1::uuid[], $2::uuid[], $3::int[], $4::bool[], $5::timestamptz[], $6::text[], $7::text[],
                             $8::text[], $9::text[], $10::text[], $11::text[])
        on conflict (business_id, activity_id) do update
        set version = excluded.version, counted = excluded.counted, at = excluded.at, type = excluded.type,
            state = excluded.state, source = excluded.source, source_kind = excluded.source_kind,
            direction = excluded.direction, agent = excluded.agent
        """,
        *zip(*facts, strict=True),
    )


async def add_to_rollups(tx: Transaction, differences: Mapping[Cell, int]) -> None:
    """Change the counts of cells, in the order of their keys; a cell that counts nothing any more goes."""
    await tx.execute(
        """
        insert into rollup (business_id, quarter, type, state, source, source_kind, direction, agent, count)
        select * from unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                             $8::text[], $9::bigint[])
        order by 1, 2, 3, 4, 5, 6, 7, 8
        on conflict (business_id, quarter, type, state, source, source_kind, direction, agent) do update
        set count = rollup.count + excluded.count
        """,
        *zip(*differences, strict=True),
        list(differences.values()),
    )
    less = [cell for cell, change in differences.items() if change < 0]
    if less:
        await _delete_empty(tx, less)


async def _delete_empty(tx: Transaction, cells: Iterable[Cell]) -> None:
    await tx.execute(
        """
        delete from rollup where ctid = any (array(
            select held.ctid
            from unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                        $8::text[]) as cell (business_id, quarter, type, state, source, source_kind, direction, agent)
            cross join lateral (
                select ctid from rollup as it
                where it.business_id = cell.business_id and it.quarter = cell.quarter and it.type = cell.type
                  and it.state = cell.state and it.source = cell.source and it.source_kind = cell.source_kind
                  and it.direction = cell.direction and it.agent = cell.agent and it.count = 0
                limit 1
            ) as held
        ))
        """,
        *zip(*cells, strict=True),
    )


async def sum_volume(
    tx: Transaction, chosen: Selection, bounds: Sequence[datetime], group_by: Sequence[str], limit: int
) -> list[Any]:
    """Count by bucket (1 is from `bounds[0]` to `bounds[1]`, and so on) and by the columns named in `group_by`.

    From roll-ups; only what is due in the quarter hour of `moment` is looked at fact by fact, to tell what is overdue.
    Rows: bucket, type, state, source, source_kind, direction, agent (null where not grouped), count.
    """
    present = quarter_of(chosen.moment)
    return await tx.fetch(
        """
        with counted as (
            select quarter as at, type, state, source, source_kind, direction, agent, count
            from rollup
            where business_id = $1 and quarter >= $2 and quarter < $3 and not (state = 'due' and quarter = $5)
            union all
            select at, type, state, source, source_kind, direction, agent, 1
            from fact
            where business_id = $1 and counted and state = 'due'
              and at >= greatest($2, $5) and at < least($3, $6)
        ), named as (
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
        """,
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


async def list_facts(tx: Transaction, chosen: Selection, after: tuple[datetime, UUID] | None, limit: int) -> list[Any]:
    """List the facts chosen, newest first by (at, activity_id), from behind `after`."""
    return await tx.fetch(
        """
        select activity_id, version, at, type, state_word(state, at, $4) as state, source, source_kind, direction, agent
        from fact
        where business_id = $1 and counted and at >= $2 and at < $3
          and ($5::text is null or type = $5) and ($6::text is null or state_word(state, at, $4) = $6)
          and ($7::text is null or source = $7) and ($8::text is null or source_kind = $8)
          and ($9::text is null or direction = $9) and ($10::text is null or agent = $10)
          and (at, activity_id) < (coalesce($11, 'infinity'::timestamptz), $12)
        order by at desc, activity_id desc
        limit $13
        """,
        chosen.business_id,
        chosen.since,
        chosen.until,
        chosen.moment,
        *_values(chosen),
        after[0] if after else None,
        after[1] if after else UUID(int=(1 << 128) - 1),
        limit,
    )


async def count_facts(tx: Transaction, chosen: Selection) -> int:
    """Count the facts chosen, fact by fact."""
    count: int = await tx.value(
        """
        select count(*) from fact
        where business_id = $1 and counted and at >= $2 and at < $3
          and ($5::text is null or type = $5) and ($6::text is null or state_word(state, at, $4) = $6)
          and ($7::text is null or source = $7) and ($8::text is null or source_kind = $8)
          and ($9::text is null or direction = $9) and ($10::text is null or agent = $10)
        """,
        chosen.business_id,
        chosen.since,
        chosen.until,
        chosen.moment,
        *_values(chosen),
    )
    return count


async def find_versions(tx: Transaction, business_id: UUID, ids: Sequence[UUID]) -> dict[UUID, int]:
    """Tell the versions held of activities."""
    rows = await tx.fetch(
        "select activity_id, version from fact where business_id = $1 and activity_id = any ($2)", business_id, ids
    )
    return {row[0]: row[1] for row in rows}


async def empty(tx: Transaction) -> None:
    """Forget everything heard, so that it can be heard again from the beginning."""
    await tx.execute("truncate fact, rollup")


def _values(chosen: Selection) -> list[str | None]:
    names = ("type", "state", "source", "source_kind", "direction", "agent")
    return [chosen.value(name) for name in names]
