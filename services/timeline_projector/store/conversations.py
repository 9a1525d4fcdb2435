"""Conversations with their messages, and the lines that show them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from libs.database import Transaction
from services.timeline_projector.domain.conversations import Known, Member, StoredMessage, Talk
from services.timeline_projector.domain.lines import ActivityKey, InteractionKey

_LOCK = 471_301
"""The first key of the advisory locks that this module takes; the second follows from the business."""

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
"""Stands in the columns of a head that has no activity yet."""

_INTS = {"version", "messages_count"}
_UUIDS = {"business_id", "interaction_id", "activity_id", "type_id", "agent_id"}
_JSON = {"links", "transfers"}


def _type_of(name: str) -> str:
    if name in _INTS:
        return "int"
    if name in _UUIDS:
        return "uuid"
    if name in _JSON:
        return "jsonb"
    return "timestamptz" if name.endswith("_at") else "text"


_SAVE = f"""
    insert into interaction ({", ".join(Talk._fields)})
    select * from unnest({", ".join(f"${number}::{_type_of(name)}[]" for number, name in enumerate(Talk._fields, 1))})
    order by 1, 2
    on conflict (business_id, interaction_id) do update
    set {", ".join(f"{name} = excluded.{name}" for name in Talk._fields[2:])}
    where interaction.version < excluded.version
    returning business_id, interaction_id, xmax = 0 as is_new
"""  # noqa: S608 - the names are those of our own columns


async def lock_businesses(tx: Transaction, business_ids: Iterable[UUID]) -> None:
    """Let one worker at a time place the conversations of a business: several lines hang together there."""
    await tx.execute(
        "select pg_advisory_xact_lock($1, key) from unnest($2::int[]) as key",
        _LOCK,
        sorted({int.from_bytes(business_id.bytes[-4:], signed=True) for business_id in business_ids}),
    )


async def save_talks(tx: Transaction, talks: Sequence[Talk]) -> dict[InteractionKey, bool]:
    """Save the conversations that are newer than what is held, and tell which those are, and whether each is new."""
    rows = await tx.fetch(_SAVE, *zip(*talks, strict=True))
    return {(row[0], row[1]): row[2] for row in rows}


async def delete_messages(tx: Transaction, keys: Collection[InteractionKey]) -> None:
    """Take away all messages of conversations."""
    await tx.execute(
        """
        delete from message using unnest($1::uuid[], $2::uuid[]) as old (business_id, interaction_id)
        where message.business_id = old.business_id and message.interaction_id = old.interaction_id
        """,
        *zip(*keys, strict=True),
    )


async def insert_messages(tx: Transaction, messages: Sequence[StoredMessage]) -> None:
    """Insert messages of conversations that have none."""
    await tx.execute(
        """
        insert into message (business_id, interaction_id, position, id, direction, author, text, media_url, sent_at,
                             delivered_at, read_at, template)
        select * from unnest($1::uuid[], $2::uuid[], $3::int[], $4::text[], $5::text[], $6::text[], $7::text[],
                             $8::text[], $9::timestamptz[], $10::timestamptz[], $11::timestamptz[], $12::text[])
        """,
        *zip(*messages, strict=True),
    )


async def mark_heads(tx: Transaction, anchors: Mapping[ActivityKey, UUID]) -> None:
    """Note with the activity that a conversation becomes which one that is; without an activity yet, hold its place.

    A worker that brings the activity meets this row, whichever of the two is first. As `entries.advance_heads` does,
    missing rows are inserted and then known ones locked, so that none waits in a circle.
    """
    arguments = (*zip(*anchors, strict=True), list(anchors.values()))
    inserted = await tx.execute(
        """
        insert into activity_head (business_id, activity_id, interaction_id, version, at, upcoming, links, type,
                                   type_id, type_name, source, source_kind, created_at)
        select business_id, activity_id, interaction_id, 0, $4, false, '[]', '', activity_id, '', '', '', $4
        from unnest($1::uuid[], $2::uuid[], $3::uuid[]) as new (business_id, activity_id, interaction_id)
        order by 1, 2
        on conflict (business_id, activity_id) do nothing
        """,
        *arguments,
        _BEGINNING,
    )
    if inserted < len(anchors):
        await tx.execute(
            """
            update activity_head as head set interaction_id = known.interaction_id
            from (select held.business_id, held.activity_id, new.interaction_id from activity_head as held
                  join unnest($1::uuid[], $2::uuid[], $3::uuid[]) as new (business_id, activity_id, interaction_id)
                      on held.business_id = new.business_id and held.activity_id = new.activity_id
                  where held.interaction_id is distinct from new.interaction_id
                  order by 1, 2 for update of held) as known
            where head.business_id = known.business_id and head.activity_id = known.activity_id
            """,
            *arguments,
        )


async def lock_members(tx: Transaction, keys: Collection[InteractionKey]) -> list[Member]:
    """Lock the lines about conversations, in the order of their keys."""
    rows = await tx.fetch(
        """
        select head.business_id, head.activity_id, head.interaction_id, version > 0 and deleted_at is null as lives,
               at, upcoming, links, placed
        from activity_head as head
        join unnest($1::uuid[], $2::uuid[]) as wanted (business_id, interaction_id)
            on head.business_id = wanted.business_id and head.interaction_id = wanted.interaction_id
        order by 1, 2
        for update of head
        """,
        *zip(*keys, strict=True),
    )
    return [Member(*row) for row in rows]


async def find_known(tx: Transaction, keys: Collection[InteractionKey]) -> dict[InteractionKey, Known]:
    """Tell where conversations are to be seen; those not heard of yet are left out."""
    rows = await tx.fetch(
        """
        select talk.business_id, talk.interaction_id, activity_id, opened_at, links from interaction as talk
        join unnest($1::uuid[], $2::uuid[]) as wanted (business_id, interaction_id)
            on talk.business_id = wanted.business_id and talk.interaction_id = wanted.interaction_id
        """,
        *zip(*keys, strict=True),
    )
    return {(row[0], row[1]): Known(row[2], row[3], row[4]) for row in rows}


async def save_placed(tx: Transaction, notes: Mapping[ActivityKey, bytes | None]) -> None:
    """Note where lines stand that do not stand where their own activity is linked."""
    await tx.execute(
        """
        update activity_head as head set placed = new.placed
        from unnest($1::uuid[], $2::uuid[], $3::jsonb[]) as new (business_id, activity_id, placed)
        where head.business_id = new.business_id and head.activity_id = new.activity_id
        """,
        *zip(*notes, strict=True),
        list(notes.values()),
    )


async def find_talk(tx: Transaction, business_id: UUID, interaction_id: UUID) -> Any:
    """Return a conversation with the activity that stands for it now (`shown_as`, or null), or None."""
    return await tx.find(
        """
        select talk.*, (
            select activity_id from activity_head as head
            where head.business_id = $1 and head.interaction_id = $2 and version > 0 and deleted_at is null
            order by head.activity_id <> talk.activity_id, head.activity_id limit 1
        ) as shown_as
        from interaction as talk where business_id = $1 and interaction_id = $2
        """,
        business_id,
        interaction_id,
    )


async def list_messages(
    tx: Transaction, business_id: UUID, interaction_id: UUID, position: int, limit: int
) -> list[Any]:
    """List messages, oldest first, from `position` on."""
    return await tx.fetch(
        """
        select * from message where business_id = $1 and interaction_id = $2 and position >= $3
        order by position limit $4
        """,
        business_id,
        interaction_id,
        position,
        limit,
    )


async def find_positions(tx: Transaction, business_id: UUID, interaction_id: UUID, pattern: str) -> list[int]:
    """Tell the positions of the messages whose text is like a pattern, whatever the case of its letters."""
    rows = await tx.fetch(
        """
        select position from message
        where business_id = $1 and interaction_id = $2 and text ilike $3 order by position
        """,
        business_id,
        interaction_id,
        pattern,
    )
    return [row[0] for row in rows]
