"""What a gateway is told: where to listen, who serves which paths, where the processes are."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

import orjson

from libs.prefixes import Prefix, prefix_of

FILE = "table.json"
Program = Literal["auto", "nginx", "own"]


@dataclass(frozen=True)
class Table:
    """A gateway's whole configuration. `prefixes` are paths such as `/api/timeline`, by service."""

    host: str
    port: int
    program: Program
    upstreams: Sequence[str]
    prefixes: Mapping[str, Sequence[str]]
    openapi: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote."""
        return cls(**orjson.loads(path.read_bytes()))

    def write(self, path: Path) -> None:
        """Keep it in a file."""
        path.write_bytes(orjson.dumps(asdict(self)))

    def by_prefix(self) -> dict[Prefix, str]:
        """Name the service of each prefix."""
        return {prefix_of(path): service for service, paths in self.prefixes.items() for path in paths}
