"""Routes that are called directly answer as the others do."""

from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from pydantic import BaseModel

from libs.errors import Conflict
from libs.service.direct import Direct
from libs.service.edge import Edge
from libs.service.http import make_app


async def allowed(request: Request) -> str:
    if "x-refused" in request.headers:
        raise Conflict("it is taken")
    return request.headers.get("x-name", "nobody")


allowed.scope = "anything"  # type: ignore[attr-defined]
Name = Annotated[str, Depends(allowed)]
router = APIRouter()


@router.post("/things")
async def make_thing(request: Request, name: Name) -> Response:
    if "x-broken" in request.headers:
        raise ZeroDivisionError("secret detail")
    return Response(f"{name}: {(await request.body()).decode()}".encode(), 201)


@router.get("/things/{word}")
async def get_thing(word: str, _: Name) -> Response:
    return Response(f"a thing named {word}".encode())


@router.get("/things/all")
async def list_things(_: Name) -> Response:
    return Response(b"all things")


class Part(BaseModel):
    size: int


@router.put("/things/{word}/parts")
async def put_part(word: str, body: Part, name: Name) -> Response:
    return Response(f"{name} puts {body.size} into {word}".encode())


@router.get("/numbers")
async def list_numbers(_: Name, limit: int = 3) -> Response:
    return Response(str(limit).encode())


@pytest.fixture
def app() -> FastAPI:
    return make_app("test", [(router, 400)])


def client(app: FastAPI) -> httpx.AsyncClient:
    edge = Edge(Direct(app, [(router, 400)]), "test")
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=edge), base_url="http://127.0.0.1")


async def test_a_direct_route_gets_its_request_and_what_its_dependencies_make(app: FastAPI) -> None:
    app.router.routes.clear()  # nothing is left to go through
    answer = await client(app).post("/things", content=b'"body"', headers={"x-name": "Ada"})
    assert (answer.status_code, answer.text) == (201, 'Ada: "body"')
    assert answer.headers["x-request-id"]


async def test_what_a_direct_route_or_its_permission_raises_is_answered_in_the_usual_form(app: FastAPI) -> None:
    refused = await client(app).post("/things", headers={"x-refused": "1"})
    assert (refused.status_code, refused.json()["detail"]) == (409, "it is taken")
    broken = await client(app).post("/things", headers={"x-broken": "1"})
    assert (broken.status_code, broken.json()["code"]) == (500, "internal")
    assert "secret" not in broken.text


async def test_a_direct_route_gets_the_parts_of_its_path_and_its_body(app: FastAPI) -> None:
    app.router.routes.clear()
    answer = await client(app).put("/things/pen%20box/parts", json={"size": 3}, headers={"x-name": "Ada"})
    assert (answer.status_code, answer.text) == (200, "Ada puts 3 into pen box")


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"{}", b'{"size": "many"}', b'{"size": 1, "size": 2}', b"{"])
async def test_what_is_wrong_with_a_body_is_told_as_the_application_tells_it(app: FastAPI, content: bytes) -> None:
    whole = httpx.AsyncClient(transport=httpx.ASGITransport(app=Edge(app, "test")), base_url="http://127.0.0.1")
    headers = {"content-type": "application/json", "x-request-id": "r"}
    told = [await each.put("/things/pen/parts", content=content, headers=headers) for each in (client(app), whole)]
    assert (told[0].status_code, told[0].json()) == (400, told[1].json())
    refused = await client(app).put("/things/pen/parts", content=content, headers=headers | {"x-refused": "1"})
    assert refused.status_code == (400 if b'"size": 2' in content or content == b"{" else 409)


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/things/all", 200, "a thing named all"),  # the earlier route answers, here as there
        ("GET", "/things/pen", 200, "a thing named pen"),
        ("GET", "/numbers?limit=7", 200, "7"),
        ("GET", "/numbers?limit=many", 400, "limit"),
        ("GET", "/things", 405, "method_not_allowed"),
        ("POST", "/things/", 404, "no_such_route"),
    ],
)
async def test_all_other_requests_go_through_the_application(
    app: FastAPI, method: str, path: str, status: int, text: str
) -> None:
    answer = await client(app).request(method, path)
    assert answer.status_code == status
    assert text in answer.text
