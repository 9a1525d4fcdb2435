"""A running gateway: listens, hands requests on, looks who is ready, ends cleanly."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
from aiohttp import web

from libs.embedded.processes import ServerFailed
from libs.gateway import nginx
from libs.gateway.front import Front
from libs.gateway.nginx import Nginx
from libs.gateway.proxy import Proxy
from libs.gateway.replicas import read_upstreams
from libs.gateway.table import Table
from libs.gateway.upstreams import Upstreams
from libs.prefixes import prefix_of

LINE_MAX_BYTES = 32 << 10
CLIENT_IDLE_S = 75.0
STOP_S = 15.0
LOOK_S = 0.5

log = structlog.get_logger("gateway")


class Gateway:
    """Passes requests on by itself, or lets nginx do it and answers only what is about all processes."""

    def __init__(self, table: Table, directory: Path) -> None:
        self._table = table
        self._directory = directory / "nginx"
        self._upstreams = Upstreams(read_upstreams(table.upstreams))
        self._services = table.by_prefix()

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. Raises ServerFailed when it cannot listen, or nginx ends."""
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        program = nginx.find_program() if self._table.program != "own" else None
        if program is None and self._table.program == "nginx":
            raise ServerFailed("nginx is not installed (Debian: apt-get install nginx-light)")
        if program is None:
            async with self._listening(self._table.host, self._table.port):
                log.warning("listening", program="own", host=self._table.host, port=self._table.port)
                await self._watch(stopping, lambda: None, lambda: None)
        else:
            async with self._listening("127.0.0.1", 0) as port:
                await self._run_nginx(Nginx(program, self._directory), f"127.0.0.1:{port}", stopping)

    async def _run_nginx(self, server: Nginx, front: str, stopping: asyncio.Event) -> None:
        def text() -> str:
            return nginx.configuration(self._table, self._upstreams, self._directory, front)

        def check() -> None:
            code = server.ended()
            if code is not None:
                raise ServerFailed(f"nginx ended with code {code}")

        await asyncio.to_thread(server.start, text())
        log.warning("listening", program="nginx", host=self._table.host, port=self._table.port)
        try:
            await self._watch(stopping, lambda: server.reload(text()), check)
        finally:
            await asyncio.to_thread(server.stop)

    async def _watch(self, stopping: asyncio.Event, changed: Callable[[], None], check: Callable[[], None]) -> None:
        """Look who is ready until it is time to stop."""

        def told() -> None:
            taking = [each.name for service in self._upstreams.services for each in self._upstreams.of(service)]
            log.warning("other processes take requests", taking=taking)
            changed()

        watching = asyncio.create_task(self._upstreams.watch(told))
        stopped = asyncio.create_task(stopping.wait())
        try:
            while not stopped.done():
                await asyncio.wait([watching, stopped], timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
                if watching.done():
                    watching.result()
                check()
        finally:
            watching.cancel()
            stopped.cancel()

    @asynccontextmanager
    async def _listening(self, host: str, port: int) -> AsyncIterator[int]:
        """Listen, and give the port; at the end stop listening and finish the requests in hand."""
        proxy, front = Proxy(self._upstreams), Front(self._upstreams, self._table.openapi)

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            service = self._services.get(prefix_of(request.path))
            own = await front.answer(request) if service is None else None
            answer = own or await proxy.pass_on(request, service or self._upstreams.services[0])
            if not answer.prepared:
                answer.headers.setdefault("Server", "activities")
            return answer

        server = web.Server(
            handle, access_log=None, keepalive_timeout=CLIENT_IDLE_S,
            max_line_size=LINE_MAX_BYTES, max_field_size=LINE_MAX_BYTES,
        )  # fmt: skip
        runner = web.ServerRunner(server, shutdown_timeout=STOP_S)
        await runner.setup()
        try:
            site = web.TCPSite(runner, host, port, backlog=1024)
            try:
                await site.start()
            except OSError as error:
                raise ServerFailed(f"cannot listen on {host}:{port}: {error.strerror}") from error
            yield int(runner.addresses[0][1])
        finally:
            await runner.cleanup()
            await proxy.close()
            await front.close()
