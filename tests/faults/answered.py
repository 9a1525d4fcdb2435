"""What a caller of a faulty system was told."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer; `status` 0: there was none."""

    status: int
    body: bytes = b""
    headers: Any = None

    @property
    def outcome(self) -> str:
        """Whoever gets no answer or a 5xx does not know whether it was done; a refused connection was not heard."""
        if 200 <= self.status < 300:
            return "ok"
        return "failed" if 400 <= self.status < 500 or self.status == -1 else "unknown"

    @property
    def final(self) -> bool:
        """Whether asking again would change nothing."""
        return 200 <= self.status < 500 and self.status not in (408, 425, 429)
