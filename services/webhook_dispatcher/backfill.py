"""What was told before an endpoint was there: a slice of it judged by the endpoint's filter, and owed to it."""

from collections.abc import Sequence
from uuid import UUID

from libs.contracts.ids import event_id_of, uuid7
from libs.database import Transaction
from services.webhook_dispatcher.domain.bodies import thinned
from services.webhook_dispatcher.domain.told import judge
from services.webhook_dispatcher.store import subscribers, told
from services.webhook_dispatcher.store.told import Telling, Told

Counts = tuple[int, int, int]
"""How many were released, cannot be told any more, and are not for the endpoint or were told to it."""


async def release(tx: Transaction, replay: tuple[UUID, UUID], endpoint_id: UUID, chosen: Sequence[Told]) -> Counts:
    """Owe an endpoint what it is to hear of what others were told; return the counts."""
    audience = await subscribers.list_subscribers(tx, [replay[0]])
    [subscriber] = [one for one in audience.subscribers if one.endpoint_id == endpoint_id]
    verdicts = [(one, "unknown" if one.body is None else judge(subscriber, one.event_type, one.body)) for one in chosen]
    tellings = [Telling(uuid7(), one.id, one.event_id, one.event_day) for one, verdict in verdicts if verdict == "told"]
    thin = [
        (one, event_id_of(one.activity_id, f"webhook:{one.event_type}:thin", one.version), thinned(one.body))
        for one, verdict in verdicts
        if verdict == "thin" and one.body is not None
    ]
    if thin:
        day = await told.insert_thin(tx, replay[0], thin)
        tellings += [Telling(uuid7(), one.id, id_, day) for one, id_, _ in thin]
    released = await told.insert_tellings(tx, replay, endpoint_id, tellings) if tellings else 0
    unknown = sum(verdict == "unknown" for _, verdict in verdicts)
    return released, unknown, len(chosen) - released - unknown
