"""How many requests a key and a business may make: a steady rate with bursts (GCRA, the leaky bucket as a meter).

Each process of each service counts for itself. What is left is told with each answer, in the fields of
draft-ietf-httpapi-ratelimit-headers: `RateLimit-Policy` (quota and its window) and `RateLimit` (what is left).
"""

from dataclasses import dataclass
from math import ceil
from typing import Literal
from uuid import UUID

from libs.access.principal import Principal
from libs.errors import TooMany

REQUESTS_PER_S = 2_000
BURST = 4_000
METERS_MAX = 20_000
"""So many keys and businesses are counted; then those that have used nothing of late are forgotten."""

ROUNDING_S = 1e-9

Named = Literal["key", "business"]


@dataclass(frozen=True, slots=True)
class Left:
    """What a caller has left by the tighter of its two limits: requests, and whole seconds until all is free again.

    `wait_s` is 0, or in how many seconds to come again.
    """

    named: Named
    requests: int
    full_in_s: int
    policy: bytes
    wait_s: int = 0

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Write it as response fields."""
        state = f'"{self.named}";r={self.requests};t={self.full_in_s}'.encode()
        return [(b"ratelimit-policy", self.policy), (b"ratelimit", state)]


class Rates:
    """Counts requests of keys and businesses. Not for several threads."""

    def __init__(self, requests_per_s: int = REQUESTS_PER_S, burst: int = BURST) -> None:
        self._interval_s = 1 / requests_per_s
        self._room_s = burst / requests_per_s
        self._burst = burst
        self._used_until: dict[UUID, float] = {}
        self._policies: dict[Named, bytes] = {
            name: f'"{name}";q={burst};w={ceil(self._room_s)}'.encode() for name in ("key", "business")
        }

    def take(self, principal: Principal, now: float) -> Left:
        """Count a request at `now` (seconds, monotonic), unless nothing is left."""
        if len(self._used_until) > METERS_MAX:
            self._used_until = {name: until for name, until in self._used_until.items() if until > now}
        key_until = self._next(principal.key_id, now)
        business_until = self._next(principal.business_id, now)
        named: Named = "key" if key_until >= business_until else "business"
        used_s = max(key_until, business_until) - now
        if used_s > self._room_s + ROUNDING_S:
            return Left(named, 0, ceil(used_s), self._policies[named], max(1, ceil(used_s - self._room_s)))
        self._used_until[principal.key_id] = key_until
        self._used_until[principal.business_id] = business_until
        requests = int((self._room_s - used_s + ROUNDING_S) / self._interval_s)
        return Left(named, requests, ceil(used_s), self._policies[named])

    def refusal(self, left: Left) -> TooMany:
        """Make the error for a caller who has to wait."""
        return TooMany(
            f"this {left.named} may make {1 / self._interval_s:.0f} requests a second and {self._burst} at once; "
            f"come again in {left.wait_s} s",
            retry_after_s=left.wait_s,
        )

    def _next(self, who: UUID, now: float) -> float:
        return max(self._used_until.get(who, 0.0), now) + self._interval_s
