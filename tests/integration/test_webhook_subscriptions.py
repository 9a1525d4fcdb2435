"""Who is told what: filters, expressions, thin and full bodies, endpoints of activity objects."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest

from libs.contracts.activity import Link
from libs.contracts.activity_object import ActivityObject
from libs.contracts.ids import uuid7
from libs.database import Database
from services.webhook_dispatcher import handlers
from services.webhook_dispatcher.domain.addresses import AddressRules
from services.webhook_dispatcher.managed import endpoint_id_of, follow_objects
from services.webhook_dispatcher.sealing import Sealer
from tests.conftest import MakeDatabase
from tests.support.http import served, settle
from tests.support.sink import Sink
from tests.support.webhooks import (
    LOCAL,
    MASTER_KEY,
    deliveries_of,
    dispatching,
    event_of,
    eventually,
    hear,
    make_endpoint,
)  # fmt: skip

BUSINESS = uuid7()
NOWHERE = "http://127.0.0.1:9/"


@pytest.fixture
async def database(make_database: MakeDatabase) -> Database:
    return await make_database("webhook_dispatcher")


async def test_endpoint_hears_of_the_records_it_names_and_of_what_its_expression_lets_through(
    database: Database,
) -> None:
    filters: dict[str, dict[str, Any]] = {
        "all": {}, "leads": {"record_objects": ("lead",)}, "either": {"record_objects": ("lead", "contact")},
        "long": {"expression": "data.duration_min != null && data.duration_min >= 30"},
        "both": {"record_objects": ("contact",), "expression": "data.links.exists(l, l.object == 'contact')"},
    }  # fmt: skip
    ids = {(await make_endpoint(database, BUSINESS, NOWHERE, **more))[0]: name for name, more in filters.items()}
    contact, lead = Link(object="contact", record_id=uuid7()), Link(object="lead", record_id=uuid7())
    for links, minutes, told in (
        ([contact], 45, {"all", "either", "long", "both"}), ([lead], None, {"all", "leads", "either"}),
        ([], 29, {"all"}),
    ):  # fmt: skip
        event = event_of(BUSINESS, links=links, duration_min=minutes)
        await hear(database, [event])
        owed = [row for row in await deliveries_of(database) if row["activity_id"] == event.activity.activity_id]
        assert {ids[row["endpoint_id"]] for row in owed} == told


async def test_expression_without_an_answer_lets_nothing_through_and_is_counted(database: Database) -> None:
    tenant = await settle(database)
    id_, _ = await make_endpoint(database, tenant.business_id, NOWHERE, expression="data.fields.stage == 'won'")
    healthy, _ = await make_endpoint(database, tenant.business_id, NOWHERE)
    fields: list[dict[str, Any]] = [{}, {"stage": "won"}, {"stage": "lost"}, {}]
    await hear(database, [event_of(tenant.business_id, fields=each) for each in fields])
    rows = await deliveries_of(database)
    assert sorted(row["endpoint_id"] for row in rows) == sorted([id_, *[healthy] * 4])
    await hear(database, [event_of(tenant.business_id)])
    async with served("webhook_dispatcher", database) as client:
        shown = (await client.get(f"/api/webhooks/endpoints/{id_}", headers=tenant.headers)).json()["filter_failures"]
    assert (shown["count"], shown["last_error"]) == (3, "the body has no stage")


async def test_thin_body_names_the_version_and_holds_no_text_and_the_full_one_holds_all(database: Database) -> None:
    async with Sink.started() as sink, dispatching(database) as dispatcher:
        await make_endpoint(database, BUSINESS, sink.url("/thin"), body_form="thin")
        await make_endpoint(
            database, BUSINESS, sink.url("/thin"), body_form="thin", expression="data.notes == 'secret'"
        )
        await make_endpoint(database, BUSINESS, sink.url("/full"))
        event = event_of(BUSINESS, subject="secret", notes="secret")
        await hear(database, [event], dispatcher)
        requests = await sink.received(3)
        await eventually(database, lambda rows: all(row["status"] == "delivered" for row in rows))
    full = orjson.loads(next(one.body for one in requests if one.path == "/full"))
    [thin, again] = [one.body for one in requests if one.path == "/thin"]
    assert thin == again
    assert b"secret" not in thin
    assert orjson.loads(thin) == {
        "type": full["type"], "timestamp": full["timestamp"],
        "data": {name: full["data"][name] for name in orjson.loads(thin)["data"]},
    }  # fmt: skip
    assert {"activity_id", "version", "url", "type"} < set(orjson.loads(thin)["data"])
    erased_at = datetime.now(UTC)
    gone = event_of(BUSINESS, "activity.erased", activity_id=event.activity.activity_id, version=2, erased_at=erased_at)
    async with database.work() as tx:
        await handlers.forget_texts(tx, [gone])
        bodies = [row[0] for row in await tx.fetch("select body from event order by length(body)")]
    assert bodies[0] == thin
    assert b"secret" not in bodies[1]


def definition(object_id: UUID, version: int, **fields: Any) -> ActivityObject:
    values: dict[str, Any] = {
        "business_id": BUSINESS, "id": object_id, "version": version, "name": "Visit", "api_name": "visit",
        "created_at": datetime.now(UTC), "submission_action": "trigger_webhook", "webhook_url": NOWHERE,
    }  # fmt: skip
    return ActivityObject(**values | fields)


async def follow(database: Database, *events: ActivityObject, rules: AddressRules = LOCAL) -> None:
    async with database.work() as tx:
        await follow_objects(Sealer(MASTER_KEY), rules)(tx, events)


async def endpoint_rows(database: Database) -> list[dict[str, Any]]:
    async with database.work() as tx:
        return [dict(row) for row in await tx.fetch("select * from endpoint order by created_at")]


async def test_object_that_triggers_a_webhook_has_an_endpoint_that_is_made_and_retired_with_it(
    database: Database,
) -> None:
    visit, call = uuid7(), uuid7()
    async with Sink.started() as sink, dispatching(database) as dispatcher:
        await follow(
            database, definition(call, 1, submission_action=None), definition(visit, 1, webhook_url=sink.url("/a"))
        )
        [row] = await endpoint_rows(database)
        assert (row["id"], row["kind"], row["activity_object_id"]) == (endpoint_id_of(visit), "object", visit)
        await hear(
            database, [event_of(BUSINESS, type="visit", type_id=visit), event_of(BUSINESS, type_id=call)], dispatcher
        )
        await sink.received(1)
        await follow(database, definition(visit, 3, webhook_url=sink.url("/b"), name="Changed"))
        await follow(database, definition(visit, 2, webhook_url=sink.url("/old")))
        await hear(database, [event_of(BUSINESS, type="visit", type_id=visit)], dispatcher)
        await sink.received(2)
        await follow(database, definition(visit, 4, submission_action="redirect"))
        await hear(database, [event_of(BUSINESS, type="visit", type_id=visit)], dispatcher)
        [row] = await endpoint_rows(database)
        assert row["deleted_at"] is not None
        await follow(database, definition(visit, 5, webhook_url=sink.url("/c")))
        await hear(database, [event_of(BUSINESS, type="visit", type_id=visit)], dispatcher)
        requests = await sink.received(3)
        await follow(database, definition(visit, 6, deleted_at=datetime.now(UTC)))
        await hear(database, [event_of(BUSINESS, type="visit", type_id=visit)], dispatcher)
        rows = await eventually(database, lambda rows: all(row["status"] == "delivered" for row in rows))
    assert [one.path for one in requests] == ["/a", "/b", "/c"]
    assert len(rows) == 3


async def test_url_of_an_object_that_may_not_be_sent_to_is_shown_as_refused(database: Database) -> None:
    await follow(database, definition(uuid7(), 1, webhook_url="https://10.0.0.1/"), rules=AddressRules())
    [row] = await endpoint_rows(database)
    assert (row["status"], row["disabled_reason"]) == ("disabled", "url_refused")
    await hear(database, [event_of(BUSINESS, type_id=row["activity_object_id"])])
    assert [one["status"] for one in await deliveries_of(database)] == ["missed"]


async def test_endpoint_of_an_object_is_not_changed_by_hand_but_switched_and_given_a_new_secret(
    database: Database,
) -> None:
    tenant = await settle(database)
    object_id = uuid7()
    await follow(database, definition(object_id, 1, business_id=tenant.business_id))
    path = f"/api/webhooks/endpoints/{endpoint_id_of(object_id)}"
    async with served("webhook_dispatcher", database) as client:
        shown = (await client.get(path, headers=tenant.headers)).json()
        assert (shown["kind"], shown["activity_object_id"]) == ("object", str(object_id))
        for method, body in (("PATCH", {"description": "x"}), ("DELETE", None)):
            refused = await client.request(method, path, json=body, headers=tenant.headers)
            assert (refused.status_code, refused.json()["code"]) == (409, "managed")
            assert str(object_id) in refused.json()["detail"]
        assert (await client.post(f"{path}/disable", headers=tenant.headers)).json()["status"] == "disabled"
        assert (await client.post(f"{path}/enable", headers=tenant.headers)).json()["status"] == "active"
        rotated = await client.post(f"{path}/secret/rotate", headers=tenant.headers)
    assert rotated.json()["secret"].startswith("whsec_")
