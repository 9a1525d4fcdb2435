"""Who may see an activity that is not for everybody (design: S2, privacy)."""

from typing import NamedTuple
from uuid import UUID

from libs.contracts.activity import Privacy, creator_of, taking_part
from services.lifecycle.domain.held import SHIFT, Held


class Restricted(NamedTuple):
    """What is kept of an activity's privacy, in the order of its columns; `member_ids` take part in it."""

    business_id: UUID
    activity_id: UUID
    privacy: Privacy
    creator_id: UUID | None
    member_ids: list[UUID]


def restricted_of(held: Held) -> Restricted | None:
    """Say what is to be kept of its privacy; None when nobody ever said anything about that."""
    if not held.said >> SHIFT["privacy"] & 3:
        return None
    activity = held.activity
    return Restricted(
        activity.business_id, activity.activity_id, activity.privacy, creator_of(activity), taking_part(activity)
    )
