"""All lanes of this worker: who sends next, who gets what is claimed. Fair between businesses, then endpoints."""

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from heapq import heappop, heappush
from itertools import count
from math import inf
from uuid import UUID

from services.webhook_dispatcher.domain.pace import RetryBudget
from services.webhook_dispatcher.lane import RETRY, Lane
from services.webhook_dispatcher.store.queue import Claimed, Wanted
from services.webhook_dispatcher.store.targets import Target

CHANGED_KEPT_S = 60.0
"""Longer than any transaction in which endpoints are read."""
IN_HAND_TIMES = 8
"""What may be in hand (claimed, being sent, not noted yet) for each permit."""
RETRIES_MIN_PER_S = 20.0


class Lanes:
    """Instants are of the loop's clock. `permits_max` exchanges at once, a quarter of them at most in one lane.

    An exchange that has ended keeps its permit until its outcome is noted (`unnoted`), though not its place in its
    lane: so many are sent twice at most when a worker dies, and a database that is away brings sending to a halt.
    """

    def __init__(self, permits_max: int, lane_max: int, now: float = 0.0) -> None:
        self.permits_max = permits_max
        self.lane_max = max(1, min(lane_max, permits_max // 4))
        self.in_flight = 0
        self.unnoted = 0
        self.in_hand = 0
        self.retries = RetryBudget(RETRIES_MIN_PER_S, now)
        self._lanes: OrderedDict[UUID, Lane] = OrderedDict()
        self._round: OrderedDict[UUID, deque[Lane]] = OrderedDict()
        self._asleep: list[tuple[float, int, Lane]] = []
        self._changed: dict[UUID, float] = {}
        self._number = count()

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def __len__(self) -> int:
        return len(self._lanes)

    def clear(self) -> None:
        """Forget everything."""
        self._lanes.clear()
        self._round.clear()
        self._asleep.clear()
        self.in_flight = self.unnoted = self.in_hand = 0

    def find(self, endpoint_id: UUID) -> Lane | None:
        """Find the lane of an endpoint, if there is one."""
        return self._lanes.get(endpoint_id)

    def follow(self, targets: Iterable[Target], now: float, read_at: float | None = None) -> None:
        """Make lanes for endpoints, or take over what those are like, as it began to be read at `read_at` (None: now).

        What was read before an endpoint was changed, or before it was read last, does not count.
        """
        began = now if read_at is None else read_at
        for target in targets:
            changed_at = self._changed.get(target.endpoint_id)
            known_at = -inf if changed_at is not None and began <= changed_at else began
            lane = self._lanes.get(target.endpoint_id)
            if lane is None:
                lane = self._lanes[target.endpoint_id] = Lane(target, self.lane_max, now)
                lane.known_at = known_at
            elif known_at > lane.known_at:
                lane.known_at = known_at
                lane.follow(target, now)
                if not lane.listed:
                    self._list(lane, now)

    def changed(self, endpoint_id: UUID, now: float) -> None:
        """Send nothing more to an endpoint until it was read again."""
        self._changed = {each: at for each, at in self._changed.items() if at > now - CHANGED_KEPT_S}
        self._changed[endpoint_id] = now
        lane = self._lanes.get(endpoint_id)
        if lane is not None:
            lane.known_at = -inf

    def unknown(self, now: float) -> list[tuple[UUID, UUID]]:
        """Name the endpoints, by (business, id), that have to be read again: changed ones, those whose lanes hold
        something, and those that got something since they were read, so that more can go out at once."""
        lanes = (
            lane
            for lane in self._lanes.values()
            if lane.known_at == -inf or lane.fed_at > lane.known_at or (lane.queue and not lane.known(now))
        )
        return [(lane.target.business_id, lane.target.endpoint_id) for lane in lanes]

    def empty(self, lane: Lane) -> list[Claimed]:
        """Take out what waits in a lane."""
        left = list(lane.queue)
        lane.queue.clear()
        return left

    def drop(self, lanes: Iterable[Lane]) -> list[Claimed]:
        """Forget lanes; return what was in their queues. What is being sent ends by itself."""
        left = []
        for lane in lanes:
            left += self.empty(lane)
            self._lanes.pop(lane.target.endpoint_id, None)
        return left

    @property
    def room(self) -> int:
        """How many deliveries more may be in hand."""
        return IN_HAND_TIMES * self.permits_max - self.in_hand

    def put(self, claims: Sequence[Claimed], now: float) -> None:
        """Put deliveries that are ours into their lanes, which there must be."""
        for claim in claims:
            lane = self._lanes[claim.endpoint_id]
            lane.queue.append(claim)
            lane.fed_at = now
            if not lane.listed:
                self._list(lane, now)

    def next(self, now: float) -> tuple[Lane, Claimed] | None:
        """Take what is to be sent next, if an exchange is free."""
        while self._asleep and self._asleep[0][0] <= now:
            lane = heappop(self._asleep)[2]
            lane.listed = False
            self._list(lane, now)
        while self._round and self.in_flight + self.unnoted < self.permits_max:
            business_id, lanes = next(iter(self._round.items()))
            lane = lanes.popleft()
            self._round.move_to_end(business_id)
            if not lanes:
                del self._round[business_id]
            lane.listed = False
            if not lane.queue or lane.wait_s(now) > 0:
                self._list(lane, now)
                continue
            self.in_flight += 1
            claim = lane.take()
            self._list(lane, now)
            return lane, claim
        return None

    def wake_at(self) -> float:
        """Say when a lane that waits for its time may go on."""
        return self._asleep[0][0] if self._asleep else inf

    def release(self, lane: Lane, now: float) -> None:
        """Note that an exchange has ended."""
        self.in_flight -= 1
        lane.in_flight -= 1
        if lane.queue and not lane.listed:
            self._list(lane, now)

    def _list(self, lane: Lane, now: float) -> None:
        """Put a lane where it belongs: into the round, to sleep until its time, or nowhere until something changes."""
        if not lane.queue:
            return
        wait_s = lane.wait_s(now)
        if wait_s == inf:
            return
        lane.listed = True
        if wait_s > 0:
            heappush(self._asleep, (now + wait_s, next(self._number), lane))
            return
        business_id = lane.target.business_id
        lanes = self._round.get(business_id)
        if lanes is None:
            lanes = self._round[business_id] = deque()
        lanes.append(lane)

    def fitting(self, wanted: Sequence[UUID], now: float) -> list[bool]:
        """Say for each of these endpoints in turn whether a delivery to it may be sent at once. Takes nothing."""
        rooms: dict[UUID, int] = {}
        left, fits = self.room, []
        for endpoint_id in wanted:
            room = rooms.get(endpoint_id)
            if room is None:
                lane = self._lanes.get(endpoint_id)
                fast = (
                    lane is not None
                    and lane.sends
                    and lane.known(now)
                    and not lane.target.ordered
                    and lane.keeps_up(now)
                )
                room = lane.room(now) if fast and lane is not None else 0
            fit = room > 0 and left > 0
            rooms[endpoint_id] = room - fit
            left -= fit
            fits.append(fit)
        return fits

    def wants(self, now: float, rows_max: int) -> list[Wanted]:
        """Divide up to `rows_max` rows fairly among the lanes that want some: by business, then by endpoint."""
        wanting: dict[UUID, list[tuple[Lane, list[tuple[int, int]]]]] = {}
        for lane in self._lanes.values():
            if min(lane.due) <= now and (wants := lane.wants(now, self.retries)):
                wanting.setdefault(lane.target.business_id, []).append((lane, wants))
        found = _divide(list(wanting.values()), min(rows_max, self.room))
        for one in found:
            self._lanes.move_to_end(one.endpoint_id)  # who got nothing is first the next time
        return found

    def next_due(self, now: float) -> float:
        """Say when the store has something next for a lane that has room."""
        moments = ((lane, max(min(lane.due), lane.held_until)) for lane in self._lanes.values())
        return min((at for lane, at in moments if at < inf and lane.room(max(now, at)) > 0), default=inf)

    def claimed(self, wanted: Sequence[Wanted], claims: Sequence[Claimed]) -> None:
        """Take in what came of a claim: where fewer came than were wanted, the store has no more for now."""
        came: dict[tuple[UUID, int], int] = {}
        for claim in claims:
            key = claim.endpoint_id, claim.rank
            came[key] = came.get(key, 0) + 1
        for one in wanted:
            got = came.get((one.endpoint_id, one.rank), 0)
            lane = self._lanes.get(one.endpoint_id)
            if lane is None:
                continue
            if got < one.rows:
                lane.due[one.rank] = inf
            if one.rank == RETRY:
                lane.retries.spend(got)
                self.retries.spend(got)


Wanting = list[tuple[Lane, list[tuple[int, int]]]]


def _divide(businesses: Sequence[Wanting], rows: int) -> list[Wanted]:
    """Give each business its share of the rows, each of its lanes its share of that; then what is left."""
    found: dict[tuple[UUID, int], Wanted] = {}
    each_business = max(1, rows // max(1, len(businesses)))
    for generous in (False, True):
        for lanes in businesses:
            share = rows if generous else min(rows, each_business)
            each = share if generous else max(1, share // len(lanes))
            for lane, wants in lanes:
                given = _give(lane, wants, min(each, share), found)
                rows, share = rows - given, share - given
    return list(found.values())


def _give(lane: Lane, wants: list[tuple[int, int]], most: int, found: dict[tuple[UUID, int], Wanted]) -> int:
    """Give a lane up to `most` rows of what it wants, in order of rank; take them off its wants."""
    given, target = 0, lane.target
    while wants and given < most:
        rank, rows = wants[0]
        taken = min(rows, most - given)
        before = found.get((target.endpoint_id, rank))
        total = taken if before is None else taken + before.rows
        wanted = Wanted(target.business_id, target.endpoint_id, rank, total, target.ordered)
        found[target.endpoint_id, rank] = wanted
        given += taken
        wants[:1] = [] if taken == rows else [(rank, rows - taken)]
    return given
