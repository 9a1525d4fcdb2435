"""Values that live on records: a copy of what records say, and what was asked of them and not answered yet.

Whoever locks activities and rows of what was asked locks the activities first, and rows in the order of their key.
"""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from libs.access.sight import readable
from libs.contracts.directory import Record
from libs.contracts.record import RecordChanged, RecordRefused
from libs.database import Transaction

UNANSWERED_MAX = timedelta(days=7)
"""A request that was set aside is never answered; what it asked for is shown for so long at most."""


class Asked(NamedTuple):
    """A value that an activity asks a record to take, in the order of its columns."""

    business_id: UUID
    record_id: UUID
    name: str
    request_id: UUID
    value: bytes


async def list_living(
    tx: Transaction, business_id: UUID, record_ids: Collection[UUID], role_ids: Collection[UUID] | None = None
) -> dict[UUID, dict[str, Any]]:
    """List what records say now, with what was asked of them: `name`, `status`, `owner_id` and their own fields.

    Unknown records are not in the answer; with `role_ids` neither are those that are for other roles only. A merged
    record says what the one says that stands for it.
    """
    rows = await tx.fetch(
        f"""
        select record.id, stands.name, stands.status, stands.owner_id, stands.fields, asked.name, asked.value
        from unnest($2::uuid[]) as wanted (id)
        cross join lateral (
            select id, merged_into from record where business_id = $1 and id = wanted.id limit 1) as record
        cross join lateral (
            select one.id, one.name, one.status, one.owner_id, one.fields from record as one
            where one.business_id = $1 and one.id = coalesce(record.merged_into, record.id) and one.fields is not null
            limit 1) as stands
        left join lateral (
            select said.name, said.value, said.asked_at
            from unnest(array[record.id, nullif(stands.id, record.id)]) as place (id)
            cross join lateral (
                select a.name, a.value, a.asked_at from asked_value a
                where a.business_id = $1 and a.record_id = place.id and a.asked_at > now() - $4::interval
                offset 0) as said) as asked on true
        where $3::uuid[] is null or {readable("$1", "array[record.id]", "$3")}
        order by asked.asked_at
        """,  # noqa: S608 - fixed texts
        business_id, list(record_ids), None if role_ids is None else list(role_ids), UNANSWERED_MAX,
    )  # fmt: skip
    found: dict[UUID, dict[str, Any]] = {}
    for record_id, name, status, owner_id, fields, asked_name, asked in rows:
        if record_id not in found:
            plain = {"name": name, "status": status, "owner_id": None if owner_id is None else str(owner_id)}
            found[record_id] = msgspec.json.decode(fields) | plain
        if asked_name is not None:
            found[record_id][asked_name] = msgspec.json.decode(asked)
    return found


async def save_asked(tx: Transaction, asked: Sequence[Asked]) -> None:
    """Keep what records are asked for, the newest of each value."""
    newest = {(each.business_id, each.record_id, each.name): each for each in asked}
    columns = [list(column) for column in zip(*newest.values(), strict=True)]
    await tx.execute(
        """
        insert into asked_value (business_id, record_id, name, request_id, value, asked_at)
        select *, clock_timestamp() from unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::bytea[])
        order by 1, 2, 3
        on conflict (business_id, record_id, name) do update
        set request_id = excluded.request_id, value = excluded.value, asked_at = excluded.asked_at,
            done_id = null, done_version = null
        """,
        *columns,
    )


async def note_done(tx: Transaction, changes: Sequence[RecordChanged]) -> None:
    """Note which requests were done, by which version of which record, and forget them where that is known here."""
    done = [each for each in changes if each.request_id is not None]
    if not done:
        return
    await tx.execute(
        """
        update asked_value a set done_id = locked.done_id, done_version = locked.version
        from (select asked.business_id, asked.record_id, asked.name, done.record_id as done_id, done.version
              from asked_value asked
              join unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[])
                  as done (business_id, id, record_id, version)
                  on done.business_id = asked.business_id and done.id = asked.request_id
              order by 1, 2, 3 for update of asked) locked
        where a.business_id = locked.business_id and a.record_id = locked.record_id and a.name = locked.name
        """,
        [each.business_id for each in done],
        [each.request_id for each in done],
        [each.record_id for each in done],
        [each.version for each in done],
    )
    await forget_done(tx, {each.business_id for each in done})


async def forget_done(tx: Transaction, business_ids: Collection[UUID]) -> None:
    """Forget what the copies of records have by now, and what was never answered."""
    await tx.execute(
        """
        delete from asked_value where ctid = any (array(
            select a.ctid from asked_value a
            where a.business_id = any($1::uuid[]) and (a.asked_at < now() - $2::interval or a.done_version <= (
                select r.version from record r where r.business_id = a.business_id and r.id = a.done_id limit 1))
            order by a.business_id, a.record_id, a.name for update of a))
        """,
        list(business_ids), UNANSWERED_MAX,
    )  # fmt: skip


async def forget_refused(tx: Transaction, refused: Sequence[RecordRefused]) -> None:
    """Forget what records did not take."""
    await tx.execute(
        """
        delete from asked_value where (business_id, record_id, name) in (
            select a.business_id, a.record_id, a.name from asked_value a
            join unnest($1::uuid[], $2::uuid[]) as refused (business_id, id)
                on refused.business_id = a.business_id and refused.id = a.request_id
            order by 1, 2, 3 for update of a)
        """,
        [each.business_id for each in refused],
        [each.request_id for each in refused],
    )


async def erase_asked(tx: Transaction, erased: Sequence[Record]) -> None:
    """Forget what was asked of records whose person is erased."""
    await tx.execute(
        """
        delete from asked_value where (business_id, record_id, name) in (
            select a.business_id, a.record_id, a.name from asked_value a
            join unnest($1::uuid[], $2::uuid[]) as erased (business_id, id)
                on erased.business_id = a.business_id and erased.id = a.record_id
            order by 1, 2, 3 for update of a)
        """,
        [each.business_id for each in erased],
        [each.id for each in erased],
    )
