"""What an activity asks to be changed about a record: allowed, or why not. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from libs.contracts.ids import key_of
from libs.contracts.record import RecordRefused, RecordRequested
from libs.contracts.report import Reason
from libs.errors import Problem
from libs.messaging.outbox import Outgoing
from services.directory.domain import rules
from services.directory.domain.events import Row

COLUMNS = ("name", "status", "owner_id")
"""What of a record is no field of its own object; the rest is `fields`."""
NAME_MAX = 500


@dataclass(frozen=True, slots=True)
class Around:
    """What a request is decided by: the record that stands for the one asked for, its object, and who is a member."""

    record: Row | None
    kind: Row | None
    members: Collection[UUID]


def decide(request: RecordRequested, around: Around) -> tuple[Row | None, list[Problem]]:
    """Give the record as it becomes, or what is wrong with the request."""
    record, kind = around.record, around.kind
    if record is None or kind is None or record["deleted_at"] is not None:
        message = f"{request.record_id} is not a record of {request.object[:100]!r} any more"
        return None, [Problem("record_id", "does_not_exist", message)]
    if record["erased_at"] is not None:
        return None, [Problem("record_id", "erased", f"{record['id']} {rules.ERASED}")]
    problems = [
        Problem(name, "not_allowed", f"records of {request.object!r} do not let activities write {name!r}")
        for name in request.fields
        if name in kind["locked_fields"]
    ]
    columns = {name: request.fields[name] for name in COLUMNS if name in request.fields}
    problems += _check_columns(columns, kind["statuses"], around.members)
    if problems:
        return None, problems
    own = {name: value for name, value in request.fields.items() if name not in COLUMNS}
    fields = rules.merge_fields(orjson.loads(record["fields"]), own)
    if columns.get("owner_id") is not None:
        columns["owner_id"] = UUID(columns["owner_id"])
    return record | columns | {"fields": orjson.dumps(fields)}, []


def refusal(request: RecordRequested, problems: Sequence[Problem], at: datetime) -> Outgoing:
    """Write the event that a request was refused."""
    asked = {name: getattr(request, name) for name in RecordRequested.model_fields}
    event = RecordRefused.model_validate(
        {
            **{name: _plain(value) for name, value in asked.items()},
            "refused_at": at,
            "reasons": [Reason(field=each.field, code=each.code, message=each.message) for each in problems],
        }
    )
    key = key_of(request.business_id, request.record_id)
    return Outgoing(("record.refused",), key, event.model_dump_json().encode(), id=request.request_id)


def _check_columns(columns: dict[str, Any], statuses: Sequence[str], members: Collection[UUID]) -> list[Problem]:
    problems = []
    name, status = columns.get("name", ""), columns.get("status")
    if "name" in columns and not (isinstance(name, str) and 0 < len(name) <= NAME_MAX):
        problems.append(Problem("name", "invalid", f"must be a text of 1 to {NAME_MAX} characters"))
    if status is not None and not isinstance(status, str):
        problems.append(Problem("status", "invalid", "must be a text"))
        status = None
    owner_id = owner_of(columns)
    if columns.get("owner_id") is not None and owner_id is None:
        problems.append(Problem("owner_id", "invalid", "must be a member's id"))
    return [*problems, *rules.check_record(status, owner_id, statuses, members)]


def owner_of(fields: dict[str, Any]) -> UUID | None:
    """Read the owner that fields name, if it can be one."""
    text = fields.get("owner_id")
    try:
        return UUID(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _plain(value: Any) -> Any:
    if hasattr(value, "__struct_fields__"):
        return {name: getattr(value, name) for name in value.__struct_fields__}
    return value
