"""Routes that take nothing of a request but itself are called directly.

The way through FastAPI (its middleware, matching, solving of dependencies, exit stacks) costs 150 of the 310 µs that
a single report takes until it is committed [measured].
"""

from collections.abc import Iterable, Iterator
from inspect import signature
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from libs.errors import ActivitiesError
from libs.service import problems
from libs.service.edge import Receive, Scope, Send


class Direct:
    """Calls those routes of an application itself, and leaves all other requests to it."""

    def __init__(self, app: FastAPI, routers: Iterable[tuple[APIRouter, int]]) -> None:
        self._app = app
        self._routes = dict(_direct_routes(routers))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI 3)."""
        found = self._routes.get((scope["method"], scope["path"]))
        if found is None:
            await self._app(scope, receive, send)
            return
        route, invalid_status = found
        scope["app"], scope["route"] = self._app, route
        request = Request(scope, receive, send)
        try:
            answer = await _call(route.dependant, request)
        except ActivitiesError as error:
            answer = problems.answer_to(error, request.state.request_id, invalid_status)
        await answer(scope, receive, send)


def _direct_routes(
    routers: Iterable[tuple[APIRouter, int]],
) -> Iterator[tuple[tuple[str, str], tuple[APIRoute, int]]]:
    """Name them by method and path; one that an earlier route would have answered is none."""
    earlier: list[APIRoute] = []
    for router, invalid_status in routers:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            for method in route.methods or ():
                hidden = any(method in (one.methods or ()) and one.path_regex.match(route.path) for one in earlier)
                if not hidden and _is_direct(route):
                    yield (method, route.path), (route, invalid_status)
            earlier.append(route)


def _is_direct(route: APIRoute) -> bool:
    inner = route.dependant.dependencies
    return (
        "{" not in route.path
        and signature(route.endpoint).return_annotation is Response
        and all(map(_takes_the_request_alone, (route.dependant, *inner)))
        and not any(dependency.dependencies for dependency in inner)
    )


def _takes_the_request_alone(dependant: Dependant) -> bool:
    taken = (
        dependant.path_params, dependant.query_params, dependant.header_params, dependant.cookie_params,
        dependant.body_params, dependant.websocket_param_name, dependant.http_connection_param_name,
        dependant.response_param_name, dependant.background_tasks_param_name, dependant.security_scopes_param_name,
    )  # fmt: skip
    return not any(taken)


async def _call(dependant: Dependant, request: Request) -> Any:
    """Call a route with the request and what its dependencies make of it, as far as it takes them."""
    values: dict[str, Any] = {} if dependant.request_param_name is None else {dependant.request_param_name: request}
    for dependency in dependant.dependencies:
        value = await _call(dependency, request)
        if dependency.name is not None:
            values[dependency.name] = value
    assert dependant.call is not None
    return await dependant.call(**values)
