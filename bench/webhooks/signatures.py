"""W10: what is sent checks with verifiers that are not ours, in Python and in JavaScript; what was changed does not."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from bench.figures import Figure
from bench.webhooks.business import NOTES, Tenant, all_noted, make_row, publish, retire
from bench.webhooks.ground import MASTER_KEY, Ground
from cli.place import Trouble
from libs.contracts.ids import uuid7
from libs.database import Database
from services.webhook_dispatcher import signing
from services.webhook_dispatcher.sealing import Sealer
from services.webhook_dispatcher.signing import Scheme
from services.webhook_dispatcher.store import endpoints
from services.webhook_dispatcher.store.endpoints import EndpointState
from tests.support.sink import Request, Sink
from tests.support.verifying import NODE, NPM, Received, verify_in_javascript, verify_in_python

SCHEMES: tuple[tuple[Scheme, ...], ...] = (("v1",), ("v1", "v1"), ("v1a",), ("v1a", "v1a"), ("v1", "v1a"))
"""Of an endpoint: with what it is signed at once."""
EACH, EVENTS = 4, 250
TEXTS = ("مرحبا 🙂", "naïve “quotes”", "line one\\nline two", "𝔘nicode \\u2028 and \\\\ back", NOTES)
"""As they stand in JSON."""
PATIENCE_S = 120.0
VERIFIERS: dict[str, Callable[[Sequence[Received]], list[bool]]] = {
    "Python": verify_in_python, "JavaScript": verify_in_javascript,
}  # fmt: skip


async def verified(ground: Ground, database: Database) -> list[Figure]:
    """Send 250 events to 20 endpoints of five kinds and check every signature of every webhook, by each verifier."""
    if NODE is None or NPM is None:
        raise Trouble("W10 needs node and npm: apt-get install nodejs npm")
    tenant = Tenant(uuid7())
    async with Sink.started() as sink:
        keys: dict[str, list[str]] = {}
        for number in range(EACH * len(SCHEMES)):
            path = f"/{number}"
            keys[path] = await _make(database, tenant, sink.url(path), SCHEMES[number % len(SCHEMES)])
        rows = [make_row(tenant.business_id, number) for number in range(EVENTS)]
        for number, row in enumerate(rows):
            row["value"] = row["value"].replace(NOTES.encode(), TEXTS[number % len(TEXTS)].encode())
        await publish(ground, rows)
        requests = list(await sink.received(EVENTS * len(keys), PATIENCE_S))
        await all_noted(database, PATIENCE_S)
    await retire(database)
    good = [_received(request, key) for request in requests for key in keys[request.path]]
    bad = [changed for request in requests for changed in _forge(request, keys)]
    found = [Figure("W10", "signatures checked by each", len(good), "")]
    for language, verify in VERIFIERS.items():
        taken, forged = await asyncio.to_thread(verify, good), await asyncio.to_thread(verify, bad)
        found += [
            Figure("W10", f"{language}: failures", taken.count(False), "", 0, most=True),
            Figure("W10", f"{language}: {len(bad):,} forged ones, taken", forged.count(True), "", 0, most=True),
        ]
    return found


async def _make(database: Database, tenant: Tenant, url: str, schemes: Sequence[Scheme]) -> list[str]:
    """Make an endpoint with such keys; return them as its receiver has them."""
    id_, sealer, shown = uuid7(), Sealer(MASTER_KEY), []
    state = EndpointState(url, "", ("activity.logged",), (), (), "active")
    async with database.transaction(tenant) as tx:
        await endpoints.insert_endpoint(tx, tenant.business_id, id_, state)
        for scheme in schemes:
            key = signing.generate_key()
            public = signing.public_bytes_of(key) if scheme == "v1a" else None
            sealed = sealer.seal(key, tenant.business_id, id_, scheme)
            await endpoints.insert_secret(tx, tenant.business_id, id_, (uuid7(), sealed), public)
            shown.append(signing.secret_of(key) if public is None else signing.public_key_of(public))
    return shown


def _received(request: Request, key: str) -> Received:
    return Received(key, request.headers, request.body)


def _forge(request: Request, keys: dict[str, list[str]]) -> list[Received]:
    """Change a webhook in each place that is signed, and give it to a receiver with other keys."""
    mine = keys[request.path]
    other = next(one for path, others in keys.items() if path != request.path for one in others)
    ours = _received(request, mine[0])
    place = len(request.body) // 2
    flipped = request.body[:place] + bytes([request.body[place] ^ 1]) + request.body[place + 1 :]
    later = str(int(request.headers["webhook-timestamp"]) + 1)
    return [
        replace(ours, body=flipped) if flipped.isascii() else replace(ours, body=request.body + b" "),
        replace(ours, headers={**request.headers, "webhook-id": "other"}),
        replace(ours, headers={**request.headers, "webhook-timestamp": later}),
        replace(ours, key=other),
    ]
