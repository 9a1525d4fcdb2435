"""What the dispatcher reads of a business that has grown: what it is asked for, whatever the planner has counted."""

from uuid import UUID

from libs.contracts.ids import uuid7
from libs.database import Database
from services.webhook_dispatcher.store import deliveries, erased, listeners, outcomes, queue, replays, told
from tests.conftest import MakeDatabase
from tests.integration.test_large_businesses import FEW, Asks, grown, read
from tests.support.http import Tenant
from tests.support.webhooks import ALL_TYPES, event_of, hear, make_endpoint


async def fill_dispatcher(database: Database, tenant: Tenant) -> list[UUID]:
    one, _ = await make_endpoint(database, tenant.business_id, "http://127.0.0.1:1/")
    two, _ = await make_endpoint(database, tenant.business_id, "http://127.0.0.1:1/")
    events = [event_of(tenant.business_id) for _ in range(FEW)]
    await hear(database, events)
    async with database.work() as tx:
        ids = await tx.fetch(
            "select id from delivery where business_id = $1 and endpoint_id = $2", tenant.business_id, one
        )
        await tx.execute(
            """
            update delivery set status = case when endpoint_id = $2 then 'missed' else 'parked' end, next_at = null
            where business_id = $1
            """,
            tenant.business_id, one,
        )  # fmt: skip
    return [one, two, *(row[0] for row in ids), *(each.activity.activity_id for each in events)]


async def test_the_dispatcher_reads_the_deliveries_it_is_asked_for(make_database: MakeDatabase) -> None:
    database = await make_database("webhook_dispatcher")
    tenant, ids = await grown(database, fill_dispatcher)
    business, (one, two), owed, about_ = tenant.business_id, ids[:2], ids[2 : FEW + 2], ids[FEW + 2 :]
    keys_ = [(business, each) for each in about_]
    first, last = UUID(int=0), UUID(int=2**128 - 1)
    chosen = replays.Selection(one, first, last, ("missed",), (), only_missed=True)
    untold = replays.Selection(uuid7(), first, last, (), ALL_TYPES, only_missed=False, backfill=True)
    filters = deliveries.DeliveryFilter(one, None, None, about_[0], first, last)
    claims = [queue.Claimed(business, each, one, 0, 0, 0, None, None) for each in owed]
    asks: Asks = {
        "count_told": lambda tx: told.count_told(tx, business, untold, 50),
        "list_deliveries": lambda tx: deliveries.list_deliveries(tx, business, filters, None, 50),
        "find_delivery": lambda tx: deliveries.find_delivery(tx, business, owed[0]),
        "insert_copies": lambda tx: replays.insert_copies(tx, business, None, owed),
        "release_missed": lambda tx: replays.release_missed(tx, business, None, owed),
    }
    assert [await read(database, each, asks) for each in (tenant, None)] == [{}, {}]
    listened: Asks = {"take": lambda tx: listeners.take(tx, business, two, FEW)}
    assert await read(database, tenant, listened) == {}
    works: Asks = {
        "list_chosen": lambda tx: replays.list_chosen(tx, business, chosen, 50),
        "list_told": lambda tx: told.list_told(tx, business, untold, 50),
        "list_erased": lambda tx: erased.list_erased(tx, keys_),
        "list_bodies": lambda tx: erased.list_bodies(tx, keys_),
        "hand_back": lambda tx: outcomes.hand_back(tx, claims),
        "claim": lambda tx: queue.claim(tx, [queue.Wanted(business, two, 0, FEW, ordered=False)], 5.0, uuid7()),
    }
    assert await read(database, None, works) == {}
