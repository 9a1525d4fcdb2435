"""An activity as events carry it: the full state at a version, and what changed."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from libs.contracts.event import Event, Instant, Shape
from libs.contracts.ids import record_id_of

AppendKind = Literal["note", "attachment", "correction", "retraction"]
State = Literal["scheduled", "overdue", "completed", "logged", "cancelled", "deleted"]
SourceKind = Literal["manual", "interaction", "external", "campaign", "workflow"]
Direction = Literal["inbound", "outbound"]
Privacy = Literal["public", "private", "team"]


class Link(Shape):
    """A record that an activity is about, or `all` records of an object (then `record_id` is null)."""

    object: str
    record_id: UUID | None = None
    external_ref: str | None = None
    all: bool = False


class Person(Shape):
    """Somebody who takes part: a member of the business, or a name from elsewhere, maybe with a mail address."""

    member_id: UUID | None = None
    name: str | None = None
    email: str | None = None


class Assignee(Shape):
    """Who is to do it: a member, or whoever of a role claims it first; `name` where a source gave only a name."""

    member_id: UUID | None = None
    role_id: UUID | None = None
    name: str | None = None


class Append(Shape):
    """An addition to a logged activity; an entry of its own with author and time."""

    id: UUID
    kind: AppendKind
    at: Instant
    by: Person | None = None
    text: str | None = None
    fields: dict[str, Any] | None = None
    url: str | None = None
    source_ref: str | None = None


class SameReport(Shape):
    """Another activity that tells of the same event, as each of them names all others. It holds no texts.

    `links`: the records it is about; `member_ids`: whose own it is. `linked_by`: the member who linked the two by hand.
    Where they were recognised, `agreed` says in what (`records`, `type`, `time`, `conversation`), and `gap_s` how many
    seconds lay between them; neither is set where a third one links the two. `differs`: what it says otherwise.
    """

    activity_id: UUID
    source: str
    source_kind: SourceKind
    logged_at: Instant
    occurred_at: Instant | None = None
    links: list[Link] = Field(default_factory=list)
    member_ids: list[UUID] = Field(default_factory=list)
    linked_at: Instant
    linked_by: UUID | None = None
    agreed: list[str] = Field(default_factory=list)
    gap_s: int | None = None
    differs: list[str] = Field(default_factory=list)


class Activity(Shape):
    """The full state of an activity at one version. Instants are UTC.

    `due_at` of a date-only due is the end of that day in the assignee's zone (`due_date` keeps the date).
    `at` orders timelines: `occurred_at` if logged (absent in a log: `logged_at`), else `due_at`, else `created_at`.
    `appends` holds the newest 20; `appends_count` counts all. `erased_at`: its texts and people were erased.
    `interaction_id`: the conversation that it was made from. `series_id` and `occurs_on`: it is an occurrence of a
    recurrence, the one of that day. `privacy`: who may see it; `private`: its creator and
    whoever takes part, `team`: besides them those who share a role with the creator. `same`: the other activities that
    tell of the same event; `same_as`: the one of them that is shown and counted for all (null: it is this one).
    """

    business_id: UUID
    activity_id: UUID
    version: int
    type: str
    type_id: UUID
    type_name: str
    at: Instant
    created_at: Instant
    recorded_at: Instant
    planned_at: Instant | None = None
    due_at: Instant | None = None
    due_date: date | None = None
    original_due_at: Instant | None = None
    occurred_at: Instant | None = None
    logged_at: Instant | None = None
    completed_at: Instant | None = None
    cancelled_at: Instant | None = None
    retracted_at: Instant | None = None
    deleted_at: Instant | None = None
    erased_at: Instant | None = None
    duration_min: int | None = None
    subject: str | None = None
    summary: str | None = None
    notes: str | None = None
    direction: Direction | None = None
    location: str | None = None
    assignee: Assignee | None = None
    actor: Person | None = None
    created_by: Person | None = None
    logged_by: Person | None = None
    completed_by: Person | None = None
    participants: list[Person] = Field(default_factory=list)
    mentions: list[UUID] = Field(default_factory=list)
    notify_mentioned: bool = False
    notifications: list[dict[str, Any]] = Field(default_factory=list)
    links: list[Link] = Field(default_factory=list)
    fields: dict[str, Any] = Field(default_factory=dict)
    attachments: list[str] = Field(default_factory=list)
    first_message: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    source_kind: SourceKind = "manual"
    source: str = "api"
    source_ref: str | None = None
    follows_id: UUID | None = None
    interaction_id: UUID | None = None
    series_id: UUID | None = None
    occurs_on: date | None = None
    appends: list[Append] = Field(default_factory=list)
    appends_count: int = 0
    privacy: Privacy = "public"
    comments_count: int = 0
    same_as: UUID | None = None
    same: list[SameReport] = Field(default_factory=list)


class Change(Shape):
    """What made this version: the event's type, who, why, by which request or receipt."""

    type: str
    by: Person | None = None
    why: str | None = None
    request_id: str | None = None
    receipt_id: UUID | None = None


class ActivityEvent(Event):
    """`activity.created`, `.completed`, `.appended` and all of `activity.changed`: one shape."""

    activity: Activity
    change: Change


def newest_of(events: Sequence[ActivityEvent]) -> dict[tuple[UUID, UUID], Activity]:
    """Keep each activity's highest version, by (business, activity)."""
    newest: dict[tuple[UUID, UUID], Activity] = {}
    for event in events:
        activity = event.activity
        key = (activity.business_id, activity.activity_id)
        held = newest.get(key)
        if held is None or held.version < activity.version:
            newest[key] = activity
    return newest


def own_of(activity: Activity) -> list[UUID]:
    """Name the members whose own an activity is: who made, logged or did it, or another report that it stands for."""
    people = (activity.created_by, activity.logged_by, activity.actor)
    own = [each.member_id for each in people if each is not None and each.member_id is not None]
    if activity.same and activity.same_as is None:
        own += [member_id for other in activity.same for member_id in other.member_ids]
    return list(dict.fromkeys(own))


def links_shown(activity: Activity) -> list[Link]:
    """Name where an activity is shown: wherever a report of its event is linked, if it stands for that event."""
    if not activity.same:
        return activity.links
    if activity.same_as is not None:
        return []
    return [*activity.links, *(link for other in activity.same for link in other.links)]


def readers_of(activity: Activity) -> list[UUID] | None:
    """Name the members who alone may see an activity (`privacy`), besides the team of `team_of`; None: everybody."""
    return None if activity.privacy == "public" else taking_part(activity)


def team_of(activity: Activity) -> UUID | None:
    """Name the member whose colleagues, those who share a role with the member, may see it besides; None: nobody's."""
    return creator_of(activity) if activity.privacy == "team" else None


def creator_of(activity: Activity) -> UUID | None:
    """Name who made it: who planned it, else who logged it; None where that is no member."""
    person = activity.created_by or activity.logged_by
    return person.member_id if person is not None else None


def taking_part(activity: Activity) -> list[UUID]:
    """Name the members who take part in an activity, in order of id: who made, logged, did, does or joins it."""
    people = (
        *activity.participants, activity.created_by, activity.logged_by, activity.actor, activity.assignee,
    )  # fmt: skip
    return sorted({each.member_id for each in people if each is not None and each.member_id is not None})


def linked_of(activity: Activity) -> list[UUID]:
    """Name the records that an activity is about, also those that are known by their external ref alone, and those of
    the reports that it stands for.
    """
    return records_in(activity.business_id, links_shown(activity) or activity.links)


def records_in(business_id: UUID, links: Sequence[Link]) -> list[UUID]:
    """Name the records of links, each once."""
    found = [
        record_id_of(business_id, link.object, link.external_ref)
        if link.record_id is None and link.external_ref is not None
        else link.record_id
        for link in links
    ]
    return list(dict.fromkeys(record_id for record_id in found if record_id is not None))


class Times(Shape):
    """The instants that an activity's state follows from."""

    due_at: Instant | None = None
    logged_at: Instant | None = None
    completed_at: Instant | None = None
    cancelled_at: Instant | None = None
    deleted_at: Instant | None = None


def state_of(activity: Activity | Times, now: datetime) -> State:
    """Derive the state word. Logged wins over cancelled; overdue is scheduled and due before `now`.

    `completed_at` tells completed from logged: it is set when a planned one was logged, when a plan comes after the
    log, and at once by a report's `complete`, whose plan may never come.
    """
    if activity.deleted_at is not None:
        return "deleted"
    if activity.logged_at is not None:
        return "completed" if activity.completed_at is not None else "logged"
    if activity.cancelled_at is not None:
        return "cancelled"
    if activity.due_at is not None and activity.due_at < now:
        return "overdue"
    return "scheduled"
