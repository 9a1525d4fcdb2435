"""Linked fields: their values live on records, which directory changes when an activity asks for it. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.contracts import activity as contract
from libs.contracts.activity_object import ActivityObject, ObjectField
from libs.contracts.record import RecordRefused
from libs.errors import Problem
from services.lifecycle.domain import life
from services.lifecycle.domain.fields import Checked, Compiled, live_fields
from services.lifecycle.domain.held import Append, Decision, Held, Linked, next_version, unchanged

Living = Mapping[UUID, Mapping[str, Any]]
"""What records say now, by their ids and their own names: their fields, `name`, `status`, `owner_id`."""

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


def records_of(compiled: Compiled, links: Iterable[contract.Link]) -> dict[str, UUID]:
    """Name the record that each linked field's value lives on, of those that an activity is about."""
    records = {link.object: link.record_id for link in links if link.record_id is not None}
    return {name: records[place.object] for name, place in compiled.linked.items() if place.object in records}


def as_now(
    compiled: Compiled, held: Mapping[str, Any], links: Iterable[contract.Link], living: Living
) -> dict[str, Any]:
    """Give the values of an activity with those of linked fields as their records say now, where these are known.

    What a field does not take, or rules hide, stays on the record alone. A value that says the same stays as held.
    """
    fields = dict(held)
    for name, record_id in records_of(compiled, links).items():
        if record_id in living:
            place = compiled.linked[name].name
            own, value = fields.pop(name, None), living[record_id].get(place)
            now = own if own is not None and _on_record(place, own) == value else compiled.taken(name, value)
            if now is not None:
                fields[name] = now
    while gone := compiled.linked.keys() & compiled.hidden(fields) & fields.keys():
        fields = {name: value for name, value in fields.items() if name not in gone}
    return fields


def own_values(compiled: Compiled, checked: Checked, held: Mapping[str, Any]) -> dict[str, Any]:
    """Give what a plan stores of checked values: of linked fields what it says itself, not what their records say."""
    if not compiled.linked:
        return checked.stored
    others = compiled.linked.keys() - checked.linked.keys()
    stored = {name: value for name, value in checked.stored.items() if name not in others}
    return stored | {name: held[name] for name in others if name in held}


def ask(decision: Decision, now: datetime, *, asks: bool) -> Decision:
    """Let a change that leaves the activity as it is be a version where it `asks` a record for what it does not say.

    The activity had written that value before, and the record was changed elsewhere since.
    """
    if decision.outcome != "unchanged" or not asks or decision.held is None:
        return decision
    again = decision.held._replace(activity=next_version(decision.held, now))
    return Decision("applied", again, ("activity.updated",), "a record is asked for what it had been asked for before")


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
