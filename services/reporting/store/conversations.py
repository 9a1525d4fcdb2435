"""What is counted of conversations: each by itself while no activity stands for it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

from libs.database import Transaction
from services.reporting.domain.facts import ActivityKey, InteractionKey, Talk
from services.reporting.store.facts import written

_LOCK = 471_302
"""The first key of the advisory locks that this module takes; the second follows from the business."""

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
"""Stands in the columns of a fact that has no activity yet."""

_COLUMNS = ", ".join(Talk._fields)


async def lock_businesses(tx: Transaction, business_ids: Iterable[UUID]) -> None:
    """Let one worker at a time count the conversations of a business: several facts hang together there."""
    await tx.execute(
        "select pg_advisory_xact_lock($1, key) from unnest($2::int[]) as key",
        _LOCK,
        sorted({int.from_bytes(business_id.bytes[-4:], signed=True) for business_id in business_ids}),
    )


async def lock_talks(tx: Transaction, keys: Collection[InteractionKey]) -> dict[InteractionKey, Talk]:
    """Lock what is held of conversations, in the order of their keys."""
    rows = await tx.fetch(
        f"""
        select {_COLUMNS} from interaction_fact as held
        join unnest($1::uuid[], $2::uuid[]) as wanted (business_id, interaction_id) using (business_id, interaction_id)
        order by 1, 2 for update of held
        """,  # noqa: S608 - the names are those of our own columns
        *zip(*keys, strict=True),
    )
    return {(row[0], row[1]): Talk(*row) for row in rows}


async def save_talks(tx: Transaction, talks: Sequence[Talk]) -> None:
    """Save conversations, which the caller holds locked."""
    await tx.execute(
        f"""
        insert into interaction_fact ({_COLUMNS})
        select {", ".join("linked::uuid[]" if name == "linked" else name for name in Talk._fields)}
        from unnest($1::uuid[], $2::uuid[], $3::int[], $4::bool[], $5::timestamptz[], $6::text[], $7::text[],
                    $8::text[], $9::text[], $10::text[], $11::text[], $12::uuid[], $13::uuid[], $14::text[])
            as new ({_COLUMNS})
        on conflict (business_id, interaction_id) do update
        set version = excluded.version, counted = excluded.counted, at = excluded.at, type = excluded.type,
            state = excluded.state, source = excluded.source, source_kind = excluded.source_kind,
            direction = excluded.direction, agent = excluded.agent, type_id = excluded.type_id,
            agent_id = excluded.agent_id, linked = excluded.linked
        """,  # noqa: S608 - the names are those of our own columns
        *zip(*(talk[:-1] for talk in talks), strict=True),
        [written(talk.linked) for talk in talks],
    )


async def mark_facts(tx: Transaction, anchors: Mapping[ActivityKey, UUID]) -> None:
    """Note with the activity that a conversation becomes which one that is; without an activity yet, hold its place.

    A worker that brings the activity meets this row, whichever of the two is first. As `facts.replace_facts` does,
    missing rows are inserted and then known ones locked, so that none waits in a circle.
    """
    arguments = (*zip(*anchors, strict=True), list(anchors.values()))
    inserted = await tx.execute(
        """
        insert into fact (business_id, activity_id, interaction_id, version, counted, at, type, state, source,
                          source_kind, direction, agent)
        select business_id, activity_id, interaction_id, 0, false, $4, '', 'logged', '', '', '', ''
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
            update fact set interaction_id = known.interaction_id
            from (select held.business_id, held.activity_id, new.interaction_id from fact as held
                  join unnest($1::uuid[], $2::uuid[], $3::uuid[]) as new (business_id, activity_id, interaction_id)
                      on held.business_id = new.business_id and held.activity_id = new.activity_id
                  where held.interaction_id is distinct from new.interaction_id
                  order by 1, 2 for update of held) as known
            where fact.business_id = known.business_id and fact.activity_id = known.activity_id
            """,
            *arguments,
        )


async def count_alone(tx: Transaction, keys: Collection[InteractionKey]) -> list[Talk]:
    """Count these conversations, locked by the caller, where no living activity stands for them, and only there.

    Returns those for which that has changed, as they are now.
    """
    rows = await tx.fetch(
        f"""
        update interaction_fact as talk set counted = now.alone
        from (select business_id as of_business, interaction_id as about, not exists (
                  select from fact where fact.business_id = wanted.business_id
                  and fact.interaction_id = wanted.interaction_id and version > 0 and not deleted) as alone
              from unnest($1::uuid[], $2::uuid[]) as wanted (business_id, interaction_id)) as now
        where business_id = of_business and interaction_id = about and counted <> alone
        returning {_COLUMNS}
        """,  # noqa: S608 - the names are those of our own columns
        *zip(*keys, strict=True),
    )
    return [Talk(*row) for row in rows]
