"""Days, weeks and months of a zone as instants: the buckets of a report. Pure.

All zones have their offsets from the same data, Python's; PostgreSQL only gets instants.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Literal

Granularity = Literal["day", "week", "month"]
DAY = timedelta(days=1)

FIRST_DAY = date(1980, 1, 1)
"""Since then every zone's offset is a multiple of 15 minutes (Kiritimati came last, in 1979); roll-ups rely on it."""
LAST_DAY = date(2199, 12, 31)
RANGE_MAX_DAYS: dict[Granularity, int] = {"day": 1_100, "week": 3_700, "month": 3_700}


@dataclass(frozen=True, slots=True)
class Bucket:
    """A day, week (from Monday) or month: the day it is named by, and those of its days that the report covers."""

    name: date
    first: date
    last: date


def buckets_of(first: date, last: date, granularity: Granularity) -> list[Bucket]:
    """Divide the days from `first` to `last`, both included, into buckets without gaps."""
    buckets = []
    start = first
    while start <= last:
        name, following = _around(start, granularity)
        buckets.append(Bucket(name, start, min(last, following - DAY)))
        start = following
    return buckets


def _around(day: date, granularity: Granularity) -> tuple[date, date]:
    """Return the first day of the bucket that `day` lies in, and the first day of the next one."""
    if granularity == "day":
        return day, day + DAY
    if granularity == "week":
        monday = day - timedelta(days=day.weekday())
        return monday, monday + timedelta(days=7)
    first = day.replace(day=1)
    return first, (first + timedelta(days=31)).replace(day=1)


def bounds_of(buckets: list[Bucket], zone: tzinfo) -> list[datetime]:
    """Return the instant at which each bucket begins, and the one at which the last ends."""
    return [*(start_of(bucket.first, zone) for bucket in buckets), start_of(buckets[-1].last + DAY, zone)]


def start_of(day: date, zone: tzinfo) -> datetime:
    """Return the first instant of a day in a zone (UTC).

    Where clocks jump over midnight that is the moment of the jump (`fold` 0 takes the offset before it); a day that a
    zone left out is empty: it begins when the next one does.
    """
    return datetime.combine(day, time(), zone).astimezone(UTC)
