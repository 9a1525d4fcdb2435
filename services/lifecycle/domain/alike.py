"""When two activities are alike enough to tell of the same event, as a business has set it. Pure."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from libs.contracts import activity as contract
from libs.contracts.ids import uuid5

SETTING = "same_event"
AGREE = ("records", "type", "time", "conversation")
"""What may have to agree; `time`: they overlap, or lie no more than the tolerance apart."""
TOLERANCE_S = 120
CONVERSATION_KEY = "conversation_id"
"""Where `metadata` names an external conversation, unless the setting names another place."""
DURATION_MAX = timedelta(days=1)
"""An activity that says that it took longer is looked for as if it had taken a day."""


class Setting(NamedTuple):
    """A business's setting. `sources` in the order of their precedence; no sources, no types: all of them."""

    sources: tuple[str, ...] = ()
    types: frozenset[str] = frozenset()
    tolerance_s: int = TOLERANCE_S
    agree: frozenset[str] = frozenset(("records", "type", "time"))
    conversation_key: str = CONVERSATION_KEY


class Match(NamedTuple):
    """Two that are alike: what agreed, the seconds between them (0: they overlap), and how near they are."""

    agreed: tuple[str, ...]
    gap_s: int
    distance: tuple[timedelta, timedelta]


class Case(NamedTuple):
    """What is compared of an activity. `places`: where it is looked for; `records` by object, merged ones by the record
    that stands for them.
    """

    activity: contract.Activity
    teller: str
    starts_at: datetime
    ends_at: datetime
    records: Mapping[str, frozenset[UUID]]
    conversation: str | None
    places: frozenset[UUID]

    @property
    def is_erased(self) -> bool:
        """Tell whether too little is left of it to be compared."""
        return self.activity.erased_at is not None


def setting_of(settings: Mapping[str, Any]) -> Setting | None:
    """Read the setting among those of a business; None: nothing is recognised."""
    stored = settings.get(SETTING)
    if stored is None:
        return None
    return Setting(
        tuple(stored.get("sources") or ()),
        frozenset(stored.get("types") or ()),
        stored.get("tolerance_s", TOLERANCE_S),
        frozenset(stored.get("agree") or ("records", "type", "time")),
        stored.get("conversation_key") or CONVERSATION_KEY,
    )


def case_of(activity: contract.Activity, setting: Setting | None, merged: Mapping[UUID, UUID]) -> Case:
    """Take from an activity what is compared. `merged`: which record stands for another one."""
    records: dict[str, frozenset[UUID]] = {}
    for link in activity.links:
        if link.record_id is not None:
            standing = merged.get(link.record_id, link.record_id)
            records[link.object] = records.get(link.object, frozenset()) | {standing}
    conversation = conversation_of(activity, setting) if setting is not None else None
    places = frozenset[UUID]().union(*records.values())
    if setting is not None and "records" not in setting.agree:
        places = frozenset([place_of(activity.business_id, conversation)] if conversation is not None else [])
    starts_at, ends_at = span_of(activity)
    return Case(activity, teller_of(activity), starts_at, ends_at, records, conversation, places)


def span_of(activity: contract.Activity) -> tuple[datetime, datetime]:
    """Say when it was: from `at`, for as long as it says that it took."""
    return activity.at, activity.at + min(timedelta(minutes=activity.duration_min or 0), DURATION_MAX)


def teller_of(activity: contract.Activity) -> str:
    """Name who tells of it: a system, or of what people enter by hand the person."""
    person = activity.logged_by
    by_hand = activity.source_kind == "manual" and person is not None and person.member_id is not None
    return f"{activity.source}/{person.member_id}" if by_hand and person is not None else activity.source


def conversation_of(activity: contract.Activity, setting: Setting) -> str | None:
    """Name the external conversation that an activity was part of."""
    named = activity.metadata.get(setting.conversation_key)
    if named is None and activity.interaction_id is not None:
        named = activity.metadata.get(CONVERSATION_KEY, activity.interaction_id)
    return None if named is None or named == "" else str(named)


def place_of(business_id: UUID, conversation: str) -> UUID:
    """Derive where the activities of an external conversation are looked for."""
    return uuid5(business_id, f"{SETTING}\x1f{conversation}")


def is_covered(activity: contract.Activity, setting: Setting) -> bool:
    """Tell whether the setting speaks of an activity's source and type."""
    return (not setting.sources or activity.source in setting.sources) and (
        not setting.types or activity.type in setting.types
    )


def may_be_one(one: Case, other: Case) -> bool:
    """Tell whether two may be in one event at all: not by one teller, not two conversations."""
    if one.teller == other.teller or None not in (one.activity.interaction_id, other.activity.interaction_id):
        return False
    return None in (one.conversation, other.conversation) or one.conversation == other.conversation


def alike(one: Case, other: Case, setting: Setting) -> Match | None:
    """Compare two activities; the same whichever is first."""
    covered = is_covered(one.activity, setting) and is_covered(other.activity, setting)
    if not covered or one.is_erased or other.is_erased or not may_be_one(one, other):
        return None
    first, second = sorted((one, other), key=lambda case: (case.starts_at, case.ends_at))
    gap = max(timedelta(), second.starts_at - first.ends_at)
    agreeing = {
        "records": _same_records(one, other),
        "type": one.activity.type_id == other.activity.type_id,
        "time": gap <= timedelta(seconds=setting.tolerance_s),
        "conversation": one.conversation is not None and one.conversation == other.conversation,
    }
    agreed = tuple(name for name in AGREE if agreeing[name])
    if not setting.agree.issubset(agreed):
        return None
    return Match(agreed, -(-gap // timedelta(seconds=1)), (gap, second.starts_at - first.starts_at))


def _same_records(one: Case, other: Case) -> bool:
    """Tell whether they are about the same records, as far as both name one of an object; at least one they share."""
    both = one.records.keys() & other.records.keys()
    return bool(both) and all(one.records[name] & other.records[name] for name in both)
