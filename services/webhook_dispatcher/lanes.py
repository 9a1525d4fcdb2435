"""Who may send now: a number of permits for the process, a quarter of them at most for one endpoint.

An endpoint that said Retry-After is left alone until then. Lanes that adapt to each receiver belong here.
"""

from collections.abc import Sequence
from uuid import UUID

from services.webhook_dispatcher.store.queue import Room


class Lanes:
    """Permits in use, by endpoint. Instants are of a monotonic clock in seconds."""

    def __init__(self, permits_max: int) -> None:
        self.permits_max = permits_max
        self.endpoint_max = max(1, permits_max // 4)
        self._used: dict[UUID, int] = {}
        self._paused: dict[UUID, float] = {}
        self.used = 0

    @property
    def free(self) -> int:
        """Permits nobody holds."""
        return self.permits_max - self.used

    def take(self, endpoint_id: UUID) -> None:
        """Hold a permit for an endpoint."""
        self._used[endpoint_id] = self._used.get(endpoint_id, 0) + 1
        self.used += 1

    def release(self, endpoint_id: UUID) -> None:
        """Give a permit back."""
        self.used -= 1
        left = self._used[endpoint_id] - 1
        if left:
            self._used[endpoint_id] = left
        else:
            del self._used[endpoint_id]

    def pause(self, endpoint_id: UUID, until: float) -> None:
        """Leave an endpoint alone until then."""
        self._paused[endpoint_id] = max(until, self._paused.get(endpoint_id, 0.0))

    def excluded(self, now: float) -> list[UUID]:
        """Name the endpoints that get nothing now: their share is used up, or they asked to be left alone."""
        for endpoint_id in [one for one, until in self._paused.items() if until <= now]:
            del self._paused[endpoint_id]
        full = (one for one, used in self._used.items() if used >= self.endpoint_max)
        return list({*full, *self._paused})

    def first_unpaused(self) -> float | None:
        """Say when the first paused endpoint may be sent to again."""
        return min(self._paused.values(), default=None)

    def fitting(self, wanted: Sequence[UUID], now: float) -> list[bool]:
        """Say for each of these endpoints in turn whether there is a permit for it. Takes none."""
        excluded, free, more = set(self.excluded(now)), self.free, dict[UUID, int]()
        fits = []
        for endpoint_id in wanted:
            count = more.get(endpoint_id, 0)
            fit = (
                free > 0 and endpoint_id not in excluded and self._used.get(endpoint_id, 0) + count < self.endpoint_max
            )
            if fit:
                more[endpoint_id], free = count + 1, free - 1
            fits.append(fit)
        return fits

    def room(self, now: float) -> Room:
        """Say what may be claimed."""
        left = {one: self.endpoint_max - used for one, used in self._used.items() if used < self.endpoint_max}
        return Room(self.free, self.endpoint_max, left, self.excluded(now))
