"""The processes behind a gateway as they are named: read by whoever starts one, without what it takes to ask them."""

from collections.abc import Sequence
from dataclasses import dataclass


class NotAnAddress(ValueError):
    """An upstream is not written as `service=host:port`."""


@dataclass(frozen=True, order=True)
class Replica:
    """One process of a service."""

    service: str
    host: str
    port: int
    name: str

    @property
    def address(self) -> str:
        """Where it listens, as in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_upstreams(words: Sequence[str]) -> list[tuple[str, str, int]]:
    """Read `service=host:port`, any number of each service. Raises NotAnAddress."""
    found = []
    for word in words:
        service, _, address = word.partition("=")
        host, _, port = address.rpartition(":")
        if not service or not host or not port.isdigit():
            raise NotAnAddress(f"{word!r} is not an upstream; write service=host:port, such as ingest=127.0.0.1:8000")
        found.append((service, host.strip("[]"), int(port)))
    return found
