"""What of an activity or a conversation is counted, and where. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from libs.contracts.activity import Activity, linked_of, own_of, readers_of, team_of
from libs.contracts.agent import agent_of
from libs.contracts.ids import preset_id_of
from libs.contracts.interaction import TYPES, Interaction, agent_of_conversation, moment_of, records_of

QUARTER = timedelta(minutes=15)
"""Every zone's days have begun on a quarter hour of UTC since 1980 (`buckets.FIRST_DAY`)."""

ActivityKey = tuple[UUID, UUID]
"""Business and activity."""

InteractionKey = tuple[UUID, UUID]
"""Business and interaction."""


READ = (
    "business_id", "activity_id", "version", "at", "type", "type_id", "due_at", "logged_at", "completed_at",
    "cancelled_at", "retracted_at", "deleted_at", "direction", "assignee", "actor", "created_by", "logged_by",
    "participants", "links", "source", "source_kind", "interaction_id", "privacy", "same", "same_as",
)  # fmt: skip
"""What `fact_of` reads of an activity."""


class Fact(NamedTuple):
    """What is counted of an activity, in the order of its columns. No value is an empty string.

    From `type_id` on: who may know that it is there (`libs.access.sight`).
    """

    business_id: UUID
    activity_id: UUID
    version: int
    counted: bool
    at: datetime
    type: str
    state: str
    source: str
    source_kind: str
    direction: str
    agent: str
    deleted: bool
    interaction_id: UUID | None
    type_id: UUID | None
    assignee_member_id: UUID | None
    assignee_role_id: UUID | None
    own: list[UUID]
    linked: list[UUID]
    readers: list[UUID] | None
    team_of: UUID | None


class Talk(NamedTuple):
    """What is counted of a conversation, in the order of its columns: `counted` while no activity stands for it.

    From `type_id` on: who may know that it is there.
    """

    business_id: UUID
    interaction_id: UUID
    version: int
    counted: bool
    at: datetime
    type: str
    state: str
    source: str
    source_kind: str
    direction: str
    agent: str
    type_id: UUID | None
    agent_id: UUID | None
    linked: list[UUID]


class Cell(NamedTuple):
    """Where a fact is counted: a roll-up's key, in the order of its columns."""

    business_id: UUID
    quarter: datetime
    type: str
    state: str
    source: str
    source_kind: str
    direction: str
    agent: str


def fact_of(activity: Activity) -> Fact:
    """Take from an activity what is counted of it; retracted and deleted ones leave the totals.

    Of several that tell of one event the one that stands for it is counted.
    """
    return Fact(
        activity.business_id,
        activity.activity_id,
        activity.version,
        activity.retracted_at is None and activity.deleted_at is None and activity.same_as is None,
        activity.at,
        activity.type,
        _lasting_state(activity),
        activity.source,
        activity.source_kind,
        activity.direction or "",
        agent_of(activity) or "",
        activity.deleted_at is not None,
        activity.interaction_id,
        activity.type_id,
        activity.assignee.member_id if activity.assignee is not None else None,
        activity.assignee.role_id if activity.assignee is not None else None,
        own_of(activity),
        linked_of(activity),
        readers_of(activity),
        team_of(activity),
    )


def talk_of(interaction: Interaction) -> Talk:
    """Take from a conversation what is counted of it: it is logged, from its beginning on, by its channel's type."""
    return Talk(
        interaction.business_id,
        interaction.interaction_id,
        interaction.version,
        False,
        moment_of(interaction),
        TYPES[interaction.channel],
        "logged",
        interaction.source,
        "interaction",
        interaction.direction,
        agent_of_conversation(interaction) or "",
        preset_id_of(interaction.business_id, "activity_object", TYPES[interaction.channel]),
        interaction.agent_id,
        records_of(interaction),
    )


def _lasting_state(activity: Activity) -> str:
    """Say the state in words that time alone does not change: `due` becomes overdue by itself when `at` has passed."""
    if activity.logged_at is not None:
        return "logged" if activity.completed_at is None else "completed"
    if activity.cancelled_at is not None:
        return "cancelled"
    return "undated" if activity.due_at is None else "due"


def differences_of(facts: Mapping[ActivityKey, Fact], earlier: Mapping[ActivityKey, Fact | None]) -> dict[Cell, int]:
    """Tell by how much each cell changes, for the activities that got newer (None: never counted before)."""
    changes: dict[Cell, int] = {}
    for key, before in earlier.items():
        _count(changes, facts[key], 1)
        if before is not None:
            _count(changes, before, -1)
    return {cell: change for cell, change in changes.items() if change}


def differences_of_talks(before: Iterable[Talk], changed: Iterable[Talk]) -> dict[Cell, int]:
    """Tell by how much each cell changes: `before` are not counted any more, `changed` as they say now."""
    changes: dict[Cell, int] = {}
    for talk in before:
        _count(changes, talk, -1)
    for talk in changed:
        _count(changes, talk._replace(counted=True), 1 if talk.counted else -1)
    return changes


def joined(one: Mapping[Cell, int], other: Mapping[Cell, int]) -> dict[Cell, int]:
    """Add differences up; cells that stay the same are left out."""
    both = {cell: one.get(cell, 0) + other.get(cell, 0) for cell in {**one, **other}}
    return {cell: change for cell, change in both.items() if change}


def _count(changes: dict[Cell, int], fact: Fact | Talk, change: int) -> None:
    if fact.counted:
        cell = Cell(fact[0], quarter_of(fact.at), *fact[5:11])
        changes[cell] = changes.get(cell, 0) + change


def quarter_of(at: datetime) -> datetime:
    """Return the beginning of the quarter hour that an instant (UTC) lies in."""
    return at.replace(minute=at.minute - at.minute % 15, second=0, microsecond=0)
