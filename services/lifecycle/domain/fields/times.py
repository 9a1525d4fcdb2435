"""Kinds whose value is a time: date, datetime."""

from datetime import UTC, date, datetime

from libs.contracts.activity_object import ObjectField
from libs.contracts.ids import instant_text
from services.lifecycle.domain.fields.wrong import Check, Wrong, must_be_text, shown

YEAR_MIN, YEAR_MAX = 1900, 2200


def day(_: ObjectField) -> Check:
    """Check a day, `YYYY-MM-DD`."""

    def check(value: object) -> str:
        given = must_be_text(value)
        try:
            found = date.fromisoformat(given)
        except ValueError:
            found = None
        if found is None or found.isoformat() != given or not YEAR_MIN <= found.year <= YEAR_MAX:
            message = f"is {shown(value)}; give a day of the years {YEAR_MIN} to {YEAR_MAX}, such as 2026-01-31"
            raise Wrong("not_a_date", message)
        return given

    return check


def instant(_: ObjectField) -> Check:
    """Check an instant with an offset; stored in UTC with `Z`."""

    def check(value: object) -> str:
        found = _in_utc(must_be_text(value))
        if found is None or not YEAR_MIN <= found.year <= YEAR_MAX:
            message = f"is {shown(value)}; give an instant with an offset, such as 2026-01-31T09:00:00Z"
            raise Wrong("not_an_instant", message)
        return instant_text(found)

    return check


def _in_utc(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
