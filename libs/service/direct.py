"""Routes that take nothing of a request but its path, its body and itself are called directly.

The way through FastAPI (its middleware, matching, solving of dependencies, exit stacks) costs 150 of the 310 µs that
a single report takes until it is committed [measured].
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from libs.errors import ActivitiesError
from libs.service import problems
from libs.service.edge import Receive, Scope, Send
from libs.service.strict_json import read_json

JSON = b"application/json"
_NOTHING = object()


@dataclass(frozen=True, slots=True)
class _Way:
    """A route, the status of an invalid request to it, and whether it is called directly."""

    route: APIRoute
    invalid_status: int
    is_direct: bool


class Direct:
    """Calls those routes of an application itself, and leaves all other requests to it."""

    def __init__(self, app: FastAPI, routers: Iterable[tuple[APIRouter, int]]) -> None:
        self._app = app
        self._by_method: dict[str, list[_Way]] = {}
        self._by_path: dict[tuple[str, str], _Way] = {}
        for method, way in _ways(routers):
            earlier = self._by_method.setdefault(method, [])
            if "{" not in way.route.path and not any(each.route.path_regex.match(way.route.path) for each in earlier):
                self._by_path[method, way.route.path] = way
            earlier.append(way)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI 3)."""
        way, path_texts = self._find(scope["method"], scope["path"])
        if way is None or not way.is_direct or not _is_read(way.route, scope):
            await self._app(scope, receive, send)
            return
        scope["app"], scope["route"], scope["path_params"] = self._app, way.route, path_texts
        request = Request(scope, receive, send)
        try:
            answer = await _call(way.route.dependant, request)
        except ActivitiesError as error:
            answer = problems.answer_to(error, request.state.request_id, way.invalid_status)
        except RequestValidationError as error:
            answer = problems.unreadable(error, request.state.request_id, way.invalid_status)
        await problems.shaped(scope["path"], answer)(scope, receive, send)

    def _find(self, method: str, path: str) -> tuple[_Way | None, Mapping[str, str]]:
        """Find the route that answers, the first that matches, and what its path takes."""
        fixed = self._by_path.get((method, path))
        if fixed is not None:
            return fixed, {}
        for way in self._by_method.get(method, ()):
            found = way.route.path_regex.match(path)
            if found is not None:
                return way, found.groupdict()
        return None, {}


def _ways(routers: Iterable[tuple[APIRouter, int]]) -> Iterator[tuple[str, _Way]]:
    for router, invalid_status in routers:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            for method in route.methods or ():
                yield method, _Way(route, invalid_status, _is_direct(route))


def _is_direct(route: APIRoute) -> bool:
    whole, bodies = _whole(route.dependant), route.dependant.body_params
    return (
        signature(route.endpoint).return_annotation is Response
        and all(map(_takes_the_request_alone, whole))
        and len({each.call for each in whole}) == len(whole)  # else what it depends on twice would be called twice
        and not any(inner.body_params for inner in whole[1:])
        and len(bodies) <= 1
        and all(body.field_info.is_required() and not getattr(body.field_info, "embed", None) for body in bodies)
    )


def _is_read(route: APIRoute, scope: Scope) -> bool:
    """Tell whether a request's body, if the route takes one, says that it is JSON."""
    if not route.dependant.body_params:
        return True
    return any(name == b"content-type" and kind.lower().startswith(JSON) for name, kind in scope["headers"])


def _whole(dependant: Dependant) -> list[Dependant]:
    """Name what a route depends on, itself first."""
    return [dependant, *(each for inner in dependant.dependencies for each in _whole(inner))]


def _takes_the_request_alone(dependant: Dependant) -> bool:
    taken = (
        dependant.query_params, dependant.header_params, dependant.cookie_params, dependant.websocket_param_name,
        dependant.http_connection_param_name, dependant.response_param_name, dependant.background_tasks_param_name,
        dependant.security_scopes_param_name,
    )  # fmt: skip
    return not any(taken)


async def _read(request: Request) -> Any:
    """Read a body that the edge has not read: one that is read elsewhere, or none."""
    text = await request.body()
    return read_json(text) if text else _NOTHING


async def _call(dependant: Dependant, request: Request) -> Any:
    """Call a route with the request, its path's parts, its body, and what its dependencies make of it.

    Raises RequestValidationError for what is not valid, after its dependencies have let the caller in.
    """
    values: dict[str, Any] = {} if dependant.request_param_name is None else {dependant.request_param_name: request}
    for dependency in dependant.dependencies:
        value = await _call(dependency, request)
        if dependency.name is not None:
            values[dependency.name] = value
    wrong: list[Any] = []
    for field in dependant.path_params:
        values[field.name], found = field.validate(request.path_params[field.alias], loc=("path", field.alias))
        wrong += found
    for field in dependant.body_params:
        said = request.scope["state"].pop("json", _NOTHING)
        if said is _NOTHING:
            said = await _read(request)
        if said is _NOTHING:
            wrong.append({"type": "missing", "loc": ("body",), "msg": "Field required"})
        else:
            values[field.name], found = field.validate(said, loc=("body",))
            wrong += found
    if wrong:
        raise RequestValidationError(wrong)
    assert dependant.call is not None
    return await dependant.call(**values)
