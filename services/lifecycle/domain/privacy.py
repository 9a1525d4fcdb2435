"""Who may see an activity that is not for everybody (design: S2, privacy)."""

from typing import NamedTuple
from uuid import UUID

from libs.contracts.activity import Activity, Privacy
from services.lifecycle.domain.held import SHIFT, Held


class Restricted(NamedTuple):
    """What is kept of an activity's privacy, in the order of its columns; `member_ids` take part in it."""

    business_id: UUID
    activity_id: UUID
    privacy: Privacy
    creator_id: UUID | None
    member_ids: list[UUID]


def creator_of(activity: Activity) -> UUID | None:
    """Name who made it: who planned it, else who logged it; None where that is no member."""
    person = activity.created_by or activity.logged_by
    return person.member_id if person is not None else None


def restricted_of(held: Held) -> Restricted | None:
    """Say what is to be kept of its privacy; None when nobody ever said anything about that."""
    if not held.said >> SHIFT["privacy"] & 3:
        return None
    activity = held.activity
    people = [*activity.participants, activity.created_by, activity.logged_by, activity.actor, activity.assignee]
    members = {person.member_id for person in people if person is not None and person.member_id is not None}
    return Restricted(
        activity.business_id, activity.activity_id, activity.privacy, creator_of(activity), sorted(members)
    )
