"""The last member who may administer a business keeps that right and stays, whoever asks and however many at once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from libs.access.levels import EVERYTHING
from tests.integration.test_directory_routes import Directory, directory

__all__ = ["directory"]


async def administrators(directory: Directory) -> dict[str, Any]:
    """The role that every new business has."""
    found: dict[str, Any] = (await directory.call("GET", "/roles")).json()["results"][-1]
    return found


async def add_administrator(directory: Directory, name: str) -> str:
    role = await administrators(directory)
    body = {"name": name, "email": f"{name}@example.org", "role_ids": [role["id"]]}
    member_id: str = (await directory.call("POST", "/members", body)).json()["id"]
    return member_id


def refused(answer: httpx.Response) -> bool:
    if answer.status_code == 409:
        assert answer.json()["code"] == "last_administrator"
        assert "admin.directory" in answer.json()["detail"]
    return answer.status_code == 409


async def test_the_last_administrator_neither_loses_the_right_nor_goes(directory: Directory) -> None:
    role, owner = await administrators(directory), directory.own["user_id"]
    await directory.call("POST", "/members", {"name": "Bob", "email": "bob@example.org"})
    own = {"X_USER_ID": owner, "X_BUSINESS_ID": directory.own["id"]}
    refusals: list[tuple[str, str, Any]] = [
        ("DELETE", f"/members/{owner}", None),
        ("PATCH", f"/members/{owner}", {"role_ids": []}),
        ("DELETE", f"/roles/{role['id']}", None),
        ("PATCH", f"/roles/{role['id']}", {"member_ids": []}),
        ("PATCH", f"/roles/{role['id']}", {"permissions": {"admin.directory": None}}),
        ("PUT", f"/roles/{role['id']}", {"name": "Administrators", "member_ids": [owner]}),
    ]
    for method, path, body in refusals:
        for headers in ({}, own):
            assert refused(await directory.call(method, path, body, **headers)), (method, path)
    assert await administrators(directory) == role
    assert (
        await directory.call("PATCH", f"/members/{owner}", {"name": "Ada", "role_ids": [role["id"]]})
    ).status_code == 200
    other = await directory.call_as(directory.other["api_key"], "GET", "/roles")
    assert [each["member_ids"] for each in other.json()["results"]] == [[directory.other["user_id"]]]


async def test_another_role_that_allows_it_is_enough(directory: Directory) -> None:
    role, owner = await administrators(directory), directory.own["user_id"]
    second = await directory.call("POST", "/roles", {"name": "Second", "permissions": dict(EVERYTHING)})
    assert refused(await directory.call("DELETE", f"/roles/{role['id']}"))
    given = await directory.call("PATCH", f"/members/{owner}", {"role_ids": [second.json()["id"]]})
    assert given.status_code == 200
    assert (await directory.call("DELETE", f"/roles/{role['id']}")).status_code == 204
    assert refused(await directory.call("DELETE", f"/roles/{second.json()['id']}"))


LEAVE: list[Callable[[Directory, str], Awaitable[httpx.Response]]] = [
    lambda directory, member_id: directory.call("DELETE", f"/members/{member_id}"),
    lambda directory, member_id: directory.call("PATCH", f"/members/{member_id}", {"role_ids": []}),
]


@pytest.mark.parametrize("leave", LEAVE, ids=["removed", "without roles"])
async def test_of_administrators_who_leave_at_once_one_stays(
    directory: Directory, leave: Callable[[Directory, str], Awaitable[httpx.Response]]
) -> None:
    everybody = [directory.own["user_id"], *[await add_administrator(directory, f"a{number}") for number in range(7)]]
    answers = await asyncio.gather(*(leave(directory, each) for each in everybody))
    assert sum(map(refused, answers)) == 1
    assert len((await administrators(directory))["member_ids"]) == 1
