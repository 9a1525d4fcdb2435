"""A service's HTTP application: its routers, each route with a declared permission, errors as problem details."""

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
    written: dict[tuple[str, str], bool] = {}
    for router, invalid_status in routers:
        for route in router.routes:
            if not isinstance(route, APIRoute):
                raise UndeclaredPermission(f"{route!r} hides its routes: serve each router by itself")
            _must_declare(route)
            _must_not_use_threads(route)
            statuses[route.path] = invalid_status
            for matched in (call.matched for call in _calls(route.dependant) if hasattr(call, "matched")):
                written |= {
                    (route.path, method.lower()): matched and "{" in route.path for method in route.methods or ()
                }
        app.include_router(router, tags=[title])
    app.state.invalid_statuses, app.state.written = statuses, written
    problems.install(app, lambda request: statuses.get(getattr(request.scope.get("route"), "path", ""), 422))
    return app


def _must_declare(route: APIRoute) -> None:
    if not any(hasattr(call, "scope") for call in _calls(route.dependant)):
        raise UndeclaredPermission(f"{route.methods} {route.path} declares no permission: add Depends(may(…))")


def _must_not_use_threads(route: APIRoute) -> None:
    for call in _calls(route.dependant):
        if not iscoroutinefunction(call):
            raise SlowDependency(f"{route.path}: {call!r} is not async and would run in a thread")


def _calls(dependant: Dependant) -> list[Any]:
    return [dependant.call, *(call for inner in dependant.dependencies for call in _calls(inner))]
