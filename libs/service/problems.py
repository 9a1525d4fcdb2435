"""Errors as answers: problem details (RFC 9457) that name each field and what is wrong with it."""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from libs.errors import ActivitiesError, Problem, Rejected, Unavailable

TITLES = {
    400: "Bad request", 401: "Not authenticated", 403: "Forbidden", 404: "Not found", 405: "Method not allowed",
    409: "Conflict", 412: "Precondition failed", 413: "Too large", 415: "Unsupported media type",
    422: "Not valid", 429: "Too many requests", 500: "Internal error", 503: "Not available now",
}  # fmt: skip
SHOWN_MAX = 100
"""Problems named in one answer; a body with more is wrong in kind, not in detail."""


_INSTANT, _DAY = "an instant with an offset, such as 2026-01-31T09:00:00Z", "a day, such as 2026-01-31"
_WORDS = {
    "missing": "is required",
    "extra_forbidden": "is not a field of this request",
    "literal_error": "must be {expected}",
    "union_tag_invalid": "{discriminator} is '{tag}'; it must be one of {expected_tags}",
    "union_tag_not_found": "{discriminator} is required",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match {pattern}",
    "too_short": "has {actual_length}; at least {min_length} are needed",
    "too_long": "has {actual_length}; at most {max_length} are taken",
    "string_type": "must be a text",
    "list_type": "must be a list",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "date_parsing": f"must be {_DAY}",
    "date_from_datetime_parsing": f"must be {_DAY}",
    "date_from_datetime_inexact": f"must be {_DAY}",
    **dict.fromkeys(("datetime_parsing", "datetime_from_date_parsing"), f"must be {_DAY}, or {_INSTANT}"),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "must be an object"),
    **dict.fromkeys(("uuid_parsing", "uuid_type"), "must be a UUID"),
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), "must be a whole number"),
    **dict.fromkeys(("float_parsing", "float_type"), "must be a number"),
}
"""What is said instead of pydantic's words, by its code; in braces its context."""
_CODES = {"extra_forbidden": "unknown_field", "missing": "required"}


def problem(status: int, code: str, detail: str, request_id: str, **more: Any) -> Response:
    """Answer `application/problem+json`."""
    content = {
        "type": "about:blank",
        "title": TITLES.get(status, "Error"),
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
        "errors": more.pop("errors", []),
        **more,
    }
    return Response(orjson.dumps(content), status, media_type="application/problem+json")


def shaped(path: str, answer: Response) -> Response:
    """Give a problem the shape of the product whose path it is: under /v1 `{statusCode, message, error}`.

    `message` names every field that is wrong; where something else is in the way, it leads there.
    """
    if not path.startswith("/v1/") or answer.media_type != "application/problem+json":
        return answer
    found, status = orjson.loads(bytes(answer.body)), 400 if answer.status_code == 422 else answer.status_code
    message = "; ".join(f"{each['field']}: {each['message']}" for each in found["errors"]) or found["detail"]
    if "link" in found:
        message += f"; see {found['link']}"
    content = {"statusCode": status, "message": message, "error": HTTPStatus(status).phrase}
    plain = Response(orjson.dumps(content), status, media_type="application/json")
    plain.headers.update({name: answer.headers[name] for name in ("retry-after", "allow") if name in answer.headers})
    return plain


def install(app: FastAPI, invalid_status: Callable[[Request], int]) -> None:
    """Turn what routes raise into answers; `invalid_status` says 400 or 422 for a request's path."""

    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, ActivitiesError)
        return shaped(request.url.path, answer_to(error, request.state.request_id, invalid_status(request)))

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return shaped(request.url.path, unreadable(error, request.state.request_id, invalid_status(request)))

    async def starlettes(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        detail = f"there is no {request.method} {request.url.path}" if error.status_code in (404, 405) else error.detail
        code = {404: "no_such_route", 405: "method_not_allowed"}.get(error.status_code, "http_error")
        answer = problem(error.status_code, code, detail, request.state.request_id)
        answer.headers.update(error.headers or {})
        return shaped(request.url.path, answer)

    async def unforeseen(request: Request, error: Exception) -> Response:
        return shaped(request.url.path, failed(request.state.request_id))

    app.add_exception_handler(Exception, unforeseen)
    app.add_exception_handler(ActivitiesError, ours)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, starlettes)


def failed(request_id: str) -> Response:
    """Answer for an error that nobody foresaw: nothing of the inside, but where to find it."""
    return problem(500, "internal", "the server failed; the request id finds it in the log", request_id)


def answer_to(error: ActivitiesError, request_id: str, invalid_status: int = 422) -> Response:
    """Answer what one of our errors means."""
    if isinstance(error, Unavailable):
        answer = problem(error.status, error.code, error.message, request_id)
        answer.headers["retry-after"] = str(error.retry_after_s)
        return answer
    if not isinstance(error, Rejected):
        return failed(request_id)
    status = invalid_status if error.status == 422 else error.status
    if error.problems:
        return _invalid(status, error.code, error.problems, request_id)
    link = getattr(error, "link", None)
    return problem(status, error.code, error.message, request_id, **({"link": link} if link else {}))


def unreadable(error: RequestValidationError, request_id: str, invalid_status: int) -> Response:
    """Answer what is wrong with the form of a request."""
    return _invalid(invalid_status, "invalid", read_validation(error.errors()), request_id)


def read_validation(errors: Sequence[Any]) -> list[Problem]:
    """Name the field, the code and the message of each problem that pydantic found."""
    problems = []
    for error in errors:
        path = [str(part) for part in error["loc"] if part not in ("body", "query", "path", "header")]
        kind = error["type"]
        problems.append(Problem(".".join(path) or "body", _CODES.get(kind, kind), _said(error)))
    return problems


def _said(error: Any) -> str:
    context = error.get("ctx", {})
    if error["type"] in ("string_too_short", "too_short") and context["min_length"] == 1:
        return "must not be empty"
    words = _WORDS.get(error["type"])
    return words.format(**context) if words is not None else error["msg"].removeprefix("Value error, ")


def _invalid(status: int, code: str, problems: Sequence[Problem], request_id: str) -> Response:
    named = [{"field": p.field, "code": p.code, "message": p.message} for p in problems[:SHOWN_MAX]]
    detail = "; ".join(f"{p.field}: {p.message}" for p in problems[:3])
    if len(problems) > 3:
        detail += f"; and {len(problems) - 3} more"
    return problem(status, code, detail, request_id, errors=named)
