"""What happens to every request before and after its route: identity, bounds, strict JSON, one log line, metrics."""

import re
import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

import structlog
from fastapi import Response

from libs import tracing
from libs.contracts.ids import uuid7
from libs.errors import ActivitiesError, Rejected, TooLarge
from libs.service import metrics, problems
from libs.service.encoding import ENCODINGS, decompress
from libs.service.room import Crowded, Room
from libs.service.strict_json import read_json

BODY_MAX_BYTES = 1 << 20
BULK_MAX_BYTES = 8 << 20
QUERY_MAX_BYTES = 16 << 10
PROCESS = "process"
"""The service of what every process answers: health, metrics, documents."""
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

log = structlog.get_logger("http")


class Disconnected(Exception):
    """The caller went away before its request was complete."""


class WrongType(Rejected):
    """A body of a media type that the route does not read."""

    status = 415
    code = "unsupported_media_type"


class Edge:
    """Wraps a service's application. `compressed`: the paths whose bodies may come with a content-encoding."""

    def __init__(self, app: App, service: str, *, compressed: Collection[str] = (), room: Room | None = None) -> None:
        self._app = app
        self._service = service
        self._compressed = frozenset(compressed)
        self._room = room or Room()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, traced when tracing is on."""
        if not tracing.is_on() or self._service == PROCESS:
            await self._answer(scope, receive, send)
            return
        parent = dict(scope["headers"]).get(tracing.HEADER.encode(), b"").decode("latin-1")
        with tracing.span(self._service, scope["method"], "server", parent):
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        headers = dict(scope["headers"])
        request_id = _request_id(headers)
        scope["state"] = {**scope.get("state", {}), "request_id": request_id}
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                left = scope["state"].get("rate")
                more = left.headers() if left is not None else []
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode()), *more]
            await send(message)

        try:
            await self._serve(scope, headers, receive, answer)
        except Disconnected:
            status = 499
        except Crowded as error:
            await _say(problems.answer_to(error, request_id), scope, receive, answer)
            metrics.CROWDED.labels(self._service).inc()
            return
        except ActivitiesError as error:
            await _say(problems.answer_to(error, request_id), scope, receive, answer)
        except Exception as error:
            log.exception("request failed", request_id=request_id, path=scope["path"], error=type(error).__name__)
            if status == 0:
                await _say(problems.failed(request_id), scope, receive, answer)
        self._note(scope, status, time.perf_counter() - started)

    async def _serve(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, send: Send) -> None:
        """Let a request in where there is room; receiving its body takes none, so that slow senders hold up nobody."""
        bulk = scope["path"].endswith("/bulk")
        self._room.look(bulk=bulk)
        with self._room.hold() as count:
            body = await _receive_body(scope, headers, _counted(receive, count), bulk)
            with self._room.enter(bulk=bulk):
                if body:
                    body = await self._open(body, scope, headers, bulk)
                await self._app(scope, _once(body, receive), send)

    async def _open(self, body: bytes, scope: Scope, headers: dict[bytes, bytes], bulk: bool) -> bytes:
        """Decompress and check a body before anything else sees it; what it says stands in the state as `json`."""
        encoding = headers.get(b"content-encoding", b"identity").decode("latin-1").strip().lower()
        if encoding != "identity":
            if scope["path"] not in self._compressed:
                raise WrongType("send the body without content-encoding")
            if encoding not in ENCODINGS:
                raise WrongType(f"content-encoding is {encoding[:100]!r}; taken are {', '.join(ENCODINGS)}")
            body = await decompress(encoding, body, BULK_MAX_BYTES if bulk else BODY_MAX_BYTES)
        if body and not bulk:
            _check_type(headers.get(b"content-type", b""))
            scope["state"]["json"] = read_json(body)
        return body

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "-")
        metrics.REQUESTS.labels(self._service, scope["method"], route, f"{status // 100}xx").observe(seconds)
        state = scope["state"]
        if tracing.is_on():
            tracing.note(
                f"{scope['method']} {route}",
                http__request__method=scope["method"],
                http__route=route,
                http__response__status_code=status,
                activities__request_id=state["request_id"],
            )
        if self._service == PROCESS and status < 400:
            return  # a gateway asks for /readyz twice a second
        log.info(
            "request",
            service=self._service,
            method=scope["method"],
            route=route,
            status=status,
            ms=round(seconds * 1000, 1),
            request_id=state["request_id"],
            business_id=str(state["business_id"]) if "business_id" in state else None,
        )


async def _say(problem: Response, scope: Scope, receive: Receive, send: Send) -> None:
    await problems.shaped(scope["path"], problem)(scope, receive, send)


def _request_id(headers: dict[bytes, bytes]) -> str:
    given = headers.get(b"x-request-id", b"").decode("latin-1")
    return given if REQUEST_ID.fullmatch(given) else str(uuid7())


def _counted(receive: Receive, count: Callable[[int], None]) -> Receive:
    """Count the bytes of a body as they come."""

    async def counted() -> Message:
        message = await receive()
        count(len(message.get("body", b"")))
        return message

    return counted


async def _receive_body(scope: Scope, headers: dict[bytes, bytes], receive: Receive, bulk: bool) -> bytes:
    """Receive the body, counted while it streams."""
    if len(scope.get("query_string", b"")) > QUERY_MAX_BYTES:
        raise TooLarge(f"the query is longer than {QUERY_MAX_BYTES} bytes")
    if scope["method"] in ("GET", "HEAD", "OPTIONS"):
        return b""
    return await _receive_at_most(BULK_MAX_BYTES if bulk else BODY_MAX_BYTES, headers, receive)


async def _receive_at_most(bound: int, headers: dict[bytes, bytes], receive: Receive) -> bytes:
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length) > bound:
        raise TooLarge(f"the body has {int(length)} bytes; at most {bound} are taken")
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > bound:
            raise TooLarge(f"the body is longer than {bound} bytes")
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _check_type(content_type: bytes) -> None:
    essence = content_type.split(b";", 1)[0].strip().lower()
    if essence and essence != b"application/json" and not essence.endswith(b"+json"):
        shown = essence.decode("latin-1")[:100]
        raise WrongType(
            f"content-type is {shown!r}; send application/json (with curl: -H 'content-type: application/json')"
        )


def _once(body: bytes, receive: Receive) -> Receive:
    """Hand the body on as one message; after it, whatever the server says (the disconnect)."""
    pending = True

    async def handed_on() -> Message:
        nonlocal pending
        if pending:
            pending = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return handed_on
