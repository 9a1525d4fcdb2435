"""Recognises reports of the same event, and links their activities: each gets a version that says so, nothing is lost.

Whoever brings an activity to a place (a record, a conversation) holds the slot of that place until the commit, so that
of two who come at once the second sees the first. Who holds slots waits for no row: where somebody else has an activity
in hand, what was brought is looked at again a moment later (`rechecks`).
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec
import structlog

from libs.access.members import list_settings
from libs.contracts import activity as contract
from libs.contracts.decoding import struct_of
from libs.contracts.ids import key_of
from libs.contracts.report import Reason as ReasonShape
from libs.contracts.report import ReportAnswered as AnswerShape
from libs.database import Transaction
from libs.messaging.outbox import Outgoing
from services.lifecycle.domain import recognition as rules
from services.lifecycle.domain.alike import (
    Case,
    Setting,
    alike,
    case_of,
    conversation_of,
    is_covered,
    place_of,
    setting_of,
)
from services.lifecycle.domain.held import Decision, Held
from services.lifecycle.domain.recognition import Pair, Standing, Verdict
from services.lifecycle.store import recognition as store
from services.lifecycle.store.recognition import Near

ALIKE_MAX = 100
"""Activities that are looked at to place one; for each more that comes with it, ALIKE_EACH_MAX more."""
ALIKE_EACH_MAX = 5
FEW = 2
"""Where so few are looked at and still too many are alike, nothing is recognised; of more each is looked at alone."""
ROUNDS_MAX = 4
"""Steps from one activity to another that is like it."""
RECEIPTS_ANSWERED = timedelta(days=80)
"""Receipts of older activities are not answered again: ingest forgets their outcomes after 90 days."""

ReportAnswered = struct_of(AnswerShape)
_encode = msgspec.json.Encoder().encode
log = structlog.get_logger("lifecycle")


class Changed(NamedTuple):
    """An activity, and how it stands from now on."""

    held: Held
    standing: Standing


class Gathered(NamedTuple):
    """All that may belong to the same events: what is compared of it, what was said by hand, what is held."""

    cases: dict[UUID, Case]
    verdicts: dict[Pair, Verdict]
    held: dict[UUID, Held]


async def recognise(
    tx: Transaction, decided: Sequence[tuple[Decision, bool | None]]
) -> tuple[list[Decision], list[Outgoing]]:
    """Let what is about to be recorded say of which event it tells; returns the versions of others that follow from it,
    and what receipts say of it now.

    With each decision comes whether its business wants events recognised (None: look only where it is linked already).
    Costs nothing where nobody wants it and nothing is linked.
    """
    concerned = {
        _key_of(decision.held)
        for decision, wanted in decided
        if wanted is not False and decision.held is not None and _concerns(decision, decision.held, wanted=wanted)
    }
    if not concerned:
        return [], []
    versions: dict[UUID, dict[UUID, list[Held]]] = {}
    for held in (decision.held for decision, _ in decided):
        if held is not None and held.activity.logged_at is not None and _key_of(held) in concerned:
            versions.setdefault(held.activity.business_id, {}).setdefault(held.activity.activity_id, []).append(held)
    others: list[Decision] = []
    answers: list[Outgoing] = []
    for business_id, fresh in sorted(versions.items()):
        now = max(each[-1].activity.recorded_at for each in fresh.values())
        changed = await look(tx, business_id, {key: each[-1] for key, each in fresh.items()}, now)
        if changed is None:
            await store.put_off(tx, business_id, list(fresh))
            continue
        for activity_id, standing in [(key, changed[key].standing) for key in fresh if key in changed]:
            for held in fresh[activity_id]:
                rules.put(held.activity, standing)
        made = link([each for key, each in changed.items() if key not in fresh], now)
        others += made
        told = [fresh[key][-1] for key in fresh if key in changed] + [each.held for each in made if each.held]
        answers += await answer_again(tx, business_id, told, now)
    return others, answers


async def look(
    tx: Transaction, business_id: UUID, fresh: Mapping[UUID, Held], now: datetime
) -> dict[UUID, Changed] | None:
    """Say which activities stand otherwise now that these are as they are; nothing of that is saved here.

    None: somebody else has some of them in hand, or too many came together; it can be told when looked at again.
    """
    setting = setting_of((await list_settings(tx, [business_id])).get(business_id, {}))
    if setting is not None:
        await _enter(tx, business_id, fresh, setting)
    gathered = await _gather(tx, business_id, fresh, setting)
    if gathered == "too many" and len(fresh) <= FEW and setting is not None:
        log.warning("too many activities are alike to tell which are the same", activity_id=str(next(iter(fresh))))
        setting = None
        gathered = await _gather(tx, business_id, fresh, None)
    if isinstance(gathered, str):
        return None
    settled = rules.settle(gathered.cases, gathered.verdicts, setting, now)
    return {
        key: Changed(gathered.held[key], standing)
        for key, standing in settled.items()
        if rules.differs(gathered.held[key].activity, standing)
    }


def link(changed: Sequence[Changed], now: datetime, why: str | None = None) -> list[Decision]:
    """Make the versions that say how activities stand."""
    return [rules.link(each.held, each.standing, now, why) for each in changed]


async def answer_again(tx: Transaction, business_id: UUID, told: Sequence[Held], now: datetime) -> list[Outgoing]:
    """Let the receipts of reports that were answered before say which other reports are of the same event."""
    reasons = {held.activity.activity_id: rules.reason_of(held.activity) for held in told}
    receipts = await store.list_receipts(tx, business_id, reasons, now - RECEIPTS_ANSWERED) if reasons else []
    if not receipts:
        return []
    said = {receipt_id: reasons[activity_id] for receipt_id, activity_id in receipts}
    documents = {key: _encode([] if reason is None else [reason]) for key, reason in said.items()}
    rows = await store.save_reasons(tx, business_id, documents)
    return [_answer(business_id, row, said[row[0]], now) for row in rows]


def _answer(business_id: UUID, row: Sequence[Any], reason: ReasonShape | None, now: datetime) -> Outgoing:
    receipt_id, activity_id, version = row
    event = ReportAnswered(
        receipt_id=receipt_id, business_id=business_id, activity_id=activity_id, outcome="applied", answered_at=now,
        version=version, reasons=[] if reason is None else [reason],
    )  # fmt: skip
    return Outgoing(("activity.answered",), key_of(business_id, activity_id), _encode(event), id=receipt_id)


def _key_of(held: Held) -> tuple[UUID, UUID]:
    return held.activity.business_id, held.activity.activity_id


def _concerns(decision: Decision, held: Held, *, wanted: bool | None) -> bool:
    """Tell whether what is decided may change which event it tells of: additions do not, but for a retraction."""
    activity = held.activity
    if activity.logged_at is None or not (wanted or activity.same):
        return False
    return decision.types[-1] != "activity.appended" or activity.retracted_at is not None


async def _enter(tx: Transaction, business_id: UUID, fresh: Mapping[UUID, Held], setting: Setting) -> None:
    """Bring activities to their places, from where they are found."""
    new = [held.activity for held in fresh.values() if rules.stands(held.activity)]
    new = [activity for activity in new if is_covered(activity, setting) and activity.erased_at is None]
    if not new:
        return
    merged = await store.list_merged(tx, business_id, {key for each in new for key in _records_of(each)})
    cases = [(case_of(each, setting, merged), _places_of(each, setting)) for each in new]
    await store.lock_slots(tx, business_id, {place for case, own in cases for place in (*own, *case.places)})
    await store.save_recognisable(tx, cases)


async def _gather(
    tx: Transaction, business_id: UUID, fresh: Mapping[UUID, Held], setting: Setting | None
) -> Gathered | Literal["busy", "too many"]:
    """Find and lock all that is linked to these activities or like them, and so on from one to the next."""
    found, seen = Gathered({}, {}, {}), set(fresh)
    frontier = fresh
    most = ALIKE_MAX + ALIKE_EACH_MAX * len(fresh)
    for _ in range(ROUNDS_MAX):
        merged = await _merged(tx, business_id, frontier) if setting is not None else {}
        cases = {key: case_of(held.activity, setting, merged) for key, held in frontier.items()}
        if found.cases:
            cases = {key: case for key, case in cases.items() if _belongs(case, found, setting)}
        verdicts = await store.list_verdicts(tx, business_id, cases)
        found.cases.update(cases)
        found.held.update({key: frontier[key] for key in cases})
        found.verdicts.update(verdicts)
        wanted = {key for pair, verdict in verdicts.items() if verdict.is_same for key in pair}
        wanted |= {other.activity_id for case in cases.values() for other in case.activity.same}
        if setting is not None:
            near = _near(cases.values(), setting, merged)
            wanted |= await store.list_near(tx, business_id, near, ALIKE_MAX) if near else set()
        wanted -= seen
        if not wanted:
            return found
        seen |= wanted
        if len(seen) > most:
            return "too many"
        frontier = await store.lock_free(tx, business_id, wanted)
        if len(frontier) < len(wanted):
            return "busy"
    return "too many"


async def _merged(tx: Transaction, business_id: UUID, held: Mapping[UUID, Held]) -> dict[UUID, UUID]:
    records = {key for each in held.values() for key in _records_of(each.activity)}
    return await store.list_merged(tx, business_id, records) if records else {}


def _belongs(case: Case, found: Gathered, setting: Setting | None) -> bool:
    """Tell whether a case is linked to one of those found, or like one of them."""
    identity = case.activity.activity_id
    if any(other.activity_id in found.cases for other in case.activity.same):
        return True
    if any(identity in pair for pair, verdict in found.verdicts.items() if verdict.is_same):
        return True
    return setting is not None and any(
        not case.places.isdisjoint(other.places) and alike(case, other, setting) is not None
        for other in found.cases.values()
    )


def _near(cases: Iterable[Case], setting: Setting, merged: Mapping[UUID, UUID]) -> list[Near]:
    tolerance_s = setting.tolerance_s if "time" in setting.agree else None
    near: list[Near] = []
    for case in cases:
        if rules.stands(case.activity) and not case.is_erased and is_covered(case.activity, setting):
            own = case.places.union(key for key, standing in merged.items() if standing in case.places)
            near += store.near_of(case, own, tolerance_s)
    return near


def _records_of(activity: contract.Activity) -> set[UUID]:
    return {link.record_id for link in activity.links if link.record_id is not None}


def _places_of(activity: contract.Activity, setting: Setting) -> set[UUID]:
    """Name all places of an activity, also those that the setting does not ask for now."""
    conversation = conversation_of(activity, setting)
    talk = set() if conversation is None else {place_of(activity.business_id, conversation)}
    return _records_of(activity) | talk
