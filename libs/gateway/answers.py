"""What a gateway answers by itself: problem details like those of the services, and hop-by-hop headers left out."""

import re
from collections.abc import Mapping
from uuid import uuid4

import orjson
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

PROBLEMS = {
    400: ("malformed", "Bad request", "the request cannot be read"),
    404: ("no_such_route", "Not found", "there is no such path"),
    408: ("too_slow", "Request timeout", "the request was not complete in time"),
    411: ("length_required", "Length required", "say how long the body is"),
    413: ("too_large", "Too large", "the body is larger than any route takes"),
    414: ("too_large", "Too large", "the address is longer than any route takes"),
    417: ("expectation_failed", "Expectation failed", "the only expectation that is met is 100-continue"),
    431: ("too_large", "Too large", "the headers are larger than any route takes"),
    500: ("internal", "Internal error", "the gateway failed"),
    501: ("not_implemented", "Not implemented", "the request asks for what the gateway does not do"),
    502: ("broken_off", "Bad gateway", "the service broke off; whether it did what was asked is not known"),
    503: ("unavailable", "Not available now", "no process of the service takes requests; nothing was done"),
    504: ("no_answer_in_time", "Gateway timeout", "no answer in time; whether it did what was asked is not known"),
}
"""Code, title and detail of each status a gateway gives by itself. 503: the same request will do later."""
RETRY_AFTER_S = 1
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")
HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
     "transfer-encoding", "upgrade")
)  # fmt: skip


def problem_text(status: int, request_id: str) -> str:
    """Write the body of a problem that the gateway tells."""
    code, title, detail = PROBLEMS[status]
    content = {
        "type": "about:blank", "title": title, "status": status, "detail": detail, "code": code,
        "request_id": request_id, "errors": [],
    }  # fmt: skip
    return orjson.dumps(content).decode()


def problem(status: int, request_id: str) -> web.Response:
    """Answer a problem."""
    headers = {"X-Request-ID": request_id} | ({"Retry-After": str(RETRY_AFTER_S)} if status == 503 else {})
    text = problem_text(status, request_id)
    return web.Response(text=text, status=status, content_type="application/problem+json", headers=headers)


def json(content: object, status: int = 200) -> web.Response:
    """Answer JSON."""
    return web.Response(body=orjson.dumps(content), status=status, content_type="application/json")


def request_id_of(headers: Mapping[str, str]) -> str:
    """Return the request's id: the one it came with, if it is one of ours in form, else a new one."""
    given = headers.get("X-Request-ID", "")
    return given if REQUEST_ID.fullmatch(given) else uuid4().hex


def end_to_end(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """Return the headers that are meant for the other end (RFC 9110 §7.6.1)."""
    named = {word.strip().lower() for value in headers.getall("Connection", ()) for word in value.split(",")}
    return CIMultiDict((key, value) for key, value in headers.items() if key.lower() not in HOP_BY_HOP | named)
