"""Lines where not everything is shown to everyone, or where one record stands for several.

A line is one activity or conversation, on however many of the merged records it is. What a conversation by itself
is to its reader follows from its agent; one that became an activity is seen as that activity is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.access.sight import Sight, admitted, arguments_of, readable, seen
from libs.database import Transaction
from services.timeline_projector.domain.lines import EVERY
from services.timeline_projector.store.entries import LAST, LINE, OF_LINE, TYPE_OF_LINE

_FACTS = f"""
    {OF_LINE}
    cross join lateral (select head.version = 0 or head.deleted_at is not null as alone) as which
    cross join lateral (
        select head.business_id,
               case when not alone then head.assignee_member_id end as assignee_member_id,
               case when not alone then head.assignee_role_id end as assignee_role_id,
               case when not alone then head.readers end as readers,
               case when not alone then head.team_of end as team_of,
               case when not alone then head.own else array_remove(array[talk.agent_id], null) end as own,
               case when not alone then head.type_id else talk.type_id end as type_id,
               case when not alone then head.logged_at else talk.closed_at end as logged_at,
               array(select (place ->> 1)::uuid
                     from jsonb_array_elements(case when not alone then head.links else talk.links end) as place
               ) as linked
    ) as facts
"""  # noqa: S608 - fixed texts
_ENTRIES = """
    select entry.* from (
        select $4::uuid as id
        union select {root}
        union select id from record as part where part.business_id = $1 and part.merged_into = {root}) as place
    cross join lateral (
        select at, activity_id, record_id, upcoming from entry
        where business_id = $1 and object = $2 and record_id = place.id offset 0) as entry
"""
"""The entries of a record, of those merged into it, and (`$4`) of all records of the object."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines of a timeline: of the record that stands for it, and what of them."""

    upcoming: bool | None
    after: tuple[bool, datetime, UUID] | None
    limit: int
    dated_first: bool = False


async def is_wide(tx: Transaction, business_id: UUID, sight: Sight | None) -> bool:
    """Tell whether lines have to be looked at one by one: by who reads, or because records were merged."""
    if sight is not None:
        return True
    found: bool = await tx.value(
        "select exists (select from record where business_id = $1 and merged_into is not null)", business_id
    )
    return found


async def list_lines(tx: Transaction, record: tuple[UUID, str, UUID], sight: Sight | None, wanted: Wanted) -> list[Any]:
    """List a timeline's lines as `entries.list_lines` and (with `dated_first`) `entries.list_upcoming` do.

    `merged_from`: the merged record that a line stands on, where it does not stand on the record itself.
    """
    order = "head.due_at is not null desc, " if wanted.dated_first else ""
    dated, at, last = wanted.after or (None, None, LAST)
    behind = "(head.due_at is not null, line.at, line.activity_id) < ($6, $7, $8)"
    if not wanted.dated_first:
        behind = "(line.at, line.activity_id) < ($7, $8)"
    return await tx.fetch(
        f"""
        select {LINE}, line.merged_from
        from (select at, activity_id,
                     case when not bool_or(record_id in ($3, $4)) then (array_agg(record_id order by record_id))[1] end
                         as merged_from
              from ({_ENTRIES.format(root="$3::uuid")}) as entry where $5::bool is null or upcoming = $5
              group by at, activity_id) as line
        {_FACTS} {TYPE_OF_LINE}
        where ($6::bool is null or {behind}) and {_seen(10)}
        order by {order}line.at desc, line.activity_id desc limit $9
        """,  # noqa: S608 - fixed texts
        *record, EVERY, wanted.upcoming, dated, at, last, wanted.limit, *arguments_of(sight),
    )  # fmt: skip


async def count_lines(
    tx: Transaction, place: tuple[UUID, str], record_ids: Sequence[UUID], sight: Sight | None
) -> dict[UUID, int]:
    """Count the lines that each record's timeline shows; records that are unknown or deleted are left out."""
    rows = await tx.fetch(
        f"""
        select record.id, ({_counted("record.root", 5)}) from unnest($3::uuid[]) as wanted (id)
        cross join lateral (
            select *, coalesce(merged_into, id) as root from record
            where business_id = $1 and object = $2 and id = wanted.id limit 1) as record
        where record.deleted_at is null and {_readable(5)}
        """,  # noqa: S608 - fixed texts
        *place, record_ids, EVERY, *arguments_of(sight),
    )  # fmt: skip
    return {row[0]: row[1] for row in rows}


async def list_counted(
    tx: Transaction, place: tuple[UUID, str], has: bool | None, page: tuple[tuple[str, UUID] | None, int],
    sight: Sight | None,
) -> list[Any]:  # fmt: skip
    """List an object's living records as `records.list_counted` does. `page`: from behind which, and how many."""
    after, limit = page
    return await tx.fetch(
        f"""
        select id, name, version, lines from record
        cross join lateral ({_counted("record.id", 8)}) as counted (lines)
        where business_id = $1 and object = $2 and deleted_at is null and merged_into is null and archived_at is null
          and ($5::text is null or (name, id) > ($5, $6)) and ($3::bool is null or $3 = (lines > 0)) and {_readable(8)}
        order by name, id limit $7
        """,  # noqa: S608 - fixed texts
        *place, has, EVERY, *(after or (None, None)), limit, *arguments_of(sight),
    )  # fmt: skip


async def sees_talk(tx: Transaction, business_id: UUID, interaction_id: UUID, sight: Sight) -> bool:
    """Tell whether a conversation, or an activity made from it, is seen."""
    found: bool = await tx.value(
        f"""
        select exists (
            select from (select activity_id from activity_head
                         where business_id = $1 and interaction_id = $2) as line {_FACTS}
            where {_seen(3)})
        """,  # noqa: S608 - fixed texts
        business_id, interaction_id, *arguments_of(sight),
    )  # fmt: skip
    return found


def _counted(root: str, first: int) -> str:
    """Count the lines of a group of records; `$4` stands for all records of the object."""
    return f"""
        select count(*) from (
            select activity_id from ({_ENTRIES.format(root=root)}) as entry group by activity_id) as line
        {_FACTS} where {_seen(first)}
    """  # noqa: S608 - fixed texts


def _seen(first: int) -> str:
    return f"{seen('facts', first)} and {admitted('facts', first)}"


def _readable(first: int) -> str:
    user, roles = f"${first}", f"${first + 1}"
    return f"({user}::uuid is null or {readable('record.business_id', 'array[record.id]', roles)})"
