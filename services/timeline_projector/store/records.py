"""Records and types as the timeline knows them, and the versions held of everything."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from libs.access import Principal
from libs.access.sight import Sight, readable, sight_of
from libs.contracts.activity_object import ActivityObject
from libs.contracts.directory import Record
from libs.database import Transaction
from services.timeline_projector.domain.lines import EVERY


async def save_records(tx: Transaction, events: Sequence[Record]) -> None:
    """Save the state of records where it is newer."""
    await tx.execute(
        """
        insert into record (business_id, object, id, version, name, deleted_at, visible_role_ids, merged_into,
                            archived_at)
        select distinct on (business_id, object, id) business_id, object, id, version, name, deleted_at,
               visible_role_ids::uuid[], merged_into, archived_at
        from unnest($1::uuid[], $2::text[], $3::uuid[], $4::bigint[], $5::text[], $6::timestamptz[], $7::text[],
                    $8::uuid[], $9::timestamptz[])
            as new (business_id, object, id, version, name, deleted_at, visible_role_ids, merged_into, archived_at)
        order by business_id, object, id, version desc
        on conflict (business_id, object, id) do update
        set version = excluded.version, name = excluded.name, deleted_at = excluded.deleted_at,
            visible_role_ids = excluded.visible_role_ids, merged_into = excluded.merged_into,
            archived_at = excluded.archived_at
        where record.version < excluded.version
           or (record.version = excluded.version and record.archived_at is distinct from excluded.archived_at)
        """,
        *zip(
            *(
                (
                    e.business_id,
                    e.object,
                    e.id,
                    e.version,
                    e.name,
                    e.deleted_at,
                    _ids(e.visible_role_ids),
                    e.merged_into,
                    e.archived_at,
                )
                for e in events
            ),
            strict=True,
        ),
    )


async def save_activity_objects(tx: Transaction, events: Sequence[ActivityObject]) -> None:
    """Save names and looks of activity objects where they are newer."""
    await tx.execute(
        """
        insert into activity_object (business_id, id, version, api_name, name, icon, colour, selected,
                                     shared_member_ids, shared_role_ids)
        select distinct on (business_id, id) business_id, id, version, api_name, name, icon, colour, selected,
               shared_member_ids::uuid[], shared_role_ids::uuid[]
        from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bool[],
                    $9::text[], $10::text[])
            as new (business_id, id, version, api_name, name, icon, colour, selected, shared_member_ids,
                    shared_role_ids)
        order by business_id, id, version desc
        on conflict (business_id, id) do update
        set version = excluded.version, api_name = excluded.api_name, name = excluded.name, icon = excluded.icon,
            colour = excluded.colour, selected = excluded.selected, shared_member_ids = excluded.shared_member_ids,
            shared_role_ids = excluded.shared_role_ids
        where activity_object.version < excluded.version
        """,
        *zip(
            *((e.business_id, e.id, e.version, e.api_name, e.name, e.icon, e.colour, *_sharing_of(e)) for e in events),
            strict=True,
        ),
    )


def _sharing_of(kind: ActivityObject) -> tuple[bool, str, str]:
    sharing = kind.loggable_sharing_settings
    if sharing is None or sharing.shared_with == "everyone":
        return False, "{}", "{}"
    return True, _ids(sharing.member_ids), _ids(sharing.role_ids)


def _ids(found: Sequence[UUID]) -> str:
    return f"{{{','.join(map(str, found))}}}"


async def sight_in(tx: Transaction, principal: Principal) -> Sight | None:
    """Tell what a caller sees of the timelines; None: everything."""
    if principal.standing is None:
        return None
    row = await tx.find(
        """
        select exists (select from activity_head where business_id = $1 and readers is not null), array(
            select id from activity_object
            where business_id = $1 and selected and not $2 = any(shared_member_ids) and not shared_role_ids && $3)
        """,
        principal.business_id,
        principal.user_id,
        list(principal.standing.role_ids),
    )
    assert row is not None
    return await sight_of(tx, principal, row[1], private=row[0])


async def find_record(
    tx: Transaction, place: tuple[UUID, str, UUID], role_ids: Collection[UUID] | None
) -> tuple[bool, UUID] | None:
    """Tell whether a record (business, object, id) lives, and which one stands for it.

    None when nothing is known of it, or when it is for other roles than `role_ids` only.
    """
    row = await tx.find(
        f"""
        select deleted_at is null, coalesce(merged_into, id) from record
        where business_id = $1 and object = $2 and id = $3
            and ($4::uuid[] is null or {readable("$1", "array[record.id]", "$4")})
        """,  # noqa: S608 - fixed texts
        *place,
        None if role_ids is None else list(role_ids),
    )
    return None if row is None else (row[0], row[1])


async def list_counted(
    tx: Transaction, place: tuple[UUID, str], has: bool | None, after: tuple[str, UUID] | None, limit: int
) -> list[Any]:
    """List an object's living records that are not archived with the count of their lines, by (name, id), from behind
    `after`.

    `has`: only those that have lines, or none. Rows: id, name, version, lines.
    """
    return await tx.fetch(
        """
        select record.id, record.name, record.version, own.lines + shared.lines as lines
        from (select count(*) as lines from entry
              where business_id = $1 and object = $2 and record_id = $7) as shared
        cross join lateral (
            select id, name, version from record
            where business_id = $1 and object = $2 and deleted_at is null and archived_at is null
              and ($4::text is null or (name, id) > ($4, $5))
              and ($3::bool is null or $3 = (shared.lines > 0 or exists (
                  select from entry where business_id = $1 and object = $2 and record_id = record.id)))
            order by name, id
            limit $6
        ) as record
        cross join lateral (select count(*) as lines from entry
                            where business_id = $1 and object = $2 and record_id = record.id) as own
        order by record.name, record.id
        """,
        *place,
        has,
        *(after or (None, None)),
        limit,
        EVERY,
    )


async def find_versions(tx: Transaction, business_id: UUID, ids: Sequence[UUID]) -> dict[UUID, int]:
    """Tell the versions held of activities, conversations and records."""
    rows = await tx.fetch(
        """
        select found.* from unnest($2::uuid[]) as wanted (id)
        cross join lateral (
            (select activity_id, version from activity_head where business_id = $1 and activity_id = wanted.id limit 1)
            union all
            (select interaction_id, version from interaction where business_id = $1 and interaction_id = wanted.id
             limit 1)
            union all
            (select id, version from record where business_id = $1 and id = wanted.id limit 1)) as found
        """,
        business_id,
        ids,
    )
    return {row[0]: row[1] for row in rows}
