"""A process: one service or several on one port, with the routes every process has."""

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson
import structlog
import uvicorn
from fastapi import Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from libs.errors import Unavailable
from libs.service import metrics, pages, problems
from libs.service.edge import Edge, Receive, Scope, Send
from libs.service.service import Service, prefix_of

RETRY_S = 0.5
GC_THRESHOLDS = (50_000, 20, 100)  # measured: the default costs up to half of the throughput

log = structlog.get_logger("process")
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Process:
    """Dispatches requests to services by path, and answers for the process itself."""

    def __init__(self, services: Sequence[Service]) -> None:
        self._services = services
        self._by_prefix: dict[tuple[str, ...], App] = {}
        self._own = Edge(self._answer, "process")
        self._started: set[str] = set()
        for service in services:
            app, prefixes = service.application()
            self._by_prefix |= dict.fromkeys(prefixes, app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI 3)."""
        if scope["type"] != "http":
            return
        app = self._by_prefix.get(prefix_of(scope["path"]))
        if app is not None:
            await app(scope, receive, send)
        else:
            await self._own(scope, receive, send)

    async def run(self, host: str, port: int) -> None:
        """Start the services, serve until SIGTERM or SIGINT, stop the services."""
        starting = [asyncio.create_task(self._start(service)) for service in self._services]
        config = uvicorn.Config(
            self, host=host, port=port, interface="asgi3", lifespan="off", log_config=None, access_log=False,
            server_header=False, timeout_graceful_shutdown=10, backlog=1024, h11_max_incomplete_event_size=64 << 10,
        )  # fmt: skip
        for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises them again once it has stopped serving
            signal.signal(number, _go_on_stopping)
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        try:
            await uvicorn.Server(config).serve()
        finally:
            for task in starting:
                task.cancel()
            await asyncio.gather(*starting, return_exceptions=True)
            await asyncio.gather(*(service.stop() for service in self._services if service.name in self._started))

    async def _start(self, service: Service) -> None:
        while True:
            try:
                await service.start()
            except Unavailable as error:
                log.warning("waiting for the database", service=service.name, error=error.message)
                await service.stop()
                await asyncio.sleep(RETRY_S)
            else:
                self._started.add(service.name)
                return

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await self._find(scope)
        await answer(scope, receive, send)

    async def _find(self, scope: Scope) -> Response:
        path = scope["path"]
        if path == "/livez":
            return _json({"alive": True})
        if path == "/readyz":
            return await self._readiness(scope)
        if path.startswith("/healthz"):
            return self._health(path.removeprefix("/healthz").strip("/"), _id(scope))
        if path == "/metrics":
            return self._metrics()
        accept = dict(scope["headers"]).get(b"accept", b"").decode("latin-1")
        page = pages.find(path, accept, self._openapi)
        if page is not None:
            return page
        return problems.problem(404, "no_such_route", f"there is no {scope['method']} {path[:200]}", _id(scope))

    async def _readiness(self, scope: Scope) -> Response:
        """200 when every database answers; with an `X-API-KEY`, when every copy of the keys knows it too."""
        waiting = [service.name for service in self._services if service.name not in self._started]
        given = dict(scope["headers"]).get(b"x-api-key")
        for service in self._services:
            if service.name in self._started:
                if not await service.database.answers():
                    waiting.append(f"{service.name} (database)")
                elif given and await service.access.lookup(given.decode("latin-1")) is None:
                    waiting.append(f"{service.name} (keys)")
        return _json({"ready": not waiting, "waiting_for": waiting}, 503 if waiting else 200)

    def _health(self, name: str, request_id: str) -> Response:
        if not name:
            found = {service.name: service.problems() for service in self._services}
            return _json({"healthy": not any(found.values()), "services": found}, 503 if any(found.values()) else 200)
        for service in self._services:
            if service.name == name:
                found_here = service.problems()
                return _json({"healthy": not found_here, "problems": found_here}, 503 if found_here else 200)
        return problems.problem(404, "no_such_service", f"{name[:100]!r} does not run in this process", request_id)

    def _metrics(self) -> Response:
        for service in self._services:
            metrics.HEALTHY.labels(service.name).set(0 if service.problems() else 1)
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    def _openapi(self) -> dict[str, Any]:
        whole: dict[str, Any] = {
            "openapi": "3.1.0",
            "info": {"title": "Activities", "version": "1"},
            "paths": {},
            "components": {"schemas": {}},
        }
        for service in self._services:
            part = service.openapi()
            whole["paths"] |= part.get("paths", {})
            whole["components"]["schemas"] |= part.get("components", {}).get("schemas", {})
        return whole


def _go_on_stopping(number: int, frame: object) -> None:
    """Let the services stop in order; a further signal does not cut that short."""


def _id(scope: Scope) -> str:
    request_id: str = scope["state"]["request_id"]
    return request_id


def _json(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")
