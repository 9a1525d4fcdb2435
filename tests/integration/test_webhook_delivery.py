"""What is owed is delivered: signed, once, again where it failed, and to nobody else."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import orjson
import pytest
import standardwebhooks

from libs.contracts.ids import uuid7
from libs.database import Database
from services.webhook_dispatcher import signing
from services.webhook_dispatcher.resealing import reseal
from services.webhook_dispatcher.sealing import Sealer
from services.webhook_dispatcher.store import endpoints
from services.webhook_dispatcher.unreadable import Unreadable
from tests.conftest import MakeDatabase
from tests.support.sink import Answer, Sink
from tests.support.webhooks import (
    MASTER_KEY,
    POLICY,
    Setting,
    _Tenant,
    all_are,
    attempts_of,
    deliveries_of,
    dispatching,
    event_of,
    eventually,
    hear,
    make_endpoint,
)  # fmt: skip

BUSINESS = uuid7()


@pytest.fixture
async def database(make_database: MakeDatabase) -> Database:
    return await make_database("webhook_dispatcher")


async def test_logged_activity_arrives_signed_with_the_stored_bytes(database: Database) -> None:
    async with Sink.started() as sink, dispatching(database) as dispatcher:
        _, secret = await make_endpoint(database, BUSINESS, sink.url())
        event = event_of(BUSINESS, summary="مرحبا 🙂")
        await hear(database, [event], dispatcher)
        [request] = await sink.received(1)
        [delivery] = await eventually(database, all_are("delivered"))
    document = standardwebhooks.Webhook(secret).verify(request.body, dict(request.headers))
    assert document["type"] == "activity.logged"
    assert document["data"]["activity_id"] == str(event.activity.activity_id)
    assert document["data"]["scheduled_activity_id"] is None
    assert request.headers["webhook-id"] == str(delivery["id"])
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept-encoding"] == "identity"
    assert "cookie" not in request.headers
    async with database.work() as tx:
        assert await tx.value("select body from event") == request.body
    [attempt] = await attempts_of(database)
    assert (attempt["number"], attempt["result"], attempt["http_status"]) == (1, "delivered", 200)
    assert attempt["address"] == "127.0.0.1"
    assert {"connect", "answer", "total"} <= set(orjson.loads(attempt["phases"]))


async def test_rotated_secret_and_the_old_one_sign_beside_each_other_until_the_old_one_ends(
    database: Database,
) -> None:
    async with Sink.started() as sink, dispatching(database) as dispatcher:
        id_, old = await make_endpoint(database, BUSINESS, sink.url())
        new = signing.generate_secret()
        sealed = Sealer(MASTER_KEY).seal(signing.key_of(new), BUSINESS, id_)
        async with database.transaction(_Tenant(BUSINESS)) as tx:
            await endpoints.expire_secrets(tx, BUSINESS, id_, 3600)
            await endpoints.insert_secret(tx, BUSINESS, id_, (uuid7(), sealed))
        await hear(database, [event_of(BUSINESS)], dispatcher)
        [request] = await sink.received(1)
        for secret in (old, new):
            standardwebhooks.Webhook(secret).verify(request.body, dict(request.headers))
        async with database.transaction(_Tenant(BUSINESS)) as tx:
            later = (uuid7(), Sealer(MASTER_KEY).seal(signing.key_of(new), BUSINESS, id_))
            await endpoints.expire_secrets(tx, BUSINESS, id_, 0)
            await endpoints.insert_secret(tx, BUSINESS, id_, later)
        await hear(database, [event_of(BUSINESS)], dispatcher)
        request = (await sink.received(2))[-1]
        standardwebhooks.Webhook(new).verify(request.body, dict(request.headers))
        with pytest.raises(standardwebhooks.webhooks.WebhookVerificationError):
            standardwebhooks.Webhook(old).verify(request.body, dict(request.headers))


async def test_master_key_is_rotated_without_a_secret_lost(database: Database) -> None:
    another = "another-master-key-of-the-tests"
    made = [await make_endpoint(database, BUSINESS, f"http://127.0.0.1:9/{n}") for n in range(3)]
    assert await reseal(database, f"{another},{MASTER_KEY}") == (3, 0)
    assert await reseal(database, another) == (3, 0)
    assert await reseal(database, MASTER_KEY) == (0, 3)
    async with database.work() as tx:
        rows = await tx.fetch("select endpoint_id, sealed from endpoint_secret")
    sealer = Sealer(another)
    assert {row[0]: sealer.open(row[1], BUSINESS, row[0]) for row in rows} == {
        id_: signing.key_of(secret) for id_, secret in made
    }


async def test_secrets_that_no_master_key_opens_are_said_until_one_does(database: Database) -> None:
    patient = replace(POLICY, schedule_s=(60.0,))
    async with dispatching(database, Setting(patient)) as dispatcher:
        id_, secret = await make_endpoint(database, BUSINESS, "http://127.0.0.1:9/")
        another = "another-master-key-of-the-tests"
        sealed = Sealer(another).seal(signing.key_of(secret), BUSINESS, id_)
        async with database.work() as tx:
            await endpoints.save_sealed(tx, [(BUSINESS, id_, await tx.value("select id from endpoint_secret"), sealed)])
        await hear(database, [event_of(BUSINESS), event_of(BUSINESS)], dispatcher)
        await eventually(database, lambda rows: {row["last_error"] for row in rows} == {"secret_unreadable"})
        here, knowing = Unreadable(Sealer(MASTER_KEY)), Unreadable(Sealer(f"{MASTER_KEY},{another}"))
        await here.look(database)
        assert here.problems()[0].startswith("the secrets of 2 deliveries cannot be opened: WEBHOOK_MASTER_KEY must")
        await knowing.look(database)
        assert knowing.problems() == []


async def test_completed_plan_is_delivered_as_logged_and_as_completed(database: Database) -> None:
    async with Sink.started() as sink, dispatching(database) as dispatcher:
        await make_endpoint(database, BUSINESS, sink.url())
        await hear(
            database, [event_of(BUSINESS, planned_at=datetime.now(UTC), completed_at=datetime.now(UTC))], dispatcher
        )
        requests = await sink.received(2)
        await eventually(database, all_are("delivered", 2))
    assert sorted(orjson.loads(one.body)["type"] for one in requests) == ["activity.completed", "activity.logged"]


async def test_failed_attempt_is_repeated_with_the_same_id_and_body(database: Database) -> None:
    async with Sink.started() as sink, dispatching(database) as dispatcher:
        sink.script = [Answer(500, body=b"down"), Answer(close=True), Answer(204)]
        endpoint_id, _ = await make_endpoint(database, BUSINESS, sink.url())
        await hear(database, [event_of(BUSINESS)], dispatcher)
        requests = await sink.received(3)
        [delivery] = await eventually(database, all_are("delivered"))
    assert len({(one.headers["webhook-id"], one.body) for one in requests}) == 1
    assert delivery["attempts"] == 3
    assert [one["result"] for one in await attempts_of(database)] == ["http_5xx", "reset", "delivered"]
    assert (await attempts_of(database))[0]["answer"] == b"down"
    async with database.work() as tx:
        assert await tx.value("select failing_since from endpoint where id = $1", endpoint_id) is None


async def test_delivery_is_exhausted_after_the_last_attempt(database: Database) -> None:
    async with Sink.started() as sink, dispatching(database) as dispatcher:
        sink.by_path["/hook"] = Answer(400)
        await make_endpoint(database, BUSINESS, sink.url())
        await hear(database, [event_of(BUSINESS)], dispatcher)
        [delivery] = await eventually(database, all_are("exhausted"))
        async with database.work() as tx:
            assert await tx.value("select failing_since is not null from endpoint")
    assert (delivery["attempts"], len(sink.requests), delivery["last_error"]) == (4, 4, "http_4xx")


async def test_410_disables_the_endpoint_at_once(database: Database) -> None:
    async with Sink.started() as sink, dispatching(database) as dispatcher:
        sink.by_path["/hook"] = Answer(410)
        await make_endpoint(database, BUSINESS, sink.url())
        await hear(database, [event_of(BUSINESS)], dispatcher)
        await eventually(database, all_are("exhausted"))
        await hear(database, [event_of(BUSINESS)], dispatcher)
        async with database.work() as tx:
            row = await tx.find("select status, disabled_reason from endpoint")
    assert row is not None
    assert tuple(row) == ("disabled", "gone")
    assert len(sink.requests) == 1
    assert [one["status"] for one in await deliveries_of(database)] == ["exhausted", "missed"]


async def test_retry_after_is_respected_for_the_whole_endpoint(database: Database) -> None:
    async with Sink.started() as sink, dispatching(database) as dispatcher:
        sink.script = [Answer(429, {"Retry-After": "1"})]
        await make_endpoint(database, BUSINESS, sink.url())
        await hear(database, [event_of(BUSINESS)], dispatcher)
        await eventually(database, lambda rows: rows[0]["attempts"] == 1)
        await hear(database, [event_of(BUSINESS)], dispatcher)
        await eventually(database, all_are("delivered", 2))
    first, *others = [one.at for one in sink.requests]
    assert len(others) == 2
    assert min(others) - first >= 0.99


async def test_redirect_is_a_failure_and_is_not_followed(database: Database) -> None:
    async with Sink.started() as sink, Sink.started() as other, dispatching(database) as dispatcher:
        statuses = (301, 302, 303, 307)
        sink.script = [Answer(status, {"Location": other.url()}) for status in statuses]
        await make_endpoint(database, BUSINESS, sink.url())
        await hear(database, [event_of(BUSINESS)], dispatcher)
        await eventually(database, all_are("exhausted"))
    assert [one["result"] for one in await attempts_of(database)] == ["redirect"] * 4
    assert (len(sink.requests), other.connections) == (4, 0)


async def test_blocked_address_is_never_connected_to(database: Database) -> None:
    flips = iter([["127.0.0.1"], ["127.0.0.1", "10.0.0.1"], ["10.0.0.1"], [], ["127.0.0.1"] * 17])
    rules = replace(Setting().rules, allowed_networks=())

    async def lookup(host: str, port: int) -> list[str]:
        return next(flips)

    async with Sink.started() as sink:
        for host in ("127.0.0.1", "[::1]", "127.1", "localhost", "rebind.example"):
            await make_endpoint(database, BUSINESS, f"http://{host}:{sink.port}/hook")
        async with dispatching(database, Setting(rules=rules, lookup=lookup)) as dispatcher:
            await hear(database, [event_of(BUSINESS)], dispatcher)
            await eventually(database, all_are("exhausted", 5))
        assert sink.connections == 0
    assert {one["result"] for one in await attempts_of(database)} == {"blocked_address"}


async def test_name_that_resolves_to_an_allowed_and_a_blocked_address_is_blocked(database: Database) -> None:
    answers = [["127.0.0.1", "10.0.0.1"], ["127.0.0.1"]]

    async def lookup(host: str, port: int) -> list[str]:
        return answers.pop(0)

    async with Sink.started() as sink, dispatching(database, Setting(lookup=lookup)) as dispatcher:
        await make_endpoint(database, BUSINESS, f"http://hooks.example.com:{sink.port}/hook")
        await hear(database, [event_of(BUSINESS)], dispatcher)
        await eventually(database, all_are("delivered"))
        assert sink.requests[0].headers["host"] == f"hooks.example.com:{sink.port}"
    assert [one["result"] for one in await attempts_of(database)] == ["blocked_address", "delivered"]


async def test_proxies_of_the_environment_are_not_used(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Sink.started() as sink, Sink.started() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url(""))
        monkeypatch.setenv("HTTP_PROXY", proxy.url(""))
        async with dispatching(database) as dispatcher:
            await make_endpoint(database, BUSINESS, sink.url())
            await hear(database, [event_of(BUSINESS)], dispatcher)
            await eventually(database, all_are("delivered"))
        assert proxy.connections == 0


async def test_failures_have_their_class(database: Database) -> None:
    async def lookup(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    async def speak_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 this is not TLS\r\n")
        await writer.drain()
        writer.close()

    plain = await asyncio.start_server(speak_first, "127.0.0.1", 0)
    async with Sink.started() as sink, plain:
        sink.by_path["/garbage"] = Answer(200, {"content-length": "x"})
        async with Sink.started() as gone:
            refused = gone.url()
        urls = {
            refused: "refused", "http://nowhere.example.com/": "dns", sink.url("/garbage"): "protocol",
            f"https://127.0.0.1:{plain.sockets[0].getsockname()[1]}/": "tls",
        }  # fmt: skip
        ids = {(await make_endpoint(database, BUSINESS, url))[0]: result for url, result in urls.items()}
        policy = replace(POLICY, schedule_s=())
        async with dispatching(database, Setting(policy=policy, lookup=lookup)) as dispatcher:
            await hear(database, [event_of(BUSINESS)], dispatcher)
            await eventually(database, all_are("exhausted", 4))
    assert {one["endpoint_id"]: one["result"] for one in await attempts_of(database)} == ids


async def test_receiver_that_hangs_times_out_and_the_others_go_on(database: Database) -> None:
    policy = replace(POLICY, schedule_s=())
    async with Sink.started() as sink, dispatching(database, Setting(policy=policy, timeout_s=2.5)) as dispatcher:
        sink.by_path["/hang"] = Answer(hang=True)
        sink.by_path["/drip"] = Answer(drip_s=0.3)
        slow = {(await make_endpoint(database, BUSINESS, sink.url(path)))[0] for path in ("/hang", "/drip")}
        healthy = uuid7()
        await make_endpoint(database, healthy, sink.url("/good"))
        await hear(database, [event_of(BUSINESS) for _ in range(20)], dispatcher)
        await hear(database, [event_of(healthy) for _ in range(50)], dispatcher)
        await sink.until(lambda all_: sum(one.path == "/good" for one in all_) == 50)
        assert all(row["attempts"] == 0 for row in await deliveries_of(database) if row["endpoint_id"] in slow)
        rows = await eventually(database, lambda rows: sum(row["status"] == "exhausted" for row in rows) >= 8)
    assert {row["endpoint_id"] for row in rows if row["status"] == "exhausted"} <= slow
    assert {row["last_error"] for row in rows if row["status"] == "exhausted"} == {"timeout:answer"}


async def test_endless_answer_is_cut_and_the_status_counts(database: Database) -> None:
    async with Sink.started() as sink, dispatching(database) as dispatcher:
        sink.by_path["/hook"] = Answer(200, {"content-encoding": "gzip"}, body=b"\x1f\x8b" + b"x" * 5_000_000)
        await make_endpoint(database, BUSINESS, sink.url())
        await hear(database, [event_of(BUSINESS)], dispatcher)
        await eventually(database, all_are("delivered"))
    assert len((await attempts_of(database))[0]["answer"]) == 16 << 10
