"""A system that reports through Kafka, on a topic of its business."""

from typing import Any
from uuid import UUID, uuid4

import orjson

from libs.contracts.ids import activity_id_of, receipt_id_of
from libs.messaging import admin
from libs.messaging.broker import BrokerSettings
from tests.faults.evidence import POISON
from tests.faults.load import REFUSED, Tenant
from tests.faults.named import fault
from tests.faults.rig import Produced, Rig

REPORTS = 120
BAD = (b"\x00\xff garbage", b"[]", b'{"source":"phone"}', b"")


@fault(
    "inbound", "reports through Kafka while ingest is killed: each is applied once, bad ones are set aside one by one"
)
async def inbound(rig: Rig) -> None:
    tenant, place = rig.tenants[0], rig.installation
    topic, process = f"activity.inbound.{tenant.business.id}", place.process_of("ingest")
    await admin.create_topics(BrokerSettings(place.kafka.bootstrap_servers), (), (topic,))
    process.environment["INBOUND_TOPICS"] = f"{tenant.business.id}={topic}"
    await rig.kill(process)
    reports = [next(tenant._reports) for _ in range(REPORTS)]
    for half in (reports[: REPORTS // 2], reports[REPORTS // 2 :]):
        await _report(rig, tenant, topic, half)
        await rig.produce([_bad(rig, topic, value) for value in BAD])
        await rig.kill(process)
    other_body = {**reports[0], "summary": f"{tenant.canary} {REFUSED}"}
    await rig.produce([_bad(rig, topic, orjson.dumps(other_body))])


async def _report(rig: Rig, tenant: Tenant, topic: str, reports: list[dict[str, Any]]) -> None:
    """Report each once or twice; acknowledged is what Kafka has."""
    business = UUID(tenant.business.id)
    numbers = [
        tenant.history.invoke(
            tenant.business.id, "report", key=each["source_ref"], ref=each["activity_ref"], src=each["source"],
            act=each["action"],
        )
        for each in reports
    ]  # fmt: skip
    again = rig.chance.sample(reports, k=len(reports) // 4)
    await rig.produce([_record(rig, topic, each) for each in [*reports, *again]])
    for number, each in zip(numbers, reports, strict=True):
        activity_id = str(activity_id_of(business, each["source"], each["activity_ref"]))
        receipt_id = str(receipt_id_of(business, each["source"], each["source_ref"]))
        tenant.history.end(number, "ok", id=activity_id, receipt=receipt_id)
        tenant.acknowledged.add(activity_id)


def _record(rig: Rig, topic: str, report: dict[str, Any]) -> Produced:
    """Write a report plainly, or as a CloudEvent with its attributes in headers."""
    if rig.chance.random() < 0.5:
        return topic, None, orjson.dumps(report), []
    attributes = {
        "specversion": "1.0",
        "type": "activity.report",
        "source": report["source"],
        "id": report["source_ref"],
    }
    data = {name: value for name, value in report.items() if name not in ("source", "source_ref")}
    return topic, None, orjson.dumps(data), [(f"ce_{name}", text.encode()) for name, text in attributes.items()]


def _bad(rig: Rig, topic: str, value: bytes | None) -> Produced:
    id_ = str(uuid4())
    rig.mark.injected[f"ingest:{id_}"] = topic
    return topic, None, value, [(POISON, id_.encode())]
