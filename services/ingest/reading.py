"""From bytes to a JSON value: strict, in NFC, and quick for the many that are in order."""

import unicodedata
from collections.abc import Iterator
from typing import Any

import orjson

from libs.errors import Malformed, Rejected, TooLarge
from libs.service.strict_json import DEPTH_MAX, read_json
from services.ingest.interactions import INTERACTION_MAX_BYTES
from services.ingest.reports import REPORT_MAX_BYTES

LINES_MAX = 10_000
_SPACE = b" \t\r\n"
_DIGITS = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER = b"0" * 16  # 2^53 has sixteen digits


def read_report(text: bytes) -> Any:
    """Read the JSON of one report; all text comes out in NFC. Raises Malformed, TooLarge."""
    return _read("report", text, REPORT_MAX_BYTES)


def read_interaction(text: bytes) -> Any:
    """Read the JSON of one interaction; all text comes out in NFC. Raises Malformed, TooLarge."""
    return _read("interaction", text, INTERACTION_MAX_BYTES)


def _read(what: str, text: bytes, bytes_max: int) -> Any:
    if len(text) > bytes_max:
        raise TooLarge(f"the {what} has {len(text)} bytes; at most {bytes_max} are taken")
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"the {what} is not valid JSON: {error}") from None
    written = orjson.dumps(value)
    if not _is_plain(text, written):
        value = read_json(text)
    return value if written.isascii() else _compose(value, written.decode())


def split_lines(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Number the lines of NDJSON from 1, without the blank ones. Raises TooLarge for more than 10,000."""
    lines = [(number, line) for number, line in enumerate(body.split(b"\n"), 1) if line.strip()]
    check_count(len(lines))
    return iter(lines)


def check_count(reports: int) -> None:
    """Refuse more reports at once than are taken. Raises TooLarge."""
    if reports > LINES_MAX:
        raise TooLarge(f"the body has {reports} reports; at most {LINES_MAX} are taken at once")


def _is_plain(text: bytes, written: bytes) -> bool:
    """Tell whether nothing can be wrong: no key lost on the way in, not deep, no large integer, no NUL.

    Written again, a value has the same bytes but for white space, unless a key stood twice (or it was written in
    another way, which the exact check then allows).
    """
    return (
        (written == text or written.translate(None, _SPACE) == text.translate(None, _SPACE))
        and text.count(b"{") + text.count(b"[") <= DEPTH_MAX
        and b"\\u0000" not in text
        and _LONG_NUMBER not in text.translate(_DIGITS)
    )


def _compose(value: Any, written: str) -> Any:
    """Bring all text of a value into NFC at once: no character of JSON's own combines with what is beside it."""
    if unicodedata.is_normalized("NFC", written):
        return value
    composed = unicodedata.normalize("NFC", written)
    value = orjson.loads(composed)
    if orjson.dumps(value).decode() != composed:
        raise Rejected("two keys of one object are the same text in NFC", code="malformed")
    return value
