"""Spans of time as spans of ids: a UUIDv7 begins with the millisecond of its making (RFC 9562)."""

from datetime import datetime
from uuid import UUID

FIRST, END = UUID(int=0), UUID(int=(1 << 128) - 1)


def first_id_at(instant: datetime) -> UUID:
    """Return the lowest id that could be made at that moment; nothing ever has it."""
    milliseconds = max(0, min(int(instant.timestamp() * 1000), (1 << 48) - 1))
    return UUID(int=milliseconds << 80)


def span_of(start: datetime | None, end: datetime | None) -> tuple[UUID, UUID]:
    """Return the ids between which lies what was made from `start` on and before `end`, both left out."""
    return FIRST if start is None else first_id_at(start), END if end is None else first_id_at(end)
