"""Changed endpoints: once a route has answered, no worker begins anything as it was before.

What a worker knows of an endpoint counts for 2.25 s after it began to be read (lane.py); it reads again every second
what it has in hand. A change is told to all workers on a line. Each begins nothing more to that endpoint before it has
read it again, and says that it has heard. The route answers when all living workers have said so, or when what they
knew has run out: so one that is frozen, or deaf, only makes the route slower. What changes endpoints without a route
says so with its commit, and nobody waits for it.
"""

import asyncio
from collections.abc import Callable
from uuid import UUID, uuid4

from libs.database import Database, Transaction
from libs.errors import Unavailable
from services.webhook_dispatcher.lease import KNOWN_S
from services.webhook_dispatcher.store import shards

CHANNEL = "webhook_endpoint"
UNANSWERED = "-"
AGAIN_S = 0.5
ALIVE_S = 60.0
"""So often something is said on a silent line, which shows whether it is there still."""


async def spread(tx: Transaction, endpoint_id: UUID) -> None:
    """Have all workers read an endpoint again before they begin anything more to it, once this is committed."""
    await tx.say(CHANNEL, f"changed {UNANSWERED} {endpoint_id}")


async def tell(database: Database, worker: UUID, endpoint_id: UUID) -> None:
    """Return when no worker besides this one begins anything to an endpoint as it was before; raises nothing."""
    clock = asyncio.get_running_loop().time
    until = clock() + KNOWN_S
    try:
        async with asyncio.timeout_at(until):
            await _be_heard(database, worker, endpoint_id)
    except TimeoutError:
        return
    except Unavailable:
        await asyncio.sleep(max(0.0, until - clock()))


async def _be_heard(database: Database, worker: UUID, endpoint_id: UUID) -> None:
    async with database.work() as tx:
        others = await shards.list_others(tx, worker)
    if not others:
        return
    token = uuid4().hex
    async with database.line(CHANNEL) as line:
        await line.say(f"changed {token} {endpoint_id}")
        while others:
            what, about, who = (await line.next()).split(" ")
            if (what, about) == ("heard", token):
                others.discard(UUID(who))


async def hear(database: Database, worker: UUID, changed: Callable[[UUID], None]) -> None:
    """Call `changed` with each endpoint that was changed, and say that this worker has heard, until cancelled."""
    while True:
        try:
            async with database.line(CHANNEL) as line:
                while True:
                    try:
                        async with asyncio.timeout(ALIVE_S):
                            what, token, whom = (await line.next()).split(" ")
                    except TimeoutError:
                        await line.say(f"alive - {worker}")
                        continue
                    if what == "changed":
                        changed(UUID(whom))
                    if what == "changed" and token != UNANSWERED:
                        await line.say(f"heard {token} {worker}")
        except Unavailable:
            await asyncio.sleep(AGAIN_S)
