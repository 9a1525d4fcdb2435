"""A conversation and the activities made from it: which line shows it, and where that line stands.

The activity whose id follows from the conversation shows it, else the one with the lowest id of those that name it in
`interaction_id`; a line that shows both stands wherever one of them is linked. While there is no such activity, or
all of them are deleted, the conversation is a line of its own: it took place, and only an erasure takes its text.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from libs.contracts.ids import activity_id_of_interaction, instant_text, preset_id_of
from libs.contracts.interaction import TYPES, Interaction, Message, Transfer, agent_of_conversation, moment_of
from services.timeline_projector.domain.lines import EVERY, ActivityKey, InteractionKey, Placed, places_of


class Talk(NamedTuple):
    """What is stored of a conversation, in the order of its columns."""

    business_id: UUID
    interaction_id: UUID
    version: int
    activity_id: UUID
    links: bytes
    source: str
    source_ref: str
    type: str
    type_id: UUID
    channel: str
    queue: str | None
    agent_id: UUID | None
    agent: str | None
    direction: str
    address: str | None
    opened_at: datetime
    answered_at: datetime | None
    closed_at: datetime
    recorded_at: datetime
    erased_at: datetime | None
    disposition: str | None
    transfers: bytes
    first_message: str | None
    messages_count: int


class StoredMessage(NamedTuple):
    """What is stored of a message, in the order of its columns."""

    business_id: UUID
    interaction_id: UUID
    position: int
    id: str
    direction: str
    author: str | None
    text: str
    media_url: str | None
    sent_at: datetime
    delivered_at: datetime | None
    read_at: datetime | None
    template: str | None


class Known(NamedTuple):
    """Where a conversation itself is to be seen, and the id of the activity that it becomes."""

    activity_id: UUID
    at: datetime
    links: bytes


class Member(NamedTuple):
    """A line about a conversation: an activity (`version` 0: none yet), and where it was placed otherwise."""

    business_id: UUID
    activity_id: UUID
    interaction_id: UUID
    lives: bool
    at: datetime
    upcoming: bool
    links: bytes
    placed: bytes | None

    @property
    def key(self) -> ActivityKey:
        """Business and activity."""
        return self.business_id, self.activity_id

    @property
    def own(self) -> Placed:
        """Where it stands when it stands alone."""
        return Placed(self.at, self.upcoming, self.links)


class Placing(NamedTuple):
    """Where lines stand now and stood before, and what to note of those that changed (None: nothing)."""

    shown: dict[ActivityKey, Placed]
    earlier: dict[ActivityKey, Placed | None]
    notes: dict[ActivityKey, bytes | None]


def talk_of(interaction: Interaction) -> Talk:
    """Take from a conversation what is stored of it."""
    business_id, kind = interaction.business_id, TYPES[interaction.channel]
    return Talk(
        business_id,
        interaction.interaction_id,
        interaction.version,
        activity_id_of_interaction(interaction.interaction_id),
        orjson.dumps(places_of(business_id, interaction.links), default=str),
        interaction.source,
        interaction.source_ref,
        kind,
        preset_id_of(business_id, "activity_object", kind),
        interaction.channel,
        interaction.queue,
        interaction.agent_id,
        agent_of_conversation(interaction),
        interaction.direction,
        interaction.address,
        moment_of(interaction),
        interaction.answered_at,
        interaction.closed_at,
        interaction.recorded_at,
        interaction.erased_at,
        interaction.disposition,
        orjson.dumps([_transfer(each) for each in interaction.transfers]),
        interaction.first_message,
        interaction.messages_count,
    )


def _transfer(transfer: Transfer) -> dict[str, Any]:
    names = ("from_agent_id", "to_agent_id", "from_queue", "to_queue")
    return {"at": instant_text(transfer.at)} | {name: getattr(transfer, name) for name in names}


def messages_of(interaction: Interaction, messages: Sequence[Message]) -> list[StoredMessage]:
    """Take from messages what is stored of them, oldest first; those of one moment stay as they came."""
    return [
        StoredMessage(
            interaction.business_id, interaction.interaction_id, position, each.id, each.direction, each.author,
            each.text, each.media_url, each.sent_at, each.delivered_at, each.read_at, each.template,
        )
        for position, each in enumerate(sorted(messages, key=lambda message: message.sent_at))
    ]  # fmt: skip


def place(
    members: Sequence[Member], known: Mapping[InteractionKey, Known], heard: Mapping[ActivityKey, Placed | None]
) -> Placing:
    """Decide where each line about these conversations stands.

    `members`: all lines about them, as stored now. `heard`: where those stood whose activity has just become newer.
    """
    hosts = _hosts(members, known)
    placing = Placing({}, {}, {})
    for member in members:
        key = member.key
        talk = known.get((member.business_id, member.interaction_id))
        hosting = talk is not None and hosts.get((member.business_id, member.interaction_id)) == member.activity_id
        now = _standing(member, talk if hosting else None)
        placing.shown[key] = now
        before = None if member.placed is None else _read(member.placed)
        placing.earlier[key] = before or heard.get(key, member.own)
        apart = None if now == member.own else now
        if apart != before:
            placing.notes[key] = apart and _write(apart)
    return placing


def _hosts(members: Iterable[Member], known: Mapping[InteractionKey, Known]) -> dict[InteractionKey, UUID]:
    """Say which line shows each conversation."""
    hosts: dict[InteractionKey, UUID] = {}
    for member in sorted(members, key=lambda member: member.activity_id):
        key = (member.business_id, member.interaction_id)
        if member.lives and key in known and (key not in hosts or member.activity_id == known[key].activity_id):
            hosts[key] = member.activity_id
    return {key: talk.activity_id for key, talk in known.items()} | hosts


def _standing(member: Member, talk: Known | None) -> Placed:
    """Place a line; with `talk` it shows that conversation."""
    if talk is None:
        return member.own
    if not member.lives:
        return Placed(talk.at, False, orjson.dumps(orjson.loads(talk.links)))
    return Placed(member.at, member.upcoming, _united(member.links, talk.links))


def _united(links: bytes, more: bytes) -> bytes:
    """Join places; all records of an object cover each of them. The own ones as they are when nothing is added."""
    own = [(name, record_id) for name, record_id in orjson.loads(links)]
    both = {*own, *((name, record_id) for name, record_id in orjson.loads(more))}
    whole = {name for name, record_id in both if record_id == str(EVERY)}
    joined = sorted(place for place in both if place[0] not in whole or place[1] == str(EVERY))
    return links if joined == sorted(own) else orjson.dumps(joined)


def _write(placed: Placed) -> bytes:
    return orjson.dumps([instant_text(placed.at), placed.upcoming, orjson.Fragment(placed.links)])


def _read(document: bytes) -> Placed:
    at, upcoming, links = orjson.loads(document)
    return Placed(datetime.fromisoformat(at), upcoming, orjson.dumps(links))
