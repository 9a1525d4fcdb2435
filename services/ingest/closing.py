"""Decisions about interactions: acceptable or not, which one, had before or not. Pure."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from pydantic import ValidationError

from libs.contracts import activity, interaction
from libs.contracts.decoding import struct_of
from libs.contracts.ids import interaction_id_of, key_of, record_id_of
from libs.errors import Conflict, Problem, Rejected, TooLarge
from libs.messaging.broker import VALUE_MAX_BYTES
from libs.messaging.outbox import Outgoing
from services.ingest.domain import Arrival, hash_of, read_problems
from services.ingest.interactions import BODY, FIRST_MESSAGE_MAX, SOURCE_DEFAULT, Body, Link

TYPES = ("interaction.closed",)
UUID_LENGTH = 36
ERASED_MORE_BYTES = 200
ERASED_MORE_MESSAGE_BYTES = 4
"""When it is erased a message's id becomes its place, up to 5 digits; the head gets an instant and a UUID."""

Interaction = struct_of(interaction.Interaction)
Message = struct_of(interaction.Message)
Transfer = struct_of(interaction.Transfer)
LinkShape = struct_of(activity.Link)
InteractionClosed = struct_of(interaction.InteractionClosed)


class Conversation(NamedTuple):
    """An acceptable interaction: its head and its messages, oldest first, and the hash of what was sent."""

    head: interaction.Interaction
    messages: list[interaction.Message]
    hash: bytes


def accept(arrival: Arrival, value: Any) -> Conversation:
    """Check an interaction and derive its identity. Raises Rejected with every problem it has."""
    try:
        body = BODY.validate_python(value)
    except ValidationError as error:
        raise _refused(read_problems(error)) from None
    problems = list(_check_whole(body))
    if problems:
        raise _refused(problems)
    sent = sorted(body.get("messages") or (), key=lambda each: each["sent_at"])
    messages = [Message(**{"text": "", **_given(each)}) for each in sent]
    return Conversation(_head(arrival, body, messages), messages, hash_of(value))


def agents_of(conversation: Conversation) -> dict[UUID, str]:
    """Name the members that a conversation speaks of, each with the field that does."""
    head, named = conversation.head, {}
    for place, transfer in enumerate(head.transfers):
        for field, agent_id in (("from_agent_id", transfer.from_agent_id), ("to_agent_id", transfer.to_agent_id)):
            if agent_id is not None:
                named[agent_id] = f"transfers.{place}.{field}"
    if head.agent_id is not None:
        named[head.agent_id] = "agent_id"
    return named


def judge(conversation: Conversation, hash_then: bytes) -> None:
    """Take an interaction that is there already for the same again. Raises Conflict where it had another body."""
    if hash_then != conversation.hash:
        message = f"interaction {conversation.head.interaction_id} was sent before with another body"
        raise Conflict(message, "different_body")


def event_of(head: interaction.Interaction, messages: Sequence[interaction.Message]) -> Outgoing:
    """Write the event that says all of an interaction at its version."""
    value = msgspec.json.encode(InteractionClosed(interaction=head, messages=list(messages)))
    return Outgoing(TYPES, key_of(head.business_id, head.interaction_id), value, head.version)


def check_room(event: Outgoing, messages: int) -> None:
    """Refuse what would be too long once it is erased: its own short ids make way for longer ones. Raises TooLarge."""
    most = VALUE_MAX_BYTES - ERASED_MORE_BYTES - messages * ERASED_MORE_MESSAGE_BYTES
    if len(event.value) > most:
        raise TooLarge(
            f"the conversation has {len(event.value)} bytes as an event; with {messages} messages {most} pass"
        )


def _head(arrival: Arrival, body: Body, messages: Sequence[interaction.Message]) -> interaction.Interaction:
    business_id, source, ref = arrival.business_id, body.get("source") or SOURCE_DEFAULT, body["interaction_id"]
    given = _given(body) | {
        "source": source,
        "interaction_id": _uuid_of(ref) or interaction_id_of(business_id, source, ref),
        "links": [_link(business_id, link) for link in body.get("links") or ()],
        "transfers": [Transfer(**_given(each)) for each in sorted(body.get("transfers") or (), key=lambda t: t["at"])],
        "first_message": messages[0].text[:FIRST_MESSAGE_MAX] if messages else None,
        "messages_count": len(messages),
    }
    given.pop("messages", None)
    return Interaction(
        business_id=business_id, version=1, source_ref=ref, recorded_at=arrival.received_at, **given
    )  # fmt: skip


def _link(business_id: UUID, link: Link) -> activity.Link:
    record_id, ref = link.get("record_id"), link.get("external_ref")
    if record_id is None and ref is not None:
        record_id = record_id_of(business_id, link["object"], ref)
    return LinkShape(object=link["object"], record_id=record_id, external_ref=ref)


def _given(part: Any) -> dict[str, Any]:
    return {name: value for name, value in part.items() if value is not None}


def _uuid_of(text: str) -> UUID | None:
    try:
        return UUID(text) if len(text) == UUID_LENGTH else None
    except ValueError:
        return None


def _check_whole(body: Body) -> Iterator[Problem]:
    """Name what no field shows by itself."""
    opened_at, answered_at, closed_at = body["opened_at"], body.get("answered_at"), body["closed_at"]
    if closed_at < opened_at:
        yield Problem("closed_at", "out_of_order", "is before opened_at")
    if answered_at is not None and not opened_at <= answered_at <= max(opened_at, closed_at):
        yield Problem("answered_at", "out_of_order", "must lie between opened_at and closed_at")
    if body.get("agent_id") is not None and body.get("agent") is not None:
        yield Problem("agent", "exclusive", "give agent_id (a member) or agent (a name), not both")
    yield from _twice("messages", "id", [message["id"] for message in body.get("messages") or ()])
    named = [(link["object"], link.get("record_id") or link.get("external_ref")) for link in body.get("links") or ()]
    yield from _twice("links", "record_id", named)


def _twice(field: str, inner: str, names: Sequence[object]) -> Iterator[Problem]:
    first: dict[object, int] = {}
    for place, name in enumerate(names):
        if first.setdefault(name, place) != place:
            message = f"is the same as in {field}.{first[name]}; each may stand once"
            yield Problem(f"{field}.{place}.{inner}", "twice", message)


def _refused(problems: Sequence[Problem]) -> Rejected:
    return Rejected("the interaction is not acceptable", problems)
