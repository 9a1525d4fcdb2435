"""What is counted, and in which days."""

from datetime import UTC, date, datetime, timedelta
from uuid import uuid4
from zoneinfo import ZoneInfo, available_timezones

from libs.contracts.activity import Person, newest_of
from services.reporting.domain.buckets import FIRST_DAY, bounds_of, buckets_of, start_of
from services.reporting.domain.facts import differences_of, fact_of, quarter_of
from tests.support.histories import START, activity, event, next_version, planned

BUSINESS = uuid4()


def test_new_fact_adds_one_and_a_changed_one_moves_from_cell_to_cell() -> None:
    plan = planned(BUSINESS, due_at=START + timedelta(minutes=7))
    done = next_version(plan, logged_at=START, occurred_at=START, at=START, actor=Person(name="Ada"))
    key = (BUSINESS, plan.activity_id)
    (added,) = differences_of({key: fact_of(plan)}, {key: None}).items()
    assert (added[0].state, added[0].quarter, added[1]) == ("due", START, 1)
    moved = differences_of({key: fact_of(done)}, {key: fact_of(plan)})
    assert sorted((cell.state, cell.agent, change) for cell, change in moved.items()) == [
        ("completed", "Ada", 1),
        ("due", "", -1),
    ]


def test_version_that_counts_the_same_changes_nothing() -> None:
    first = activity(BUSINESS)
    key = (BUSINESS, first.activity_id)
    assert differences_of({key: fact_of(next_version(first, summary="new"))}, {key: fact_of(first)}) == {}


def test_retracted_and_deleted_are_not_counted() -> None:
    for ended in ({"retracted_at": START}, {"deleted_at": START}):
        fact = fact_of(activity(BUSINESS, **ended))
        assert not fact.counted
        assert differences_of({fact[:2]: fact}, {fact[:2]: None}) == {}


def test_highest_version_of_a_batch_counts() -> None:
    first = activity(BUSINESS)
    (newest,) = newest_of([event(next_version(first)), event(first)]).values()
    assert fact_of(newest).version == 2


def test_quarter_is_where_an_instant_lies() -> None:
    assert quarter_of(datetime(2026, 3, 1, 9, 59, 59, 999_999, tzinfo=UTC)) == datetime(2026, 3, 1, 9, 45, tzinfo=UTC)


def test_days_of_every_zone_begin_on_a_quarter_hour() -> None:
    days = [FIRST_DAY, date(1987, 11, 1), date(2005, 4, 3), date(2016, 5, 1), date(2026, 3, 29), date(2026, 10, 25)]
    for name in sorted(available_timezones()):
        for day in days:
            begins = start_of(day, ZoneInfo(name))
            assert quarter_of(begins) == begins, f"{day} in {name} begins at {begins}"


def test_day_lasts_23_or_25_hours_when_clocks_change() -> None:
    def hours(day: date, zone: str) -> float:
        first, last = bounds_of(buckets_of(day, day, "day"), ZoneInfo(zone))
        return (last - first) / timedelta(hours=1)

    assert hours(date(2026, 3, 29), "Europe/Berlin") == 23
    assert hours(date(2026, 10, 25), "Europe/Berlin") == 25
    assert hours(date(2026, 4, 5), "Australia/Lord_Howe") == 24.5
    assert hours(date(2018, 11, 4), "America/Sao_Paulo") == 23  # clocks jumped over midnight
    assert hours(date(2011, 12, 30), "Pacific/Apia") == 0  # Samoa left this day out


def test_days_begin_at_half_and_quarter_hours_where_zones_do() -> None:
    assert start_of(date(2026, 3, 2), ZoneInfo("Asia/Kolkata")) == datetime(2026, 3, 1, 18, 30, tzinfo=UTC)
    assert start_of(date(2026, 3, 2), ZoneInfo("Asia/Kathmandu")) == datetime(2026, 3, 1, 18, 15, tzinfo=UTC)


def test_weeks_begin_on_monday_and_months_on_the_first_cut_to_the_range() -> None:
    weeks = buckets_of(date(2026, 3, 4), date(2026, 3, 16), "week")
    assert [(bucket.name.day, bucket.first.day, bucket.last.day) for bucket in weeks] == [
        (2, 4, 8),
        (9, 9, 15),
        (16, 16, 16),
    ]
    months = buckets_of(date(2025, 12, 31), date(2026, 2, 3), "month")
    assert [(bucket.name, bucket.first, bucket.last) for bucket in months] == [
        (date(2025, 12, 1), date(2025, 12, 31), date(2025, 12, 31)),
        (date(2026, 1, 1), date(2026, 1, 1), date(2026, 1, 31)),
        (date(2026, 2, 1), date(2026, 2, 1), date(2026, 2, 3)),
    ]
