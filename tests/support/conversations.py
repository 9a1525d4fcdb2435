"""Finished conversations for tests of projections, and the activities made from them, in any order."""

import random
from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from libs.contracts.activity import Activity, Link
from libs.contracts.ids import activity_id_of_interaction, uuid7
from libs.contracts.interaction import Interaction, InteractionClosed, Message
from tests.support.histories import START, activity, history

Heard = Activity | InteractionClosed


def about(*record_ids: UUID, name: str = "contact") -> list[Link]:
    """Link records of one object."""
    return [Link(object=name, record_id=record_id) for record_id in record_ids]


def conversation(business_id: UUID, **more: Any) -> InteractionClosed:
    """Make a finished conversation at version 1; `messages` are its texts, in turn from outside and from inside."""
    texts = more.pop("messages", ["Hello 👋", "مرحبا"])
    at = more.get("opened_at", START)
    fields: dict[str, Any] = {
        "business_id": business_id, "interaction_id": uuid7(), "version": 1, "source": "pbx", "source_ref": "1",
        "channel": "whatsapp", "direction": "inbound", "address": "+49301234", "opened_at": at,
        "closed_at": at + timedelta(minutes=9), "recorded_at": at + timedelta(minutes=9),
        "first_message": texts[0] if texts else None, "messages_count": len(texts),
    }  # fmt: skip
    messages = [
        Message(
            id=f"m-{number}", direction="outbound" if number % 2 else "inbound", author="Ada", text=text,
            sent_at=at + timedelta(seconds=number),
        )
        for number, text in enumerate(texts)
    ]  # fmt: skip
    return InteractionClosed(interaction=Interaction(**fields | more), messages=messages)


def erased(event: InteractionClosed) -> InteractionClosed:
    """Make the version of a conversation in which its text is gone."""
    gone = {"version": event.interaction.version + 1, "erased_at": START, "address": None, "first_message": None}
    messages = [message.model_copy(update={"author": None, "text": ""}) for message in event.messages]
    return InteractionClosed(interaction=event.interaction.model_copy(update=gone), messages=messages)


def made_from(talk: InteractionClosed, *, own: bool = True, told: bool = True, **more: Any) -> Activity:
    """Make an activity from a conversation: the one that follows from it (`own`), or another one that names it."""
    interaction_id = talk.interaction.interaction_id
    named = {"activity_id": activity_id_of_interaction(interaction_id)} if own else {}
    return activity(talk.interaction.business_id, **named, interaction_id=interaction_id if told else None, **more)


def lives_of(business_id: UUID, chance: random.Random, records: list[UUID]) -> list[list[Heard]]:
    """Make up the lives of activities and conversations, most of which have to do with each other."""
    lives: list[list[Heard]] = []
    for _ in range(40):
        life: list[Heard] = [*history(business_id, chance, records)]
        lives.append(life)
        if chance.random() < 0.2:
            continue
        links = about(*chance.sample(records, k=chance.randrange(1, 3)))
        if chance.random() < 0.2:
            links.append(Link(object=chance.choice(["contact", "lead"]), all=True))
        talk = conversation(business_id, links=links, opened_at=life[0].at if isinstance(life[0], Activity) else START)
        lives.append([talk, erased(talk)] if chance.random() < 0.3 else [talk])
        kind = chance.randrange(5)
        if kind < 4:
            lives[-2] = [renamed(each, talk, kind) for each in life if isinstance(each, Activity)]
        if kind == 3:
            more = [*history(business_id, chance, records)]
            lives.append([renamed(each, talk, 1) for each in more])
    return lives


def renamed(state: Activity, talk: InteractionClosed, kind: int) -> Activity:
    """Have an activity follow from a conversation (0: and say so, 2: without a word), or only name it (1, 3)."""
    interaction_id = talk.interaction.interaction_id
    change: dict[str, Any] = {} if kind == 2 else {"interaction_id": interaction_id}
    if kind in (0, 2):
        change["activity_id"] = activity_id_of_interaction(interaction_id)
    return state.model_copy(update=change)


def hosts_of(newest: Iterable[Heard]) -> dict[UUID, Activity]:
    """Say which activity stands for which conversation: its own if it lives, else the first that names it."""
    hosts: dict[UUID, Activity] = {}
    living = [each for each in newest if isinstance(each, Activity) and each.deleted_at is None]
    for talk in newest:
        if isinstance(talk, InteractionClosed):
            interaction_id = talk.interaction.interaction_id
            own = activity_id_of_interaction(interaction_id)
            claims = [each for each in living if own == each.activity_id or interaction_id == each.interaction_id]
            if claims:
                hosts[interaction_id] = min(claims, key=lambda each: (each.activity_id != own, each.activity_id))
    return hosts
