"""Decisions about reports: acceptable or not, which activity, had before or not, which answer counts. Pure."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Literal, NamedTuple
from uuid import UUID

import orjson
from pydantic import ValidationError

from libs.contracts.ids import activity_id_of, instant_text, key_of, receipt_id_of
from libs.contracts.report import Outcome, ReportAnswered
from libs.errors import Problem, Rejected
from libs.service.problems import read_validation
from services.ingest.reports import BODY, Body

HASH_FORMAT = 1
"""SHA-256 over the report's JSON as sent: keys sorted, NFC, no defaults, no white space, without an envelope."""

OUTCOME_KEPT_DAYS = 90
HAPPENED = ("log", "complete")
APPEND_ONLY = ("kind", "text", "url")
APPENDABLE = ("text", "notes", "summary", "url", "attachments", "fields")

Status = Literal["accepted", "applied", "unchanged", "waiting", "refused", "set_aside"]


@dataclass(frozen=True)
class Arrival:
    """Whose reports came, and when."""

    business_id: UUID
    received_at: datetime

    @cached_property
    def text(self) -> str:
        """What all events of this arrival say alike, written once."""
        return f'"business_id":"{self.business_id}","received_at":"{instant_text(self.received_at)}"'


class Report(NamedTuple):
    """An acceptable report: who it is, and the event that says so."""

    receipt_id: UUID
    activity_id: UUID
    source: str
    hash: bytes
    key: bytes
    value: bytes


class Known(NamedTuple):
    """A report that was accepted earlier."""

    activity_id: UUID
    hash: bytes
    status: Status


class Verdict(NamedTuple):
    """What is said about a report that is acceptable in itself; `status` is where it stands now."""

    kind: Literal["accepted", "duplicate", "different_body", "too_many_sources"]
    receipt_id: UUID
    activity_id: UUID
    status: Status = "accepted"


class Receipt(NamedTuple):
    """What is stored about an accepted report."""

    receipt_id: UUID
    activity_id: UUID
    received_at: datetime
    outcome: Outcome | None
    version: int | None
    reasons: bytes | None


def accept(arrival: Arrival, value: Any, happened_at: datetime | None = None) -> Report:
    """Check a report, derive its identities and write its event. Raises Rejected with every problem it has.

    `happened_at` is what its envelope says, for a `log` or `complete` that does not say it itself.
    """
    try:
        body = BODY.validate_python(value)
    except ValidationError as error:
        raise _refused([*read_problems(error), *_check_whole(value)]) from None
    problems = _check_whole(value)
    if problems:
        raise _refused(problems)
    business_id, source, source_ref = arrival.business_id, body["source"], body["source_ref"]
    given_id = body.get("activity_id")
    activity_id = given_id or activity_id_of(business_id, source, body.get("activity_ref") or source_ref)
    receipt_id = receipt_id_of(business_id, source, source_ref)
    head = (
        f'{{"receipt_id":"{receipt_id}",{arrival.text},"activity_id":"{activity_id}",'
        f'"known_only":{"true" if given_id else "false"},"report":'
    )
    event = b"%b%b}" % (head.encode(), orjson.dumps(_report(body, happened_at), option=orjson.OPT_UTC_Z))
    return Report(receipt_id, activity_id, source, hash_of(value), key_of(business_id, activity_id), event)


def hash_of(value: Any) -> bytes:
    """Hash a report's JSON value, which is in NFC already."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).digest()


def judge(reports: Sequence[Report], accepted: set[UUID], known: Mapping[UUID, Known]) -> list[Verdict]:
    """Say of each report whether it is the first of its identity, the same again, or another body under its name.

    `accepted` are the receipts made now, each by the first report of that identity; `known` those made earlier.
    """
    first: dict[UUID, Known] = dict(known)
    verdicts = []
    for report in reports:
        earlier = first.get(report.receipt_id)
        if earlier is None and report.receipt_id in accepted:
            first[report.receipt_id] = Known(report.activity_id, report.hash, "accepted")
            verdicts.append(Verdict("accepted", report.receipt_id, report.activity_id))
        elif earlier is None:
            verdicts.append(Verdict("too_many_sources", report.receipt_id, report.activity_id))
        elif earlier.hash == report.hash:
            verdicts.append(Verdict("duplicate", report.receipt_id, earlier.activity_id, earlier.status))
        else:
            verdicts.append(Verdict("different_body", report.receipt_id, earlier.activity_id, earlier.status))
    return verdicts


def problem_of(verdict: Verdict, report: Report) -> Problem:
    """Say why a report is not taken although it is acceptable in itself."""
    if verdict.kind == "too_many_sources":
        message = f"{report.source!r} is one source too many for this business; remove or reuse one"
        return Problem("source", "too_many_sources", message)
    message = f"this source_ref was sent before with another body; its receipt is {verdict.receipt_id}"
    return Problem("source_ref", "different_body", message)


def status_of(outcome: Outcome | None, received_at: datetime, now: datetime) -> Status:
    """Tell where a report stands. What has no outcome after 90 days was applied: only those are forgotten."""
    if outcome is not None:
        return outcome
    return "applied" if now - received_at > timedelta(days=OUTCOME_KEPT_DAYS) else "accepted"


def settle(answers: Iterable[ReportAnswered]) -> list[ReportAnswered]:
    """Keep the answer that counts for each receipt: a final one before `waiting`, then the newest.

    The statement of `store.save_outcomes` says the same about what is stored already.
    """
    counting: dict[tuple[UUID, UUID], ReportAnswered] = {}
    for answer in answers:
        name = (answer.business_id, answer.receipt_id)
        if name not in counting or _rank(answer) > _rank(counting[name]):
            counting[name] = answer
    return [counting[name] for name in sorted(counting)]


def _rank(answer: ReportAnswered) -> tuple[bool, datetime]:
    return answer.outcome != "waiting", answer.answered_at


def _report(body: Body, happened_at: datetime | None) -> dict[str, Any]:
    """Turn a checked body into the report of the event (`contracts.ReportBody`): nothing absent, one kind of due."""
    report = {name: value for name, value in body.items() if value is not None}
    report.pop("activity_id", None)
    if happened_at is not None and body["action"] in HAPPENED:
        report.setdefault("occurred_at", happened_at)
    due = report.get("due_at")
    if due is not None and not isinstance(due, datetime):
        report["due_date"] = report.pop("due_at")
    return _appended(report) if body["action"] == "append" else report


def _appended(report: dict[str, Any]) -> dict[str, Any]:
    """Say in `kind`, `text` and `url` what is appended, also where it was sent as summary, notes or attachments."""
    text = report.get("text") or report.get("notes") or report.get("summary")
    url = report.get("url") or next(iter(report.get("attachments", ())), None)
    kind = "correction" if report.get("fields") else "attachment" if url and not text else "note"
    report = {"kind": kind, **report}
    return {**report, **({"text": text} if text else {}), **({"url": url} if url else {})}


def _check_whole(value: Any) -> list[Problem]:
    """Check what no field can tell alone."""
    if not isinstance(value, dict):
        return []
    problems, action = [], value.get("action")
    if action in ("schedule", "log") and value.get("type") is None:
        problems.append(Problem("type", "required", f"is required when the action is {action}"))
    if value.get("activity_id") is not None and value.get("activity_ref") is not None:
        problems.append(Problem("activity_id", "exclusive", "must not be given together with activity_ref"))
    if action == "append":
        if value.get("kind") != "retraction" and not any(value.get(name) for name in APPENDABLE):
            problems.append(Problem("text", "required", f"an append needs one of {', '.join(APPENDABLE)}"))
    else:
        problems += [_append_only(name) for name in APPEND_ONLY if value.get(name) is not None]
    return problems


def _append_only(name: str) -> Problem:
    return Problem(name, "not_allowed", "is taken only when the action is append")


def read_problems(error: ValidationError) -> list[Problem]:
    """Name the field, the code and the message of each problem, in words of ours."""
    problems = []
    for problem in read_validation(error.errors(include_url=False, include_input=False)):
        message = problem.message
        if problem.code == "string_pattern_mismatch":
            message = "must not have control characters; line breaks and tabs are taken in texts only"
        problems.append(Problem(problem.field, problem.code, message))
    return problems


def _refused(problems: Sequence[Problem]) -> Rejected:
    return Rejected("the report is not acceptable", problems)
