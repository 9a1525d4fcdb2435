"""Every order of the same reports ends in the same activity."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import permutations
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.access.members import KnownMember
from libs.contracts.activity import Link
from libs.contracts.activity_object import ActivityObject
from libs.contracts.decoding import decoder_of
from libs.contracts.ids import activity_id_of, receipt_id_of
from libs.contracts.report import ReportBody, ReportReceived
from services.lifecycle.domain import reports
from services.lifecycle.domain.held import Held
from services.lifecycle.domain.known import Known
from services.lifecycle.domain.objects import FieldRule, ObjectField, RuleCondition, replaced
from services.lifecycle.domain.presets import presets_of

BUSINESS = UUID(int=1)
BEGIN = datetime(2026, 3, 1, 9, tzinfo=UTC)
ADA = KnownMember(UUID(int=7), "Ada", "ada@example.org", "Asia/Tokyo", (), True)
decode = decoder_of(ReportReceived)


STRICT = "review"


def _strict(kind: ActivityObject) -> ActivityObject:
    """Let a type need its field a, and show b only while a is 1."""
    notes, first, second = kind.fields
    needed = ObjectField(id=first.id, name="a", field_type="integer", is_required=True)
    asked = RuleCondition(field_id=first.id, operator="equals", value=1)
    return replaced(
        kind, fields=[notes, needed, second], rules=[FieldRule(conditions=[asked], target_field_ids=[second.id])]
    )


def known() -> Known:
    own = [ObjectField(id=str(UUID(int=place)), name=name, field_type="integer") for place, name in enumerate("ab", 1)]
    types = [replaced(each, fields=[*each.fields, *own]) for each in presets_of(BUSINESS, BEGIN)]
    types = [_strict(each) if each.api_name == STRICT else each for each in types]
    by_name = {each.api_name: each for each in types} | {str(each.id): each for each in types}
    return Known(BUSINESS, "Europe/Berlin", by_name, {str(ADA.id): ADA, ADA.email: ADA})


def report(action: str, number: int, **given: Any) -> ReportReceived:
    body = ReportBody(source="crm", source_ref=f"{action}-{number}", activity_ref="a", action=action, **given)  # type: ignore[arg-type]
    event = ReportReceived(
        receipt_id=receipt_id_of(BUSINESS, "crm", body.source_ref),
        business_id=BUSINESS,
        activity_id=activity_id_of(BUSINESS, "crm", "a"),
        received_at=BEGIN + timedelta(minutes=number),
        report=body,
    )
    return decode(event.model_dump_json().encode())


def fold(arriving: Sequence[ReportReceived]) -> tuple[Held | None, dict[str, str]]:
    """Admit reports one after another, with a shelf for those that wait."""
    held: Held | None = None
    shelf: list[ReportReceived] = []
    outcomes: dict[str, str] = {}
    business, now = known(), BEGIN + timedelta(days=1)
    for place, arrived in enumerate(arriving):
        decisions = reports.settle(held, arrived, shelf, business, now + timedelta(minutes=place))
        held = decisions[-1][1].held
        answered = {each.receipt_id for each, decision in decisions if decision.outcome != "waiting"}
        shelf = [each for each in [*shelf, arrived] if each.receipt_id not in answered]
        outcomes |= {each.report.source_ref: decision.outcome for each, decision in decisions}
    return held, outcomes


def compared(held: Held | None) -> Any:
    """All of an activity but its version and what follows from when it was recorded."""
    if held is None:
        return None
    state = msgspec.to_builtins(held.activity)
    undated = held.activity.logged_at is None and held.activity.due_at is None
    aside = {"version", "recorded_at", "created_at"} | ({"at"} if undated else set())
    return {name: value for name, value in state.items() if name not in aside}


FULL = [
    report(
        "schedule",
        1,
        type="call",
        due_date=date(2026, 3, 29),
        summary="plan",
        subject="plan",
        assignee="ada@example.org",
        location="plan",
        metadata={"from": "plan"},
        links=[Link(object="contact", external_ref="c")],
        actor="Grace",
    ),
    report(
        "complete",
        2,
        type="meeting",
        summary="complete",
        occurred_at=BEGIN,
        location="complete",
        actor="Bob",
        fields={"a": 1},
        notes="complete",
    ),
    report("log", 3, type="task", summary="log", duration_min=0, fields={"b": 2}, due_at=BEGIN, actor="Cy"),
    report("cancel", 4),
    report("append", 5, text="late"),
    report("append", 6, kind="retraction"),
]


@pytest.mark.parametrize(
    "absent", [(), ("log",), ("complete",), ("schedule",), ("schedule", "complete"), ("log", "complete"), ("cancel",)]
)
def test_every_order_ends_in_the_same_activity(absent: tuple[str, ...]) -> None:
    chosen = [each for each in FULL if each.report.action not in absent]
    ends = [compared(fold(order)[0]) for order in permutations(chosen)]
    assert ends[0] is not None
    assert all(end == ends[0] for end in ends)


def test_every_order_with_a_complete_without_type_ends_in_the_same_activity() -> None:
    chosen = [FULL[0], report("complete", 2, summary="complete"), *FULL[2:]]
    ends = [compared(fold(order)[0]) for order in permutations(chosen)]
    assert all(end == ends[0] for end in ends)


GIVEN = st.fixed_dictionaries(
    {},
    optional={
        "summary": st.sampled_from(["x", "y", "z"]),
        "notes": st.sampled_from(["x", "y"]),
        "assignee": st.sampled_from(["ada@example.org", "nobody", str(ADA.id)]),
        "due_at": st.sampled_from([BEGIN, BEGIN + timedelta(days=3)]),
        "due_date": st.sampled_from([date(2026, 3, 28), date(2026, 10, 25)]),
        "occurred_at": st.just(BEGIN),
        "fields": st.sampled_from([{"a": 1}, {"a": 2}, {"b": 1}, {"a": 1, "b": 2}, {"a": 2, "b": 2}]),
        "metadata": st.sampled_from([{"a": 1}, {"b": 1}]),
        "participants": st.sampled_from([["Ada"], ["ada@example.org", "Bob"]]),
        "links": st.sampled_from(
            [
                [Link(object="lead", external_ref="l")],
                [Link(object="contact", all=True)],
                [Link(object="contact", external_ref="c"), Link(object="contact", external_ref="d")],
            ]
        ),
        "actor": st.sampled_from(["ada@example.org", "Bob"]),
        "duration_min": st.sampled_from([0, 30]),
    },
)
TYPES = st.sampled_from(["call", "email"])


@st.composite
def some_reports(draw: st.DrawFn, types: st.SearchStrategy[str] = TYPES) -> list[ReportReceived]:
    chosen = []
    for number, action in enumerate(("schedule", "log", "complete", "cancel")):
        if draw(st.booleans()):
            given = draw(GIVEN)
            if action in ("schedule", "log") or (action == "complete" and draw(st.booleans())):
                given["type"] = draw(types)
            chosen.append(report(action, number, **given))
    for number in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from(["note", "retraction", "correction"]))
        chosen.append(report("append", 10 + number, kind=kind, text="text", actor=draw(st.sampled_from([None, "Bob"]))))
    return chosen


@settings(max_examples=400, deadline=None)
@given(some_reports(), st.data())
def test_any_two_orders_of_any_reports_end_in_the_same_activity(
    chosen: list[ReportReceived], data: st.DataObject
) -> None:
    one, other = data.draw(st.permutations(chosen)), data.draw(st.permutations(chosen))
    assert compared(fold(one)[0]) == compared(fold(other)[0])


@settings(max_examples=400, deadline=None)
@given(some_reports(st.just(STRICT)), st.data())
def test_any_two_orders_end_in_the_same_activity_where_fields_are_needed_and_hidden(
    chosen: list[ReportReceived], data: st.DataObject
) -> None:
    one, other = data.draw(st.permutations(chosen)), data.draw(st.permutations(chosen))
    assert compared(fold(one)[0]) == compared(fold(other)[0])


def test_a_report_that_waited_is_answered_when_its_activity_appears() -> None:
    held, outcomes = fold([report("append", 5, text="late"), report("cancel", 4), report("log", 3, type="task")])
    assert held is not None
    assert outcomes == {"append-5": "applied", "cancel-4": "unchanged", "log-3": "applied"}
    assert held.activity.appends_count == 1
    assert held.activity.cancelled_at is None


def test_repeated_and_reordered_reports_never_leave_a_version_out() -> None:
    held = None
    versions = []
    for arrived in FULL:
        for _, decision in reports.settle(held, arrived, [], known(), BEGIN):
            held = decision.held
            if decision.outcome == "applied" and held is not None:
                versions.append(held.activity.version)
    assert versions == list(range(1, len(versions) + 1))
