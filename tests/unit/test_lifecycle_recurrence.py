"""Recurrence: what occurs when, against dateutil's own expansion, over clock changes, split, ended and skipped."""

import warnings
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

import msgspec
import pytest
from dateutil.rrule import rrulestr
from hypothesis import given
from hypothesis import strategies as st

from services.lifecycle.domain import recurrence
from services.lifecycle.domain.due import zone_of
from services.lifecycle.domain.recurrence import BadRule, Segment, Series

START = date(2030, 1, 7)
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Pacific/Apia")
DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")


def series_of(rule: str, first: date = START, at: time | None = time(9), zone: str = "Europe/Berlin") -> Series:
    segment = Segment(first, first, recurrence.check(rule, first, at, zone), UUID(int=1), 1, at)
    return Series(UUID(int=2), UUID(int=3), "one_open", zone, first, (segment,))


def days_of(series: Series, upto: date = date(2040, 1, 1)) -> list[date]:
    return [day for day, _ in recurrence.occurrences(series, date.min, upto)]


@st.composite
def rules(draw: st.DrawFn) -> tuple[str, date]:
    """A rule, and the first day it gives from some day on."""
    freq = draw(st.sampled_from(recurrence.FREQUENCIES))
    parts = [f"FREQ={freq}", f"INTERVAL={draw(st.integers(1, 5))}"]
    if draw(st.booleans()):
        parts.append(f"BYDAY={','.join(sorted(draw(st.sets(st.sampled_from(DAYS), min_size=1))))}")
    if freq == "MONTHLY" and draw(st.booleans()):
        parts.append(f"BYMONTHDAY={draw(st.sampled_from((1, 15, 31, -1)))}")
    if draw(st.booleans()):
        parts.append(f"COUNT={draw(st.integers(1, 40))}")
    elif draw(st.booleans()):
        parts.append(f"UNTIL={draw(st.dates(date(2031, 1, 1), date(2036, 1, 1))):%Y%m%d}")
    begin = draw(st.dates(date(2029, 1, 1), date(2030, 12, 31)))
    rule = ";".join(parts)
    first = rrulestr(rule, dtstart=datetime.combine(begin, time(9))).after(datetime.combine(begin, time.min), inc=True)
    return rule, first.date() if first is not None else begin


@given(rules())
def test_occurrences_are_those_of_dateutil(found: tuple[str, date]) -> None:
    rule, first = found
    end = datetime.combine(date(2036, 6, 1), time.max)
    try:
        series = series_of(rule, first)
    except BadRule:
        assert rrulestr(rule, dtstart=datetime.combine(first, time(9))).after(
            datetime.combine(first, time.min), inc=True
        ) != datetime.combine(first, time(9))
        return
    until = [part for part in rule.split(";") if part.startswith("UNTIL")]
    bare = ";".join(part for part in rule.split(";") if part not in until)
    expected = rrulestr(bare, dtstart=datetime.combine(first, time(9))).between(
        datetime.combine(first, time.min), end, inc=True
    )
    last = date.fromisoformat(until[0].removeprefix("UNTIL=")) if until else date.max
    assert days_of(series, end.date()) == [each.date() for each in expected if each.date() <= last]


@given(rules(), st.integers(0, 30))
def test_next_after_next_walks_through_the_same_days(found: tuple[str, date], steps: int) -> None:
    rule, first = found
    try:
        series = series_of(rule, first)
    except BadRule:
        return
    walked = [first]
    for _ in range(steps):
        following = recurrence.next_after(series, walked[-1])
        if following is None:
            break
        walked.append(following[0])
    assert walked == days_of(series, max(walked[-1], first))


@given(st.sampled_from(ZONES), st.times(), st.integers(0, 800))
def test_an_occurrence_keeps_its_time_of_day_over_clock_changes(zone: str, at: time, ahead: int) -> None:
    segment = Segment(START, START, "FREQ=DAILY", UUID(int=1), 1, at)
    day = START + timedelta(days=ahead)
    due_at, due_date = recurrence.due_of(segment, zone, day)
    local = due_at.astimezone(zone_of(zone))
    exists = datetime.combine(day, at, zone_of(zone)).astimezone(UTC).astimezone(zone_of(zone)).time() == at
    assert due_date is None
    assert (local.date(), local.time()) == (day, at) or not exists


@given(st.sampled_from(ZONES), st.integers(0, 800))
def test_a_whole_day_is_due_when_it_ends(zone: str, ahead: int) -> None:
    day = START + timedelta(days=ahead)
    due_at, due_date = recurrence.due_of(Segment(START, START, "FREQ=DAILY", UUID(int=1), 1), zone, day)
    assert due_date == day
    assert (due_at + timedelta(microseconds=1)).astimezone(zone_of(zone)).date() == day + timedelta(days=1)


@given(rules(), st.integers(1, 10))
def test_a_split_without_another_rule_changes_no_day(found: tuple[str, date], place: int) -> None:
    rule, first = found
    try:
        series = series_of(rule, first)
    except BadRule:
        return
    before = days_of(series)
    if place >= len(before):
        return
    day = before[place]
    rest = recurrence.rest_of(series.segments[0], series.zone, day)
    later = recurrence.split(series, day, Segment(day, day, rest, UUID(int=1), 2, time(9)))
    if "INTERVAL=1" in rule or "BYDAY" not in rule:
        assert days_of(later) == before
    assert recurrence.id_of(later.id, day) == recurrence.id_of(series.id, day)


def test_skipped_days_and_those_after_the_end_do_not_occur() -> None:
    series = series_of("FREQ=WEEKLY;COUNT=5")
    left = msgspec.structs.replace(series, skipped=(date(2030, 1, 14),), ends=date(2030, 1, 28))
    assert days_of(left) == [date(2030, 1, 7), date(2030, 1, 21)]
    following = recurrence.next_after(left, START)
    assert following is not None
    assert following[0] == date(2030, 1, 21)
    assert recurrence.next_after(left, date(2030, 1, 21)) is None


def test_the_last_working_day_of_a_month_and_the_second_monday_are_found() -> None:
    last = series_of("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", first=date(2030, 1, 31))
    assert days_of(last, date(2030, 4, 1)) == [date(2030, 1, 31), date(2030, 2, 28), date(2030, 3, 29)]
    second = series_of("FREQ=MONTHLY;BYDAY=2MO", first=date(2030, 1, 14))
    assert days_of(second, date(2030, 3, 1)) == [date(2030, 1, 14), date(2030, 2, 11)]


def test_until_as_an_instant_is_read_where_the_series_is() -> None:
    assert days_of(series_of("FREQ=DAILY;UNTIL=20300109T075959Z")) == [START, date(2030, 1, 8)]
    assert len(days_of(series_of("FREQ=DAILY;UNTIL=20300109T080000Z"))) == 3


@pytest.mark.parametrize(
    "rule",
    [
        "", "FREQ=HOURLY", "FREQ=SECONDLY;COUNT=3", "BYDAY=MO", "FREQ=DAILY;COUNT=0", "FREQ=DAILY;COUNT=10001",
        "FREQ=DAILY;INTERVAL=0", "FREQ=DAILY;COUNT=2;UNTIL=20300101", "FREQ=DAILY;BYHOUR=9,17", "FREQ=DAILY;FREQ=DAILY",
        "FREQ=DAILY;UNTIL=tomorrow", "FREQ=WEEKLY;BYDAY=XX", "FREQ=WEEKLY;BYDAY=TU", "FREQ=YEARLY;BYMONTH=13",
        "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", "FREQ=DAILY\\nDTSTART:20300101", "FREQ=DAILY;X=1",
        "FREQ=MONTHLY;BYSETPOS=x", "FREQ=MONTHLY;BYDAY=9MO", "FREQ=MONTHLY;BYDAY=2MO;BYMONTHDAY=7",
        "FREQ=DAILY;BYSETPOS=2",
        "FREQ=WEEKLY;BYDAY=1MO", "FREQ=YEARLY;BYWEEKNO=53", "FREQ=MONTHLY;BYMONTHDAY=31", "FREQ=MONTHLY;BYSETPOS=99",
        "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=2", "FREQ=YEARLY;BYMONTHDAY=7,x", "FREQ=MONTHLY;BYDAY=",
        "FREQ=DAILY;" + "INTERVAL=1" * 60, "FREQ=YEARLY;BYMONTHDAY=", "FREQ=DAILY;COUNT=١",
    ],
)  # fmt: skip
def test_what_is_no_rule_of_days_that_begins_with_its_first_is_refused(rule: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(BadRule):
            recurrence.check(rule, START, time(9), "UTC")


def test_a_rule_that_never_comes_again_is_looked_for_within_bounds() -> None:
    assert recurrence.next_after(series_of("FREQ=YEARLY;INTERVAL=1000"), START) is None
    leap = series_of("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", first=date(2096, 2, 29))
    following = recurrence.next_after(leap, date(2096, 2, 29))
    assert following is not None
    assert following[0] == date(2104, 2, 29)
