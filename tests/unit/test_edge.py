"""What every request meets before its route: bounds, strict JSON, identity; and problem details for what goes wrong."""

from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends
from pydantic import Field

from libs.errors import Conflict, Problem, Rejected, TooMany
from libs.service.body import Body, Line, Text
from libs.service.edge import BODY_MAX_BYTES, BULK_MAX_BYTES, QUERY_MAX_BYTES, Edge
from libs.service.http import UndeclaredPermission, make_app
from libs.service.process import Process


class Note(Body):
    title: Annotated[str, Line(10)]
    text: Annotated[str, Text(20)] = ""
    count: int = Field(0, ge=0)


async def allowed() -> None:
    """Stand for a permission."""


allowed.scope = "anything"  # type: ignore[attr-defined]
Allowed = Annotated[None, Depends(allowed)]
router = APIRouter()


@router.post("/notes")
async def make_note(note: Note, _: Allowed) -> dict[str, Any]:
    return {"title": note.title}


@router.post("/notes/bulk")
async def make_notes(_: Allowed) -> dict[str, Any]:
    return {}


@router.get("/fail/{how}")
async def fail(how: str, _: Allowed) -> None:
    if how == "conflict":
        raise Conflict("it is taken", link="/notes/1")
    if how == "many":
        raise TooMany("slow down", retry_after_s=7)
    if how == "fields":
        raise Rejected("no", [Problem("a.b", "odd", "must be even, is 3")])
    raise ZeroDivisionError("secret detail")


def client(invalid_status: int = 422) -> httpx.AsyncClient:
    app = Edge(make_app("test", [(router, invalid_status)]), "test")
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1")


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b'{"title":"a"}', 200, None),
        (b"{}", 422, "title"),
        (b'{"title":"a","other":1}', 422, "other"),
        (b'{"title":""}', 422, "title"),
        (b'{"title":"12345678901"}', 422, "title"),
        (b'{"title":"a\\nb"}', 422, "title"),
        (b'{"title":"a","text":"a\\nb"}', 200, None),
        (b'{"title":"a","text":"\\u0007"}', 422, "text"),
        (b'{"title":"a","count":-1}', 422, "count"),
        (b'{"title":"a","count":"many"}', 422, "count"),
        (b'{"title":1}', 422, "title"),
        (b"[]", 422, "body"),
    ],
)
async def test_each_bad_field_is_named(body: bytes, status: int, field: str | None) -> None:
    answer = await client().post("/notes", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    if field:
        assert answer.headers["content-type"] == "application/problem+json"
        assert [problem["field"] for problem in answer.json()["errors"]] == [field]
        assert answer.json()["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("body", [b"{", b'{"title":"a","title":"b"}', b'{"title":NaN}', b'{"title":"\\u0000"}'])
async def test_json_that_is_not_strict_is_malformed(body: bytes) -> None:
    answer = await client().post("/notes", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["code"] == "malformed"


async def test_a_route_may_answer_400_for_what_is_not_valid() -> None:
    answer = await client(400).post("/notes", json={})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "title"


async def test_text_is_brought_into_composed_form() -> None:
    answer = await client().post("/notes", json={"title": "e\u0301"})
    assert answer.json() == {"title": "\u00e9"}


@pytest.mark.parametrize(("path", "bound"), [("/notes", BODY_MAX_BYTES), ("/notes/bulk", BULK_MAX_BYTES)])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_body_over_the_bound_is_refused_told_or_counted(path: str, bound: int, streamed: bool) -> None:
    async def pieces() -> Any:
        for _ in range(bound // 65536 + 1):
            yield b" " * 65536

    answer = await client().post(path, content=pieces() if streamed else b" " * (bound + 1))
    assert answer.status_code == 413
    assert str(bound) in answer.json()["detail"]


async def test_other_media_types_and_encodings_are_refused() -> None:
    answer = await client().post(
        "/notes", content=b"a=1", headers={"content-type": "application/x-www-form-urlencoded"}
    )
    assert answer.status_code == 415
    answer = await client().post("/notes", content=b"{}", headers={"content-encoding": "br"})
    assert answer.status_code == 415


async def test_a_long_query_is_refused() -> None:
    assert (await client().get("/fail/x?q=" + "a" * QUERY_MAX_BYTES)).status_code == 413


async def test_a_request_id_is_kept_if_it_is_one() -> None:
    answer = await client().get("/nowhere", headers={"x-request-id": "abc-1"})
    assert answer.headers["x-request-id"] == "abc-1"
    answer = await client().get("/nowhere", headers={"x-request-id": "<script>"})
    assert answer.headers["x-request-id"] != "<script>"
    assert answer.status_code == 404
    assert answer.json()["code"] == "no_such_route"


async def test_errors_say_what_happened_and_nothing_of_the_inside() -> None:
    conflict = await client().get("/fail/conflict")
    assert (conflict.status_code, conflict.json()["link"]) == (409, "/notes/1")
    many = await client().get("/fail/many")
    assert (many.status_code, many.headers["retry-after"]) == (429, "7")
    fields = await client().get("/fail/fields")
    assert fields.json()["errors"] == [{"field": "a.b", "code": "odd", "message": "must be even, is 3"}]
    broken = await client().get("/fail/other")
    assert (broken.status_code, broken.json()["code"]) == (500, "internal")
    assert "secret" not in broken.text
    assert "ZeroDivision" not in broken.text


async def test_a_method_that_is_not_there_is_405() -> None:
    answer = await client().delete("/notes")
    assert answer.status_code == 405
    assert "allow" in answer.headers


def test_a_route_without_a_declared_permission_does_not_start() -> None:
    open_router = APIRouter()
    open_router.add_api_route("/open", lambda: None)
    with pytest.raises(UndeclaredPermission, match="/open"):
        make_app("test", [(open_router, 422)])


async def test_a_process_answers_for_itself() -> None:
    transport = httpx.ASGITransport(app=Process([]))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as process:
        assert (await process.get("/livez")).status_code == 200
        assert (await process.get("/readyz")).json()["ready"] is True
        assert (await process.get("/metrics")).status_code == 200
        assert (await process.get("/healthz/nobody")).status_code == 404
        assert (await process.get("/")).status_code == 404
