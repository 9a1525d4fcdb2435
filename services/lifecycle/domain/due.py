"""When a day ends: a due without a time stands for the end of that day in somebody's zone."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo


def end_of_day(day: date, zone: str) -> datetime:
    """Return the last microsecond of `day` in `zone` (IANA name), in UTC; days of 23 and 25 hours end like others.

    The next midnight may not exist or come twice: then the first instant of the next day counts. An unknown zone is
    read as UTC.
    """
    midnight = datetime.combine(day + timedelta(days=1), time.min, zone_of(zone))
    return midnight.astimezone(UTC) - timedelta(microseconds=1)


def zone_of(zone: str) -> ZoneInfo:
    """Find a zone by its IANA name; UTC where the name is unknown."""
    try:
        return ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        return ZoneInfo("UTC")
