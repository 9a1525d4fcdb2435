"""Names to addresses, within a deadline, and only where every answer may be connected to."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from services.webhook_dispatcher.domain.addresses import AddressRules, may_connect_all

DEADLINE_S = 2.0
THREADS_MAX = 16
Lookup = Callable[[str, int], Awaitable[Sequence[str]]]

_threads = ThreadPoolExecutor(THREADS_MAX, "webhook-resolver")  # of its own: names that hang hold up nothing else


class BlockedAddress(OSError):
    """The name leads, among others, to an address that may not be connected to."""


async def ask_system(host: str, port: int) -> Sequence[str]:
    """Ask the operating system's resolver. Raises OSError."""
    loop = asyncio.get_running_loop()
    answers = await loop.run_in_executor(_threads, _getaddrinfo, host, port)
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


def _getaddrinfo(host: str, port: int) -> Sequence[tuple[Any, ...]]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


async def resolve(host: str, port: int, rules: AddressRules, lookup: Lookup = ask_system) -> Sequence[str]:
    """Resolve a name: at most 16 answers within 2 s, all of which may be connected to.

    Raises BlockedAddress, TimeoutError, OSError.
    """
    async with asyncio.timeout(DEADLINE_S):
        answers = await lookup(host, port)
    if not may_connect_all(answers, rules):
        raise BlockedAddress(f"{len(answers)} answers, not all of them allowed")
    return answers
