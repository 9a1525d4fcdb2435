"""Who hears of a business's events, as it was last read: what is owed is inserted by one statement, which itself tells
whether that is still so, instead of being read anew for every batch.

What it takes to send is not known from here: lanes know that, as of 2.25 s ago at most (lane.py).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from services.webhook_dispatcher.domain.subscriptions import Subscriber
from services.webhook_dispatcher.store.subscribers import Audience, Presumed

KEPT_S = 60.0
BUSINESSES_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Remembered:
    """Who hears and as of which change of each, as read at `read_at`, when the database's time was `then`."""

    hearing: Sequence[tuple[Subscriber, int]]
    then: datetime | None
    read_at: float


class Audiences:
    """Instants are monotonic seconds."""

    def __init__(self) -> None:
        self._known: dict[UUID, Remembered] = {}

    def keep(self, audience: Audience, read_at: float) -> None:
        """Remember what was read."""
        if len(self._known) >= BUSINESSES_MAX:
            self._known.clear()
        found: dict[UUID, list[tuple[Subscriber, int]]] = {one: [] for one in audience.presumed.business_ids}
        for subscriber, change in zip(audience.subscribers, audience.presumed.changes, strict=True):
            found[subscriber.business_id].append((subscriber, change))
        for business_id, hearing in found.items():
            self._known[business_id] = Remembered(hearing, audience.now, read_at)

    def find(
        self, business_ids: Sequence[UUID], now: float
    ) -> tuple[list[Subscriber], Presumed, datetime | None] | None:
        """Say who hears of the events of these businesses, what is presumed by that, and the database's time (if
        anybody hears); None where one of them was not read lately."""
        known = [self._known.get(business_id) for business_id in business_ids]
        found = [one for one in known if one is not None and one.read_at > now - KEPT_S]
        if len(found) < len(known):
            return None
        hearing = sorted((pair for one in found for pair in one.hearing), key=lambda pair: pair[0].endpoint_id.int)
        ids, changes = [one.endpoint_id for one, _ in hearing], [change for _, change in hearing]
        times = [one.then + timedelta(seconds=now - one.read_at) for one in found if one.then is not None]
        presumed = Presumed(list(business_ids), ids, changes)
        return [one for one, _ in hearing], presumed, max(times, default=None)

    def forget(self, business_ids: Iterable[UUID]) -> None:
        """Forget what is not so any more."""
        for business_id in business_ids:
            self._known.pop(business_id, None)
