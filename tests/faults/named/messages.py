"""Messages that are poison, too large, too many, or the same under another body; clients that go away."""

import asyncio
import signal
from typing import Any
from uuid import UUID, uuid4

import orjson

from cli.check import groups, surroundings
from libs.contracts.ids import key_of, uuid7
from libs.contracts.topics import BY_NAME
from libs.messaging import admin
from libs.messaging.broker import BrokerSettings
from libs.service.edge import BODY_MAX_BYTES
from tests.faults.evidence import POISON
from tests.faults.load import REFUSED, Tenant
from tests.faults.named import fault
from tests.faults.rig import Produced, Rig
from tests.support.system import eventually

POISONED = ("activity.received", "activity.answered", "activity.created", "activity.completed", "activity.changed")
AWAY_S = 15.0
EVENTS = ("activity.received", "activity.created", "activity.completed", "activity.changed", "activity.appended")
AGAIN_MAX = 40
"""So many of each partition's newest records are published again."""
AT = "2026-01-31T09:00:00Z"
Headers = list[tuple[str, bytes]]


def poisons(business: UUID, topic: str) -> list[tuple[bytes | None, Headers]]:
    """Twelve kinds of poison: value and headers, for a topic."""
    event_type = BY_NAME[topic].types[0].encode()
    named: Headers = [("ce_type", event_type), ("ce_version", b"7")]
    ids = {"business_id": str(business), "activity_id": str(uuid7()), "receipt_id": str(uuid7())}
    return [
        (b"\x00\xff garbage", named),
        (None, named),
        (b"", named),
        (b"[]", named),
        (b'{"activity":', named),
        (orjson.dumps({"activity": ids, **ids}), named),
        (orjson.dumps({"activity": {**ids, "version": "seven"}, "report": 7}), named),
        (b"[" * 3_000 + b"]" * 3_000, named),
        (b'{"a":' + b"9" * 5_000 + b"}", named),
        (b'{"a":"\xed\xa0\x80"}', named),
        (b"{}", [("ce_type", event_type), ("ce_version", b"no number")]),
        (b"{}", [("ce_version", b"1")]),
    ]


@fault("poison", "twelve kinds of poison on each topic, about 1 % of what is heard: set aside, the rest goes on")
async def poison(rig: Rig) -> None:
    business = UUID(rig.tenants[0].business.id)
    with surroundings(rig.installation.direct):
        heard = groups()
    records = []
    for topic in POISONED:
        for value, headers in poisons(business, topic):
            id_ = str(uuid4())
            key = key_of(business, uuid7())
            records.append((topic, key, value, [*headers, (POISON, id_.encode())]))
            for group, topics in heard.items():
                if topic in topics and not group.endswith("access"):
                    rig.mark.injected[f"{group}:{id_}"] = topic
    await rig.produce(records)
    await asyncio.sleep(3)


@fault("oversized", "reports and bodies over their bounds are refused before they can stick")
async def oversized(rig: Rig) -> None:
    tenant = rig.tenants[0]
    for path, body, statuses in (
        ("/ingest/activities", b"x" * (BODY_MAX_BYTES + 1), (413,)),
        ("/ingest/activities", _large(tenant, 300_000), (413, 422)),
        ("/ingest/activities/bulk", b"x" * (9 << 20), (413,)),
    ):
        answer = await tenant.call("POST", path, body)
        assert answer.status in (*statuses, 0), f"{path} with {len(body)} bytes answered {answer.status}"


def _large(tenant: Tenant, size: int) -> bytes:
    text = f"{tenant.canary} {REFUSED} oversized"
    return orjson.dumps(
        {
            "source": "phone",
            "source_ref": "large",
            "action": "log",
            "type": "call",
            "summary": text,
            "notes": "x" * size,
        }
    )


@fault("same-name", "one name with a hundred bodies at once: one is accepted, 99 are refused")
async def same_name(rig: Rig) -> None:
    tenant, ref = rig.tenants[0], f"same{rig.chance.randrange(1 << 40)}"

    def report(number: int) -> dict[str, Any]:
        return {
            "source": "crm", "source_ref": f"{ref}-log", "activity_ref": ref, "action": "log", "type": "call",
            "occurred_at": AT, "summary": f"{tenant.canary} {ref}", "notes": f"body {number}",
        }  # fmt: skip

    number = tenant.history.invoke(tenant.business.id, "report", key=f"{ref}-log", ref=ref, src="crm", act="log")
    answers = await asyncio.gather(
        *(tenant.call("POST", "/ingest/activities", report(each)) for each in range(100))
    )  # fmt: skip
    taken = [orjson.loads(each.body) for each in answers if each.outcome == "ok"]
    if taken:
        tenant.history.end(number, "ok", id=taken[0]["activity_id"], receipt=taken[0]["receipt_id"])
    else:
        tenant.history.end(number, "unknown")
    statuses = sorted({each.status for each in answers})
    lost = any(status <= 0 or status >= 500 for status in statuses)
    assert len(taken) == 1 or (lost and not taken), f"{len(taken)} of 100 bodies under one name were taken: {statuses}"


@fault("repeats", "everything of the last seconds comes again five times, in any order")
async def repeats(rig: Rig) -> None:
    for tenant in rig.tenants:
        reports = [next(tenant._reports) for _ in range(40)]
        again = reports * 5
        rig.chance.shuffle(again)
        for start in range(0, len(again), 25):
            await tenant.send_bulk(again[start : start + 25])


@fault("events-again", "published events come again, two to five times, in any order, long after newer ones")
async def events_again(rig: Rig) -> None:
    broker = BrokerSettings(rig.installation.kafka.bootstrap_servers)
    records: list[Produced] = []
    async with admin.reading(broker, None) as reader:
        places = [place for place in rig.mark.offsets if place.topic in EVENTS]
        ends = await reader.end_offsets(places)
        reader.assign(places)
        for place in places:
            reader.seek(place, max(rig.mark.offsets[place], ends[place] - AGAIN_MAX))
        while any([await reader.position(place) < ends[place] for place in places]):
            for found in (await reader.getmany(timeout_ms=500)).values():
                records += [(each.topic, each.key, each.value, list(each.headers)) for each in found]
    again = [record for record in records for _ in range(rig.chance.randrange(1, 5))]
    rig.chance.shuffle(again)
    await rig.produce(again)


@fault("bulk-burst", "a business reports 2,000 at once: everything is caught up with, also of the others")
async def bulk_burst(rig: Rig) -> None:
    tenant = rig.tenants[-1]
    for _ in range(4):
        await tenant.send_bulk([next(tenant._reports) for _ in range(500)])


@fault("clients-cut", "clients go away in the middle of their requests")
async def clients_cut(rig: Rig) -> None:
    tenant = rig.tenants[0]
    for number in range(60):
        ref = f"cut{rig.chance.randrange(1 << 40)}"
        body = orjson.dumps(
            {
                "source": "crm", "source_ref": f"{ref}-log", "activity_ref": ref, "action": "log", "type": "call",
                "occurred_at": AT, "summary": f"{tenant.canary} {ref}",
            }
        )  # fmt: skip
        operation = tenant.history.invoke(tenant.business.id, "report", key=f"{ref}-log", ref=ref, src="crm", act="log")
        await _cut_off(rig, tenant, body, waits=number % 3)
        tenant.history.end(operation, "unknown")


async def _cut_off(rig: Rig, tenant: Tenant, body: bytes, waits: int) -> None:
    url = rig.installation.url("/ingest/activities")
    host, _, port = url.split("/")[2].partition(":")
    lines = [f"{name}: {value}" for name, value in tenant.business.headers.items()]
    head = "\r\n".join(
        ["POST /ingest/activities HTTP/1.1", f"host: {host}", f"content-length: {len(body)}", *lines,
         "content-type: application/json", "", ""]
    ).encode()  # fmt: skip
    sent = head + body
    cut = len(sent) if waits else rig.chance.randrange(1, len(sent))
    try:
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(sent[:cut])
        await writer.drain()
        if waits == 2:
            await asyncio.sleep(rig.chance.uniform(0, 0.01))
        writer.transport.abort()
    except OSError:
        return


@fault("poison-flood", "a flood of poison stops its partition, loudly; an operator lets it go on", "alone")
async def poison_flood(rig: Rig) -> None:
    place, business = rig.installation, UUID(rig.tenants[0].business.id)
    key, headers = key_of(business, uuid7()), [("ce_type", b"activity.updated"), ("ce_version", b"7")]
    await rig.produce(
        [("activity.changed", key, b"garbage", [*headers, (POISON, str(uuid4()).encode())]) for _ in range(400)]
    )

    with surroundings(place.direct):
        hearing = sorted(group for group, topics in groups().items() if "activity.changed" in topics)
    assert {"timeline_projector", "reporting"} <= set(hearing)

    async def stopped() -> bool:
        told = [problem for problem in await place.problems() if "is stopped at" in problem]
        return all(any(problem.startswith(f"{group}:") for problem in told) for group in hearing)

    await eventually(stopped, 60, f"{', '.join(hearing)} have each stopped a partition")
    for group in hearing:
        done = await place.command("resume", group.replace("_", "-"), "--set-aside")
        assert done.returncode == 0, done.stderr


@fault("lag-explosion", "the projections are away while thousands arrive; old and new both get through")
async def lag_explosion(rig: Rig) -> None:
    place = rig.installation
    for package in ("timeline_projector", "reporting"):
        process = place.process_of(package)
        if process.running() and place.apart:
            process.signal(signal.SIGSTOP)
    for _ in range(4):
        for tenant in rig.tenants:
            await tenant.send_bulk([next(tenant._reports) for _ in range(250)])
    await asyncio.sleep(AWAY_S)
