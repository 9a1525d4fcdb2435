"""Which reports ingest accepts, what it says about the others, and what it passes on."""

import json
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.decoding import decoder_of
from libs.contracts.ids import activity_id_of, key_of, receipt_id_of, uuid7
from libs.contracts.report import Outcome, ReportAnswered, ReportReceived
from libs.errors import Malformed, Rejected, TooLarge
from libs.messaging.broker import VALUE_MAX_BYTES
from libs.messaging.outbox import Outgoing
from services.ingest import closing, domain, reading
from services.ingest.domain import Arrival, Known, Report
from services.ingest.reports import NAME_MAX, REPORT_MAX_BYTES, SOURCE_MAX, TEXT_MAX

BUSINESS = UUID("0190a0b0-0000-7000-8000-000000000001")
ARRIVAL = Arrival(BUSINESS, datetime(2026, 5, 4, 9, 30, tzinfo=UTC))
RECORD = "0190a0b0-0000-7000-8000-0000000000aa"


def report(**more: Any) -> dict[str, Any]:
    return {"source": "phone", "source_ref": "call-1", "action": "log", "type": "call", **more}


def accept(value: Any) -> Report:
    return domain.accept(ARRIVAL, reading.read_report(json.dumps(value).encode()))


def event_of(value: Any) -> ReportReceived:
    written = accept(value).value
    by_pydantic = ReportReceived.model_validate_json(written)
    decoded = decoder_of(ReportReceived)(written)
    assert ReportReceived.model_validate(decoded, from_attributes=True) == by_pydantic
    return by_pydantic


@pytest.mark.parametrize(
    ("wrong", "field", "code"),
    [
        ({"source": None}, "source", "string_type"),
        ({"source": ""}, "source", "string_too_short"),
        ({"source": "x" * (SOURCE_MAX + 1)}, "source", "string_too_long"),
        ({"source": "a\x1fb"}, "source", "string_pattern_mismatch"),
        ({"source": 7}, "source", "string_type"),
        ({"source_ref": "a\nb"}, "source_ref", "string_pattern_mismatch"),
        ({"source_ref": ["a"]}, "source_ref", "string_type"),
        ({"action": "close"}, "action", "literal_error"),
        ({"type": None}, "type", "required"),
        ({"action": "schedule", "type": None}, "type", "required"),
        ({"activity_id": "nothing"}, "activity_id", "uuid_parsing"),
        ({"activity_id": RECORD, "activity_ref": "a"}, "activity_id", "exclusive"),
        ({"due_at": "2026-05-04T09:30:00"}, "due_at", "instant_invalid"),
        ({"due_at": "2026-02-30"}, "due_at", "date_invalid"),
        ({"due_at": "1969-12-31"}, "due_at", "out_of_range"),
        ({"due_at": 1_780_000_000}, "due_at", "instant_invalid"),
        ({"occurred_at": "2026-05-04"}, "occurred_at", "instant_invalid"),
        ({"occurred_at": "2026-05-04T25:00:00Z"}, "occurred_at", "instant_invalid"),
        ({"occurred_at": "9999-12-31T23:00:00-23:00"}, "occurred_at", "instant_invalid"),
        ({"occurred_at": "2201-05-04T09:30:00Z"}, "occurred_at", "out_of_range"),
        ({"duration_min": -1}, "duration_min", "greater_than_equal"),
        ({"duration_min": 1.5}, "duration_min", "int_type"),
        ({"duration_min": "5"}, "duration_min", "int_type"),
        ({"duration_min": True}, "duration_min", "int_type"),
        ({"duration_min": 10**9}, "duration_min", "less_than_equal"),
        ({"subject": "a\nb"}, "subject", "string_pattern_mismatch"),
        ({"notes": "a\x07b"}, "notes", "string_pattern_mismatch"),
        ({"notes": "x" * (TEXT_MAX + 1)}, "notes", "string_too_long"),
        ({"direction": "sideways"}, "direction", "literal_error"),
        ({"assignee": {"phone": "1"}}, "assignee", "unknown_field"),
        ({"assignee": {}}, "assignee", "person_invalid"),
        ({"actor": "x" * (NAME_MAX + 1)}, "actor", "person_invalid"),
        ({"participants": ["Ada", 7]}, "participants.1", "person_invalid"),
        ({"participants": "Ada"}, "participants", "list_type"),
        ({"links": [{"object": "contact"}]}, "links.0", "exactly_one"),
        ({"links": [{"object": "contact", "all": False}]}, "links.0", "exactly_one"),
        ({"links": [{"object": "contact", "all": True, "external_ref": "a"}]}, "links.0", "exactly_one"),
        ({"links": [{"object": "contact", "record_id": "a"}]}, "links.0.record_id", "uuid_parsing"),
        ({"links": [{"record_id": RECORD}]}, "links.0.object", "required"),
        ({"links": [{"object": "contact", "all": "yes"}]}, "links.0.all", "bool_type"),
        ({"links": [{"object": "contact", "record_id": RECORD, "name": "x"}]}, "links.0.name", "unknown_field"),
        ({"links": [{"object": "contact", "all": True}] * 101}, "links", "too_long"),
        ({"fields": []}, "fields", "dict_type"),
        ({"metadata": {str(n): n for n in range(201)}}, "metadata", "too_long"),
        ({"attachments": ["javascript:alert(1)"]}, "attachments.0", "url_invalid"),
        ({"url": "https://files.example/a"}, "url", "not_allowed"),
        ({"kind": "note"}, "kind", "not_allowed"),
        ({"action": "append", "type": None}, "text", "required"),
        ({"action": "append", "text": "t", "kind": "remark"}, "kind", "literal_error"),
        ({"version": 3}, "version", "unknown_field"),
        ({"business_id": RECORD}, "business_id", "unknown_field"),
    ],
)
def test_a_bad_report_is_refused_with_the_field_that_is_wrong(wrong: dict[str, Any], field: str, code: str) -> None:
    with pytest.raises(Rejected) as refused:
        accept(report(**wrong))
    assert [(problem.field, problem.code) for problem in refused.value.problems] == [(field, code)]


@pytest.mark.parametrize("missing", ["source", "source_ref", "action"])
def test_what_every_report_must_have_is_named_when_it_is_missing(missing: str) -> None:
    value = report()
    del value[missing]
    with pytest.raises(Rejected) as refused:
        accept(value)
    assert [(problem.field, problem.code) for problem in refused.value.problems] == [(missing, "required")]


@pytest.mark.parametrize("value", [None, 7, "report", [report()]])
def test_what_is_not_an_object_is_no_report(value: Any) -> None:
    with pytest.raises(Rejected) as refused:
        accept(value)
    assert refused.value.problems[0].field == "body"


def test_all_problems_of_a_report_are_told_at_once() -> None:
    with pytest.raises(Rejected) as refused:
        accept(report(type=None, duration_min=-1, links=[{"object": "contact"}], url="u", more=1))
    fields = {problem.field for problem in refused.value.problems}
    assert fields == {"type", "duration_min", "links.0", "url", "more"}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"", Malformed),
        (b"{", Malformed),
        (b'{"a":NaN}', Malformed),
        (b'{"a":1,"a":1}', Malformed),
        (b'{"a": 1, "b": 2, "a": 1}', Malformed),
        (b'{"a":"\\u0000"}', Malformed),
        (b'{"a":"\\ud800"}', Malformed),
        (b'{"a":"\xff"}', Malformed),
        (b'{"a":9007199254740992}', Malformed),
        (b"[" * 33 + b"]" * 33, Malformed),
        (b"[" * 10_000 + b"]" * 10_000, Malformed),
        ('{"e\u0301":1,"\u00e9":2}'.encode(), Rejected),
        (b'"' + b"x" * REPORT_MAX_BYTES + b'"', TooLarge),
    ],
)
def test_json_that_two_readers_could_read_differently_is_refused(text: bytes, error: type[Rejected]) -> None:
    with pytest.raises(error):
        reading.read_report(text)


def test_json_is_read_however_it_is_written() -> None:
    value = report(fields={"a": [1, 2.5, None, True, {"b": 'x\ty \\ " / שלום 👋'}], "n": 9007199254740991})
    for text in (json.dumps(value), json.dumps(value, indent=2), json.dumps(value, ensure_ascii=False)):
        assert reading.read_report(text.encode()) == value
    assert reading.read_report(b'{"a":1.0e2,"b":"\\/"}') == {"a": 100.0, "b": "/"}


def test_blank_lines_are_left_out_and_the_others_keep_their_numbers() -> None:
    assert list(reading.split_lines(b"\n{}\r\n\n  \n[]")) == [(2, b"{}\r"), (5, b"[]")]
    with pytest.raises(TooLarge):
        reading.split_lines(b"{}\n" * 10_001)


_text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
_values = st.recursive(_text | st.integers(-9, 9) | st.none(), lambda v: st.lists(v, max_size=3), max_leaves=5)


@given(fields=st.dictionaries(_text.filter(bool), _values, max_size=4), subject=_text, order=st.randoms())
def test_the_hash_knows_neither_the_order_of_keys_nor_how_letters_are_composed(
    fields: dict[str, Any], subject: str, order: Any
) -> None:
    composed = {unicodedata.normalize("NFC", key): value for key, value in fields.items()}
    value = report(subject=subject, fields=composed)
    shuffled = list(value.items())
    order.shuffle(shuffled)
    straight = json.dumps(value, ensure_ascii=False)
    other = unicodedata.normalize("NFD", json.dumps(dict(shuffled), ensure_ascii=False, indent=1))
    hashes = {domain.hash_of(reading.read_report(text.encode())) for text in (straight, other)}
    assert len(hashes) == 1


@pytest.mark.parametrize("other", [{"subject": "a"}, {"notes": None}, {"fields": {}}, {"links": []}])
def test_another_body_has_another_hash(other: dict[str, Any]) -> None:
    assert accept(report()).hash != accept(report(**other)).hash


def test_identities_follow_from_source_and_refs() -> None:
    plain, about = accept(report()), accept(report(activity_ref="visit-9"))
    given_id = uuid7()
    named = accept(report(activity_id=str(given_id)))
    assert plain.activity_id == activity_id_of(BUSINESS, "phone", "call-1")
    assert about.activity_id == activity_id_of(BUSINESS, "phone", "visit-9")
    assert named.activity_id == given_id
    assert plain.receipt_id == about.receipt_id == receipt_id_of(BUSINESS, "phone", "call-1")
    assert plain.key == key_of(BUSINESS, plain.activity_id)


def test_the_event_says_what_was_reported_and_nothing_else() -> None:
    event = event_of(
        report(
            due_at="2026-05-05T10:00:00+02:00",
            occurred_at="2026-05-04T09:30:00.25+02:00",
            duration_min=12,
            subject="Cafe\u0301",
            notes=None,
            assignee={"role_id": RECORD},
            actor={"email": "ada@example.org", "name": "Ada"},
            participants=["Grace", {"name": "Lin"}],
            links=[{"object": "contact", "external_ref": "c-1"}, {"object": "lead", "all": True}],
            fields={"outcome": "won"},
            attachments=["https://files.example/a.pdf"],
            metadata={"k": [1]},
        )
    )
    said = event.report.model_dump(mode="json", exclude_unset=True)
    assert said == {
        **report(),
        "due_at": "2026-05-05T08:00:00Z",
        "occurred_at": "2026-05-04T07:30:00.250000Z",
        "duration_min": 12,
        "subject": "Caf\u00e9",
        "assignee": RECORD,
        "actor": "ada@example.org",
        "participants": ["Grace", "Lin"],
        "links": [{"object": "contact", "external_ref": "c-1"}, {"object": "lead", "all": True}],
        "fields": {"outcome": "won"},
        "attachments": ["https://files.example/a.pdf"],
        "metadata": {"k": [1]},
    }
    assert (event.business_id, event.received_at, event.known_only) == (BUSINESS, ARRIVAL.received_at, False)


def test_a_due_without_time_is_a_date() -> None:
    event = event_of(report(action="schedule", due_at="2026-05-05"))
    assert str(event.report.due_date) == "2026-05-05"
    assert event.report.due_at is None


def test_a_given_activity_must_be_known() -> None:
    event = event_of(report(action="cancel", type=None, activity_id=RECORD))
    assert event.known_only
    assert str(event.activity_id) == RECORD


@pytest.mark.parametrize(
    ("said", "appended"),
    [
        ({"notes": "n"}, ("note", "n", None)),
        ({"summary": "s"}, ("note", "s", None)),
        ({"text": "t", "notes": "n"}, ("note", "t", None)),
        ({"attachments": ["a.pdf"]}, ("attachment", None, "a.pdf")),
        ({"url": "https://files.example/a"}, ("attachment", None, "https://files.example/a")),
        ({"notes": "n", "attachments": ["a.pdf"]}, ("note", "n", "a.pdf")),
        ({"fields": {"outcome": "won"}}, ("correction", None, None)),
        ({"fields": {"outcome": "won"}, "notes": "n"}, ("correction", "n", None)),
        ({"text": "t", "kind": "correction"}, ("correction", "t", None)),
        ({"kind": "retraction"}, ("retraction", None, None)),
    ],
)
def test_an_append_tells_what_is_appended_however_it_was_sent(said: dict[str, Any], appended: tuple[str, ...]) -> None:
    plain = {"source": "phone", "source_ref": "n-1", "action": "append", "activity_ref": "call-1"}
    told = event_of({**plain, **said}).report
    assert (told.kind, told.text, told.url) == appended


def test_a_report_is_judged_by_the_first_of_its_name() -> None:
    first, again, other = accept(report()), accept(report()), accept(report(subject="else"))
    earlier, unheard = accept(report(source_ref="old")), accept(report(source="tenth", source_ref="x"))
    known = {earlier.receipt_id: Known(earlier.activity_id, earlier.hash, "applied")}
    verdicts = domain.judge([first, again, other, earlier, unheard], {first.receipt_id}, known)
    assert [(verdict.kind, verdict.status) for verdict in verdicts] == [
        ("accepted", "accepted"),
        ("duplicate", "accepted"),
        ("different_body", "accepted"),
        ("duplicate", "applied"),
        ("too_many_sources", "accepted"),
    ]


def test_a_final_answer_stays_when_waiting_comes_late() -> None:
    receipt_id = uuid7()

    def answer(outcome: Outcome, minute: int) -> ReportAnswered:
        at = ARRIVAL.received_at + timedelta(minutes=minute)
        return ReportAnswered(
            receipt_id=receipt_id, business_id=BUSINESS, activity_id=receipt_id, outcome=outcome, answered_at=at
        )

    waiting, set_aside, applied = answer("waiting", 9), answer("set_aside", 2), answer("applied", 3)
    for order in ([waiting, set_aside, applied], [applied, set_aside, waiting], [set_aside, applied, waiting]):
        assert domain.settle(order) == [applied]


def test_a_receipt_without_outcome_is_pending_and_after_ninety_days_was_applied() -> None:
    received_at = ARRIVAL.received_at
    assert domain.status_of(None, received_at, received_at + timedelta(days=90)) == "accepted"
    assert domain.status_of(None, received_at, received_at + timedelta(days=91)) == "applied"
    assert domain.status_of("refused", received_at, received_at + timedelta(days=91)) == "refused"


def test_the_event_is_written_without_what_is_null() -> None:
    assert b"null" not in accept(report(notes=None, links=None, participants=None)).value
    assert orjson.loads(accept(report()).value)["report"] == report()


def test_a_conversation_that_would_be_too_long_once_it_is_erased_is_refused() -> None:
    def event(size: int) -> Outgoing:
        return Outgoing(closing.TYPES, key_of(BUSINESS, BUSINESS), b"x" * size, 1)

    closing.check_room(event(VALUE_MAX_BYTES - 200), 0)
    closing.check_room(event(VALUE_MAX_BYTES - 200 - 400), 100)
    with pytest.raises(TooLarge, match=f"with 100 messages {VALUE_MAX_BYTES - 600} pass"):
        closing.check_room(event(VALUE_MAX_BYTES - 599), 100)
