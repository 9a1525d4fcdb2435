"""Values of fields as requests and reports give them: checked, completed, and put where they live."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from libs.contracts import activity as contract
from libs.contracts.activity_object import ActivityObject
from libs.contracts.report import Reason as ReasonShape
from libs.contracts.report import ReportReceived
from libs.errors import Problem
from services.lifecycle.domain import erasure
from services.lifecycle.domain.fields import NOTES, Checked, Compiled, compiled_of
from services.lifecycle.domain.held import Decision, Held, Linked, Reason, next_version, unchanged
from services.lifecycle.domain.known import Known
from services.lifecycle.domain.linked import as_now, own_values, put_on_records, records_of


class Values(NamedTuple):
    """What a report says by fields: what it comes to in the activity and on records, and what is wrong with it.

    `awaits`: what is wrong is that it is linked to no record that could say what is required.
    """

    content: dict[str, Any]
    linked: Linked
    reasons: Sequence[ReasonShape] = ()
    awaits: bool = False


def fields_of(
    report: ReportReceived, kind: ActivityObject | None, known: Known, planned: Sequence[contract.Link] = ()
) -> Values:
    """Check the fields of a report by themselves, so that the order of reports makes no difference.

    What is required may stand on a record: of the links of the report, else of those `planned` that it completes.
    Members have to be known; records may become known later, as those of links.
    """
    body = report.report
    given = [*body.fields.items(), *([(NOTES, body.notes)] if body.notes else [])]
    logging = body.action != "schedule"
    if kind is None:
        return Values({}, {})
    compiled = compiled_of(kind)
    if not given and compiled.needs_nothing(logging=logging):
        return Values({}, {})
    links = [erasure.link_of(report, link) for link in body.links] if compiled.linked else []
    about = links or planned
    held = as_now(compiled, {}, about, known.says()) if logging and compiled.linked else None
    checked = compiled.check(given, logging=logging, held=held)
    problems = checked.problems + name_members(checked, known)
    linked: Linked = {}
    if checked.linked:
        linked, refused = put_on_records(compiled, checked, links, known.locked)
        problems = problems + refused
    reasons = [Reason(field=each.field, code=each.code, message=each.message) for each in problems]
    stored = own_values(compiled, checked, {})
    return Values(content_of(stored, given=bool(body.fields)), linked, reasons, _awaits(compiled, problems, about))


def _awaits(compiled: Compiled, problems: Sequence[Problem], about: Sequence[contract.Link]) -> bool:
    """Tell whether all that is wrong is that values are missing which records may have that nothing is said of yet."""
    if not problems:
        return False
    there = records_of(compiled, about)
    names = [each.field.removeprefix("fields.") for each in problems if each.code == "required"]
    return len(names) == len(problems) and all(name in compiled.linked and name not in there for name in names)


def content_of(stored: Mapping[str, Any], *, given: bool) -> dict[str, Any]:
    """Split what is stored into the note and the fields, where fields were `given`."""
    fields = dict(stored)
    notes = fields.pop(NOTES, None)
    return ({NOTES: notes} if notes is not None else {}) | ({"fields": fields} if given else {})


def latest_of(activity: contract.Activity) -> dict[str, Any]:
    """Give the values of a logged activity and its note as its newest corrections have them."""
    values = activity.fields | ({NOTES: activity.notes} if activity.notes else {})
    for addition in activity.appends:
        values |= addition.fields or {}
    return {name: value for name, value in values.items() if value is not None}


def corrected(compiled: Compiled, checked: Checked, words: Iterable[str]) -> dict[str, Any]:
    """Give what a correction says by itself: the stored form of the fields that it names, null for those it empties."""
    names = [compiled.by_word[word] for word in words if word in compiled.by_word]
    return {name: checked.stored.get(name) for name in names}


def correction_of(held: Held, addition: contract.Append, kind: ActivityObject, known: Known) -> Values:
    """Check the fields of a reported correction; `content` has them in their stored form."""
    compiled, fields = compiled_of(kind), addition.fields or {}
    checked = compiled.check(fields.items(), logging=True, held=latest_of(held.activity))
    problems = checked.problems + name_members(checked, known)
    linked, refused = put_on_records(compiled, checked, held.activity.links, known.locked)
    reasons = [Reason(field=each.field, code=each.code, message=each.message) for each in (*problems, *refused)]
    return Values(corrected(compiled, checked, fields), linked, reasons)


def name_members(checked: Checked, known: Known) -> list[Problem]:
    """Put their names to the members that values refer to, and say which are unknown."""
    problems = []
    for reference in checked.references:
        if reference.object is None:
            member = known.members.get(str(reference.id))
            if member is None or not member.live:
                message = f"{reference.id} is not a member of this business"
                problems.append(Problem(f"fields.{reference.field}", "does_not_exist", message))
            else:
                checked.stored[reference.field] = {"id": str(member.id), "name": member.name}
    return problems


def remap(held: Held, name: str, option_id: str, replacement: Mapping[str, str], now: datetime) -> Decision:
    """Put an option in the place of another in what is planned; where it was logged meanwhile nothing changes."""
    activity = held.activity
    value = activity.fields.get(name)
    if activity.logged_at is not None or activity.deleted_at is not None or value is None:
        return unchanged(held)
    if isinstance(value, list):
        ids = [each["id"] for each in value]
        others = [each for each in value if each["id"] not in (option_id, replacement["id"])]
        after: Any = [*others, dict(replacement)] if option_id in ids else value
    else:
        after = dict(replacement) if isinstance(value, dict) and value.get("id") == option_id else value
    if after == value:
        return unchanged(held)
    later = next_version(held, now, fields=activity.fields | {name: after})
    why = f"an option of {name!r} was replaced by {replacement['name']!r}"
    return Decision("applied", held._replace(activity=later), ("activity.updated",), why)
