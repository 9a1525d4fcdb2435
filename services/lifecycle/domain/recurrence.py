"""Recurrence: a rule (RFC 5545 RRULE) over days in a zone, in segments from a day on, and what is left out of it.

An occurrence is named by its day in the series' zone; its activity's id is `uuid5(series, day)`, so that it is known
before there is one, and made once however often it is tried. Its time of day is that of its segment: 9:00 stays 9:00
when clocks change; an hour that does not exist is the one after it, one that comes twice the first of them.
"""

import re
import warnings
from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from typing import Literal
from uuid import UUID, uuid5

import msgspec
from dateutil.rrule import rrule, rrulestr

from services.lifecycle.domain.due import end_of_day, zone_of

RULE_LENGTH_MAX = 500
COUNT_MAX = 10_000
INTERVAL_MAX = 1_000
LOOK_AHEAD_DAYS = 12 * 366
"""How far the next occurrence is looked for: 29 February is at most 8 years off (1896–1904)."""

FREQUENCIES = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")
PARTS = ("FREQ", "INTERVAL", "COUNT", "UNTIL", "BYDAY", "BYMONTHDAY", "BYMONTH", "BYSETPOS", "WKST")
"""What is taken of RFC 5545. With the rest dateutil may look for a day that never comes until the year 9999."""

WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
NTH_MAX = 5
NTH = re.compile(r"([+-]?[1-5])?")
HORIZON_DAYS = 30
"""How far ahead the occurrences of a `fixed` series are made."""
SKIPPED_MAX = 1_000
Mode = Literal["one_open", "fixed"]


class Segment(msgspec.Struct, frozen=True):
    """What holds from the day `begins` on: the rule counted from `first`, the time of day (None: the day is due as a
    whole), and the version of an activity that occurrences are made like.
    """

    begins: date
    first: date
    rule: str
    activity_id: UUID
    version: int
    at: time | None = None


class Series(msgspec.Struct, frozen=True):
    """A recurrence. `one_open`: the next occurrence is made when the newest ends; `fixed`: they are made ahead.

    `made_until` is the newest day with an activity; nothing occurs from `ends` on.
    """

    business_id: UUID
    id: UUID
    mode: Mode
    zone: str
    made_until: date
    segments: tuple[Segment, ...]
    skipped: tuple[date, ...] = ()
    ends: date | None = None


class BadRule(Exception):
    """Says what is wrong with a rule."""


def check(rule: str, first: date, at: time | None, zone: str) -> str:
    """Return a rule as it is kept. Raises BadRule, also where it does not begin with `first`."""
    parts = _parts(rule)
    kept = ";".join(f"{name}={value}" for name, value in parts.items())
    if not _fits(parts, first):
        raise BadRule(f"does not begin with {first}: the first due has to be an occurrence of its rule")
    segment = Segment(first, first, kept, UUID(int=0), 0, at)
    if next(_days(segment, zone, first), None) != first:
        raise BadRule(f"does not begin with {first}: the first due has to be an occurrence of its rule")
    return kept


def id_of(series_id: UUID, day: date) -> UUID:
    """Name the activity of an occurrence."""
    return uuid5(series_id, day.isoformat())


def due_of(segment: Segment, zone: str, day: date) -> tuple[datetime, date | None]:
    """Return when an occurrence is due: `due_at` and `due_date`."""
    if segment.at is None:
        return end_of_day(day, zone), day
    local = datetime.combine(day, segment.at, zone_of(zone))
    return local.astimezone(UTC), None


def occurrences(series: Series, after: date, upto: date) -> Iterator[tuple[date, Segment]]:
    """Go through the occurrences after a day, up to and with another; skipped ones are left out."""
    for place, segment in enumerate(series.segments):
        end = series.segments[place + 1].begins if place + 1 < len(series.segments) else date.max
        for day in _days(segment, series.zone, min(upto, end - timedelta(days=1))):
            if series.ends is not None and day >= series.ends:
                return
            if day > after and day >= segment.begins and day not in series.skipped:
                yield day, segment


def next_after(series: Series, day: date) -> tuple[date, Segment] | None:
    """Find the occurrence after a day."""
    upto = min(date(2199, 12, 31).toordinal(), day.toordinal() + LOOK_AHEAD_DAYS)
    return next(occurrences(series, day, date.fromordinal(upto)), None)


def segment_of(series: Series, day: date) -> Segment:
    """Find the segment that a day lies in."""
    return [each for each in series.segments if each.begins <= day or each is series.segments[0]][-1]


def split(series: Series, day: date, segment: Segment) -> Series:
    """Let a segment hold from a day on."""
    earlier = tuple(each for each in series.segments if each.begins < day)
    return msgspec.structs.replace(
        series, segments=(*earlier, segment), made_until=max(series.made_until, day, segment.first)
    )


def rest_of(segment: Segment, zone: str, day: date) -> str:
    """Return a segment's rule as it is from a day on: of its COUNT what is left."""
    parts = _parts(segment.rule)
    if "COUNT" in parts:
        passed = sum(1 for _ in _days(segment, zone, day - timedelta(days=1)))
        parts["COUNT"] = str(max(1, int(parts["COUNT"]) - passed))
    return ";".join(f"{name}={value}" for name, value in parts.items())


def _days(segment: Segment, zone: str, upto: date) -> Iterator[date]:
    """Go through the days of a segment's rule, up to and with one: bounded, as no day may ever come."""
    if upto < segment.first:
        return iter(())
    parts = _parts(segment.rule)
    count, until = int(parts.pop("COUNT", COUNT_MAX)), parts.pop("UNTIL", None)
    begin = datetime.combine(segment.first, segment.at or time.min)
    end = datetime.combine(upto, time.max)
    if until is not None:
        end = min(end, _until(until, zone))
    found = _rule(";".join(f"{name}={value}" for name, value in parts.items()), begin, end)
    return (each.date() for each in islice(found, count))


def _rule(text: str, begin: datetime, end: datetime) -> Iterator[datetime]:
    try:
        rule = rrulestr(text, dtstart=begin)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise BadRule(f"is not a rule of RFC 5545: {error}") from None
    assert isinstance(rule, rrule)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return iter(rule.replace(until=end))


def _parts(rule: str) -> dict[str, str]:
    """Take a rule apart. Raises BadRule for what is not a rule of days."""
    text = rule.strip().upper().removeprefix("RRULE:")
    if len(text) > RULE_LENGTH_MAX:
        raise BadRule(f"has more than {RULE_LENGTH_MAX} characters")
    parts: dict[str, str] = {}
    for part in filter(None, text.split(";")):
        name, sign, value = part.partition("=")
        if name not in PARTS or not sign or not value or name in parts:
            raise BadRule(f"has {part[:50]!r}; each of {', '.join(PARTS)} may be given once")
        parts[name] = value
    _check_values(parts)
    return parts


def _check_values(parts: dict[str, str]) -> None:
    if parts.get("FREQ") not in FREQUENCIES:
        raise BadRule(f"needs FREQ, one of {', '.join(FREQUENCIES)}")
    if "COUNT" in parts and "UNTIL" in parts:
        raise BadRule("has COUNT and UNTIL; give one of them")
    for name, most in (("COUNT", COUNT_MAX), ("INTERVAL", INTERVAL_MAX)):
        value = parts.get(name, "1")
        if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= most:
            raise BadRule(f"has {name}={value[:20]}; it has to lie between 1 and {most}")
    if "UNTIL" in parts:
        _until(parts["UNTIL"], "UTC")
    _check_days(parts)


def _fits(parts: dict[str, str], day: date) -> bool:
    """Tell whether a day can be an occurrence. Only then dateutil is asked: it does not give up where nothing fits."""
    days = {text[-2:] for text in parts["BYDAY"].split(",")} if "BYDAY" in parts else set(WEEKDAYS)
    from_end = day.day - monthrange(day.year, day.month)[1] - 1
    if WEEKDAYS[day.weekday()] not in days or day.month not in _numbers(parts, "BYMONTH", day.month):
        return False
    if not _numbers(parts, "BYMONTHDAY", day.day) & {day.day, from_end}:
        return False
    if "BYSETPOS" not in parts:
        return True
    begin = day.replace(day=1) if parts["FREQ"] == "MONTHLY" else day.replace(month=1, day=1)
    month = day.month if parts["FREQ"] == "MONTHLY" else 12
    end = date(day.year, month, monthrange(day.year, month)[1])
    bare = {name: value for name, value in parts.items() if name not in ("BYSETPOS", "COUNT", "UNTIL", "INTERVAL")}
    text = ";".join(f"{name}={value}" for name, value in bare.items())
    found = list(_rule(text, datetime.combine(begin, time.min), datetime.combine(end, time.max)))
    places = _numbers(parts, "BYSETPOS", 1)
    return any(
        each.date() == day and (place + 1 in places or place - len(found) in places) for place, each in enumerate(found)
    )


def _numbers(parts: dict[str, str], name: str, default: int) -> set[int]:
    """Read numbers with commas between them. Raises BadRule."""
    try:
        return {int(text) for text in parts[name].split(",")} if name in parts else {default}
    except ValueError:
        raise BadRule(f"has {name}={parts[name][:50]}; give whole numbers with commas between them") from None


def _check_days(parts: dict[str, str]) -> None:
    """Refuse days that dateutil takes and that never come."""
    nth = [text for text in parts.get("BYDAY", "MO").split(",") if len(text) != 2]
    for text in parts.get("BYDAY", "MO").split(","):
        if text[-2:] not in WEEKDAYS or not NTH.fullmatch(text[:-2]):
            raise BadRule(f"has BYDAY={text[:20]}; give {', '.join(WEEKDAYS)}, or such as 1MO, -1FR (up to {NTH_MAX})")
    monthly = parts["FREQ"] in ("MONTHLY", "YEARLY")
    if nth and (not monthly or "BYMONTHDAY" in parts):
        raise BadRule(f"has BYDAY={nth[0]}; it goes with FREQ=MONTHLY or YEARLY, and without BYMONTHDAY")
    for name in ("BYSETPOS", "BYMONTHDAY"):
        if name in parts and not monthly:
            raise BadRule(f"has {name}; it goes with FREQ=MONTHLY or YEARLY")


def _until(text: str, zone: str) -> datetime:
    """Read UNTIL as local time: a day until its end, an instant with Z where the series is."""
    for form in ("%Y%m%d", "%Y%m%dT%H%M%S", "%Y%m%dT%H%M%SZ"):
        try:
            found = datetime.strptime(text, form)  # noqa: DTZ007 - local, on purpose
        except ValueError:
            continue
        if form == "%Y%m%d":
            return datetime.combine(found.date(), time.max)
        if form.endswith("Z"):
            return found.replace(tzinfo=UTC).astimezone(zone_of(zone)).replace(tzinfo=None)
        return found
    raise BadRule(f"has UNTIL={text[:20]}; give 20300131 or 20300131T090000Z")
