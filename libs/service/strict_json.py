"""JSON from outside, read strictly (RFC 8259 where it says SHOULD, and I-JSON, RFC 7493).

Refused: nesting over 32, a key twice in one object, NaN and infinities, integers beyond ±(2^53 - 1), NUL characters,
lone surrogates. The quick way costs one parse and one write; only text that is not written canonically pays more.
"""

import json
from typing import Any

import orjson

from libs.errors import Malformed

DEPTH_MAX = 32
INTEGER_MAX = 2**53 - 1
DIGITS_MAX = 18
"""Longer ones may not fit into 64 bits, and are read as floats without a word."""


def read_json(text: bytes) -> Any:
    """Read JSON. Raises Malformed with what is wrong and where it can be told."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"the body is not valid JSON: {error}") from None
    if orjson.dumps(value) != text:
        _refuse_what_was_lost(text)
    _refuse_extremes(value, 1)
    return value


def _refuse_what_was_lost(text: bytes) -> None:
    """Read again what was not written canonically: a key that stood twice, an integer that was read as a float."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            keys = [key for key, _ in pairs]
            double = next(key for key in keys if keys.count(key) > 1)
            raise Malformed(f"the key {double[:100]!r} stands twice in one object")
        return found

    def bounded(digits: str) -> int:
        if len(digits) > DIGITS_MAX:
            raise Malformed(f"the integer {digits[:20]}… is outside ±{INTEGER_MAX}; send it as a string")
        return int(digits)

    try:
        json.loads(text, object_pairs_hook=once, parse_int=bounded)
    except RecursionError:
        raise Malformed(f"the body is nested deeper than {DEPTH_MAX} levels") from None


def _refuse_extremes(value: Any, depth: int) -> None:
    kind = type(value)
    if kind is str:
        _refuse_nul(value)
    elif kind is int:
        if not -INTEGER_MAX <= value <= INTEGER_MAX:
            raise Malformed(f"the integer {value} is outside ±{INTEGER_MAX}; send it as a string")
    elif kind is dict or kind is list:
        if depth > DEPTH_MAX:
            raise Malformed(f"the body is nested deeper than {DEPTH_MAX} levels")
        if kind is dict:
            _refuse_nul("".join(value))
            value = value.values()
        for item in value:
            _refuse_extremes(item, depth + 1)


def _refuse_nul(text: str) -> None:
    if "\x00" in text:
        raise Malformed("the body contains a NUL character (\\u0000), which no key and no field takes")
