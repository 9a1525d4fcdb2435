"""What decides who is told of which activities: with whom types are shared, for whom records are."""

from collections.abc import Sequence

from libs.access import Principal
from libs.access.sight import Sight, sight_of
from libs.contracts.activity_object import ActivityObject
from libs.contracts.directory import Record
from libs.database import Transaction
from services.reporting.store.facts import written


async def save_records(tx: Transaction, events: Sequence[Record]) -> None:
    """Save for whom records are, where that is newer."""
    await tx.execute(
        """
        insert into record (business_id, id, version, visible_role_ids, merged_into)
        select distinct on (business_id, id) business_id, id, version, visible_role_ids::uuid[], merged_into
        from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::uuid[])
            as new (business_id, id, version, visible_role_ids, merged_into)
        order by business_id, id, version desc
        on conflict (business_id, id) do update
        set version = excluded.version, visible_role_ids = excluded.visible_role_ids, merged_into = excluded.merged_into
        where record.version < excluded.version
        """,
        [each.business_id for each in events],
        [each.id for each in events],
        [each.version for each in events],
        [written(each.visible_role_ids) for each in events],
        [each.merged_into for each in events],
    )


async def save_types(tx: Transaction, events: Sequence[ActivityObject]) -> None:
    """Save with whom types are shared, where that is newer."""
    shared = [
        sharing if (sharing := each.loggable_sharing_settings) and sharing.shared_with == "selected" else None
        for each in events
    ]
    await tx.execute(
        """
        insert into activity_object (business_id, id, version, selected, shared_member_ids, shared_role_ids, api_name)
        select distinct on (business_id, id) business_id, id, version, selected, member_ids::uuid[], role_ids::uuid[],
            api_name
        from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bool[], $5::text[], $6::text[], $7::text[])
            as new (business_id, id, version, selected, member_ids, role_ids, api_name)
        order by business_id, id, version desc
        on conflict (business_id, id) do update
        set version = excluded.version, selected = excluded.selected, shared_member_ids = excluded.shared_member_ids,
            shared_role_ids = excluded.shared_role_ids, api_name = excluded.api_name
        where activity_object.version < excluded.version
            or activity_object.version = excluded.version and activity_object.api_name is null
        """,
        [each.business_id for each in events],
        [each.id for each in events],
        [each.version for each in events],
        [sharing is not None for sharing in shared],
        [written(sharing.member_ids if sharing else ()) for sharing in shared],
        [written(sharing.role_ids if sharing else ()) for sharing in shared],
        [each.api_name for each in events],
    )


async def sight_in(tx: Transaction, principal: Principal) -> tuple[Sight | None, tuple[str, ...] | None]:
    """Tell of which activities a caller is told (None: of all), and the names of the types that are not shared with it
    (None: not known of all of them).
    """
    standing = principal.standing
    if standing is None:
        return None, ()
    private = await tx.value(
        "select exists (select from fact where business_id = $1 and readers is not null and counted)",
        principal.business_id,
    )
    shut = await tx.fetch(
        """
        select id, api_name from activity_object
        where business_id = $1 and selected and not $2 = any(shared_member_ids) and not shared_role_ids && $3
        """,
        principal.business_id, principal.user_id, list(standing.role_ids),
    )  # fmt: skip
    sight = await sight_of(tx, principal, [row[0] for row in shut], private=private)
    return sight, None if any(row[1] is None for row in shut) else tuple(row[1] for row in shut)
