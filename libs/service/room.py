"""How many requests may be at work at once; who comes on top is told at once to come again.

What is turned away costs next to nothing: no body is read, no key looked up, no line logged. So under overload those
who are let in are served as quickly as ever.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from libs.errors import Unavailable

RETRY_AFTER_S = 1
BODIES_MAX_BYTES = 256 << 20
"""Of all requests together, those still being received too: senders without a key must not fill the memory."""


class Crowded(Unavailable):
    """More requests than can be served are waiting already; nothing was done about this one."""

    code = "crowded"


@dataclass(slots=True)
class Room:
    """Room of a service: for requests, for those among them that carry many things (bulks), for all their bodies."""

    requests_waiting_max: int = 1_000
    bulks_waiting_max: int = 16
    bodies_max_bytes: int = BODIES_MAX_BYTES
    _bodies_bytes: int = 0
    _waiting: dict[bool, int] = field(default_factory=lambda: {False: 0, True: 0})

    def look(self, *, bulk: bool) -> None:
        """Raise Crowded where there is no room at the moment."""
        bound = self.bulks_waiting_max if bulk else self.requests_waiting_max
        if self._waiting[bulk] >= bound:
            what = "bulk requests" if bulk else "requests"
            raise Crowded(f"{bound} {what} are waiting already; try again later", RETRY_AFTER_S)

    @contextmanager
    def hold(self) -> Iterator[Callable[[int], None]]:
        """Give what counts the bytes of a body as they come, until its request is over; it raises Crowded."""
        held = 0

        def more(size: int) -> None:
            nonlocal held
            if self._bodies_bytes + size > self.bodies_max_bytes:
                raise Crowded(
                    f"bodies of {self.bodies_max_bytes} bytes are held already; try again later", RETRY_AFTER_S
                )
            held += size
            self._bodies_bytes += size

        try:
            yield more
        finally:
            self._bodies_bytes -= held

    @contextmanager
    def enter(self, *, bulk: bool) -> Iterator[None]:
        """Take a place for as long as the request is at work. Raises Crowded."""
        self.look(bulk=bulk)
        self._waiting[bulk] += 1
        try:
            yield
        finally:
            self._waiting[bulk] -= 1
