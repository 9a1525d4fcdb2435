"""Headers of their own that receivers may ask for: from an allow-list of names, with plain values."""

import re
from collections.abc import Collection, Mapping

from libs.errors import Problem, Rejected

HEADERS_MAX, NAME_LENGTH_MAX, VALUE_LENGTH_MAX = 10, 64, 1_000
RESERVED = re.compile(r"x-(forwarded|real-ip|original|http-method|envoy|amz|goog|webhook|request-id).*")
FIXED = re.compile(
    r"host|connection|content-.*|transfer-encoding|te|upgrade|expect|trailer|keep-alive|proxy-.*|webhook-.*|cookie|"
    r"accept-encoding|traceparent"
)
"""What we say ourselves, or what decides where a request ends: no setting opens these."""

_NAME = re.compile(r"[a-z0-9-]+", re.ASCII)
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?", re.ASCII)


def check_headers(headers: Mapping[str, str], allowed: Collection[str]) -> dict[str, str]:
    """Return headers by their names in lower case. Raises Rejected naming each that is not taken.

    Taken are names that begin with `x-`, but for those that proxies act on, and those of `allowed`.
    """
    problems = []
    if len(headers) > HEADERS_MAX:
        problems.append(Problem("headers", "too_many", f"must be at most {HEADERS_MAX}, are {len(headers)}"))
    lower = {name.lower(): value for name, value in headers.items()}
    if len(lower) < len(headers):
        problems.append(Problem("headers", "repeated", "must not hold one name in two spellings"))
    for name, value in lower.items():
        if not _may(name, allowed):
            message = f"is not allowed: names begin with x-{_list(allowed)} and are not those that proxies act on"
            problems.append(Problem(f"headers.{name[:NAME_LENGTH_MAX]}", "header_refused", message))
        elif len(value) > VALUE_LENGTH_MAX or not _VALUE.fullmatch(value):
            message = f"must be 1 to {VALUE_LENGTH_MAX} printable ASCII characters, without spaces around them"
            problems.append(Problem(f"headers.{name}", "value_invalid", message))
    if problems:
        raise Rejected("; ".join(f"{one.field} {one.message}" for one in problems), problems)
    return lower


def _may(name: str, allowed: Collection[str]) -> bool:
    if len(name) > NAME_LENGTH_MAX or not _NAME.fullmatch(name) or FIXED.fullmatch(name):
        return False
    return name in allowed or (name.startswith("x-") and len(name) > 2 and not RESERVED.fullmatch(name))


def _list(allowed: Collection[str]) -> str:
    return f" or are {', '.join(sorted(allowed))}" if allowed else ""
