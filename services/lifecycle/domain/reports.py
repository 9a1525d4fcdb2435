"""Reports of upstream systems, admitted in any order (design: what upstream systems send)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

import msgspec

from libs.contracts import activity as contract
from libs.contracts.activity_object import ActivityObject
from libs.contracts.report import Reason as ReasonShape
from libs.contracts.report import ReportBody, ReportReceived
from services.lifecycle.domain import erasure, life
from services.lifecycle.domain.fields import compiled_of
from services.lifecycle.domain.held import (
    COMPLETE,
    LOG,
    PLAN,
    Append,
    Decision,
    Held,
    Reason,
    Subject,
    Told,
    refused,
    waiting,
)
from services.lifecycle.domain.known import Known
from services.lifecycle.domain.linked import as_now
from services.lifecycle.domain.objects import allows
from services.lifecycle.domain.values import correction_of, fields_of

RANKS = {"schedule": PLAN, "complete": COMPLETE, "log": LOG}
_AS_IT_IS = (
    "subject", "summary", "direction", "location", "attachments", "first_message", "metadata",
)  # fmt: skip
_SOURCE_KINDS: dict[str, contract.SourceKind] = {
    "manual": "manual", "interaction": "interaction", "campaign": "campaign", "workflow": "workflow",
}  # fmt: skip


def admit(held: Held | None, report: ReportReceived, known: Known, now: datetime) -> Decision:
    """Decide what becomes of a report, given the activity it is about."""
    body = report.report
    if held is None and report.known_only:
        return waiting(None, "unknown_activity", "is not known yet")
    if body.action == "cancel":
        return life.cancel(held, report.received_at, now)
    if body.action == "append":
        return _add(held, report, known, now)
    kind = known.type_of(body.type) if body.type is not None else None
    content = content_of(report, known, kind)
    planned = held.activity.links if held is not None and body.action == "complete" else []
    values = fields_of(report, kind or _type_of(held, known), known, planned)
    problems = _problems(report, held, known, kind)
    if problems or values.reasons:
        awaits = body.action == "complete" and values.awaits and not problems
        return Decision("waiting" if awaits else "refused", held, reasons=(*problems, *values.reasons))
    told = Told(RANKS[body.action], report.received_at, now, content.get("actor"), content | values.content)
    subject = _subject_of(report)
    decision = life.plan(held, subject, told) if told.rank == PLAN else life.log(_now(held, known), subject, told)
    after = decision.held.activity.fields if decision.held is not None else None
    if values.linked and decision.outcome == "applied" and after == values.content["fields"]:
        return decision._replace(linked=values.linked)
    return decision


def settle(
    held: Held | None, arrived: ReportReceived, waited: Sequence[ReportReceived], known: Known, now: datetime
) -> list[tuple[ReportReceived, Decision]]:
    """Admit a report, and then those that waited for what it brought; each decision has the activity after it.

    A report that an erasure came before is without its texts in the answer.
    """
    arrived, first = _decide(held, arrived, known, now)
    if not waited or first.outcome != "applied":
        return [(arrived, first)]
    return [(arrived, first), *settle_waiting(first.held, waited, known, now)]


def settle_waiting(
    held: Held | None, waited: Sequence[ReportReceived], known: Known, now: datetime
) -> list[tuple[ReportReceived, Decision]]:
    """Admit those of the waiting reports that can be, again and again until nothing moves any more."""
    decisions: list[tuple[ReportReceived, Decision]] = []
    moved, pending = True, list(waited)
    while moved and pending:
        moved, still = False, []
        for report in pending:
            told, decision = _decide(held, report, known, now)
            if decision.outcome == "waiting":
                still.append(report)
                continue
            decisions.append((told, decision))
            held, moved = decision.held, moved or decision.outcome == "applied"
        pending = still
    return decisions


def _decide(held: Held | None, report: ReportReceived, known: Known, now: datetime) -> tuple[ReportReceived, Decision]:
    if not erasure.is_late(held, report, known):
        return report, admit(held, report, known, now)
    report = erasure.without_texts(report, known)
    body = report.report
    if body.action == "append" and body.kind != "retraction":
        return report, refused(held, erasure.REFUSED)
    decision = admit(held, report, known, now)
    return report, refused(held, erasure.REFUSED) if decision.outcome == "waiting" else decision


def content_of(report: ReportReceived, known: Known, kind: ActivityObject | None) -> dict[str, Any]:
    """Take over what a report gives, references resolved; what it leaves out is left out."""
    body = report.report
    content: dict[str, Any] = {name: value for name in _AS_IT_IS if (value := getattr(body, name))}
    if body.duration_min is not None:
        content["duration_min"] = body.duration_min
    if kind is not None:
        content["type"], content["type_id"], content["type_name"] = kind.api_name, kind.id, kind.name
    if body.actor is not None:
        content["actor"] = known.person(body.actor)
    if body.assignee is not None:
        content["assignee"] = known.assignee(body.assignee)
    if body.participants:
        content["participants"] = [known.person(text) for text in body.participants]
    if body.links:
        content["links"] = [erasure.link_of(report, link) for link in body.links]
    return content | _times_of(body, known, content.get("assignee"))


def _times_of(body: ReportBody, known: Known, assignee: contract.Assignee | None) -> dict[str, Any]:
    times: dict[str, Any] = {}
    if body.occurred_at is not None and body.action != "schedule":
        times["occurred_at"] = body.occurred_at
    if body.due_date is not None:
        times |= {"due_date": body.due_date, "due_at": known.end_of(body.due_date, assignee)}
    elif body.due_at is not None:
        times |= {"due_date": None, "due_at": body.due_at}
    return times


def type_problems(kind: ActivityObject | None, text: str, known: Known) -> list[ReasonShape]:
    """Say why a type cannot be used."""
    if kind is None:
        message = f"{text[:100]!r} is not an activity object; there are {', '.join(known.type_names())}"
        return [Reason(field="type", code="does_not_exist", message=message)]
    if kind.deleted_at is not None:
        return [Reason(field="type", code="archived", message=f"{kind.api_name!r} is archived")]
    return []


def link_problems(
    links: Sequence[contract.Link], kind: ActivityObject | None, known: Known, *, one_each: bool
) -> list[ReasonShape]:
    """Say what is wrong with links: objects that are none, that the type does not allow, or (`one_each`) come twice;
    records that come twice.

    What requests plan may have several records of an object, until it is completed. What reports plan may not: they
    come in any order, and what was logged before its plan takes over the records of the plan.
    """
    problems = []
    seen: set[Any] = set()
    for place, link in enumerate(links):
        field, name = f"links.{place}.object", known.record_object(link.object)
        whole = name, link.record_id, link.external_ref
        if name is None:
            names = ", ".join(known.record_object_names())
            message = f"{link.object[:100]!r} is not a record object; there are {names}"
            problems.append(Reason(field=field, code="does_not_exist", message=message))
        elif kind is not None and not allows(kind, name):
            message = f"{name!r} is not allowed for activities of type {kind.api_name!r} ({kind.association_mode})"
            problems.append(Reason(field=field, code="not_associated", message=message))
        elif one_each and name in seen:
            message = f"{name!r} stands twice; at most one record of each object is taken"
            problems.append(Reason(field=field, code="one_per_object", message=message))
        elif whole in seen:
            problems.append(Reason(field=field, code="twice", message=f"this {name!r} stands twice"))
        seen.add(name)
        seen.add(whole)
    return problems


def _problems(
    report: ReportReceived, held: Held | None, known: Known, kind: ActivityObject | None
) -> list[ReasonShape]:
    body = report.report
    problems: list[ReasonShape] = []
    if body.type is not None:
        problems += type_problems(kind, body.type, known)
    elif held is None and body.action != "complete":
        problems.append(Reason(field="type", code="required", message=f"is required to {body.action} a new activity"))
    if body.links:
        allowing = kind or _type_of(held, known)
        problems += link_problems(body.links, allowing, known, one_each=True)
    return problems


def _subject_of(report: ReportReceived) -> Subject:
    body = report.report
    kind = _SOURCE_KINDS.get(body.source, "external")
    ref = body.activity_ref or body.source_ref or None
    return Subject(report.business_id, report.activity_id, body.source, kind, ref)


def _append_of(report: ReportReceived, known: Known) -> contract.Append:
    body = report.report
    kind = body.kind or ("attachment" if body.url is not None else "note")
    return Append(
        id=report.receipt_id,
        kind=kind,
        at=report.received_at,
        by=known.person(body.actor),
        text=body.text or body.notes,
        fields=body.fields or None,
        url=body.url,
        source_ref=body.source_ref,
    )


def _add(held: Held | None, report: ReportReceived, known: Known, now: datetime) -> Decision:
    """Add to a logged activity; the fields of a correction are checked where its type lets them be corrected."""
    addition, kind = _append_of(report, known), _type_of(held, known)
    is_editable = kind is not None and kind.is_editable
    if held is None or held.activity.logged_at is None or not addition.fields or kind is None or not is_editable:
        return life.append(held, addition, now, is_editable=is_editable)
    values = correction_of(held, addition, kind, known)
    if values.reasons:
        return refused(held, *values.reasons)
    addition = cast(contract.Append, msgspec.structs.replace(cast(Any, addition), fields=values.content))
    return life.append(held, addition, now, is_editable=True)._replace(linked=values.linked)


def _now(held: Held | None, known: Known) -> Held | None:
    """Give what is planned with what its records say, as it is logged."""
    kind = _type_of(held, known)
    if held is None or kind is None or held.activity.logged_at is not None or not compiled_of(kind).linked:
        return held
    fields = as_now(compiled_of(kind), held.activity.fields, held.activity.links, known.says())
    return held._replace(activity=cast(Any, msgspec.structs.replace(cast(Any, held.activity), fields=fields)))


def _type_of(held: Held | None, known: Known) -> ActivityObject | None:
    return known.type_of(str(held.activity.type_id)) if held is not None else None
