"""Reports are admitted: each batch in one transaction, each report once, each with an answer."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import NamedTuple
from uuid import UUID

import msgspec

from libs.contracts.decoding import struct_of
from libs.contracts.ids import key_of
from libs.contracts.report import Reason as ReasonShape
from libs.contracts.report import ReportAnswered as AnswerShape
from libs.contracts.report import ReportReceived
from libs.database import Transaction
from libs.messaging.outbox import Outgoing, append
from libs.turns import give_way
from services.lifecycle import living, looking, recording
from services.lifecycle.domain import recognition
from services.lifecycle.domain import reports as rules
from services.lifecycle.domain.erasure import link_of
from services.lifecycle.domain.held import Decision, Held, Reason, refused
from services.lifecycle.domain.known import Known
from services.lifecycle.recording import Entry
from services.lifecycle.store import activities, admissions, erasures
from services.lifecycle.store.admissions import Admission, Key

ReportAnswered = struct_of(AnswerShape)
_encode = msgspec.json.Encoder().encode


SET_ASIDE = ReasonShape(
    field="report",
    code="set_aside",
    message="could not be handled; it is kept with the dead letters of lifecycle, and the operator can replay it",
)


class Receipt(NamedTuple):
    """Names a report that may not be readable."""

    business_id: UUID
    receipt_id: UUID
    activity_id: UUID


class Answer(NamedTuple):
    """A report and what was decided about it."""

    report: ReportReceived
    decision: Decision


async def admit(tx: Transaction, arrived: Sequence[ReportReceived], now: datetime) -> None:
    """Admit reports in their order, each once; what was answered before is answered again in the same words."""
    reports = {(report.business_id, report.receipt_id): report for report in arrived}
    earlier = await admissions.list_admissions(tx, reports)
    fresh = [report for place, report in reports.items() if place not in earlier]
    answers: list[Answer] = []
    known: dict[UUID, Known] = {}
    if fresh:
        keys = {(report.business_id, report.activity_id) for report in fresh}
        held: dict[Key, Held | None] = {**await activities.lock_activities(tx, keys)}
        waited = await admissions.list_waiting(tx, keys)
        known = await _look_up(tx, fresh, waited, now)
        held |= await _as_now(tx, [*fresh, *chain.from_iterable(waited.values())], held, known)
        answers = await _settle_all(fresh, held, waited, known, now)
    again = [_answer_again(each, now) for each in earlier.values()]
    last = _last(answers)
    await recording.record(tx, _entries(answers, known), chain(again, (_answer(each, now) for each in last)))
    await _save(tx, last, reports.keys() - earlier.keys())


async def retry(tx: Transaction, keys: Sequence[Key], now: datetime) -> int:
    """Admit the reports that wait for these activities, where they can be by now; returns how many waited."""
    if not await admissions.list_waiting(tx, keys):
        return 0
    held = await activities.lock_activities(tx, keys)
    waited = await admissions.list_waiting(tx, list(held))
    if not waited:
        return 0
    known = await _look_up(tx, [], waited, now)
    held |= await _as_now(tx, [report for pending in waited.values() for report in pending], held, known)
    answers = [
        Answer(*pair)
        for key, pending in waited.items()
        for pair in rules.settle_waiting(held[key], pending, known[key[0]], now)
    ]
    await recording.record(tx, _entries(answers, known), (_answer(each, now) for each in answers))
    await _save(tx, _last(answers), set())
    await admissions.note_seen(tx, list(waited))
    return sum(map(len, waited.values()))


async def expire(tx: Transaction, before: datetime, now: datetime, limit: int) -> int:
    """Refuse reports that have waited since before an instant; returns how many."""
    expired = await admissions.list_expired(tx, before, limit)
    message = "was waited for and has not come in time"
    await refuse(tx, expired, Reason(field="activity_id", code="waited_too_long", message=message), now)
    return len(expired)


async def refuse(tx: Transaction, waited: Sequence[ReportReceived], reason: ReasonShape, now: datetime) -> None:
    """Refuse reports that wait, and forget them."""
    answers = [Answer(report, refused(None, reason)) for report in waited]
    await append(tx, [_answer(each, now) for each in answers])
    await _save(tx, answers, set())


async def answer_set_aside(tx: Transaction, receipt: Receipt, now: datetime) -> None:
    """Answer a report that was set aside; no admission is kept, so that it can be admitted when it is replayed."""
    place = receipt.business_id, receipt.receipt_id
    earlier = (await admissions.list_admissions(tx, [place])).get(place)
    if earlier is None:
        earlier = Admission(*receipt, "set_aside", None, _encode([SET_ASIDE.model_dump()]))
    await append(tx, [_answer_again(earlier, now)])


async def _look_up(
    tx: Transaction, fresh: Sequence[ReportReceived], waited: dict[Key, list[ReportReceived]], now: datetime
) -> dict[UUID, Known]:
    everyone = [*fresh, *(report for pending in waited.values() for report in pending)]
    businesses = {report.business_id for report in everyone}
    own_objects = looking.speak_of_own_objects(everyone)
    known = await looking.look_up(tx, businesses, looking.people_of(everyone), now, own_objects)
    oldest = min(report.received_at for report in everyone)
    for business_id, record_id, erased_at in await erasures.list_since(tx, businesses, oldest):
        known[business_id].erased[record_id] = erased_at
    return known


async def _as_now(
    tx: Transaction, reports: Sequence[ReportReceived], held: Mapping[Key, Held | None], known: dict[UUID, Known]
) -> dict[Key, Held]:
    """Read what linked fields say of planned activities that reports log; that is what these were logged with.

    What the records say that reports and activities are linked to is known from then on.
    """
    found: dict[Key, Held] = {}
    for business_id, one in known.items():
        if not looking.has_linked_fields(one.types.values()):
            continue
        about = [link_of(report, link) for report in reports for link in report.report.links]
        about += [link for each in held.values() if each is not None for link in each.activity.links]
        await living.learn(tx, one, about)
        logged = {
            (business_id, report.activity_id)
            for report in reports
            if report.business_id == business_id and report.report.action in ("complete", "log")
        }
        planned = {key: each for key in logged if (each := held.get(key)) is not None}
        found |= zip(planned, await living.held_as_now(tx, one, planned.values()), strict=True)
    return found


async def _settle_all(
    fresh: Sequence[ReportReceived],
    held: dict[Key, Held | None],
    waited: dict[Key, list[ReportReceived]],
    known: dict[UUID, Known],
    now: datetime,
) -> list[Answer]:
    """Decide reports in their order; later ones find the activities as the earlier ones leave them."""
    answers = []
    for number, report in enumerate(fresh):
        await give_way(number)
        key = (report.business_id, report.activity_id)
        pending = waited.get(key, ())
        decided = rules.settle(held.get(key), report, pending, known[report.business_id], now)
        held[key] = decided[-1][1].held
        for _, decision in decided:
            for (_, record_id), asked in decision.linked.items():
                known[report.business_id].asked.setdefault(record_id, {}).update(asked)
        answers += [Answer(*pair) for pair in decided]
        if pending or decided[0][1].outcome == "waiting":
            done = {each.receipt_id for each, decision in decided if decision.outcome != "waiting"}
            waited[key] = [each for each in (*pending, report) if each.receipt_id not in done]
    return answers


def _entries(answers: Sequence[Answer], known: dict[UUID, Known]) -> list[Entry]:
    return [
        Entry(
            decision, known[report.business_id].person(report.report.actor), receipt_id=report.receipt_id,
            recognise=known[report.business_id].recognises,
        )
        for report, decision in answers
        if decision.outcome == "applied"
    ]  # fmt: skip


async def _save(tx: Transaction, answers: Sequence[Answer], arrived: set[Key]) -> None:
    """Save admissions and what waits. `arrived`: receipts of this batch, which were not answered before."""
    new: list[Answer] = []
    old: list[Answer] = []
    for each in answers:
        (new if (each.report.business_id, each.report.receipt_id) in arrived else old).append(each)
    if new:
        await admissions.insert_admissions(tx, [_admission(each) for each in new])
    if old:
        await admissions.finish_admissions(tx, [_admission(each) for each in old])
    waiting = [each for each in new if each.decision.outcome == "waiting"]
    if waiting:
        seen = [each.decision.held.activity.version if each.decision.held else 0 for each in waiting]
        await admissions.insert_waiting(tx, [each.report for each in waiting], seen)


def _last(answers: Sequence[Answer]) -> list[Answer]:
    """Keep the last answer to each report: one that waited may have been admitted within the batch."""
    if len({answer.report.receipt_id for answer in answers}) == len(answers):
        return list(answers)
    return list({(answer.report.business_id, answer.report.receipt_id): answer for answer in answers}.values())


def _admission(answer: Answer) -> Admission:
    report, decision = answer
    said = _reasons(decision)
    reasons = _encode(said) if said else None
    return Admission(
        report.business_id, report.receipt_id, report.activity_id, decision.outcome, _version_of(decision), reasons
    )


def _version_of(decision: Decision) -> int | None:
    if decision.held is None or decision.outcome not in ("applied", "unchanged"):
        return None
    return decision.held.activity.version


def _reasons(decision: Decision) -> list[ReasonShape]:
    """Say why, or of what was applied which other reports are of the same event: known once it is recorded."""
    if decision.reasons or decision.held is None or not decision.held.activity.same:
        return list(decision.reasons)
    reason = recognition.reason_of(decision.held.activity)
    return [] if reason is None else [reason]


def _answer(answer: Answer, now: datetime) -> Outgoing:
    report, decision = answer
    event = ReportAnswered(
        receipt_id=report.receipt_id,
        business_id=report.business_id,
        activity_id=report.activity_id,
        outcome=decision.outcome,
        answered_at=now,
        version=_version_of(decision),
        reasons=_reasons(decision),
    )
    key = key_of(report.business_id, report.activity_id)
    return Outgoing(("activity.answered",), key, _encode(event), id=report.receipt_id)


def _answer_again(earlier: Admission, now: datetime) -> Outgoing:
    event = {
        "receipt_id": earlier.receipt_id,
        "business_id": earlier.business_id,
        "activity_id": earlier.activity_id,
        "outcome": earlier.outcome,
        "answered_at": now,
        "version": earlier.version,
        "reasons": msgspec.Raw(earlier.reasons or b"[]"),
    }
    key = key_of(earlier.business_id, earlier.activity_id)
    return Outgoing(("activity.answered",), key, _encode(event), id=earlier.receipt_id)
