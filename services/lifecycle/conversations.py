"""Finished conversations become activities, each once, where their business wants that."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from libs.access.members import list_settings
from libs.contracts.ids import activity_id_of_interaction
from libs.contracts.interaction import Interaction, InteractionClosed, newest_conversations
from libs.database import Transaction
from services.lifecycle import looking, recording
from services.lifecycle.domain import conversations as rules
from services.lifecycle.domain.known import Known
from services.lifecycle.recording import Entry
from services.lifecycle.store import activities, erasures


async def enter(tx: Transaction, events: Sequence[InteractionClosed], now: datetime) -> None:
    """Log an activity for each conversation that has none and is wanted as one."""
    settings = await list_settings(tx, {event.interaction.business_id for event in events})
    talks = {
        (business_id, activity_id_of_interaction(interaction_id)): event.interaction
        for (business_id, interaction_id), event in newest_conversations(events).items()
        if rules.is_wanted(event.interaction, settings.get(business_id, {}))
    }
    if not talks:
        return
    there = await activities.lock_activities(tx, talks)
    fresh = [talk for key, talk in talks.items() if key not in there]
    if not fresh:
        return
    known = await _look_up(tx, fresh, now)
    decided = [(rules.become(talk, known[talk.business_id], now), known[talk.business_id]) for talk in fresh]
    entries = [Entry(each, recognise=about.recognises) for each, about in decided if each is not None]
    await recording.record(tx, entries)


async def _look_up(tx: Transaction, talks: Sequence[Interaction], now: datetime) -> dict[UUID, Known]:
    businesses = {talk.business_id for talk in talks}
    agents = {(talk.business_id, str(talk.agent_id)) for talk in talks if talk.agent_id is not None}
    known = await looking.look_up(tx, businesses, agents, now, own_objects=False)
    oldest = min(talk.recorded_at for talk in talks)
    for business_id, record_id, erased_at in await erasures.list_since(tx, businesses, oldest):
        known[business_id].erased[record_id] = erased_at
    return known
