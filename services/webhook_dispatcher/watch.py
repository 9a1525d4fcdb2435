"""The look into the store, once a second: is this worker's lease renewed, what waits for which endpoint, what are those
like now, and is anything late that should have been sent."""

from collections.abc import Callable, Collection, Sequence
from math import inf
from time import monotonic

from libs.database import Database
from services.webhook_dispatcher import metrics
from services.webhook_dispatcher.lanes import Lanes
from services.webhook_dispatcher.lease import LEASE_S, Lease
from services.webhook_dispatcher.store import shards, targets
from services.webhook_dispatcher.store.queue import Claimed, Waiting

SHARED_LOOK_S = 0.05
"""With other workers about, what they owe to our endpoints is looked for this often while there is some."""
LANES_IDLE_MAX = 2_000


class Watch:
    """`busy` names the shards of which something is in hand; `give_back` takes what lanes may not send any more."""

    def __init__(
        self, lanes: Lanes, lease: Lease, busy: Callable[[], Collection[int]], give_back: Callable[[Claimed], None]
    ) -> None:
        self._lanes = lanes
        self._lease = lease
        self._busy = busy
        self._give_back = give_back
        self._overdue_s = 0.0
        self._turned_at: float | None = None

    def problems(self, stuck_s: float) -> list[str]:
        """Say whether the dispatcher is stuck: permits are free and what is due is not sent."""
        if self._turned_at is None:
            return []
        silent_s = monotonic() - self._turned_at
        if silent_s > stuck_s:
            return [f"the dispatcher has not looked at its deliveries for {silent_s:.0f} s"]
        free = self._lanes.permits_max - self._lanes.in_flight
        if self._overdue_s > stuck_s and free:
            return [f"the oldest delivery is {self._overdue_s:.0f} s late although {free} permits are free"]
        return []

    async def look(self, database: Database) -> float:
        """Look; return in how many seconds to look again. Raises Unavailable."""
        now = monotonic()
        async with database.work(plan_anew=True) as tx:
            with tx.alone():
                standing, waiting = await shards.look(tx, self._lease.worker, LEASE_S)
            wait_s = await self._lease.follow(tx, standing, self._busy(), now)
            places = {(one.business_id, one.endpoint_id) for one in waiting} | set(self._lanes.unknown(monotonic()))
            known = await targets.list_targets(tx, list(places)) if places else []
        self._lose()
        self._lanes.follow((one for one in known if self._lease.has(one.endpoint_id)), monotonic(), now)
        found = self._see(waiting, now)
        self._turned_at = monotonic()
        if not self._lease.others:
            return wait_s
        return min(wait_s, max(SHARED_LOOK_S, 20 * (monotonic() - now))) if found else wait_s

    def _lose(self) -> None:
        """Leave alone what is not ours any more; what was claimed of that goes back."""
        gone = [lane for lane in self._lanes if not self._lease.has(lane.target.endpoint_id)]
        for claim in self._lanes.drop(gone):
            self._give_back(claim)
        if len(self._lanes) > LANES_IDLE_MAX:
            self._lanes.drop([lane for lane in self._lanes if lane.idle and min(lane.due) == inf])

    def _see(self, waiting: Sequence[Waiting], now: float) -> bool:
        """Note when which lane has something next; tell whether any is due now."""
        found, self._overdue_s = False, 0.0
        for one in waiting:
            lane = self._lanes.find(one.endpoint_id)
            if lane is None:
                continue
            if lane.due[one.rank] > now or one.due_s < 0:
                lane.due[one.rank] = now + one.due_s
            found = found or one.due_s <= 0
            if one.due_s < -self._overdue_s and lane.should_have_sent(one.rank, now):
                self._overdue_s = -one.due_s
        metrics.OVERDUE.set(self._overdue_s)
        return found
