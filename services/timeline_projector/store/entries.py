"""Heads and entries: what is shown of each activity, and the lines of timelines."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.database import Transaction
from services.timeline_projector.domain.lines import EVERY, ActivityKey, Entry, Head, Placed

_HEADS = f"""
    unnest($1::uuid[], $2::uuid[], $3::int[], $4::timestamptz[], $5::bool[], $6::jsonb[], $7::text[], $8::uuid[],
           $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[],
           $16::timestamptz[], $17::timestamptz[], $18::timestamptz[], $19::timestamptz[], $20::timestamptz[],
           $21::timestamptz[], $22::timestamptz[], $23::timestamptz[], $24::timestamptz[], $25::uuid[], $26::uuid[],
           $27::uuid[], $28::text[], $29::uuid[], $30::text[], $31::text[])
        as new ({", ".join(Head._fields)})
"""
_VALUES = ", ".join(f"{name}::uuid[]" if name in ("own", "readers") else name for name in Head._fields)
"""The columns of heads; what is unnested cannot hold lists, so they are written as texts."""
_INSERT_NEW = f"""
    with made as (
        insert into activity_head ({", ".join(Head._fields)})
        select {_VALUES} from {_HEADS} order by 1, 2
        on conflict (business_id, activity_id) do nothing
        returning business_id, activity_id
    ), shown as (
        insert into entry (business_id, object, record_id, at, activity_id, upcoming)
        select * from unnest($32::uuid[], $33::text[], $34::uuid[], $35::timestamptz[], $36::uuid[], $37::bool[])
            as line (business_id, object, record_id, at, activity_id, upcoming)
        where ((business_id, activity_id) in (select business_id, activity_id from made)) is true
    )
    select business_id, activity_id from made
"""  # noqa: S608 - the names are those of our own columns
"""`is true`: what is made is hashed then, whatever the planner expects; joined, each may be looked at for each line."""
_SAVE = f"""
    insert into activity_head ({", ".join(Head._fields)})
    select {_VALUES} from {_HEADS} order by 1, 2
    on conflict (business_id, activity_id) do update
    set {", ".join(f"{name} = excluded.{name}" for name in Head._fields[2:] if name != "interaction_id")},
        interaction_id = coalesce(excluded.interaction_id, activity_head.interaction_id)
"""  # noqa: S608 - the same
LINE = """
    head.*, line.at as stands_at, talk.type as talk_type, talk.source as talk_source, talk.direction as talk_direction,
    talk.agent as talk_agent, talk.version as talk_version, talk.opened_at, talk.closed_at, talk.first_message,
    type.icon, type.colour, coalesce(type.name, head.type_name) as type_name
"""
OF_LINE = """
    cross join lateral (
        select * from activity_head where business_id = $1 and activity_id = line.activity_id limit 1) as head
    left join lateral (
        select * from interaction where business_id = $1 and interaction_id = head.interaction_id limit 1) as talk
        on true
"""
"""What a line shows. Each is found by itself: joined, the planner reads a whole business that it has not counted."""
TYPE_OF_LINE = """
    left join lateral (
        select icon, colour, name from activity_object
        where business_id = $1 and id =
            case when head.version = 0 or head.deleted_at is not null then talk.type_id else head.type_id end
        limit 1) as type on true
"""
LAST = UUID(int=(1 << 128) - 1)


async def list_there(tx: Transaction, keys: Collection[ActivityKey]) -> set[ActivityKey]:
    """Tell which of these activities are shown in whatever version."""
    rows = await tx.fetch(
        """
        select held.* from unnest($1::uuid[], $2::uuid[]) as wanted (business_id, id)
        cross join lateral (
            select business_id, activity_id from activity_head as head
            where head.business_id = wanted.business_id and head.activity_id = wanted.id limit 1) as held
        """,
        [business_id for business_id, _ in keys],
        [activity_id for _, activity_id in keys],
    )
    return {(row[0], row[1]) for row in rows}


async def insert_heads(
    tx: Transaction, heads: Mapping[ActivityKey, Head], entries: Sequence[Entry]
) -> set[ActivityKey]:
    """Insert the heads that are new, with those of the entries that are theirs, in the order of keys; name them."""
    lines = zip(*entries, strict=True) if entries else [()] * len(Entry._fields)
    rows = await tx.fetch(_INSERT_NEW, *_columns(heads.values()), *lines)
    return {(row[0], row[1]) for row in rows}


async def advance_heads(tx: Transaction, heads: Mapping[ActivityKey, Head]) -> dict[ActivityKey, Placed | None]:
    """Save the heads that are newer than what is held, and tell where each of them was shown before.

    For those that are not new: new ones are inserted and then known ones locked, both in the order of their keys: of
    two writers the second waits for the first and sees what it wrote, and none waits in a circle.
    """
    known = await _lock_older(tx, list(heads.values()))
    if known:
        await tx.execute(_SAVE, *_columns([heads[key] for key in known]))
    return dict(known)


async def _lock_older(tx: Transaction, heads: Sequence[Head]) -> dict[ActivityKey, Placed]:
    rows = await tx.fetch(
        """
        select held.* from (select * from unnest($1::uuid[], $2::uuid[], $3::int[]) as new (business_id, id, version)
                            order by 1, 2) as new
        cross join lateral (
            select business_id, activity_id, at, upcoming, links, interaction_id from activity_head as head
            where head.business_id = new.business_id and head.activity_id = new.id and head.version < new.version
            for update
        ) as held
        """,
        [head.business_id for head in heads],
        [head.activity_id for head in heads],
        [head.version for head in heads],
    )
    return {(row[0], row[1]): Placed(row[2], row[3], row[4], row[5]) for row in rows}


async def delete_entries(tx: Transaction, entries: Sequence[Entry]) -> None:
    """Take lines off their timelines."""
    await tx.execute(
        """
        delete from entry where ctid = any (array(
            select line.ctid
            from unnest($1::uuid[], $2::text[], $3::uuid[], $4::timestamptz[], $5::uuid[])
                as old (business_id, object, record_id, at, activity_id)
            cross join lateral (
                select ctid from entry
                where entry.business_id = old.business_id and entry.object = old.object
                  and entry.record_id = old.record_id and entry.at = old.at and entry.activity_id = old.activity_id
                limit 1
            ) as line
        ))
        """,
        *list(zip(*entries, strict=True))[:5],
    )


async def insert_entries(tx: Transaction, entries: Sequence[Entry]) -> None:
    """Put lines on timelines; that they are not there yet follows from the heads, which the caller holds locked."""
    await tx.execute(
        """
        insert into entry (business_id, object, record_id, at, activity_id, upcoming)
        select * from unnest($1::uuid[], $2::text[], $3::uuid[], $4::timestamptz[], $5::uuid[], $6::bool[])
        """,
        *zip(*entries, strict=True),
    )


async def list_lines(
    tx: Transaction,
    record: tuple[UUID, str, UUID],
    upcoming: bool | None,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Any]:
    """List a timeline's lines, newest first by (at, id), from behind `after`. `record`: business, object, record.

    The id is the activity's; of a conversation by itself that of the activity it would become.
    """
    business_id, object_name, record_id = record
    return await tx.fetch(
        f"""
        select {LINE}
        from (
            (select at, activity_id from entry
             where business_id = $1 and object = $2 and record_id = $3 and ($4::bool is null or upcoming = $4)
               and (at, activity_id) < (coalesce($5, 'infinity'::timestamptz), $6)
             order by at desc, activity_id desc limit $7)
            union all
            (select at, activity_id from entry
             where business_id = $1 and object = $2 and record_id = $8 and ($4::bool is null or upcoming = $4)
               and (at, activity_id) < (coalesce($5, 'infinity'::timestamptz), $6)
             order by at desc, activity_id desc limit $7)
            order by at desc, activity_id desc limit $7
        ) as line
        {OF_LINE} {TYPE_OF_LINE}
        order by line.at desc, line.activity_id desc
        """,  # noqa: S608 - the same
        business_id,
        object_name,
        record_id,
        upcoming,
        after[0] if after else None,
        after[1] if after else LAST,
        limit,
        EVERY,
    )


async def list_upcoming(
    tx: Transaction, record: tuple[UUID, str, UUID], after: tuple[bool, datetime, UUID] | None, limit: int
) -> list[Any]:
    """List what is planned, latest due first and what has no due moment last, from behind `after`.

    `after` and the order: has a due moment, at, id. All that is planned for a record is looked at.
    """
    return await tx.fetch(
        f"""
        select {LINE}
        from (select found.* from unnest(array[$3::uuid, $7::uuid]) as place (id)
              cross join lateral (
                  select at, activity_id from entry
                  where business_id = $1 and object = $2 and record_id = place.id and upcoming offset 0) as found
             ) as line
        {OF_LINE} {TYPE_OF_LINE}
        where $4::bool is null or (head.due_at is not null, line.at, line.activity_id) < ($4, $5, $6)
        order by head.due_at is not null desc, line.at desc, line.activity_id desc
        limit $8
        """,  # noqa: S608 - the same
        *record,
        *(after or (None, None, None)),
        EVERY,
        limit,
    )


async def count_lines(
    tx: Transaction, business_id: UUID, object_name: str, record_ids: Sequence[UUID]
) -> dict[UUID, int]:
    """Count the lines of each record's timeline; records that are unknown or deleted have none and are left out."""
    rows = await tx.fetch(
        """
        select record.id, own.lines + shared.lines as lines
        from unnest($3::uuid[]) as wanted (id)
        cross join lateral (
            select id, deleted_at from record
            where business_id = $1 and object = $2 and id = wanted.id limit 1) as record
        cross join (select count(*) as lines from entry
                    where business_id = $1 and object = $2 and record_id = $4) as shared
        cross join lateral (select count(*) as lines from entry
                            where business_id = $1 and object = $2 and record_id = record.id) as own
        where record.deleted_at is null
        """,
        business_id,
        object_name,
        record_ids,
        EVERY,
    )
    return {row[0]: row[1] for row in rows}


def _columns(heads: Any) -> list[tuple[Any, ...]]:
    return list(zip(*heads, strict=True))
