"""What every event has in common: a pydantic model with fixed types and topics (CloudEvents 1.0, binary mode)."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict


def _in_utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("an instant needs an offset, such as 2026-01-31T09:00:00Z")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("lies outside the years 1 to 9999 in UTC") from None


Instant = Annotated[datetime, AfterValidator(_in_utc)]


class Shape(BaseModel):
    """A part of an event. Unknown fields are ignored, so that an older reader reads a newer writer."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Event(Shape):
    """A fact, past tense. Subclasses are the one source of each shape on the topics."""
