"""The reconciler: goes through the truth page by page and asks every service what it has made of it."""

from collections.abc import AsyncIterator, Mapping
from uuid import UUID

from cli.check import compare, pages
from cli.check.conversations import compare_conversations
from cli.check.pages import FIRST, LAST, PAGE_ROWS, Page
from libs.database import Database
from services.lifecycle.verify import verify

Stores = Mapping[str, Database]
"""The open database of each service, by package name."""

TOLD = ("activity.completed", "activity.appended")


async def reconcile(stores: Stores, business_id: UUID, full: bool) -> AsyncIterator[str]:
    """Yield each difference of one business, as a sentence. `full` compares contents and verifies histories too."""
    for differences in (
        _compare_activities(stores, business_id, full),
        _verify(stores["lifecycle"], business_id, full),
        _compare_receipts(stores, business_id),
    ):
        async for difference in differences:
            yield difference
    async for difference in compare_conversations(stores, business_id, full):
        yield difference
    for difference in await _compare_same(stores["lifecycle"], business_id):
        yield difference
    for difference in await _compare_rollups(stores["reporting"], business_id):
        yield difference
    for difference in await _compare_badges(stores["timeline_projector"], business_id):
        yield difference


async def _compare_activities(stores: Stores, business_id: UUID, full: bool) -> AsyncIterator[str]:
    endpoints = await _endpoints(stores, business_id)
    async for page in pages.pages_of(stores["lifecycle"], business_id):
        for difference in await _compare_page(stores, page, full):
            yield difference
        if endpoints.rows:
            for difference in await _compare_deliveries(stores, page, endpoints):
                yield difference


async def _verify(lifecycle: Database, business_id: UUID, full: bool) -> AsyncIterator[str]:
    if full:
        async for each in verify(lifecycle, business_id):
            yield f"history: {each}"


async def _compare_page(stores: Stores, page: Page, full: bool) -> list[str]:
    timeline, reporting = stores["timeline_projector"], stores["reporting"]
    heads = await pages.keyed(
        timeline,
        """
        select activity_id, activity_head.* from activity_head
        where business_id = $1 and activity_id > $2 and activity_id <= $3 and version > 0
        """,
        page.span,
    )
    told = {key for key, head in heads.items() if head["interaction_id"] is not None}
    entries = await pages.rows_of(
        timeline,
        """
        select activity_id, object, record_id, at from entry
        where business_id = $1 and activity_id > $2 and activity_id <= $3 and not exists (
            select from activity_head as head where head.business_id = $1
            and head.activity_id = entry.activity_id and head.interaction_id is not null)
        """,
        *page.span,
    )
    facts = {
        row["activity_id"]: row
        for row in await pages.rows_of(
            reporting,
            "select * from fact where business_id = $1 and activity_id > $2 and activity_id <= $3 and version > 0",
            *page.span,
        )
    }
    return [
        *compare.compare_versions(page.events, page.versions),
        *compare.compare_heads(page.events, heads, full),
        *compare.compare_entries({key: event for key, event in page.events.items() if key not in told}, entries),
        *compare.compare_facts(page.events, facts, full),
    ]


async def _endpoints(stores: Stores, business_id: UUID) -> compare.Endpoints:
    webhooks = stores["webhook_dispatcher"]
    return compare.Endpoints(
        await pages.rows_of(
            webhooks, "select id, created_at, deleted_at from endpoint where business_id = $1", business_id
        ),
        await pages.rows_of(
            webhooks,
            """
            select endpoint_id, at, document from endpoint_revision where business_id = $1
            order by endpoint_id, version
            """,
            business_id,
        ),
    )


async def _compare_deliveries(stores: Stores, page: Page, endpoints: compare.Endpoints) -> list[str]:
    told = await pages.rows_of(
        stores["lifecycle"],
        """
        select activity_id, version, document from history
        where business_id = $1 and activity_id > $2 and activity_id <= $3 and type = any ($4)
        """,
        *page.span,
        TOLD,
    )
    deliveries = await pages.rows_of(
        stores["webhook_dispatcher"],
        """
        select endpoint_id, activity_id, event_type, version from delivery
        where business_id = $1 and activity_id > $2 and activity_id <= $3 and replay_of is null
            and event_type like 'activity.%'
        """,
        *page.span,
    )
    erased = {(row["activity_id"], row["version"]) for row in told if row["document"] is None}
    return compare.compare_deliveries(
        endpoints,
        [pages.decode(row["document"]) for row in told if row["document"] is not None],
        [row for row in deliveries if (row["activity_id"], row["version"]) not in erased],
    )


async def _compare_receipts(stores: Stores, business_id: UUID) -> AsyncIterator[str]:
    after = FIRST
    while after != LAST:
        identities = await pages.keyed(
            stores["ingest"],
            """
            select receipt_id, activity_id from report_identity where business_id = $1 and receipt_id > $2
            order by receipt_id limit $3
            """,
            (business_id, after, PAGE_ROWS),
        )
        upto = max(identities) if len(identities) == PAGE_ROWS else LAST
        admissions = await pages.keyed(
            stores["lifecycle"],
            """
            select receipt_id, activity_id, outcome, version from admission
            where business_id = $1 and receipt_id > $2 and receipt_id <= $3
            """,
            (business_id, after, upto),
        )
        outcomes = await pages.keyed(
            stores["ingest"],
            """
            select receipt_id, outcome, version from report_outcome
            where business_id = $1 and receipt_id > $2 and receipt_id <= $3
            """,
            (business_id, after, upto),
        )
        for difference in compare.compare_receipts(identities, admissions, outcomes):
            yield difference
        after = upto


async def _compare_same(lifecycle: Database, business_id: UUID) -> list[str]:
    """Whatever is counted as another activity is so with one that stands for itself."""
    rows = await pages.rows_of(
        lifecycle,
        """
        select told.activity_id, told.same_as from activity as told
        left join activity as stands on stands.business_id = $1 and stands.activity_id = told.same_as
            and stands.same_as is null and stands.deleted_at is null and stands.retracted_at is null
        where told.business_id = $1 and told.same_as is not null
            and (stands.activity_id is null or told.deleted_at is not null or told.retracted_at is not null)
        """,
        business_id,
    )
    return [f"activity {row[0]}: is counted as {row[1]}, and one of the two does not stand" for row in rows]


async def _compare_rollups(reporting: Database, business_id: UUID) -> list[str]:
    """Each cell of the roll-ups holds what counting the facts gives."""
    rows = await pages.rows_of(
        reporting,
        """
        with counted as (
            select date_bin('15 minutes', at, 'epoch'::timestamptz) as quarter, type, state, source, source_kind,
                   direction, agent, count(*) as count
            from (select at, type, state, source, source_kind, direction, agent from fact
                  where business_id = $1 and counted
                  union all
                  select at, type, state, source, source_kind, direction, agent from interaction_fact
                  where business_id = $1 and counted) as every
            group by 1, 2, 3, 4, 5, 6, 7
        )
        select quarter, type, state, source, direction, coalesce(rollup.count, 0) as held,
               coalesce(counted.count, 0) as right_count
        from counted full join (select * from rollup where business_id = $1 and count <> 0) as rollup
            using (quarter, type, state, source, source_kind, direction, agent)
        where counted.count is distinct from rollup.count
        """,
        business_id,
    )
    return [
        f"reports: {row['type']} {row['state']} {row['source']} {row['direction']} in the quarter hour of "
        f"{row['quarter'].isoformat()} counts {row['held']}, the facts {row['right_count']}"
        for row in rows
    ]


async def _compare_badges(timeline: Database, business_id: UUID) -> list[str]:
    """Each entry has its activity or conversation: a badge (a count of entries) equals the rows of its timeline."""
    rows = await pages.rows_of(
        timeline,
        """
        select object, record_id, count(*) as lines from entry
        where business_id = $1 and not exists (
            select from activity_head as head
            where head.business_id = $1 and head.activity_id = entry.activity_id
            and (head.version > 0 and head.deleted_at is null or exists (
                select from interaction where business_id = $1 and interaction_id = head.interaction_id)))
        group by object, record_id
        """,
        business_id,
    )
    return [f"badge of {row[0]} {row[1]}: counts {row[2]} more than its timeline shows" for row in rows]
