"""The servers that the end-to-end files share, and the one system that runs on them."""

from collections.abc import Mapping

from tests.support.system import Servers, System


class Stage:
    """Two systems on the same servers at a time would share their groups, so there is one; who wants another ends it.

    A system that was given is left as it was found: running. Starting one costs more than most files' tests.
    """

    def __init__(self, servers: Servers) -> None:
        self.servers = servers
        self._kind: object = None
        self._running: System | None = None
        self._is_prepared = False

    async def have(self, *, apart: bool | None = None, extra: Mapping[str, str] | None = None) -> System:
        """Give a running system of this kind: the one there is, or a new one in its place."""
        kind = (apart, extra or {})
        if self._running is None or self._kind != kind or not self._running.running():
            await self.end()
            await self.prepare()
            self._running, self._kind = System(self.servers, apart=apart, extra=extra), kind
            await self._running.start()
        await self._running.until_ready()
        return self._running

    async def prepare(self) -> None:
        """Make databases and topics, once."""
        if not self._is_prepared:
            await System(self.servers).prepare()
            self._is_prepared = True

    async def end(self) -> None:
        """Let no system run."""
        ending, self._running = self._running, None
        if ending is not None:
            await ending.stop()
