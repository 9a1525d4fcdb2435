"""What must hold of a business after an upstream system has reported: everything acknowledged is there and was told."""

import json
from collections import Counter

import httpx

from cli.check import drain_and_reconcile
from tests.support.load import Upstream
from tests.support.sink import Sink
from tests.support.system import Business, System, eventually

RETRIES = "WEBHOOK_SCHEDULE_S", "[0.5,0.5,1,1,2,2,4,4,8,8]"


async def judge(system: System, client: httpx.AsyncClient, sink: Sink, told: tuple[Business, Upstream]) -> None:
    """Everything acknowledged is there as it must end, the stores agree, and each logged one was told."""
    business, upstream = told
    ledger = upstream.ledger
    differences = await drain_and_reconcile(system.environment, business.id)
    assert differences == [], "\n".join(differences[:20])
    states = Counter(ledger.ends[ref] for ref in _acknowledged(upstream))
    counted = await client.get(
        "/api/reports/volume",
        headers=business.headers,
        params={"from": "2026-01-01", "to": "2031-12-31", "granularity": "month", "group_by": "state"},
    )
    assert counted.status_code == 200, counted.text
    totals: Counter[str] = Counter()
    for cell in counted.json()["series"]:
        totals[cell["group"]["state"]] += cell["count"]
    assert totals == states
    for receipt_id in list(ledger.receipts.values())[::25]:
        receipt = (await client.get(f"/ingest/receipts/{receipt_id}", headers=business.headers)).json()
        assert receipt["status"] in ("applied", "unchanged"), receipt
    logged = {
        ledger.activities[f"{ref}-{'log' if ledger.ends[ref] == 'logged' else 'done'}"]
        for ref in _acknowledged(upstream)
        if ledger.ends[ref] in ("logged", "completed")
    }
    await eventually(lambda: _told(sink, business, logged), 60, "each logged activity is told")
    deliveries: dict[str, set[tuple[str, bytes]]] = {}
    for request in sink.requests:
        if request.path == f"/{business.id}":
            activity_id = json.loads(request.body)["data"]["activity_id"]
            deliveries.setdefault(activity_id, set()).add((request.headers["webhook-id"], request.body))
    assert deliveries.keys() == logged, "something was told that was not logged"
    assert all(len(same) == 1 for same in deliveries.values()), "a delivery was repeated with another id or body"


def _acknowledged(upstream: Upstream) -> set[str]:
    return {source_ref.rpartition("-")[0] for source_ref in upstream.ledger.activities}


async def _told(sink: Sink, business: Business, logged: set[str]) -> bool:
    path = f"/{business.id}"
    return logged <= {json.loads(r.body)["data"]["activity_id"] for r in sink.requests if r.path == path}
