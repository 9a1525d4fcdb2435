"""A process: one service or several on one port, with the routes every process has."""

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import orjson
import structlog
import uvicorn
from fastapi import Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from libs import tracing
from libs.beat import to_next
from libs.errors import Unavailable
from libs.prefixes import prefix_of
from libs.service import metrics, openapi, pages, problems
from libs.service.edge import PROCESS, Edge, Message, Receive, Scope, Send
from libs.service.service import Service
from libs.service.watchdog import Watchdog

RETRY_S = 0.5
LISTEN_WAIT_S = 5.0
TICK_S = 1.0
GC_THRESHOLDS = (200_000, 20, 100)
"""Measured: the default costs up to half of the throughput, 50,000 3 %: a batch is gone before it is looked at."""
KEYS = {
    "X-API-KEY": {"type": "apiKey", "in": "header", "name": "X-API-KEY"},
    "Bearer": {"type": "http", "scheme": "bearer", "description": "the same key, or a member's token"},
}

log = structlog.get_logger("process")
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Process:
    """Dispatches requests to services by path, and answers for the process itself."""

    def __init__(self, services: Sequence[Service]) -> None:
        self._services = services
        self._by_prefix: dict[tuple[str, ...], App] = {}
        self._own = Edge(self._answer, PROCESS)
        self._started: set[str] = set()
        self._waiting: dict[str, str] = {}
        self._draining = False
        self._stopping = asyncio.Event()
        self._watchdog = Watchdog()
        for service in services:
            service.alone = len(services) == 1
            app, prefixes = service.application()
            self._by_prefix |= dict.fromkeys(prefixes, app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI 3)."""
        if scope["type"] != "http":
            return
        app = self._by_prefix.get(prefix_of(scope["path"]), self._own)
        await app(scope, receive, _last(send) if self._draining else send)

    async def run(self, host: str, port: int, drain_s: float = 0.0) -> None:
        """Start the services, serve until SIGTERM or SIGINT, stop the services.

        The port opens when the services have started, so that a gateway sends nothing to one that cannot serve yet;
        while a database is away it opens all the same, to say so. After SIGTERM no new connection is taken and each
        open one ends with its next answer; `drain_s` later, or at a further signal, the process stops.
        """
        loop = asyncio.get_running_loop()
        starting = [asyncio.create_task(self._start(service)) for service in self._services]
        watching = asyncio.create_task(self._watchdog.run())
        config = uvicorn.Config(
            self, host=host, port=port, interface="asgi3", lifespan="off", log_config=None, access_log=False,
            server_header=False, timeout_graceful_shutdown=10, backlog=1024, h11_max_incomplete_event_size=64 << 10,
        )  # fmt: skip
        server = uvicorn.Server(config)

        def stop(number: int, frame: object) -> None:
            loop.call_soon_threadsafe(self._stop, server, drain_s if number == signal.SIGTERM else 0.0)

        server.handle_exit = stop  # type: ignore[assignment,method-assign]
        server.main_loop = partial(self._tick, server)  # type: ignore[method-assign]
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, stop)
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        try:
            await asyncio.wait(starting, timeout=LISTEN_WAIT_S)
            if not server.should_exit:
                await server.serve()
        finally:
            for task in (*starting, watching):
                task.cancel()
            await asyncio.gather(*starting, watching, return_exceptions=True)
            await asyncio.gather(*(service.stop() for service in self._services if service.name in self._started))
            await asyncio.to_thread(tracing.stop)

    async def _tick(self, server: uvicorn.Server) -> None:
        """Do uvicorn's chores as often as they are due; by itself it looks ten times a second."""
        while not await server.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(to_next(TICK_S)):
                    await self._stopping.wait()

    def _stop(self, server: uvicorn.Server, drain_s: float) -> None:
        for service in self._services:
            service.leaving = True
        if not drain_s or self._draining or not server.started:
            server.should_exit = True
            self._stopping.set()
            return
        self._draining = True
        for listening in server.servers:
            listening.close()
        asyncio.get_running_loop().call_later(drain_s, self._stop, server, 0.0)

    async def _start(self, service: Service) -> None:
        while True:
            try:
                await service.start()
            except Unavailable as error:
                self._waiting[service.name] = error.message
                log.warning("waiting for the database", service=service.name, error=error.message)
            except Exception as error:  # wrong passwords, missing migrations: whoever mends it does it elsewhere
                self._waiting[service.name] = f"{type(error).__name__}: {error}"
                log.exception("service does not start", service=service.name)
            else:
                self._started.add(service.name)
                return
            await service.stop()
            await asyncio.sleep(RETRY_S)

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
        page = pages.find(path, accept, self.openapi)
        if page is not None:
            return page
        missing = problems.problem(404, "no_such_route", f"there is no {scope['method']} {path[:200]}", _id(scope))
        return problems.shaped(path, missing)

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

    def _problems(self, service: Service) -> list[str]:
        if service.name not in self._started:
            return [f"not started yet: {self._waiting.get(service.name, 'waiting for its database')}"]
        return [*service.problems(), *self._watchdog.problems()]

    def _health(self, name: str, request_id: str) -> Response:
        if not name:
            found = {service.name: self._problems(service) for service in self._services}
            return _json({"healthy": not any(found.values()), "services": found}, 503 if any(found.values()) else 200)
        for service in self._services:
            if service.name == name:
                found_here = self._problems(service)
                return _json({"healthy": not found_here, "problems": found_here}, 503 if found_here else 200)
        return problems.problem(404, "no_such_service", f"{name[:100]!r} does not run in this process", request_id)

    def _metrics(self) -> Response:
        for service in self._services:
            metrics.HEALTHY.labels(service.name).set(0 if self._problems(service) else 1)
            for pool, (used, most) in service.database.connections().items():
                metrics.CONNECTIONS.labels(service.name, pool).set(used)
                metrics.CONNECTIONS_MAX.labels(service.name, pool).set(most)
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    def openapi(self) -> dict[str, Any]:
        """Describe the routes of all services here."""
        whole: dict[str, Any] = {
            "openapi": "3.1.0",
            "info": {"title": "Activities", "version": "1"},
            "paths": {},
            "components": {"schemas": {}, "responses": {}, "securitySchemes": KEYS},
            "security": [{name: []} for name in KEYS],
        }
        for service in self._services:
            openapi.merge(whole, service.openapi(), service.package)
        return whole


def _last(send: Send) -> Send:
    """Let a connection end with this answer."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"connection", b"close")]
        await send(message)

    return sent


def _id(scope: Scope) -> str:
    request_id: str = scope["state"]["request_id"]
    return request_id


def _json(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")
