"""Expressions of filters: what is taken, what they answer, what they may cost."""

from typing import Any

import orjson
import pytest

from libs.errors import Rejected
from services.webhook_dispatcher.domain import expressions
from services.webhook_dispatcher.domain.expressions import Failed, check_expression, holds, seen_of

BODY: dict[str, Any] = {
    "type": "activity.logged",
    "timestamp": "2026-03-04T12:00:00Z",
    "data": {
        "type": "call", "subject": "Renewal", "summary": None, "duration_min": 12, "logged_at": "2026-03-04T12:00:00Z",
        "links": [{"object": "lead", "record_id": None}, {"object": "contact", "record_id": None}],
        "fields": {"stage": "won", "amount": "12.50"}, "metadata": {"deep": {"er": [1, 2, 3]}},
        "notes": "x" * 5_000 + "end", "participants": [{"name": str(n)} for n in range(500)],
    },
}  # fmt: skip
SEEN = seen_of(orjson.dumps(BODY))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("true", True), ("type == 'activity.logged'", True), ("data.type == 'email'", False),
        ("data.links.exists(l, l.object == 'contact')", True), ("data.links.all(l, l.object == 'contact')", False),
        ("data.fields.stage == 'won' && data.duration_min > 10", True), ("'matches(' == data.type", False),
        ("has(data.fields.stage) && !has(data.fields.other)", True), ("data.summary == null", True),
        ("data.subject.startsWith('Ren') && data.subject.endsWith('al')", True), ("data.notes.contains('end')", False),
        ("timestamp(data.logged_at) > timestamp('2026-01-01T00:00:00Z')", True),
        ("double(data.fields.amount) > 12.0", True),
        ("data.metadata.deep.er.exists(n, n == 2)", True), ("size(data.participants) == 50", True),
        ("data.type in ['call', 'email']", True), ("data.links.map(l, l.object).exists(o, o == 'lead')", True),
    ],
)  # fmt: skip
def test_expression_is_taken_and_answers(text: str, answer: bool) -> None:
    check_expression(text)
    assert holds(text, SEEN) is answer


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "data.type ==", "data.type = 'a'", "'unclosed", "nope", "nope()", "data.nope == 1",
        "data.type.matches('a')",
        "matches(data.type, 'a')", "1", "'text'", "data.links", "null", "data.subject > 5", "!data.type",
        "data.subject.upper() == ''",
        "data.links.all(a, data.links.all(b, true))", "data.links.map(a, a.object + '').size() > 0",
        "data.links . filter (a, data.links.exists(b, true)).size() > 0", "(" * 500 + "true" + ")" * 500, "!" * 1_001,
        " && ".join(["data.links.all(a, true)"] * 6), " + ".join(["1"] * 12) + " == 1", "a" * 1_001,
        f"data.links.all(a, {' && '.join(['data==data'] * 70)})", "google.protobuf.Empty{} == 1", "true // x\n && 1",
    ],
)  # fmt: skip
def test_expression_that_cannot_be_answered_or_costs_too_much_is_refused_naming_the_field(text: str) -> None:
    with pytest.raises(Rejected) as caught:
        check_expression(text)
    assert [problem.field for problem in caught.value.problems] == ["filter.expression"]
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("data.fields.other == 1", "the body has no other"), ("data.summary.contains('x')", "contains"),
        ("data.metadata.deep.er[7] == 1", "index out of bounds"), ("data.fields.amount > 5", "overload"),
        ("data.duration_min / 0 == 1", "division by zero"), ("data.fields.stage", "the answer is str, not bool"),
    ],
)  # fmt: skip
def test_expression_without_an_answer_for_a_body_fails_with_a_reason(text: str, why: str) -> None:
    with pytest.raises(Failed, match=why):
        holds(text, SEEN)


def test_program_is_compiled_once() -> None:
    before = expressions._compiled.cache_info().misses
    for _ in range(100):
        assert holds("data.type == 'call' && data.type != 'once'", SEEN)
    assert expressions._compiled.cache_info().misses == before + 1
