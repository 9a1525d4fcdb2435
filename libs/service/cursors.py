"""Keyset cursors: where a list goes on, bound to the business and the filter they were made for."""

import base64
import binascii
import hashlib
from typing import Any
from uuid import UUID

import orjson

from libs.database.pool import Tenant
from libs.errors import Problem, Rejected

LENGTH_MAX = 1_000


def encode_cursor(principal: Tenant, filter_text: str, values: list[Any]) -> str:
    """Write a cursor: unpadded base64url of the last row's sort values and a mark of business and filter."""
    return (
        base64.urlsafe_b64encode(orjson.dumps([_mark(principal.business_id, filter_text), *values]))
        .decode()
        .rstrip("=")
    )


def decode_cursor(principal: Tenant, filter_text: str, text: str) -> list[Any]:
    """Read a cursor back (instants and UUIDs come as text). Raises Rejected when it is not of this list."""
    try:
        if len(text) > LENGTH_MAX:
            raise ValueError
        mark, *values = orjson.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (ValueError, TypeError, binascii.Error):
        raise _refused("is not a cursor of this API; take `next` of an earlier answer as it is") from None
    if mark != _mark(principal.business_id, filter_text):
        raise _refused("belongs to a list with another filter; start again without it")
    return list(values)


def _mark(business_id: UUID, filter_text: str) -> str:
    return hashlib.sha256(f"{business_id}\x1f{filter_text}".encode()).hexdigest()[:16]


def _refused(message: str) -> Rejected:
    return Rejected(f"cursor {message}", [Problem("cursor", "cursor_invalid", message)])
