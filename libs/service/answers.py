"""Answers: JSON written by orjson, with the headers that carry versions."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson
from fastapi import Request, Response

from libs.errors import Problem, Rejected


def json_answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer JSON. Datetimes become RFC 3339 in UTC with `Z`, UUIDs text."""
    body = orjson.dumps(content, default=_write, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)
    return Response(body, status, headers, media_type="application/json")


def versioned(content: Any, version: int, status: int = 200, wrote: UUID | None = None) -> Response:
    """Answer one thing with its `ETag`; `wrote` names it in `X-Wrote` too, after a write."""
    headers = {"etag": f'"{version}"'}
    if wrote is not None:
        headers["x-wrote"] = f"{wrote}:{version}"
    return json_answer(content, status, headers)


def if_match(request: Request) -> int | None:
    """Read `If-Match`: the version that the caller saw, None when it does not say. Raises Rejected."""
    text = request.headers.get("if-match")
    if text is None or text.strip() == "*":
        return None
    bare = text.strip().removeprefix("W/").strip('"')
    if not bare.isascii() or not bare.isdigit() or len(bare) > 9:
        raise Rejected(
            f"If-Match {text[:100]!r} is not an ETag of this API",
            [Problem("If-Match", "etag_invalid", 'must be the ETag of an earlier answer, such as "3"')],
        )
    return int(bare)


def preferred(request: Request, answer: Response) -> Response:
    """Leave the body of a write's answer out where `Prefer: return=minimal` says so (RFC 7240): 201, 202, else 204."""
    wanted = request.headers.get("prefer")
    if wanted is None or "return=minimal" not in wanted.replace(" ", "").lower().split(","):
        return answer
    headers = {name: value for name, value in answer.headers.items() if not name.startswith("content-")}
    headers["preference-applied"] = "return=minimal"
    return Response(status_code=answer.status_code if answer.status_code in (201, 202) else 204, headers=headers)


def gone(wrote: UUID | None = None, version: int = 0) -> Response:
    """Answer a deletion; `wrote` names in `X-Wrote` what is deleted, at the version that says so."""
    return Response(status_code=204, headers=None if wrote is None else {"x-wrote": f"{wrote}:{version}"})


def _write(value: Any) -> Any:
    if isinstance(value, UUID):  # a driver's own subclass
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be answered as JSON")
