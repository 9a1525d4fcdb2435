"""W9: nothing is sent to an address that may not be sent to, however it is spelled and wherever it comes from.

Both senders are given every address in URLs and as answers of a resolver, on a loop that notes each connection and lets
none out. The service is given every spelling of this machine's own addresses, past the check at registration.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from bench.figures import Figure
from bench.webhooks.business import Tenant, make_endpoints, make_row, publish, retire
from bench.webhooks.ground import Ground
from cli.place import Trouble
from libs.contracts.ids import uuid7
from libs.database import Database
from services.webhook_dispatcher.aiohttp_sender import AiohttpSender
from services.webhook_dispatcher.domain.addresses import AddressRules
from services.webhook_dispatcher.lean import LeanSender
from tests.support.addresses import SPELLED, TABLE, spellings_of

REFUSED = [address for address, allowed in TABLE if not allowed]
PUBLIC = [address for address, allowed in TABLE if allowed]
VECTORS = sorted({*REFUSED, *SPELLED})
OURS = ("127.0.0.1", "127.1.2.3", "0.0.0.0")
"""Addresses that lead to this machine."""
NAMES = ("[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:7f00:1]", "localhost", "LOCALHOST", "localhost.", "a.localhost")
VECTORS_MIN = 600
TIMEOUT_S, PATIENCE_S = 2.0, 60.0
SENDERS: tuple[Callable[..., Any], ...] = (LeanSender, AiohttpSender)


class Closed(asyncio.SelectorEventLoop):
    """A loop that notes what anything is connected to, and refuses it: nothing leaves the process."""

    def __init__(self) -> None:
        super().__init__()
        self.connections: list[Any] = []

    async def sock_connect(self, sock: Any, address: Any) -> None:
        """Note it and refuse it."""
        self.connections.append(address)
        raise ConnectionRefusedError(111, "refused by the bench")


async def refused(ground: Ground, database: Database) -> list[Figure]:
    """Measure."""
    reached: list[tuple[int, int]] = []
    for make in SENDERS:
        thread = threading.Thread(target=lambda make=make: reached.append(_try_senders(make)))
        thread.start()
        await asyncio.to_thread(thread.join)
    hits, others, tried = await _try_service(ground, database)
    public = min(found for _, found in reached)
    return [
        Figure("W9", "addresses and spellings that may not be sent to", len(VECTORS), "", VECTORS_MIN),
        Figure("W9", "of them connected to, two senders, five ways each", sum(one for one, _ in reached), "", 0, True),
        Figure("W9", f"hits at the sink by the service, {tried} spellings of it", hits, "", 0, most=True),
        Figure("W9", "of these not refused for their address", others, "", 0, most=True),
        Figure("W9", "public addresses that are connected to", public / len(PUBLIC) * 100, "%", 100),
    ]


def _try_senders(make: Callable[..., Any]) -> tuple[int, int]:
    """Return to how many addresses a sender connected that it may not, and to how many of the public ones."""
    with asyncio.Runner(loop_factory=Closed) as runner:
        wrong: int = runner.run(_send_to(make, VECTORS, _ways_of))
        right: int = runner.run(_send_to(make, PUBLIC, lambda address: [(_host(address), [])]))
    return wrong, right


async def _send_to(
    make: Callable[..., Any], vectors: Sequence[str], ways: Callable[[str], list[tuple[str, list[str]]]]
) -> int:
    """Send to each vector in each way; return how many addresses that connected to."""
    answers: list[str] = []

    async def lookup(host: str, port: int) -> Sequence[str]:
        return answers

    loop = asyncio.get_running_loop()
    assert isinstance(loop, Closed)
    sender = make(AddressRules(allow_http=True, any_port=True), TIMEOUT_S, TIMEOUT_S, lookup)
    for vector in vectors:
        for host, answered in ways(vector):
            answers[:] = answered
            await sender.send(f"http://{host}/", {"webhook-id": "w9"}, b"{}")
    await sender.close()
    connected = {address[0] for address in loop.connections}
    loop.connections.clear()
    return len(connected)


def _ways_of(vector: str) -> list[tuple[str, list[str]]]:
    """List hosts and what a resolver answers for them: as it is, with a port, as an answer, first and last of two."""
    bare = vector.strip("[]")
    host = _host(vector)
    return [
        (host, []), (f"{host}:8443", []), ("a.example.com", [bare]), ("b.example.com", [PUBLIC[0], bare]),
        ("c.example.com", [bare, PUBLIC[0]]),
    ]  # fmt: skip


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address and not address.startswith("[") else address


async def _try_service(ground: Ground, database: Database) -> tuple[int, int, int]:
    """Owe an event to endpoints at every spelling of this machine; return how often it was connected to, how many
    attempts failed otherwise than they should, and how many spellings there are."""
    await asyncio.to_thread(ground.end_workers)
    worker = await asyncio.to_thread(ground.start_worker, {"WEBHOOK_ALLOWED_NETWORKS": ""})
    tenant = Tenant(uuid7())
    hosts = [host for own in OURS for host in (own, *spellings_of(own)) if "\x00" not in host]
    async with _listening() as (port, connections):
        urls = [f"http://{host}:{port}/w9" for host in (*hosts, *NAMES)]
        await make_endpoints(ground, database, tenant, ["/"] * len(urls))
        async with database.work() as tx:
            await tx.execute(
                """update endpoint e set url = u.url
                     from (select id, row_number() over (order by id) as n from endpoint where business_id = $1) o
                     join unnest($2::text[]) with ordinality as u (url, n) on u.n = o.n
                    where e.business_id = $1 and e.id = o.id""",
                tenant.business_id, urls,
            )  # fmt: skip
        await publish(ground, [make_row(tenant.business_id, 1)])
        others = await _attempted(database, tenant, len(urls))
        hits = len(connections)
    await retire(database)
    await asyncio.to_thread(ground.end_worker, worker)
    return hits, others, len(urls)


async def _attempted(database: Database, tenant: Tenant, count: int) -> int:
    """Wait until every delivery was attempted; return how many were not refused for their address. Raises Trouble."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    while True:
        async with database.work() as tx:
            rows = await tx.fetch(
                "select coalesce(last_error, 'none') as error, count(*) as n from delivery"
                " where business_id = $1 and attempts > 0 group by 1",
                tenant.business_id,
            )
        if sum(row["n"] for row in rows) == count:
            return sum(row["n"] for row in rows if row["error"] != "blocked_address")
        if asyncio.get_running_loop().time() > deadline:
            raise Trouble(f"W9: only {dict(rows)} of {count} deliveries were attempted within {PATIENCE_S:g} s")
        await asyncio.sleep(0.1)


@asynccontextmanager
async def _listening() -> AsyncIterator[tuple[int, list[object]]]:
    """Listen on every address of this machine, and note who connects."""
    connections: list[object] = []

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer.get_extra_info("peername"))
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    others = [await asyncio.start_server(connected, host, port) for host in ("127.1.2.3", "::1")]
    try:
        yield port, connections
    finally:
        for each in (server, *others):
            each.close()
