"""What follows from events: deliveries that are owed."""

from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from datetime import datetime
from functools import partial
from time import monotonic
from uuid import UUID

from libs.contracts.activity import ActivityEvent
from libs.contracts.ids import event_id_of, key_of, uuid7
from libs.database import Transaction
from libs.errors import Unavailable
from libs.turns import give_way
from services.webhook_dispatcher import metrics
from services.webhook_dispatcher.delivery import Dispatcher
from services.webhook_dispatcher.domain import subscriptions
from services.webhook_dispatcher.domain.bodies import body_of, thin_body_of, without_texts
from services.webhook_dispatcher.domain.subscriptions import Failures, Subscriber, is_too_old, types_of, who_hears
from services.webhook_dispatcher.store import erased as erasing
from services.webhook_dispatcher.store import missed as missing
from services.webhook_dispatcher.store import queue
from services.webhook_dispatcher.store import subscribers as subscribing
from services.webhook_dispatcher.store.queue import Claimed, Owed, OwedEvent

Handler = Callable[[Transaction, Sequence[ActivityEvent]], Awaitable[None]]


def owe_deliveries(kept_days: int, dispatcher: Dispatcher) -> Handler:
    """Make the handler. Versions older than `kept_days` are told to nobody."""

    async def owe_deliveries(tx: Transaction, events: Sequence[ActivityEvent]) -> None:
        """Owe a delivery for each endpoint that is to hear of a version; repeated events add nothing.

        What was subscribed when they are inserted is what counts: endpoints are read in this transaction, or presumed
        to be as they were read lately, which the one statement that inserts finds to be so.
        """
        told = [(event, types) for event in events if (types := types_of(event))]
        if told and (tx.begun or not await _owe_at_once(tx, told, (dispatcher, kept_days))):
            await _owe_as_read(tx, told, (dispatcher, kept_days))

    return owe_deliveries


Told = Sequence[tuple[ActivityEvent, Sequence[str]]]
Means = tuple[Dispatcher, int]
"""With the days that bodies are kept."""


async def _owe_as_read(tx: Transaction, told: Told, means: Means) -> None:
    """Owe by what is read now of who hears. Raises Unavailable."""
    dispatcher, kept_days = means
    read_at = monotonic()
    audience = await subscribing.list_subscribers(tx, _businesses_of(told))
    dispatcher.audiences.keep(audience, read_at)
    if not audience.subscribers:
        return
    if audience.now is None:
        raise Unavailable("webhook-dispatcher: the partition of today is not there yet")
    owed, failures = await _owe(_recent(told, audience.now, kept_days), audience.subscribers, tx.traces or {})
    if failures:
        await subscribing.note_filter_failures(tx, failures)
    if owed and audience.any_erased:
        owed = await _without_erased_texts(tx, owed)
    if owed:
        metrics.OWED.inc(len(owed))
        dispatcher.meet(audience.targets, read_at)
        await _insert(tx, owed, {one.endpoint_id: one for one in audience.subscribers}, dispatcher)


async def _owe_at_once(tx: Transaction, told: Told, means: Means) -> bool:
    """Owe by what is remembered of who hears, with one statement; tell whether that was done."""
    dispatcher, kept_days = means
    businesses = _businesses_of(told)
    found = dispatcher.audiences.find(businesses, monotonic())
    if found is None:
        return False
    subscribers, presumed, now = found
    owed, failures = await _owe(_recent(told, now, kept_days), subscribers, tx.traces or {})
    active, hearing = {one.endpoint_id for one in subscribers if one.active}, {one.endpoint_id for one in owed}
    if failures or not hearing <= active or not dispatcher.knows(hearing):
        return False
    fits = dispatcher.fitting([one.endpoint_id for one in owed])
    owed = [one._replace(leased=True) if fit else one for one, fit in zip(owed, fits, strict=True)]
    with tx.alone():
        made = await queue.insert_deliveries(tx, owed, dispatcher.lease_s, dispatcher.worker, presumed)
    if made is None:
        dispatcher.audiences.forget(businesses)
        return False
    metrics.OWED.inc(len(owed))
    _hand_over(owed, made, dispatcher)
    return True


def _businesses_of(told: Told) -> list[UUID]:
    return list({event.activity.business_id for event, _ in told})


def _recent(told: Told, now: datetime | None, kept_days: int) -> Told:
    """Leave out what is too old; where nobody hears there is no time, and nothing to leave out."""
    return [each for each in told if now is None or not is_too_old(each[0].activity.recorded_at, now, kept_days)]


async def _owe(
    told: Told, subscribers: Sequence[Subscriber], traces: Mapping[bytes, str]
) -> tuple[list[Owed], Failures]:
    """Owe each version, by its types, to those who hear of it; and name the filters that failed."""
    grouped, failures = subscriptions.subscribers_by_business(subscribers), Failures()
    owed: list[Owed] = []
    for number, (event, types) in enumerate(told):
        await give_way(number)
        for event_type in types:
            hearing = who_hears(grouped.get(event.activity.business_id, ()), event, event_type, failures)
            owed += _owed(event, event_type, hearing, traces)
    return owed, failures


async def forget_texts(tx: Transaction, events: Sequence[ActivityEvent]) -> None:
    """Take the texts of erased activities out of what is or was told of their versions before that."""
    activities = [event.activity for event in events]
    erased = {(each.business_id, each.activity_id): each.erased_at for each in activities if each.erased_at is not None}
    if not erased:
        return
    await erasing.save_erased(tx, erased)
    rows = await erasing.list_bodies(tx, list(erased))
    pairs = [(row, without_texts(row["body"], erased[row["business_id"], row["activity_id"]])) for row in rows]
    changed = [(row, body) for row, body in pairs if body != row["body"]]
    if changed:
        await erasing.save_bodies(tx, [row for row, _ in changed], [body for _, body in changed])


async def _without_erased_texts(tx: Transaction, owed: Sequence[Owed]) -> list[Owed]:
    """An erasure may be heard of before the versions before it: they come by other topics."""
    keys = [(one.event.business_id, one.event.activity_id) for one in owed]
    erased = await erasing.list_erased(tx, keys)
    return [
        one._replace(event=one.event._replace(body=without_texts(one.event.body, erased[key])))
        if key in erased
        else one
        for key, one in zip(keys, owed, strict=True)
    ]


async def _insert(
    tx: Transaction, owed: Sequence[Owed], subscribers: dict[UUID, Subscriber], dispatcher: Dispatcher
) -> None:
    """Insert what is owed: leased to this worker as far as it has permits, the rest for whoever has.

    What is owed to a paused endpoint waits until it is resumed, what a disabled one misses until it is replayed.
    """
    missed = [one for one in owed if subscribers[one.endpoint_id].disabled]
    if missed:
        await missing.insert_missed(tx, missed)
        owed = [one for one in owed if not subscribers[one.endpoint_id].disabled]
    fits = dispatcher.fitting([one.endpoint_id for one in owed])
    idle = {one.endpoint_id: one.event.business_id for one in owed if not subscribers[one.endpoint_id].active}
    paused = await subscribing.lock_paused(tx, list(set(idle.values())), list(idle)) if idle else set()
    owed = [
        one._replace(leased=fit and one.endpoint_id not in idle, parked=one.endpoint_id in paused)
        for one, fit in zip(owed, fits, strict=True)
    ]
    made = await queue.insert_deliveries(tx, owed, dispatcher.lease_s, dispatcher.worker) or set()
    tx.on_commit(partial(_hand_over, owed, made, dispatcher))


def _hand_over(owed: Sequence[Owed], made: Set[UUID], dispatcher: Dispatcher) -> None:
    """Let the dispatcher send what was made for it, and claim what it had no room for."""
    claims = [_claimed(one) for one in owed if one.leased and one.id in made]
    pending = {one.endpoint_id for one in owed if one.id in made and not one.leased and not one.parked}
    dispatcher.take_over(claims, pending)


def _owed(
    event: ActivityEvent, event_type: str, hearing: Sequence[Subscriber], traces: Mapping[bytes, str]
) -> list[Owed]:
    """Owe a version to those who hear of it: the same bytes to all who want it in the same form."""
    told = {thin: _event(event, event_type, thin, traces) for thin in {one.thin for one in hearing}}
    return [Owed(uuid7(), one.endpoint_id, told[one.thin]) for one in hearing]


def _event(event: ActivityEvent, event_type: str, thin: bool, traces: Mapping[bytes, str]) -> OwedEvent:
    activity = event.activity
    return OwedEvent(
        activity.business_id,
        event_id_of(activity.activity_id, f"webhook:{event_type}{':thin' if thin else ''}", activity.version),
        event_type,
        activity.activity_id,
        activity.version,
        activity.logged_at,
        (thin_body_of if thin else body_of)(event, event_type),
        traces.get(key_of(activity.business_id, activity.activity_id)) if traces else None,
    )


def _claimed(owed: Owed) -> Claimed:
    return Claimed(
        business_id=owed.event.business_id,
        id=owed.id,
        endpoint_id=owed.endpoint_id,
        lease_no=1,
        attempts=0,
        rank=0,
        body=owed.event.body,
        traceparent=owed.event.traceparent,
    )
