"""Linked fields: their values live on records, which directory changes when an activity asks for it. Pure."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from libs.contracts import activity as contract
from libs.contracts.activity_object import ActivityObject, ObjectField
from libs.contracts.record import RecordRefused
from libs.errors import Problem
from services.lifecycle.domain import life
from services.lifecycle.domain.fields import Checked, Compiled, live_fields
from services.lifecycle.domain.held import Append, Decision, Held, Linked, next_version, unchanged

_PLAIN = {"owner_id": "id", "status": "name"}
"""What a record has besides its own fields, and which part of a value goes there."""


def put_on_records(
    compiled: Compiled, checked: Checked, links: Sequence[contract.Link], locked: Mapping[str, Collection[str]]
) -> tuple[Linked, list[Problem]]:
    """Find the records that values of linked fields live on: those of the right object that the activity is about.

    `locked` names by record object the fields that activities may not write.
    """
    records = {link.object: link.record_id for link in links if link.record_id is not None}
    linked: dict[tuple[str, UUID], dict[str, Any]] = {}
    problems = []
    for name, value in checked.linked.items():
        place = compiled.fields[name].custom_object_field
        assert place is not None
        record_id = records.get(place.object)
        if place.name in locked.get(place.object, ()):
            message = f"is {place.name!r} of {place.object!r}, which activities may not write"
            problems.append(Problem(f"fields.{name}", "not_allowed", message))
        elif record_id is None:
            message = f"is kept on the {place.object} that the activity is about; it is about none"
            problems.append(Problem(f"fields.{name}", "no_record", message))
        else:
            linked.setdefault((place.object, record_id), {})[place.name] = _on_record(place.name, value)
    return linked, problems


def note_refusal(held: Held, kind: ActivityObject | None, refused: RecordRefused) -> Decision:
    """Let an activity say that a record did not take its values.

    What is planned loses those values that are still as they were asked for; what was logged keeps its word, and gets
    a note.
    """
    activity = held.activity
    reasons = "; ".join(each.message for each in refused.reasons)
    why = f"the {refused.object} did not take {', '.join(sorted(refused.fields))}: {reasons}"
    if activity.deleted_at is not None or activity.erased_at is not None:
        return unchanged(held)
    if activity.logged_at is not None:
        if any(each.id == refused.request_id for each in activity.appends):
            return unchanged(held)
        note = Append(id=refused.request_id, kind="note", at=refused.refused_at, text=why)
        return life.append(held, note, refused.refused_at, is_editable=False)
    gone = [
        field.name
        for field in (live_fields(kind) if kind is not None else ())
        if field.name in activity.fields and _is_refused(field, activity.fields[field.name], refused)
    ]
    if not gone:
        return unchanged(held)
    left = {name: value for name, value in activity.fields.items() if name not in gone}
    later = next_version(held, refused.refused_at, fields=left)
    return Decision("applied", held._replace(activity=later), ("activity.updated",), why)


def _is_refused(field: ObjectField, value: Any, refused: RecordRefused) -> bool:
    place = field.custom_object_field
    if place is None or place.object != refused.object or place.name not in refused.fields:
        return False
    return bool(_on_record(place.name, value) == refused.fields[place.name])


def _on_record(name: str, value: Any) -> Any:
    return value[_PLAIN[name]] if name in _PLAIN and isinstance(value, dict) else value
