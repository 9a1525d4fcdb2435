"""Background work of a service: the only place that starts tasks."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from libs.beat import to_next
from libs.errors import Unavailable
from libs.service import metrics

RESTART_FIRST_S = 0.1
RESTART_MAX_S = 10.0
RECOVERED_S = 3.0
"""A task that was started again and runs for so long has recovered."""
STOP_S = 20.0

log = structlog.get_logger("tasks")


class Tasks:
    """Tasks that are started again with a growing wait when they fail, until they are stopped."""

    def __init__(self, service: str, recovered_s: float = RECOVERED_S) -> None:
        self._service = service
        self._recovered_s = recovered_s
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._failing: dict[str, str] = {}

    def start(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run `run` for good."""
        self._begin(name, run, self._recovered_s)

    def every(self, name: str, seconds: float, run: Callable[[], Awaitable[None]]) -> None:
        """Run `run` now and then about every `seconds`."""

        async def over_and_over() -> None:
            while True:
                await run()
                self._failing.pop(name, None)
                await asyncio.sleep(to_next(seconds))

        self._begin(name, over_and_over, None)

    def _begin(self, name: str, run: Callable[[], Awaitable[None]], recovered_s: float | None) -> None:
        self._tasks[name] = asyncio.create_task(
            self._keep_going(name, run, recovered_s), name=f"{self._service}.{name}"
        )

    async def stop(self) -> None:
        """Cancel all and wait for their end, at most 20 s."""
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=STOP_S)
        self._tasks.clear()

    def problems(self) -> list[str]:
        """Name the tasks that fail, with their last error, until they have gone well for a while."""
        return [f"{name}: {error}" for name, error in sorted(self._failing.items())]

    async def _keep_going(self, name: str, run: Callable[[], Awaitable[None]], recovered_s: float | None) -> None:
        """Start it again whenever it fails; what runs for `recovered_s` goes well again (None: it says so itself)."""
        wait_s = RESTART_FIRST_S
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            well = None if recovered_s is None else loop.call_later(recovered_s, self._failing.pop, name, None)
            try:
                await run()
                return
            except Unavailable as error:
                self._note(name, error)
            except Exception as error:
                self._note(name, error)
                log.exception("task failed", service=self._service, task=name)
            finally:
                if well is not None:
                    well.cancel()
            if loop.time() - started > RESTART_MAX_S:
                wait_s = RESTART_FIRST_S
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, RESTART_MAX_S)

    def _note(self, name: str, error: Exception) -> None:
        self._failing[name] = f"{type(error).__name__}: {error}"
        metrics.FAILURES.labels(self._service, name).inc()
