"""Texts that JSON parsers disagree about (after "Parsing JSON is a minefield"): each is taken or refused on purpose."""

import json

import pytest

from libs.errors import Malformed
from libs.service.strict_json import read_json

TAKEN = [
    b"[]", b"{}", b"[ ]", b" [1] ", b'[""]', b"[1.0]", b"[-0]", b"[0e1]", b"[1E-2]", b"[1e+2]", b"[123.456e-3]",
    b"[null]", b"[true,false]", b'{"":0}', b'{"a":[]}', b'["\\u0041"]', b'["\\uD834\\udd1e"]', b'["\\"\\\\\\/\\b\\f"]',
    b'["\\u0012"]', b'["\\u2028"]', '["\u2028"]'.encode(), '["é"]'.encode(), '["\U0001f44b"]'.encode(), b"0", b'"a"',
    b"\t[\n1\r]", '["\uffff"]'.encode(), b'["\x7f"]', b'{"a":"b","c":"d"}', b'{"a\\u0062":1}',
]  # fmt: skip

REFUSED = [
    b"[1,]", b"[,1]", b"[1,,2]", b"[", b"]", b"[1", b"[1}", b'{"a"}', b'{"a":}', b'{"a":1,}', b"{a:1}", b"{'a':1}",
    b'{"a":1 "b":2}', b"{1:1}", b'{"a":1}}', b"[1]x", b"[1][2]", b"[01]", b"[1.]", b"[.1]", b"[+1]", b"[1e]", b"[1e+]",
    b"[0x1]", b"[--1]", b"[1_000]", b"[NaN]", b"[-Infinity]", b"[nul]", b"[True]", b'["a]', b'["\\x41"]', b'["\\u12"]',
    b'["\\uD800"]', b'["\\uDC00\\uD800"]', b'["\\uD800\\u0041"]', b'["\n"]', b'["\t"]', b'["\x00"]', b'["\\u0000"]',
    b'["\xff"]', b'["\xc0\xaf"]', b'["\xed\xa0\x80"]', b'["\xe0\x80\xaf"]', b'["\xf4\x90\x80\x80"]',
    b"\xef\xbb\xbf[]", b"[]\x00", b"[1]/*x*/", b"// x\n[]", b"[1];", b"\xfe\xff\x00[\x00]", b"[9007199254740992]",
    b"[-9007199254740992]", b"[1e400]", b"[123456789012345678901234567890]", b'{"a":1,"a":1}', b'{"a":1,"\\u0061":2}',
    b"\x0c[]", "[\u00a01]".encode(), b"", b" ", b"undefined", b"#[]",
]  # fmt: skip


@pytest.mark.parametrize("text", TAKEN, ids=repr)
def test_it_is_taken(text: bytes) -> None:
    assert read_json(text) == json.loads(text)


@pytest.mark.parametrize("text", REFUSED, ids=repr)
def test_it_is_refused(text: bytes) -> None:
    with pytest.raises(Malformed):
        read_json(text)
