"""JSON from outside is read strictly."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.errors import Malformed
from libs.service.strict_json import DEPTH_MAX, INTEGER_MAX, read_json

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-INTEGER_MAX, INTEGER_MAX)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=4),
    max_leaves=20,
)


@given(values, st.booleans())
def test_what_is_valid_is_read_as_it_is(value: object, spaced: bool) -> None:
    text = json.dumps(value, separators=(", ", ": ") if spaced else (",", ":"), ensure_ascii=spaced).encode()
    assert read_json(text) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b'{"a":1,}', "not valid JSON"),
        (b"NaN", "not valid JSON"),
        (b"[Infinity]", "not valid JSON"),
        (b'{"a":1,"a":2}', "'a' stands twice"),
        (b'{"a": {"b": 1, "b": 1}}', "'b' stands twice"),
        (b'["\\u0000"]', "NUL"),
        (b'{"\\u0000": 1}', "NUL"),
        (b'["\\ud800"]', "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (str(2**53).encode(), "outside"),
        (b"[" * (DEPTH_MAX + 1) + b"]" * (DEPTH_MAX + 1), "deeper than 32"),
        (b"[" * 10_000 + b"]" * 10_000, "not valid JSON|deeper"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "not valid JSON|deeper"),
    ],
)
def test_what_is_not_is_refused_with_the_reason(text: bytes, says: str) -> None:
    with pytest.raises(Malformed, match=says):
        read_json(text)


def test_the_deepest_nesting_allowed_is_read() -> None:
    text = b"[" * DEPTH_MAX + b"]" * DEPTH_MAX
    assert orjson.dumps(read_json(text)) == text
