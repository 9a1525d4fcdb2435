"""Rows as events: the full state of a thing at its version."""

from collections.abc import Iterable
from typing import Any

import orjson

from libs.contracts.directory import ApiKey, Business, Member, Record, RecordObject, Role
from libs.contracts.event import Event
from libs.contracts.ids import key_of
from libs.messaging.outbox import Outgoing

Row = dict[str, Any]
"""A row of a table by column; JSON columns as bytes."""

SHAPES: dict[str, type[Event]] = {
    "directory.business": Business,
    "directory.member": Member,
    "directory.role": Role,
    "directory.api_key": ApiKey,
    "directory.object": RecordObject,
    "directory.record": Record,
}


def events_of(event_type: str, rows: Iterable[Row]) -> list[Outgoing]:
    """Make the events of a type from rows of its table."""
    shape = SHAPES[event_type]
    return [_event_of(event_type, shape, row) for row in rows]


def _event_of(event_type: str, shape: type[Event], row: Row) -> Outgoing:
    plain = {name: orjson.loads(value) if isinstance(value, bytes) else value for name, value in row.items()}
    value = shape(**plain).model_dump_json().encode()
    return Outgoing((event_type,), key_of(row["business_id"], row["id"]), value, version=row["version"])
