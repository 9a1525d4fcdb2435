"""A service's HTTP application: routes with a declared permission, writes with their headers, errors as problems."""

from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Annotated, Any, TypeVar, cast

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from libs.database import Database
from libs.service import problems


async def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


DatabaseDep = Annotated[Database, Depends(_database)]
"""The database of the service whose route this is."""


P = TypeVar("P")
F = TypeVar("F", bound=Callable[..., Any])

KEYED, PREFERRING, MATCHED = "IdempotencyKey", "Prefer", "IfMatch"
"""The headers of writes, as `openapi.WRITE_HEADERS` names them."""


def takes(*headers: str) -> Callable[[F], F]:
    """Declare which headers of writes a route takes, or every route with this dependency."""

    def declare(call: F) -> F:
        call.takes = headers  # type: ignore[attr-defined]
        return call

    return declare


writes = takes(KEYED, PREFERRING)
"""Declare a write; `once` is how it is done."""
rewrites = takes(KEYED, PREFERRING, MATCHED)
"""Declare a write to something that has versions."""


def shared(kind: type[P]) -> Callable[[Request], Awaitable[P]]:
    """Make the dependency that gives a route the object of this class that its service shares."""

    async def find(request: Request) -> P:
        return cast(P, request.app.state.service.shared[kind])

    return find


class SlowDependency(Exception):
    """A dependency is not `async`: each request would wait for a thread, up to 5 ms while the loop is busy."""


class UndeclaredPermission(Exception):
    """A route says nothing about who may call it; such a service does not start."""


def make_app(title: str, routers: list[tuple[APIRouter, int]]) -> FastAPI:
    """Make the application of a service. `routers` come with the status of an invalid request: 400 or 422.

    Raises UndeclaredPermission, SlowDependency.
    """
    app = FastAPI(
        title=title, openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False,
        generate_unique_id_function=lambda route: f"{title.replace('-', '_')}_{route.name}",
    )  # fmt: skip
    statuses: dict[str, int] = {}
    written: dict[tuple[str, str], tuple[str, ...]] = {}
    for router, invalid_status in routers:
        for route in router.routes:
            if not isinstance(route, APIRoute):
                raise UndeclaredPermission(f"{route!r} hides its routes: serve each router by itself")
            _must_declare(route)
            _must_not_use_threads(route)
            statuses[route.path] = invalid_status
            for headers in (call.takes for call in _calls(route.dependant) if hasattr(call, "takes")):
                written |= {
                    (route.path_format, method.lower()): _taken(route, method, headers)
                    for method in route.methods or ()
                }
        app.include_router(router, tags=[title])
    app.state.invalid_statuses, app.state.written = statuses, written
    problems.install(app, lambda request: statuses.get(getattr(request.scope.get("route"), "path", ""), 422))
    return app


def _taken(route: APIRoute, method: str, headers: tuple[str, ...]) -> tuple[str, ...]:
    """Leave If-Match out where something new is put into a list of all."""
    new = method == "POST" and "{" not in route.path
    return tuple(name for name in headers if name != MATCHED) if new else headers


def _must_declare(route: APIRoute) -> None:
    if not any(hasattr(call, "scope") for call in _calls(route.dependant)):
        raise UndeclaredPermission(f"{route.methods} {route.path} declares no permission: add Depends(may(…))")


def _must_not_use_threads(route: APIRoute) -> None:
    for call in _calls(route.dependant):
        if not iscoroutinefunction(call):
            raise SlowDependency(f"{route.path}: {call!r} is not async and would run in a thread")


def _calls(dependant: Dependant) -> list[Any]:
    return [dependant.call, *(call for inner in dependant.dependencies for call in _calls(inner))]
