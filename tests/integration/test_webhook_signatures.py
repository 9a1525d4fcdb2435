"""Signatures by secrets and by private keys, as receivers check them with verifiers that are not ours."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import asyncpg
import httpx
import pytest

from libs.database import Database
from services.webhook_dispatcher.delivery import Dispatcher
from services.webhook_dispatcher.resealing import reseal
from services.webhook_dispatcher.sealing import Sealer, Unsealable
from tests.conftest import MakeDatabase
from tests.support.http import Tenant, served, settle
from tests.support.sink import Request, Sink
from tests.support.verifying import NODE, Received, verify_in_javascript, verify_in_python
from tests.support.webhooks import MASTER_KEY, deliveries_of, dispatching, event_of, eventually, hear

ENDPOINTS = "/api/webhooks/endpoints"


@dataclass(frozen=True)
class Case:
    """A served dispatcher, a business that calls it, a receiver."""

    database: Database
    client: httpx.AsyncClient
    tenant: Tenant
    sink: Sink

    async def call(self, method: str, path: str, json: Any = None) -> Any:
        answer = await self.client.request(method, path, json=json, headers=self.tenant.headers)
        assert answer.status_code < 300, answer.text
        return answer.json()

    async def make(self, signature: str, **fields: Any) -> dict[str, Any]:
        new = {"url": self.sink.url(), "event_types": ["activity.logged"], "signature": signature} | fields
        made: dict[str, Any] = await self.call("POST", ENDPOINTS, new)
        return made

    async def rotate(self, made: dict[str, Any], **body: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await self.call("POST", f"{ENDPOINTS}/{made['id']}/secret/rotate", body)
        return answer

    async def tell(self, dispatcher: Dispatcher) -> Request:
        seen = len(self.sink.requests)
        await hear(self.database, [event_of(self.tenant.business_id, summary="مرحبا 🙂")], dispatcher)
        return (await self.sink.received(seen + 1))[-1]


@pytest.fixture
async def case(make_database: MakeDatabase) -> AsyncIterator[Case]:
    database = await make_database("webhook_dispatcher")
    async with served("webhook_dispatcher", database) as client, Sink.started() as sink:
        yield Case(database, client, await settle(database), sink)


def taken(request: Request, keys: Sequence[str]) -> list[bool]:
    """Say for each key whether a receiver that has it takes the request."""
    received = [Received(key, request.headers, request.body) for key in keys]
    answers = verify_in_python(received)
    if NODE:
        assert verify_in_javascript(received) == answers
    return answers


def versions_of(request: Request) -> list[str]:
    return [one.partition(",")[0] for one in request.headers["webhook-signature"].split(" ")]


async def test_endpoint_chooses_a_private_key_and_anybody_may_see_its_public_one(case: Case) -> None:
    async with dispatching(case.database) as dispatcher:
        made = await case.make("v1a")
        assert (made["signature"], "secret" in made, len(made["public_keys"])) == ("v1a", False, 1)
        [key] = made["public_keys"]
        assert key.startswith("whpk_")
        assert (await case.call("GET", f"{ENDPOINTS}/{made['id']}"))["public_keys"] == [key]
        assert (await case.call("GET", ENDPOINTS))["results"][0]["public_keys"] == [key]
        request = await case.tell(dispatcher)
        await eventually(case.database, lambda rows: rows[0]["status"] == "delivered")
    assert versions_of(request) == ["v1a"]
    other = await case.make("v1a")
    assert taken(request, [key, *other["public_keys"]]) == [True, False]
    for changed in (
        replace(request, body=request.body + b" "),
        replace(request, headers={**request.headers, "webhook-id": "other"}),
        replace(request, headers={**request.headers, "webhook-timestamp": "1"}),
        replace(request, headers={**request.headers, "webhook-signature": "v1a,AAAA v1,AAAA"}),
    ):
        assert taken(changed, [key]) == [False]


async def test_secrets_and_keys_take_turns_and_overlap_as_long_as_is_said(case: Case) -> None:
    async with dispatching(case.database) as dispatcher:
        made = await case.make("v1")
        assert (made["signature"], made["public_keys"]) == ("v1", [])
        keys = [made["secret"]]
        keys.append((await case.rotate(made, signature="v1a"))["public_key"])
        keys.append((await case.rotate(made))["public_key"])
        keys.append((await case.rotate(made, signature="v1"))["secret"])
        first = await case.tell(dispatcher)
        assert versions_of(first) == ["v1", "v1a", "v1a", "v1"], "the newest first"
        assert taken(first, keys) == [True] * 4
        shown = await case.call("GET", f"{ENDPOINTS}/{made['id']}")
        assert (shown["signature"], shown["public_keys"]) == ("v1", [keys[2], keys[1]])
        last = (await case.rotate(made, signature="v1a", old_valid_s=0))["public_key"]
        second = await case.tell(dispatcher)
        assert versions_of(second) == ["v1a"]
        assert taken(second, [*keys, last]) == [False] * 4 + [True]
        assert (await case.call("GET", f"{ENDPOINTS}/{made['id']}"))["public_keys"] == [last]
        await eventually(case.database, lambda rows: {row["status"] for row in rows} == {"delivered"})


async def test_endpoint_has_ten_live_secrets_at_most(case: Case) -> None:
    made = await case.make("v1a")
    for _ in range(9):
        await case.rotate(made)
    path = f"{ENDPOINTS}/{made['id']}/secret/rotate"
    refused = await case.client.post(path, json={}, headers=case.tenant.headers)
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_secrets")
    assert len((await case.call("GET", f"{ENDPOINTS}/{made['id']}"))["public_keys"]) == 10
    await case.rotate(made, old_valid_s=0)
    assert len((await case.call("GET", f"{ENDPOINTS}/{made['id']}"))["public_keys"]) == 1


@pytest.mark.parametrize(("body", "field"), [({"signature": "v2"}, "signature"), ({"old_valid_s": -1}, "old_valid_s")])
async def test_bad_rotation_is_refused_naming_the_field(case: Case, body: dict[str, Any], field: str) -> None:
    made = await case.make("v1")
    path = f"{ENDPOINTS}/{made['id']}/secret/rotate"
    refused = await case.client.post(path, json=body, headers=case.tenant.headers)
    assert (refused.status_code, [error["field"] for error in refused.json()["errors"]]) == (422, [field])


async def test_sample_is_signed_with_all_that_is_live(case: Case) -> None:
    made = await case.make("v1a")
    await case.rotate(made, signature="v1")
    shown = await case.call("POST", f"{ENDPOINTS}/{made['id']}/test")
    assert shown["signature"] == {"secrets": 2, "valid": True}
    assert taken(case.sink.requests[0], made["public_keys"]) == [True]


async def test_private_key_is_stored_sealed_and_outlives_the_master_key(case: Case) -> None:
    made = await case.make("v1a")
    async with case.database.work() as tx:
        row = await tx.find("select business_id, endpoint_id, sealed from endpoint_secret")
    assert row is not None
    business_id, endpoint_id, sealed = row
    seed = Sealer(MASTER_KEY).open(sealed, business_id, endpoint_id)
    owner = await asyncpg.connect(case.database.urls.owner)
    try:
        names = await owner.fetch("select quote_ident(tablename) from pg_tables where schemaname = 'public'")
        texts = [await owner.fetchval(f"select string_agg(t::text, ' ') from {name} t") for (name,) in names]
    finally:
        await owner.close()
    assert seed.hex() not in " ".join(filter(None, texts))
    with pytest.raises(Unsealable):  # what is a private key is never taken for a secret that others have too
        Sealer(MASTER_KEY).open(b"\x01" + sealed[1:], business_id, endpoint_id)
    another = "another-master-key-of-the-tests"
    assert await reseal(case.database, f"{another},{MASTER_KEY}") == (1, 0)
    assert await reseal(case.database, MASTER_KEY) == (0, 1)
    assert await reseal(case.database, f"{MASTER_KEY},{another}") == (1, 0)
    async with dispatching(case.database) as dispatcher:
        assert taken(await case.tell(dispatcher), made["public_keys"]) == [True]
        await eventually(case.database, lambda rows: rows[0]["status"] == "delivered")
    assert len(await deliveries_of(case.database)) == 1
