"""The checker's judgements on made-up evidence: what is right is green, each wrong thing is named."""

import importlib
from collections.abc import Callable
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from libs.contracts.activity import Activity
from libs.contracts.ids import uuid7
from tests.faults import checker, history, talks, told, truth
from tests.faults.evidence import Case, Published, Version
from tests.faults.history import History, Life, Talk, Told, Write
from tests.faults.planted import PLANTED, Bug
from tests.faults.receivers import Delivery
from tests.support.histories import activity, event, next_version, planned
from tests.support.system import ROOT

BUSINESS = uuid7()
RECEIPT = uuid7()


def tenant() -> Any:
    return SimpleNamespace(business=SimpleNamespace(id=str(BUSINESS)), canary="canary1", others=["canary2"])


def case_of(*states: Activity, types: tuple[str, ...] = (), **more: Any) -> Case:
    """One activity with these versions, reported and answered as it should be, published, and told to nobody."""
    newest, kinds = states[-1], types or ("activity.created",) + ("activity.updated",) * (len(states) - 1)
    versions = [Version(s.version, k, event(s, k)) for s, k in zip(states, kinds, strict=True)]
    action = "log" if newest.logged_at is not None else "schedule"
    ids = {str(newest.activity_id)}
    write = Write(action, acknowledged=True, activity_ids=ids, receipts={str(RECEIPT)})
    published = Published()
    published.versions[str(BUSINESS)] = {(str(newest.activity_id), s.version) for s in states}
    values: dict[str, Any] = {
        "tenant": tenant(), "told": Told({"r1": Life("r1", "phone", {"r1": write})}),
        "events": {newest.activity_id: event(newest)}, "histories": {newest.activity_id: versions},
        "admissions": {RECEIPT: "applied"}, "deliveries": [], "endpoints": {}, "differences": [], "ledger": [],
        "published": published, "strays": [], "notes": [], "injected": {},
    }  # fmt: skip
    return Case(**values | more)


def logged(**more: Any) -> Activity:
    return activity(BUSINESS, **{"summary": "canary1 r1", "source": "phone", **more})


def delivery(state: Activity, **more: Any) -> Delivery:
    values: dict[str, Any] = {
        "business": str(BUSINESS), "endpoint": "all", "event_type": "activity.logged",
        "activity_id": str(state.activity_id), "version": 1, "logged": True, "source": "phone",
        "first_at": 5.0, "last_at": 5.0, "times": 1, "answered": 1, "digests": {b"1"},
    }  # fmt: skip
    return Delivery(**values | more)


def test_what_is_right_breaks_nothing() -> None:
    case = case_of(logged())
    assert checker.look(case) == {}


def test_what_was_acknowledged_and_is_gone_breaks_i1() -> None:
    case = replace(case_of(logged()), events={}, histories={})
    assert "acknowledged and is not there" in truth.accepted_once(case)[0]
    assert "knows nothing" in truth.accepted_once(replace(case_of(logged()), admissions={}))[0]


def test_what_is_there_twice_breaks_i1() -> None:
    case, double = case_of(logged()), logged()
    twice = replace(case, events={**case.events, double.activity_id: event(double)})
    assert truth.accepted_once(twice) == ["r1 is there 2 times"]


def test_what_nobody_reported_or_was_refused_breaks_i2() -> None:
    assert "nobody reported it" in truth.nothing_else(replace(case_of(logged()), told=Told()))[0]
    refused = case_of(logged(summary="canary1 refused r1"))
    assert "holds what was refused" in truth.nothing_else(refused)[0]


def test_what_thaws_breaks_i3() -> None:
    first = logged()
    thawed = next_version(first, logged_at=None, occurred_at=None)
    assert any("scheduled again" in text for text in truth.lives_in_order(case_of(first, thawed)))


def test_a_gap_and_a_changed_summary_break_i3() -> None:
    first = planned(BUSINESS, summary="canary1 r1")
    assert "versions are" in truth.lives_in_order(case_of(next_version(first)))[0]
    changed = next_version(first, summary="else r1")
    assert any("2 summaries" in text for text in truth.lives_in_order(case_of(first, changed)))


def test_what_was_to_be_refused_and_was_taken_breaks_i3() -> None:
    case = case_of(logged())
    case.told.lives["r1"].writes["again"] = Write("log", acknowledged=True, expected=409)
    assert "was to be refused with 409" in truth.lives_in_order(case)[0]


def test_conversations_are_there_once_as_they_were_first_and_told_of() -> None:
    id_, other = uuid7(), uuid7()
    case = case_of(logged(), talks={"t1": (id_, 1)})
    case.told.talks["t1"] = Talk(acknowledged=True, ids={str(id_)})
    case.published.talks[str(BUSINESS)] = {(str(id_), 1)}
    assert checker.look(case) == {}
    assert "acknowledged and is not there" in talks.talks_accepted(replace(case, talks={}))[0]
    assert "nobody reported it" in talks.no_other_talks(replace(case, talks={"t2": (other, 1)}))[0]
    assert "was never published" in talks.talks_told_of(replace(case, talks={"t1": (id_, 2)}))[0]
    assert "is not there" in talks.talks_told_of(replace(case, talks={}))[0]
    case.told.talks["t1"].taken_wrongly = True
    assert checker.look(case) == {"I3": ["conversation t1: another body was taken"]}


def test_differences_of_the_reconciler_break_their_invariant() -> None:
    said = ("receipt 1: x", "timeline: x", "badge of x", "reports: x", "webhooks: x is owed to e, but is not")
    case = replace(case_of(logged()), differences=list(said))
    found = set(checker.look(case))
    assert found == {"I1", "I4", "I5", "I6"}


def test_a_delivery_that_never_arrived_breaks_i6() -> None:
    state, endpoint = logged(), uuid7()
    row = {
        "id": uuid7(), "endpoint_id": endpoint, "event_type": "activity.logged", "activity_id": state.activity_id,
        "version": 1, "status": "delivered",
    }  # fmt: skip
    case = replace(case_of(state), deliveries=[row], endpoints={"all": endpoint})
    assert "never answered 2xx" in told.told_to_all(case)[0]
    assert told.told_to_all(replace(case, ledger=[delivery(state)])) == []
    assert "still pending" in told.told_to_all(replace(case, deliveries=[{**row, "status": "pending"}]))[0]


WRONG: list[tuple[str, Callable[[Activity], dict[str, Any]]]] = [
    ("no such version", lambda state: {"version": 7}),
    ("no such version", lambda state: {"activity_id": str(UUID(int=7))}),
    ("only scheduled", lambda state: {"logged": False}),
    ("did not ask", lambda state: {"endpoint": "phone", "event_type": "activity.appended"}),
    ("after the endpoint was deleted", lambda state: {"endpoint": "gone", "last_at": 60.0}),
]


@pytest.mark.parametrize(("text", "more"), WRONG)
def test_a_forbidden_webhook_breaks_i7(text: str, more: Callable[[Activity], dict[str, Any]]) -> None:
    state = logged()
    case = case_of(state)
    case.told.endpoints["gone"] = 10.0
    found = told.nothing_forbidden(replace(case, ledger=[delivery(state, **more(state))]))
    assert text in found[0]
    assert told.nothing_forbidden(replace(case, ledger=[delivery(state)])) == []


def test_a_published_report_that_went_nowhere_breaks_i8() -> None:
    case = case_of(logged())
    case.published.received[str(BUSINESS)] = {uuid7()}
    assert "neither admitted nor set aside" in checker.everything_handled(case)[0]
    assert "has not set it aside" in checker.everything_handled(replace(case, injected={"lifecycle:1": "t"}))[-1]


def test_history_and_topics_that_differ_break_i10() -> None:
    case = case_of(logged())
    case.published.versions[str(BUSINESS)] = {(str(UUID(int=3)), 2)}
    assert [text.partition(" version ")[2] for text in checker.one_entry_each(case)] == [
        "1 is in the history and was never published", "2 was published and is in no history",
    ]  # fmt: skip


def test_what_was_seen_breaks_i9_and_i12() -> None:
    case = case_of(logged())
    case.told.seen += [("I9", "a canary"), ("I12", "went back")]
    assert (checker.apart(case), checker.read_what_was_written(case)) == (["a canary"], ["went back"])


@pytest.mark.parametrize("bug", PLANTED.values(), ids=list(PLANTED))
def test_what_a_planted_bug_replaces_is_there(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = "".join(path.read_text() for path in (ROOT / "services").rglob("*.py"))

    def find(place: str, make: object) -> None:
        module, _, path = place.partition(":")
        attrgetter(path)(importlib.import_module(module))

    def find_text(old: str, new: str) -> None:
        assert old in sources

    monkeypatch.setattr("tests.faults.planting.replace", find)
    monkeypatch.setattr("tests.faults.planting.in_sql", find_text)
    monkeypatch.setattr("services.webhook_dispatcher.app.HEARD", ())
    bug.plant()


def test_a_history_is_put_together_from_its_lines(tmp_path: Path) -> None:
    log = History(tmp_path / "history.jsonl")
    said = {"key": "r1-log", "ref": "r1", "src": "phone", "act": "log"}
    first, second, third = (log.invoke("b", "report", **said) for _ in range(3))
    log.end(first, "unknown", s=0)
    log.end(second, "ok", id="a", receipt="c")
    log.close()
    told = history.gather(history.read(log.path))["b"]
    write = told.lives["r1"].writes["r1-log"]
    assert (write.acknowledged, write.unknown, write.activity_ids, write.receipts) == (True, True, {"a"}, {"c"})
    assert told.lives["r1"].acknowledged == {"log"}
    assert told.lives["r1"].possible == set()
    assert third == 3
