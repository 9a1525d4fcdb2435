"""The processes behind a gateway: where they are, and which of them take requests."""

import asyncio
import itertools
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import aiohttp
import structlog

from libs.gateway.replicas import Replica

LOOK_S = 0.5
PROBE_S = 3.0
SILENCES_MAX = 2
"""Looks in a row at which a process is not ready before it gets no more requests; one is enough to get them again."""

log = structlog.get_logger("gateway")


class Upstreams:
    """All processes of all services. A name that stands for several addresses stands for as many processes."""

    def __init__(self, given: Sequence[tuple[str, str, int]]) -> None:
        self._given = given
        self.services = tuple(dict.fromkeys(service for service, _, _ in given))
        self.replicas = _named([(service, host, port) for service, host, port in given])
        self._silences: dict[Replica, int] = {}
        self._refusing: set[Replica] = set()
        self._turn = itertools.count()

    def of(self, service: str) -> list[Replica]:
        """Return the processes of a service that take requests; all of them when none does: a slow one may still."""
        here = [replica for replica in self.replicas if replica.service == service]
        taking = [each for each in here if self._silences.get(each, 0) < SILENCES_MAX]
        return taking if set(taking) - self._refusing else here

    def in_turn(self, service: str) -> list[Replica]:
        """Return those processes, beginning with another one each time."""
        found = self.of(service)
        first = next(self._turn) % len(found) if found else 0
        return found[first:] + found[:first]

    async def watch(self, changed: Callable[[], None]) -> None:
        """Look for ever who is ready, and call `changed` whenever other processes than before take requests."""
        before = self._taking()
        connector = aiohttp.TCPConnector(force_close=True)  # one that stops listening is gone, not silent
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=PROBE_S)) as session:
            while True:
                await self._resolve()
                await asyncio.gather(*(self._look(session, replica) for replica in self.replicas))
                now = self._taking()
                if now != before:
                    before = now
                    changed()
                await asyncio.sleep(LOOK_S)

    def _taking(self) -> Mapping[str, Sequence[Replica]]:
        return {service: self.of(service) for service in self.services}

    async def _look(self, session: aiohttp.ClientSession, replica: Replica) -> None:
        refusing = False
        try:
            async with session.get(f"http://{replica.address}/readyz") as answer:
                silent = answer.status != 200
        except aiohttp.ClientConnectorError:
            silent, refusing = False, True  # nobody listens: whoever tries it knows at once and goes to the next
        except (aiohttp.ClientError, TimeoutError):
            silent = True
        self._silences[replica] = self._silences.get(replica, 0) + 1 if silent else 0
        if refusing is not (replica in self._refusing):
            log.warning("nobody listens" if refusing else "listens again", process=replica.name, at=replica.address)
        (self._refusing.add if refusing else self._refusing.discard)(replica)

    async def _resolve(self) -> None:
        loop = asyncio.get_running_loop()
        found: list[tuple[str, str, int]] = []
        for service, host, port in self._given:
            addresses: list[Any] = []
            with suppress(OSError):  # a name that is not known now keeps nobody; its requests are answered 503
                addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found += [(service, str(address[4][0]), port) for address in sorted(addresses, key=lambda each: each[4])]
        self.replicas = _named(found)


def _named(found: Sequence[tuple[str, str, int]]) -> tuple[Replica, ...]:
    def all_of() -> Iterator[Replica]:
        numbers: dict[str, int] = {}
        for service, host, port in dict.fromkeys(found):
            numbers[service] = numbers.get(service, 0) + 1
            yield Replica(service, host, port, f"{service}-{numbers[service]}")

    return tuple(all_of())
