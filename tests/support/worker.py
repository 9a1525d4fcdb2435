"""python -m tests.support.worker DATABASE-OWNER-URL: a dispatcher in a process of its own, to be killed or frozen."""

import asyncio
import sys

from libs.database import Database, Urls
from tests.support.databases import ROLES_SECRET
from tests.support.webhooks import Setting, dispatching


async def main(owner: str) -> None:
    """Deliver until the process ends."""
    database = Database(Urls("webhook_dispatcher", owner, ROLES_SECRET))
    await database.open()
    async with dispatching(database, Setting(timeout_s=10.0)):
        print("sending", flush=True)  # noqa: T201 - whoever started it waits for this
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
