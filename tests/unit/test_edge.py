"""What every request meets before its route: bounds, strict JSON, identity; and problem details for what goes wrong."""

import asyncio
import gzip
from collections.abc import Sequence
from typing import Annotated, Any

import cramjam
import httpx
import pytest
from fastapi import APIRouter, Depends, Response
from pydantic import Field

from libs.errors import Conflict, Problem, Rejected, TooMany
from libs.service.body import Body, Line, Text
from libs.service.edge import BODY_MAX_BYTES, BULK_MAX_BYTES, QUERY_MAX_BYTES, Edge
from libs.service.http import UndeclaredPermission, make_app
from libs.service.process import Process
from libs.service.room import Room


class Note(Body):
    title: Annotated[str, Line(10)]
    text: Annotated[str, Text(20)] = ""
    count: int = Field(0, ge=0)


async def allowed() -> None:
    """Stand for a permission."""


allowed.scope = "anything"  # type: ignore[attr-defined]
Allowed = Annotated[None, Depends(allowed)]
router = APIRouter()
JSON = {"content-type": "application/json"}


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


def client(invalid_status: int = 422, compressed: Sequence[str] = ()) -> httpx.AsyncClient:
    app = Edge(make_app("test", [(router, invalid_status)]), "test", compressed=compressed)
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


def zipped(text: bytes, encoding: str) -> bytes:
    return gzip.compress(text) if encoding == "gzip" else bytes(cramjam.zstd.compress(text))


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
@pytest.mark.parametrize(("path", "bound"), [("/notes", BODY_MAX_BYTES), ("/notes/bulk", BULK_MAX_BYTES)])
async def test_a_compressed_body_is_opened_up_to_the_bound(path: str, bound: int, encoding: str) -> None:
    one = b'{"title":"a"}'
    headers = {"content-type": "application/json", "content-encoding": encoding}
    http = client(compressed=["/notes", "/notes/bulk"])
    for text, status in (
        (zipped(one, encoding), 200),
        (zipped(one + b" " * (bound - len(one)), encoding), 200),
        (zipped(one + b" " * (bound - len(one) + 1), encoding), 413),
        (zipped(b" " * 60_000_000, encoding), 413),
        (zipped(one, encoding)[:-3], 400),
        (zipped(one, encoding) + b"xx", 400),
        (one, 400),
    ):
        answer = await http.post(path, content=text, headers=headers)
        assert answer.status_code == status, answer.text
    assert (await client().post(path, content=zipped(one, encoding), headers=headers)).status_code == 415
    several = gzip.compress(one[:3]) + gzip.compress(one[3:])
    assert (
        await http.post("/notes", content=several, headers=headers | {"content-encoding": "gzip"})
    ).status_code == 200
    many = {"content-encoding": "gzip"}
    assert (await http.post("/notes/bulk", content=gzip.compress(b"") * 100, headers=many)).status_code == 400


async def test_an_encoding_that_is_not_taken_names_those_that_are() -> None:
    http = client(compressed=["/notes"])
    for encoding in ("br", "gzip, gzip", "x"):
        answer = await http.post("/notes", content=b"{}", headers={"content-encoding": encoding})
        assert answer.status_code == 415
        assert "gzip, zstd" in answer.json()["detail"]


async def test_who_comes_when_all_places_are_taken_is_turned_away_unread() -> None:
    waiting, go_on = 0, asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        nonlocal waiting
        waiting += 1
        await go_on.wait()
        await Response(b"{}")(scope, receive, send)

    async def unread() -> Any:
        pytest.fail("the body was read")
        yield b""

    app = Edge(slow, "test", room=Room(requests_waiting_max=3, bulks_waiting_max=1))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1") as http:
        inside = [asyncio.create_task(http.post(path, json={})) for path in ("/a", "/b", "/c", "/d/bulk")]
        while waiting < 4:
            await asyncio.sleep(0)
        for path in ("/a", "/d/bulk"):
            turned_away = await http.post(path, content=unread())
            assert (turned_away.status_code, turned_away.json()["code"]) == (503, "crowded")
            assert turned_away.headers["retry-after"] == "1"
            assert turned_away.headers["x-request-id"]
        go_on.set()
        assert [answer.status_code for answer in await asyncio.gather(*inside)] == [200] * 4
        assert (await http.post("/a", json={})).status_code == 200


async def test_bodies_beyond_what_may_be_held_are_turned_away_and_given_back() -> None:
    room = Room(bodies_max_bytes=40)
    app = Edge(make_app("test", [(router, 422)]), "test", room=room)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1", headers=JSON
    ) as caller:
        long = await caller.post("/notes", content=b'{"title":"a","text":"' + b"b" * 40 + b'"}')
        assert (long.status_code, long.json()["code"], long.headers["retry-after"]) == (503, "crowded", "1")
        with room.hold() as count:
            count(30)
            assert (await caller.post("/notes", content=b'{"title":"a"}')).status_code == 503
        for _ in range(5):  # what is over is given back
            assert (await caller.post("/notes", content=b'{"title":"a"}')).status_code == 200


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
