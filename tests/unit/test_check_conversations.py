"""What the check says about conversations: nothing where all agree, and a sentence for each difference."""

from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from cli.check.conversations import Held, compare_messages, differences_of
from libs.contracts.ids import activity_id_of_interaction
from services.reporting.domain.facts import talk_of as fact_of
from services.timeline_projector.domain.conversations import Member, talk_of
from tests.support.conversations import about, conversation, erased
from tests.support.histories import START

CONTACT = uuid4()
TALK = conversation(uuid4(), links=about(CONTACT))
ABOUT = TALK.interaction
ID, LINE = ABOUT.interaction_id, activity_id_of_interaction(ABOUT.interaction_id)


def member(*, lives: bool = False) -> Member:
    return Member(ABOUT.business_id, LINE, ID, lives, START, False, b"[]", None)


def row(**more: Any) -> dict[str, Any]:
    return talk_of(ABOUT)._asdict() | more


def fact(**more: Any) -> dict[str, Any]:
    return fact_of(ABOUT)._asdict() | {"counted": True} | more


Entry = tuple[str, UUID, datetime, UUID]
ENTRY: Entry = ("contact", CONTACT, START, LINE)
AGREED = Held({ID: ABOUT}, {ID: row()}, {ID: fact()}, [member()], [ENTRY])


def test_nothing_is_said_where_all_agree() -> None:
    assert differences_of(AGREED, full=True) == []
    as_activity = replace(AGREED, told={ID: fact(counted=False)}, members=[member(lives=True)])
    assert differences_of(as_activity, full=True) == []


@pytest.mark.parametrize(
    ("held", "word"),
    [
        (replace(AGREED, shown={}), f"timeline: interaction {ID} is missing"),
        (replace(AGREED, told={}), f"reports: interaction {ID} is missing"),
        (replace(AGREED, truth={ID: erased(TALK).interaction}), f"timeline: interaction {ID} is at version 1"),
        (replace(AGREED, truth={}, entries=[], members=[]), f"timeline: interaction {ID} is not in the truth"),
        (replace(AGREED, entries=[]), "0 times instead of 1"),
        (replace(AGREED, entries=[ENTRY, ENTRY]), "2 times instead of 1"),
        (replace(AGREED, members=[], entries=[]), f"timeline: interaction {ID} has no line"),
        (replace(AGREED, members=[member(lives=True)]), f"reports: interaction {ID} is counted beside its activity"),
        (replace(AGREED, told={ID: fact(counted=False)}), f"reports: interaction {ID} is not counted"),
        (replace(AGREED, shown={ID: row(queue="other")}), f"timeline: interaction {ID}: queue differs"),
        (replace(AGREED, shown={ID: row(links=b"[]")}), f"timeline: interaction {ID}: links differs"),
        (replace(AGREED, told={ID: fact(type="call")}), f"reports: interaction {ID}: type differs"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_difference_is_named(held: Held, word: str) -> None:
    assert any(word in sentence for sentence in differences_of(held, full=True))


def test_other_messages_are_named() -> None:
    assert compare_messages({ID: (ID, "a")}, {ID: (ID, "a")}) == []
    for shown in ({ID: (ID, "b")}, {}):
        assert compare_messages({ID: (ID, "a")}, shown) == [f"timeline: interaction {ID}: its messages differ"]
