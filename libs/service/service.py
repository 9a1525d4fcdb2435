"""A service: what it serves, hears and does by itself, and its life from start to stop."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from libs.access import Access
from libs.access.rates import Rates
from libs.contracts.event import Event
from libs.contracts.topics import TOPICS
from libs.database import Database, Transaction
from libs.messaging.consumer import Consumer
from libs.messaging.inbound import Inbound
from libs.messaging.relay import Relay
from libs.messaging.subscription import AsideHandler, Part, Subscription
from libs.prefixes import prefix_of
from libs.service import idempotency, openapi, operations
from libs.service.direct import Direct
from libs.service.edge import Edge
from libs.service.http import make_app
from libs.service.room import Room
from libs.service.settings import ServiceSettings
from libs.service.tasks import Tasks

E = TypeVar("E", bound=Event)
Handler = Callable[[Transaction, Sequence[E]], Awaitable[None]]
Loop = Callable[[Database], Awaitable[None]]
HOUR_S = 3600.0
TOUCH_S = 15.0


class Service:
    """One service of the system; `app.create` of each makes one. `package` is its name with underscores.

    `owns_access` is the one whose tables are the truth about keys and members; all others hear copies. `consumers`: how
    many members of its group it is in a process of its own, so that one decides while another waits for the database;
    in a process with other services it is one, as all that is read there would wait for both.
    """

    def __init__(self, name: str, settings: ServiceSettings, *, owns_access: bool = False, consumers: int = 1) -> None:
        self.name = name
        self.package = name.replace("-", "_")
        self.settings = settings
        self._owns_access = owns_access
        self._members = consumers
        self.alone = False  # in its process
        self.database = Database(
            settings.urls(self.package),
            routes_max=settings.routes_connections_max,
            workers_max=settings.worker_connections_max + consumers - 1,
        )
        self.access = self._make_access()
        self._routers: list[tuple[APIRouter, int]] = []
        self._compressed: set[str] = set()
        self._subscriptions: list[Subscription] = []
        self.shared: dict[type, object] = {}
        self.leaving = False  # the process is about to stop: what waits for something answers without it
        self._inbound: Inbound | None = None
        self._loops: list[tuple[float, Loop]] = []
        self._always: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        self._checks: list[Callable[[], list[str]]] = []
        self._tasks = Tasks(name)
        self._consumers: list[Consumer] = []
        self._relay: Relay | None = None
        self.every(HOUR_S, idempotency.forget_old)
        self.serve(operations.make_router(name, settings.broker(), settings.operator_key))

    def serve(self, router: APIRouter, *, invalid_status: int = 422, compressed: bool = False) -> None:
        """Serve the routes of a router; a request that is not valid is answered with `invalid_status`.

        `compressed`: bodies may come with a content-encoding; for routers without parameters in their paths.
        """
        self._routers.append((router, invalid_status))
        if compressed:
            self._compressed |= {route.path for route in router.routes if isinstance(route, APIRoute)}

    def on(
        self,
        model: type[E] | Part[E],
        handler: Handler[E],
        *,
        topics: Sequence[str] = (),
        latest: bool = False,
        on_set_aside: AsideHandler | None = None,
    ) -> None:
        """Hear events of a shape, from all its topics or those named; `latest`: only the highest version of a key.

        `on_set_aside` is told of each record that can never be handled.
        """
        only: tuple[str, ...] = ()
        if isinstance(model, Part):
            model, only = model
        names = tuple(topics) or tuple(topic.name for topic in TOPICS if topic.model is model)
        self._subscriptions.append(Subscription(model, handler, names, latest, on_set_aside, only))

    def hear_inbound(self, inbound: Inbound) -> None:
        """Hear topics that others write to, each in a group of its own."""
        self._inbound = inbound

    def every(self, seconds: float, loop: Loop) -> None:
        """Run `loop` at start and then every `seconds`."""
        self._loops.append((seconds, loop))

    def always(self, run: Callable[[], Awaitable[None]]) -> None:
        """Keep `run` running for the process's life."""
        self._always.append((getattr(run, "__name__", repr(run)), run))

    def share(self, part: object) -> None:
        """Let routes have an object of this service, by its class: `Depends(shared(Class))`."""
        self.shared[type(part)] = part

    def ready_when(self, check: Callable[[], list[str]]) -> None:
        """Add to `/healthz/<service>` the problems that `check` names."""
        self._checks.append(check)

    def use(self, database: Database) -> None:
        """Take another database than the settings name; before anything else is called."""
        self.database = database
        self.access = self._make_access()

    def groups(self) -> dict[str, tuple[str, ...]]:
        """Name the consumer groups with the topics that each hears."""
        heard = {f"{self.package}.access": self._access_subscriptions(), self.package: self._subscriptions}
        groups = {
            group: tuple(sorted({topic for subscription in subscriptions for topic in subscription.topics}))
            for group, subscriptions in heard.items()
            if subscriptions
        }
        inbound = self._inbound.topics if self._inbound else ()
        return groups | {f"{self.package}.{topic}": (topic,) for topic in inbound}

    def application(self) -> tuple[Edge, set[tuple[str, ...]]]:
        """Make the ASGI application and name the path prefixes it answers. Raises UndeclaredPermission."""
        app = make_app(self.name, self._routers)
        app.state.database = self.database
        app.state.access = self.access
        app.state.service = self
        self._described: FastAPI = app
        room = Room(self.settings.requests_waiting_max, self.settings.bulks_waiting_max, self.settings.bodies_max_bytes)
        edge = Edge(Direct(app, self._routers), self.name, compressed=self._compressed, room=room)
        return edge, {prefix_of(path) for path in self.prefixes()}

    def openapi(self) -> dict[str, Any]:
        """Describe the routes, once there is an application."""
        app, examples = self._described, openapi.read_examples(self.package)
        return openapi.describe(app.openapi(), examples, app.state.invalid_statuses, app.state.written)

    def prefixes(self) -> set[str]:
        """Name the paths under which all routes are, such as `/api/timeline`: what a gateway sends here."""
        paths = [route.path for router, _ in self._routers for route in router.routes if hasattr(route, "path")]
        return {"/" + "/".join(prefix_of(path)) for path in paths}

    def _make_access(self) -> Access:
        settings = self.settings
        stale_max_s = None if self._owns_access else settings.access_stale_max_s
        return Access(
            self.database,
            reference_wait_max_ms=settings.reference_wait_max_ms,
            stale_max_s=stale_max_s,
            rates=Rates(settings.rate_requests_per_s, settings.rate_burst),
        )

    async def start(self) -> None:
        """Open the database, then hear, relay and loop. Raises Unavailable while the database does not answer."""
        await self.database.open()
        await self.access.load_age()
        broker = self.settings.broker()
        self._relay = Relay(self.database, broker)
        self._tasks.start("relay", self._relay.run)
        if not self._owns_access:
            accessing = Consumer(
                self.package, self.database, broker, self._access_subscriptions(), group=f"{self.package}.access"
            )
            await self._hear(accessing)
            touch_s = min(TOUCH_S, self.settings.access_stale_max_s / 3)
            self._tasks.every("access copy", touch_s, partial(self._touch_access, accessing))
        for number in range(self._members if self.alone else 1) if self._subscriptions else ():
            each = replace(broker, member=number + 1)
            await self._hear(Consumer(self.package, self.database, each, self._subscriptions, group=self.package))
        for inbound in self._inbound.by_topic() if self._inbound else ():
            group = f"{self.package}.{inbound.topics[0]}"
            await self._hear(Consumer(self.package, self.database, broker, inbound, group=group))
        for seconds, loop in self._loops:
            self._tasks.every(getattr(loop, "__name__", repr(loop)), seconds, partial(loop, self.database))
        for name, run in self._always:
            self._tasks.start(name, run)

    async def stop(self) -> None:
        """Finish what is in hand, stop hearing and relaying, close the database."""
        try:
            await asyncio.gather(*(consumer.stop() for consumer in self._consumers))
            self._consumers.clear()
        finally:
            await self._tasks.stop()
            await self.database.close()

    def problems(self) -> list[str]:
        """Say what keeps this service from making progress; empty when all is well."""
        checks = [
            self._tasks.problems,
            self.database.problems,
            self.access.problems,
            *(consumer.problems for consumer in self._consumers),
            *self._checks,
        ]
        if self._relay is not None:
            checks.append(self._relay.problems)
        return [problem for check in checks for problem in check()]

    async def _hear(self, consumer: Consumer) -> None:
        self._consumers.append(consumer)
        await consumer.start()

    def _access_subscriptions(self) -> list[Subscription]:
        """Hear about keys and members in a group of its own, which activity traffic cannot hold up."""
        return [Subscription(*heard) for heard in self.access.subscriptions()]

    async def _touch_access(self, accessing: Consumer) -> None:
        if not accessing.problems():
            await self.access.touch(accessing.lag_s())
