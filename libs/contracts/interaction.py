"""A conversation as events carry it: the head and all its messages."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from libs.contracts.activity import Direction, Link, records_in
from libs.contracts.event import Event, Instant, Shape

Channel = Literal["voice", "sms", "whatsapp", "webchat", "email"]

TYPES: dict[Channel, str] = {
    "voice": "call",
    "sms": "sms",
    "whatsapp": "whatsapp",
    "webchat": "chat",
    "email": "email",
}
"""The preset activity object (api_name) that a conversation on each channel is one of, on timelines and in reports."""


class Message(Shape):
    """A message of a conversation. `id` is the source's; `template` names the template it was made from."""

    id: str
    direction: Direction
    author: str | None = None
    text: str
    media_url: str | None = None
    sent_at: Instant
    delivered_at: Instant | None = None
    read_at: Instant | None = None
    template: str | None = None


class Transfer(Shape):
    """A conversation handed on, from one agent or queue to another."""

    at: Instant
    from_agent_id: UUID | None = None
    to_agent_id: UUID | None = None
    from_queue: str | None = None
    to_queue: str | None = None


class Interaction(Shape):
    """A finished conversation at one version: 1 when it closed, the next when its text was erased.

    `source_ref` is the id that `source` gave it. `agent_id` is a member, `agent` the name that a source gave where it
    gave no member. `first_message` is the text of the oldest message, up to 4,000 characters of it. After an erasure
    (`erased_at`) `address`, `first_message`, the authors and texts of its messages are gone; times and counts stay.
    """

    business_id: UUID
    interaction_id: UUID
    version: int
    source: str
    source_ref: str
    channel: Channel
    queue: str | None = None
    agent_id: UUID | None = None
    agent: str | None = None
    direction: Direction
    address: str | None = None
    opened_at: Instant
    answered_at: Instant | None = None
    closed_at: Instant
    recorded_at: Instant
    erased_at: Instant | None = None
    disposition: str | None = None
    links: list[Link] = Field(default_factory=list)
    transfers: list[Transfer] = Field(default_factory=list)
    first_message: str | None = None
    messages_count: int = 0


class InteractionClosed(Event):
    """`interaction.closed`: the conversation with its messages, oldest first."""

    interaction: Interaction
    messages: list[Message] = Field(default_factory=list)


def newest_conversations(events: Sequence[InteractionClosed]) -> dict[tuple[UUID, UUID], InteractionClosed]:
    """Keep each interaction's highest version, by (business, interaction)."""
    newest: dict[tuple[UUID, UUID], InteractionClosed] = {}
    for event in events:
        key = (event.interaction.business_id, event.interaction.interaction_id)
        held = newest.get(key)
        if held is None or held.interaction.version < event.interaction.version:
            newest[key] = event
    return newest


def records_of(interaction: Interaction) -> list[UUID]:
    """Name the records that a conversation is about, also those that are known by their external ref alone."""
    return records_in(interaction.business_id, interaction.links)


def moment_of(interaction: Interaction) -> datetime:
    """Say where it stands in time, on timelines and in reports: at its beginning, `opened_at`.

    As call logs do it, and as activities do: `occurred_at` is when one began. So a conversation that goes on for days
    stands where its first message was, and one that becomes an activity keeps its place.
    """
    return interaction.opened_at


def agent_of_conversation(interaction: Interaction) -> str | None:
    """Name whom it is put down to: the name that its source gave, without one the member's id, or None."""
    return interaction.agent or (None if interaction.agent_id is None else str(interaction.agent_id))
