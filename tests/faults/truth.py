"""I1 to I3: what was acknowledged is in the truth, once, and nothing else; lives go as they may."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from tests.faults.evidence import Case, Found
from tests.faults.history import Life
from tests.faults.load import REFUSED

LOGGING = {"log", "complete"}
FROZEN = {"activity.appended", "activity.updated", "activity.deleted", "activity.restored", "activity.erased"}


def accepted_once(case: Case) -> Found:
    """I1: every acknowledged activity is in the truth exactly once, or visible as refused with its reason."""
    found = case.about("receipt")
    standing = case.by_ref()
    for ref, life in case.told.lives.items():
        if len(life.activity_ids) > 1:
            found.append(f"{ref} was acknowledged under {len(life.activity_ids)} ids")
        if not life.activity_ids:
            continue
        held = [id_ for id_ in standing.get(ref, []) if str(id_) in life.activity_ids]
        if not held and not _waits(case, life):
            found.append(f"{ref} ({', '.join(life.activity_ids)}) was acknowledged and is not there")
        if len(standing.get(ref, [])) > 1:
            found.append(f"{ref} is there {len(standing[ref])} times")
        found += _appends_missing(case, ref, life, held)
    found += _unanswered(case)
    return found


def _waits(case: Case, life: Life) -> bool:
    """Tell whether only reports are known that wait for their activity, which was never reported."""
    outcomes = {case.admissions.get(UUID(receipt)) for write in life.writes.values() for receipt in write.receipts}
    return bool(outcomes) and outcomes <= {"waiting", "refused"}


def _appends_missing(case: Case, ref: str, life: Life, held: Sequence[UUID]) -> Found:
    writes = [write for write in life.writes.values() if write.action == "append"]
    if not held or not writes:
        return []
    count = case.events[held[0]].activity.appends_count
    least = sum(write.acknowledged for write in writes)
    if least <= count <= len(writes):
        return []
    return [f"{ref}: {least} of {len(writes)} additions were acknowledged, it has {count}"]


def _unanswered(case: Case) -> Found:
    receipts = {UUID(each) for life in case.told.lives.values() for w in life.writes.values() for each in w.receipts}
    missing = [each for each in receipts if each not in case.admissions]
    return [f"receipt {each} was given and lifecycle knows nothing of it" for each in missing]


def nothing_else(case: Case) -> Found:
    """I2: the truth holds nothing that was not acknowledged or of unknown outcome, and nothing refused."""
    found = []
    for ref, ids in case.by_ref().items():
        if all(case.events[each].activity.interaction_id for each in ids):
            continue  # they follow from conversations
        life = case.told.lives.get(ref)
        if life is None or not (life.acknowledged | life.possible):
            found.append(f"activity {ids[0]} ({ref}) is there, and nobody reported it")
    for activity_id, event in case.events.items():
        if REFUSED in (event.activity.summary or ""):
            found.append(f"activity {activity_id} holds what was refused: {event.activity.summary!r}")
    return found


def lives_in_order(case: Case) -> Found:
    """I3: content is the first accepted, versions run 1..n, only allowed changes, logged stays logged."""
    found = case.about("activity")
    for activity_id, versions in case.histories.items():
        found += [f"activity {activity_id}: {text}" for text in _broken_life(versions)]
    standing = case.by_ref()
    for ref, life in case.told.lives.items():
        found += _wrongly_taken(ref, life)
        for activity_id in standing.get(ref, []):
            found += _wrong_end(case, activity_id, life)
    return found


def _broken_life(versions: Sequence[Any]) -> Found:
    found, logged = [], False
    if [each.version for each in versions] != list(range(1, len(versions) + 1)):
        found.append(f"its versions are {[each.version for each in versions]}")
    for each in versions:
        activity = each.event.activity
        if activity.version != each.version:
            found.append(f"version {each.version} holds version {activity.version}")
        if logged and activity.logged_at is None:
            found.append(f"version {each.version} ({each.type}) is scheduled again after it was logged")
        if logged and each.type not in FROZEN:
            found.append(f"version {each.version} is {each.type} after it was logged")
        logged = logged or activity.logged_at is not None
    summaries = {each.event.activity.summary for each in versions if each.event.activity.summary}
    if len(summaries) > 1:
        found.append(f"it has had {len(summaries)} summaries: {sorted(summaries)}")
    return found


def _wrongly_taken(ref: str, life: Life) -> Found:
    found = [
        f"{ref}: {write.action} was to be refused with {write.expected}, and was taken"
        for write in life.writes.values()
        if write.expected is not None and write.acknowledged
    ]
    if ref.startswith("p"):
        logs = [write for write in life.writes.values() if write.action == "log" and write.acknowledged]
        if len(logs) > 1:
            found.append(f"{ref}: {len(logs)} logs of one scheduled activity were taken")
    return found


def _wrong_end(case: Case, activity_id: UUID, life: Life) -> Found:
    activity = case.events[activity_id].activity
    known, possible = life.acknowledged, life.possible
    logged = activity.logged_at is not None
    found = []
    if known & LOGGING and not logged:
        found.append(f"{life.ref}: was logged, and is not")
    if logged and not (known | possible) & LOGGING:
        found.append(f"{life.ref}: is logged, and nobody said so")
    if life.ref.startswith("p"):
        newest = max((w.version or 0 for w in life.writes.values() if w.expected is None), default=0)
        slack = sum(w.unknown and not w.acknowledged and w.expected is None for w in life.writes.values())
        if not newest <= activity.version <= newest + slack:
            found.append(f"{life.ref}: was answered at version {newest}, is at {activity.version}")
    elif "cancel" in known and "schedule" in known and not logged and activity.cancelled_at is None:
        found.append(f"{life.ref}: was cancelled, and is not")
    return found
