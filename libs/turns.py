"""Taking turns: work on many things is cut into slices, so that whoever else waits for the event loop goes on between.

In one process all services and all requests share it, and 1,000 events in one go would hold each of them up for long.
"""

import asyncio

SLICE = 100
"""So many things are worked on in one go, some 2 ms."""


async def give_way(number: int) -> None:
    """Let others have their turn after every 100th thing; `number` is the place of this one, from 0."""
    if number % SLICE == SLICE - 1:
        await asyncio.sleep(0)
