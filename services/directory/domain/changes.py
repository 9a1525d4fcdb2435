"""What changed about records, as `record.changed` says it."""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

import orjson

from libs.contracts.activity import Person
from libs.contracts.ids import key_of
from libs.contracts.record import RecordChanged, RecordRequested
from libs.messaging.outbox import Outgoing
from services.directory.domain.events import Row, events_of

COMPARED = (
    "name", "status", "owner_id", "external_ref", "account_id", "visible_role_ids", "merged_into", "converted_to",
    "archived_at", "deleted_at",
)  # fmt: skip


def record_events(
    before: Mapping[UUID, Row], after: Iterable[Row], by: UUID | None, request: RecordRequested | None = None
) -> list[Outgoing]:
    """Make the events of records that were written: their state, and of those that were there what changed, by whom.

    An erasure takes text away and says nothing of it.
    """
    rows = list(after)
    changes = [
        _change_of(before[row["id"]], row, by, request)
        for row in rows
        if row["id"] in before and (row["erased_at"] is None or before[row["id"]]["erased_at"] is not None)
    ]
    return [*events_of("directory.record", rows), *changes]


def _change_of(before: Row, after: Row, by: UUID | None, request: RecordRequested | None) -> Outgoing:
    then, now = _values(before), _values(after)
    changed = [name for name in sorted({*then, *now}) if then.get(name) != now.get(name)]
    event = RecordChanged(
        business_id=after["business_id"],
        object=after["object"],
        record_id=after["id"],
        version=after["version"],
        before={name: then.get(name) for name in changed},
        after={name: now.get(name) for name in changed},
        by=Person(member_id=by) if by is not None else _asking(request),
        request_id=request.request_id if request is not None else None,
        activity_id=request.activity_id if request is not None else None,
        changed_at=after["updated_at"],
    )
    key = key_of(event.business_id, event.record_id)
    return Outgoing(("record.changed",), key, event.model_dump_json().encode(), version=event.version)


def _asking(request: RecordRequested | None) -> Person | None:
    """Name who asked; what was heard is no pydantic model, so that it is made anew."""
    if request is None or request.by is None:
        return None
    return Person(member_id=request.by.member_id, name=request.by.name)


def _values(row: Row) -> dict[str, Any]:
    fields = orjson.loads(row["fields"])
    plain = {name: row[name] for name in COMPARED}
    return plain | {f"fields.{name}": value for name, value in fields.items()}
