"""A finished conversation becomes an activity: what of it, under which id (design: automatic entries)."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

import msgspec

from libs.contracts import activity as contract
from libs.contracts.activity_object import ActivityObject
from libs.contracts.ids import activity_id_of_interaction
from libs.contracts.interaction import TYPES, Interaction
from services.lifecycle.domain import life
from services.lifecycle.domain.held import LOG, Decision, Link, Person, Subject, Told
from services.lifecycle.domain.known import Known

SETTING = "activities_from_channels"
"""The business's setting that names the channels whose conversations become activities; absent: all of them."""

WHY = "the conversation was closed"
MINUTE = timedelta(minutes=1)


def is_wanted(interaction: Interaction, settings: Mapping[str, Any]) -> bool:
    """Tell whether a business wants an activity of this conversation."""
    channels = settings.get(SETTING)
    return channels is None or interaction.channel in channels


def become(interaction: Interaction, known: Known, now: datetime) -> Decision | None:
    """Log the conversation as an activity of its channel's type; None where that type is archived.

    Of a conversation that was with a person erased since, no text is taken over.
    """
    kind = known.type_of(TYPES[interaction.channel])
    if kind is None or kind.deleted_at is not None:
        return None
    subject = Subject(
        interaction.business_id, activity_id_of_interaction(interaction.interaction_id), interaction.source,
        "interaction",
    )  # fmt: skip
    content = _content(interaction, known, kind, erased=_is_erased(interaction, known))
    decision = life.log(None, subject, Told(LOG, interaction.closed_at, now, None, content), by_request=True)
    assert decision.held is not None
    named = msgspec.structs.replace(cast(Any, decision.held.activity), interaction_id=interaction.interaction_id)
    return decision._replace(held=decision.held._replace(activity=named), why=WHY)


def _is_erased(interaction: Interaction, known: Known) -> bool:
    told = [known.erased[link.record_id] for link in interaction.links if link.record_id in known.erased]
    return interaction.erased_at is not None or any(interaction.recorded_at < erased_at for erased_at in told)


def _content(interaction: Interaction, known: Known, kind: ActivityObject, *, erased: bool) -> dict[str, Any]:
    content: dict[str, Any] = {
        "type": kind.api_name,
        "type_id": kind.id,
        "type_name": kind.name,
        "occurred_at": interaction.opened_at,
        "duration_min": (interaction.closed_at - interaction.opened_at) // MINUTE,
        "direction": interaction.direction,
        "links": [Link(object=link.object, record_id=link.record_id, all=link.all) for link in interaction.links],
        "metadata": {"channel": interaction.channel, "messages_count": interaction.messages_count},
    }
    agent = _agent_of(interaction, known)
    if agent is not None and (agent.member_id is not None or not erased):
        content["actor"] = agent
    if erased:
        return content
    beside = {
        "conversation_id": interaction.source_ref,
        "queue": interaction.queue,
        "disposition": interaction.disposition,
    }
    content["metadata"] |= {name: value for name, value in beside.items() if value is not None}
    if interaction.first_message:
        content |= {"first_message": interaction.first_message, "summary": interaction.first_message}
    return content


def _agent_of(interaction: Interaction, known: Known) -> contract.Person | None:
    """Name the agent as reports do: by the name that the source gave, else the member's."""
    member_id: UUID | None = interaction.agent_id
    if member_id is not None:
        return known.person_of(member_id)
    return Person(name=interaction.agent) if interaction.agent is not None else None
