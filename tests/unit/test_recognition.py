"""Which activities tell of the same event: the same answer in any order of arrival, whichever of two is first."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts import activity as contract
from libs.contracts.activity import links_shown
from services.lifecycle.domain import recognition
from services.lifecycle.domain.alike import Setting, alike, case_of, setting_of
from services.lifecycle.domain.held import Activity, Link
from services.lifecycle.domain.recognition import Pair, Standing, Verdict, pair_of, settle

BUSINESS, START = UUID(int=7), datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
RECORDS = [UUID(int=100 + number) for number in range(3)]
SETTING = Setting()


def told(number: int, source: str, at_s: int, **given_: Any) -> contract.Activity:
    """An activity that was logged: who tells of it, and how many seconds after the beginning it was."""
    at = START + timedelta(seconds=at_s)
    links = [Link(object="contact", record_id=record) for record in given_.pop("records", RECORDS[:1])]
    fields = {
        "business_id": BUSINESS, "activity_id": UUID(int=number), "version": 1, "type": "call", "type_id": UUID(int=5),
        "type_name": "Call", "at": at, "occurred_at": at, "logged_at": START, "created_at": START, "recorded_at": START,
        "source": source, "source_kind": "external", "links": links,
    }  # fmt: skip
    return Activity(**fields | given_)


def arrive(
    activities: list[contract.Activity], setting: Setting = SETTING, verdicts: dict[Pair, Verdict] | None = None
) -> dict[UUID, Standing]:
    """Let activities arrive one after another, each settled with those before it."""
    there: dict[UUID, contract.Activity] = {}
    for each in activities:
        there[each.activity_id] = msgspec.structs.replace(each)  # type: ignore[type-var]
        cases = {key: case_of(one, setting, {}) for key, one in there.items()}
        for key, standing in settle(cases, verdicts or {}, setting, START).items():
            recognition.put(there[key], standing)
    return {key: Standing(each.same_as, tuple(each.same)) for key, each in there.items()}


def groups(standings: dict[UUID, Standing]) -> set[frozenset[int]]:
    return {
        frozenset([key.int, *(each.activity_id.int for each in standing.same)]) for key, standing in standings.items()
    }


REPORTS = st.lists(
    st.tuples(
        st.sampled_from(["phone", "crm", "calendar", "mail"]), st.integers(0, 900), st.integers(0, 3),
        st.sets(st.sampled_from(RECORDS), min_size=1, max_size=1), st.sampled_from([None, None, "x", "y"]),
    ),
    min_size=1, max_size=9,
)  # fmt: skip


def made_of(reports: list[tuple[str, int, int, set[UUID], str | None]]) -> list[contract.Activity]:
    return [
        told(
            number + 1, source, at_s, duration_min=minutes, records=sorted(records),
            metadata={} if talk is None else {"conversation_id": talk},
        )
        for number, (source, at_s, minutes, records, talk) in enumerate(reports)
    ]  # fmt: skip


@given(REPORTS, st.randoms(use_true_random=False), st.data())
def test_every_order_of_arrival_ends_the_same(reports: Any, chance: random.Random, data: st.DataObject) -> None:
    activities = made_of(reports)
    ids = st.sampled_from([each.activity_id for each in activities])
    said = data.draw(st.lists(st.tuples(ids, ids, st.booleans()), max_size=3))
    verdicts = {pair_of(one, other): Verdict(same, None) for one, other, same in said if one != other}
    first = arrive(activities, verdicts=verdicts)
    chance.shuffle(activities)
    assert arrive(activities, verdicts=verdicts) == first


@given(REPORTS)
def test_reports_of_an_event_name_each_other_and_one_of_them_stands(reports: Any) -> None:
    activities = made_of(reports)
    standings = arrive(activities)
    cases = {each.activity_id: case_of(each, SETTING, {}) for each in activities}
    for key, standing in standings.items():
        others = [each.activity_id for each in standing.same]
        assert all(key in [each.activity_id for each in standings[other].same] for other in others)
        assert all(alike(cases[key], cases[other], SETTING) for other in others)
        members = [key, *others]
        assert len({cases[each].teller for each in members}) == len(members)
        standing_alone = [each for each in members if standings[each].same_as is None]
        assert len(standing_alone) == 1
        assert {standings[each].same_as for each in members} <= {None, standing_alone[0]}


@given(REPORTS)
def test_being_alike_does_not_ask_who_is_first(reports: Any) -> None:
    cases = [case_of(each, SETTING, {}) for each in made_of(reports)]
    for one in cases:
        for other in cases:
            assert alike(one, other, SETTING) == alike(other, one, SETTING)


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ({}, {"at_s": 120}, True),
        ({}, {"at_s": 121}, False),
        ({"duration_min": 10}, {"at_s": 600}, True),
        ({}, {"source": "phone"}, False),
        ({}, {"records": RECORDS[1:2]}, False),
        ({}, {"type_id": UUID(int=6), "type": "email"}, False),
        ({}, {"retracted_at": START}, False),
        ({}, {"deleted_at": START}, False),
        ({}, {"privacy": "private"}, False),
        ({"metadata": {"conversation_id": "a"}}, {"metadata": {"conversation_id": "b"}}, False),
        ({"metadata": {"conversation_id": "a"}}, {}, True),
        ({"interaction_id": UUID(int=1)}, {"interaction_id": UUID(int=2)}, False),
        ({"interaction_id": UUID(int=1)}, {}, True),
    ],
)
def test_what_is_the_same_event(one: dict[str, Any], other: dict[str, Any], is_same: bool) -> None:
    given_ = {"source": "crm", "at_s": 0} | other
    activities = [told(1, "phone", 0, **one), told(2, given_.pop("source"), given_.pop("at_s"), **given_)]
    assert (len(groups(arrive(activities))) == 1) is is_same


def test_of_several_the_nearest_is_the_same_event() -> None:
    activities = [told(1, "phone", 0), told(2, "phone", 100), told(3, "crm", 90)]
    assert groups(arrive(activities)) == {frozenset([1]), frozenset([2, 3])}


def test_two_members_may_tell_of_one_meeting_by_hand_and_one_member_tells_of_two() -> None:
    ada, grace = (contract.Person(member_id=UUID(int=number)) for number in (1, 2))
    by_hand = {"source_kind": "manual"}
    activities = [
        told(1, "api", 0, logged_by=ada, **by_hand), told(2, "api", 0, logged_by=grace, **by_hand),
        told(3, "api", 0, logged_by=ada, **by_hand),
    ]  # fmt: skip
    assert sorted(map(len, groups(arrive(activities)))) == [1, 2]


def test_what_somebody_parted_stays_apart_and_what_somebody_linked_need_not_be_alike() -> None:
    phone, crm, far = told(1, "phone", 0), told(2, "crm", 0), told(3, "phone", 9_000, records=RECORDS[1:2])
    parted, put_together = (
        {pair_of(crm.activity_id, far.activity_id): Verdict(is_same, None)} for is_same in (False, True)
    )
    assert groups(arrive([phone, crm, far], verdicts=put_together)) == {frozenset([1]), frozenset([2, 3])}
    assert groups(arrive([phone, crm, far], verdicts=parted)) == {frozenset([1, 2]), frozenset([3])}
    parted = {pair_of(crm.activity_id, phone.activity_id): Verdict(False, None)}
    assert groups(arrive([phone, crm], verdicts=parted)) == {frozenset([1]), frozenset([2])}


def test_two_conversations_stay_two_whatever_is_linked_between_them() -> None:
    talks = [told(number, f"pbx{number}", number * 5_000, interaction_id=UUID(int=number)) for number in (1, 2)]
    crm = told(3, "crm", 5_000)
    by_hand = {pair_of(crm.activity_id, talk.activity_id): Verdict(True, None) for talk in talks}
    assert sorted(map(len, groups(arrive([*talks, crm], verdicts=by_hand)))) == [1, 2]


def test_the_first_source_of_the_setting_stands_and_a_conversation_before_all() -> None:
    phone, crm = told(1, "phone", 0), told(2, "crm", 5)
    setting = setting_of({"same_event": {"sources": ["crm", "phone"]}})
    assert setting is not None
    assert arrive([phone, crm], setting)[phone.activity_id].same_as == crm.activity_id
    talk = told(1, "phone", 0, interaction_id=UUID(int=9))
    assert arrive([talk, crm], setting)[crm.activity_id].same_as == talk.activity_id


def test_a_conversation_is_enough_where_the_setting_says_so() -> None:
    setting = Setting(agree=frozenset(["conversation"]), conversation_key="call_sid")
    far, other = {"metadata": {"call_sid": "CA1"}}, {"metadata": {"call_sid": "CA2"}}
    activities = [
        told(1, "phone", 0, **far), told(2, "crm", 9_000, records=RECORDS[2:], **far), told(3, "mail", 0, **other),
    ]  # fmt: skip
    assert groups(arrive(activities, setting)) == {frozenset([1, 2]), frozenset([3])}


def test_what_differs_is_named_and_the_event_stands_wherever_one_of_them_is_linked() -> None:
    one = told(1, "phone", 0, direction="inbound", subject="Renewal")
    account = Link(object="account", record_id=RECORDS[2])
    other = told(2, "crm", 30, direction="outbound", subject="Renewal", fields={"won": True})
    other.links.append(account)
    standings = arrive([one, other])
    (report,) = standings[one.activity_id].same
    assert report.differs == ["occurred_at", "direction", "fields.won", "links"]
    assert (report.agreed, report.gap_s) == (["records", "type", "time"], 30)
    recognition.put(one, standings[one.activity_id])
    recognition.put(other, standings[other.activity_id])
    assert {link.record_id for link in links_shown(one)} == {RECORDS[0], RECORDS[2]}
    assert links_shown(other) == []


def test_without_a_setting_what_is_linked_stays_and_nothing_new_is() -> None:
    one, other, third = told(1, "phone", 0), told(2, "crm", 0), told(3, "mail", 0)
    standings = arrive([one, other])
    for each in (one, other):
        recognition.put(each, standings[each.activity_id])
    cases = {each.activity_id: case_of(each, None, {}) for each in (one, other, third)}
    assert settle(cases, {}, None, START) == standings | {third.activity_id: Standing()}


def test_merged_records_are_the_same_record() -> None:
    merged = {RECORDS[1]: RECORDS[0]}
    one, other = told(1, "phone", 0), told(2, "crm", 0, records=RECORDS[1:2])
    cases = [case_of(each, SETTING, merged) for each in (one, other)]
    assert alike(*cases, SETTING) is not None
