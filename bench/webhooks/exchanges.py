"""What an exchange costs the process that makes it: a sender by itself, 64 at a time."""

import asyncio
import time
from collections.abc import Callable

from services.webhook_dispatcher import signing
from services.webhook_dispatcher.domain.addresses import AddressRules, read_networks
from services.webhook_dispatcher.sender import Sender

EXCHANGES, AT_ONCE, TURNS = 3_000, 64, 3
TIMEOUT_S = 10.0
BODY = b'{"activity_id":"0","data":"' + b"x" * 570 + b'"}'


async def cpu_us(make: Callable[[AddressRules, float, float], Sender], url: str) -> float:
    """Return the microseconds of CPU for an exchange, the least of three turns."""
    sender = make(AddressRules(read_networks("127.0.0.0/8"), allow_http=True, any_port=True), TIMEOUT_S, TIMEOUT_S)
    try:
        await _exchange(sender, url, AT_ONCE)
        return min([await _exchange(sender, url, EXCHANGES // AT_ONCE) for _ in range(TURNS)])
    finally:
        await sender.close()


async def _exchange(sender: Sender, url: str, each: int) -> float:
    headers = signing.headers_of("0" * 36, 0, BODY, [b"x" * signing.SECRET_BYTES])

    async def some() -> None:
        for _ in range(each):
            assert (await sender.send(url, headers, BODY)).error is None

    began = time.process_time()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(some())
    return (time.process_time() - began) / (each * AT_ONCE) * 1e6
