"""Facts and roll-ups: what is counted of each activity, and how many there are of a kind."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from libs.database import Transaction
from services.reporting.domain.facts import ActivityKey, Cell, Fact

_COLUMNS = ", ".join(Fact._fields)
_LISTS = ("own", "linked", "readers")
_VALUES = ", ".join(f"{name}::uuid[]" if name in _LISTS else name for name in Fact._fields)
"""The columns of facts; what is unnested cannot hold lists, so they are written as texts."""
_FACTS = f"""
    select {_VALUES}
    from unnest($1::uuid[], $2::uuid[], $3::int[], $4::bool[], $5::timestamptz[], $6::text[], $7::text[], $8::text[],
                $9::text[], $10::text[], $11::text[], $12::bool[], $13::uuid[], $14::uuid[], $15::uuid[], $16::uuid[],
                $17::text[], $18::text[], $19::text[], $20::uuid[]) as new ({_COLUMNS})
    order by 1, 2
"""  # noqa: S608 - the names are those of our own columns


_INSERT_NEW = f"""
    insert into fact ({_COLUMNS}) {_FACTS}
    on conflict (business_id, activity_id) do nothing
    returning business_id, activity_id
"""
_COUNT_NEW = f"""
    with made as (
        insert into fact ({_COLUMNS}) {_FACTS}
        on conflict (business_id, activity_id) do nothing
        returning *
    ), added as (
        insert into rollup (business_id, quarter, type, state, source, source_kind, direction, agent, count)
        select business_id, date_bin('15 minutes', at, 'epoch'), type, state, source, source_kind, direction, agent,
               count(*)
        from made where counted
        group by 1, 2, 3, 4, 5, 6, 7, 8 order by 1, 2, 3, 4, 5, 6, 7, 8
        on conflict (business_id, quarter, type, state, source, source_kind, direction, agent) do update
        set count = rollup.count + excluded.count
    )
    select business_id, activity_id from made
"""  # noqa: S608 - the same


async def list_there(tx: Transaction, keys: Collection[ActivityKey]) -> set[ActivityKey]:
    """Tell of which of these activities there are facts, of whatever version."""
    rows = await tx.fetch(
        """
        select held.* from unnest($1::uuid[], $2::uuid[]) as wanted (business_id, id)
        cross join lateral (
            select business_id, activity_id from fact
            where fact.business_id = wanted.business_id and fact.activity_id = wanted.id limit 1) as held
        """,
        [business_id for business_id, _ in keys],
        [activity_id for _, activity_id in keys],
    )
    return {(row[0], row[1]) for row in rows}


async def count_new(tx: Transaction, facts: Mapping[ActivityKey, Fact]) -> set[ActivityKey]:
    """Insert the facts that are new and add them to the roll-ups in one statement, and name them.

    For a statement by itself: in a transaction that changes roll-ups again two writers could wait for one another.
    """
    return {(row[0], row[1]) for row in await tx.fetch(_COUNT_NEW, *_columns(facts.values()))}


async def insert_facts(tx: Transaction, facts: Mapping[ActivityKey, Fact]) -> set[ActivityKey]:
    """Insert the facts that are new, in the order of their keys, and name them; their count is the caller's."""
    return {(row[0], row[1]) for row in await tx.fetch(_INSERT_NEW, *_columns(facts.values()))}


async def replace_facts(tx: Transaction, facts: Mapping[ActivityKey, Fact]) -> dict[ActivityKey, Fact | None]:
    """Save the facts that are newer than what is held, and tell what each of them was before.

    For those that are not new: missing ones are inserted and then known ones locked, both in the order of their keys:
    of two writers the second waits for the first and sees what it wrote, so that both cannot see "not counted yet".
    """
    known = await _lock_older(tx, list(facts.values()))
    if known:
        await _save(tx, [facts[key] for key in known])
    return dict(known)


async def _lock_older(tx: Transaction, facts: Sequence[Fact]) -> dict[ActivityKey, Fact]:
    """Lock the facts of older versions, and those of the same version of which is not known who may see them."""
    rows = await tx.fetch(
        f"""
        select held.* from (select * from unnest($1::uuid[], $2::uuid[], $3::int[]) as new (business_id, id, version)
                            order by 1, 2) as new
        cross join lateral (
            select {_COLUMNS} from fact
            where fact.business_id = new.business_id and fact.activity_id = new.id
                and (fact.version < new.version or fact.version = new.version and fact.type_id is null)
            for update
        ) as held
        """,  # noqa: S608 - the same
        [fact.business_id for fact in facts],
        [fact.activity_id for fact in facts],
        [fact.version for fact in facts],
    )
    return {(row[0], row[1]): Fact(*row) for row in rows}


async def _save(tx: Transaction, facts: Sequence[Fact]) -> None:
    changed = ", ".join(f"{name} = excluded.{name}" for name in Fact._fields[2:] if name != "interaction_id")
    await tx.execute(
        f"""
        insert into fact ({_COLUMNS}) {_FACTS}
        on conflict (business_id, activity_id) do update
        set {changed}, interaction_id = coalesce(excluded.interaction_id, fact.interaction_id)
        """,  # noqa: S608 - the same
        *_columns(facts),
    )


def _columns(facts: Iterable[Fact]) -> list[Sequence[Any]]:
    columns: dict[str, Sequence[Any]] = dict(zip(Fact._fields, zip(*facts, strict=True), strict=True))
    for name in _LISTS:
        columns[name] = [written(found) for found in columns[name]]
    return list(columns.values())


def written(found: Iterable[UUID] | None) -> str | None:
    """Write ids as an array's text."""
    return None if found is None else f"{{{','.join(map(str, found))}}}"


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
