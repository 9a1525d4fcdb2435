"""Edges of an activity's life: days that end oddly, second words, what is refused."""

from datetime import UTC, date, datetime

import msgspec
import pytest

from libs.contracts.activity import ActivityEvent as ContractEvent
from libs.contracts.activity import Link
from services.lifecycle.domain import reports
from services.lifecycle.domain.due import end_of_day
from services.lifecycle.domain.held import ActivityEvent, Change, Decision, Held
from tests.unit.test_lifecycle_order import BEGIN, FULL, fold, known, report


@pytest.mark.parametrize(
    ("day", "zone", "end"),
    [
        (date(2026, 3, 29), "Europe/Berlin", "2026-03-29T21:59:59.999999+00:00"),  # 23 hours
        (date(2026, 10, 25), "Europe/Berlin", "2026-10-25T22:59:59.999999+00:00"),  # 25 hours
        (date(2026, 9, 5), "America/Santiago", "2026-09-06T03:59:59.999999+00:00"),  # the next midnight does not exist
        (date(2026, 10, 31), "America/Havana", "2026-11-01T03:59:59.999999+00:00"),  # the next midnight comes twice
        (date(2026, 1, 1), "Pacific/Kiritimati", "2026-01-01T09:59:59.999999+00:00"),
        (date(2026, 1, 1), "No/Such_Zone", "2026-01-01T23:59:59.999999+00:00"),
    ],
)
def test_a_day_ends_where_its_zone_says(day: date, zone: str, end: str) -> None:
    assert end_of_day(day, zone) == datetime.fromisoformat(end)


def test_an_instant_due_in_the_hour_a_clock_jumps_stays_that_instant() -> None:
    due = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)  # 02:30 in Berlin, which does not exist
    held, _ = fold([report("schedule", 1, type="call", due_at=due)])
    assert held is not None
    assert (held.activity.due_at, held.activity.at) == (due, due)


def decided(held: Held | None, *arriving: object) -> list[Decision]:
    decisions = []
    for each in arriving:
        decisions.append(reports.admit(held, each, known(), BEGIN))  # type: ignore[arg-type]
        held = decisions[-1].held
    return decisions


def test_a_log_of_an_already_logged_one_changes_nothing() -> None:
    first, second, third = decided(
        None, report("log", 1, type="call", summary="first"), report("log", 2, type="email", summary="second"), FULL[3]
    )
    assert (first.outcome, second.outcome, third.outcome) == ("applied", "unchanged", "unchanged")
    assert second.held == first.held


def test_a_log_and_a_complete_each_have_one_word_and_no_more() -> None:
    outcomes = [
        each.outcome
        for each in decided(
            None, report("complete", 1, type="call", summary="a"), report("complete", 2, type="email", summary="b"),
            report("log", 3, type="task", summary="c"), report("log", 4, type="note", summary="d"),
            report("complete", 5, type="sms", summary="e"),
        )
    ]  # fmt: skip
    assert outcomes == ["applied", "unchanged", "applied", "unchanged", "unchanged"]


def test_a_second_schedule_moves_what_is_planned_and_keeps_its_first_due() -> None:
    later = datetime(2026, 5, 1, tzinfo=UTC)
    _, moved = decided(
        None, report("schedule", 1, type="call", due_at=BEGIN), report("schedule", 2, type="call", due_at=later)
    )
    assert moved.types == ("activity.rescheduled",)
    assert moved.held is not None
    assert (moved.held.activity.due_at, moved.held.activity.original_due_at) == (later, BEGIN)


def test_a_report_is_refused_with_all_its_reasons() -> None:
    twice = [Link(object="contact", external_ref="a"), Link(object="contact", external_ref="b"), Link(object="planet")]
    [decision] = decided(None, report("log", 1, type="nonsense", links=twice))
    assert [(each.field, each.code) for each in decision.reasons] == [
        ("type", "does_not_exist"), ("links.1.object", "one_per_object"), ("links.2.object", "does_not_exist"),
    ]  # fmt: skip


def test_an_addition_beyond_the_bound_is_refused() -> None:
    held, _ = fold([report("log", 1, type="call")])
    assert held is not None
    full = held._replace(activity=msgspec.structs.replace(held.activity, appends_count=500))  # type: ignore[type-var]
    [decision] = decided(full, report("append", 9, text="one more"))
    assert [each.code for each in decision.reasons] == ["too_many_appends"]


def test_the_event_holds_the_newest_twenty_additions_in_any_order() -> None:
    additions = [report("append", 10 + number, text=str(number)) for number in range(30)]
    one, other = (
        fold([report("log", 1, type="call"), *additions])[0],
        fold([*reversed(additions), report("log", 1, type="call")])[0],
    )
    assert one is not None
    assert other is not None
    assert one.activity.appends == other.activity.appends
    assert [each.text for each in one.activity.appends] == [str(number) for number in range(10, 30)]
    assert one.activity.appends_count == 30


def test_written_events_are_read_by_the_contract() -> None:
    held, _ = fold(FULL)
    assert held is not None
    written = msgspec.json.encode(ActivityEvent(activity=held.activity, change=Change(type="activity.completed")))
    read = ContractEvent.model_validate_json(written)
    assert ContractEvent.model_validate_json(read.model_dump_json()) == read
    assert read.activity.appends_count == held.activity.appends_count == 2
    assert read.activity.links[0].record_id == held.activity.links[0].record_id
    assert (read.activity.at, read.activity.due_date) == (held.activity.at, held.activity.due_date)
