"""S2's privacy, seen from S1 as well, and its comments with mentions."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

import pytest

from libs.access.copy import save_roles
from libs.contracts.directory import Role
from libs.contracts.ids import ulid_of, uuid7
from libs.database import Database
from services.timeline_projector.domain.lines import head_of
from tests.integration.test_lifecycle_reports import events
from tests.support.accounts import Accounts, Person, save_person, save_record, uuid_text
from tests.support.http import served, settle

MakeDatabase = Callable[[str], Awaitable[Database]]


@pytest.fixture
async def world(make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Accounts]:
    monkeypatch.setenv("REFERENCE_WAIT_MAX_MS", "100")
    database = await make_database("lifecycle")
    tenant = await settle(database)
    account = await save_record(database, tenant.business_id, "Acme")
    role = uuid7()
    team = Role(
        business_id=tenant.business_id, id=role, version=1, name="team", created_at=datetime.now(UTC), permissions={}
    )
    async with database.work() as tx:
        await save_roles(tx, [team])
    grace = await save_person(database, tenant.business_id, "Grace", [role])
    async with served("lifecycle", database) as http:
        yield Accounts(http, database, tenant, account, grace)


async def people(world: Accounts) -> tuple[Person, Person, Person]:
    """Somebody of the creator's role, somebody who takes part, and somebody else."""
    async with world.database.work() as tx:
        [role] = await tx.value("select role_ids from member where id = $1", world.ada.id)
    business_id = world.tenant.business_id
    return (
        await save_person(world.database, business_id, "Colleague", [role]),
        await save_person(world.database, business_id, "Guest"),
        await save_person(world.database, business_id, "Stranger"),
    )


@pytest.mark.parametrize("status", ["PENDING", "COMPLETED"])
async def test_only_those_see_it_who_may(world: Accounts, status: str) -> None:
    await _check_sight(world, await people(world), status, "TEAM", "creator colleague guest")
    everybody = await people(world)
    for privacy, seen in (("PRIVATE", "creator guest"), ("PUBLIC", "creator colleague guest stranger")):
        await world.call("DELETE", f"/{(await world.listed())[0]}")
        await _check_sight(world, everybody, status, privacy, seen)


async def _check_sight(
    world: Accounts, everybody: tuple[Person, Person, Person], status: str, privacy: str, seen: str
) -> None:
    colleague, guest, stranger = everybody
    shown = await world.create(privacy=privacy, status=status, participants=[{"id": str(guest.id)}], title="secret")
    for name, person in (("creator", world.ada), ("colleague", colleague), ("guest", guest), ("stranger", stranger)):
        sees = name in seen.split()
        identity, path = uuid_text(shown), f"/{shown['id']}"
        assert (await world.get(shown, by=person)).status_code == (200 if sees else 404), name
        assert await world.listed(by=person) == ([shown["id"]] if sees else [])
        assert (await world.call("GET", f"{path}/comments", by=person)).status_code == (200 if sees else 404)
        kind = "scheduled-activity" if status == "PENDING" else "logged"
        as_member = {"X_USER_ID": str(person.id)}
        for s1 in (f"/{kind}/{identity}", f"/{kind}/{identity}/history"):
            answer = await world.s1("GET", s1, **as_member)
            assert answer.status_code == (200 if sees else 404), (name, s1)
        planned = await world.s1("GET", "/scheduled-activity", **as_member)
        assert planned.json()["count"] == (1 if sees and status == "PENDING" else 0), name
        responses = await world.s1("POST", "/call/responses", {}, **as_member)
        assert responses.json()["count"] == (1 if sees and status == "COMPLETED" else 0), name
        if not sees:
            for method, body in (("PUT", {"title": "x"}), ("DELETE", None)):
                assert (await world.call(method, path, body, by=person)).status_code == 404
            if status == "PENDING":
                denied = [
                    await world.s1("PATCH", f"/{kind}/{identity}", {"note": "x"}, **as_member),
                    await world.s1("DELETE", f"/{kind}/{identity}", **as_member),
                ]
                assert [each.status_code for each in denied] == [404, 404]
                log = {"related_objects": [], "scheduled_activity_id": identity}
                assert (await world.s1("POST", "/call/log-activity", log, **as_member)).status_code == 400
            else:
                note = {"kind": "note", "text": "x"}
                assert (await world.s1("POST", f"/logged/{identity}/append", note, **as_member)).status_code == 404


async def test_privacy_can_be_changed_and_holds_at_once(world: Accounts) -> None:
    colleague, _, stranger = await people(world)
    shown = await world.create(privacy="PRIVATE")

    async def seen_by(person: Person) -> bool:
        found = (await world.get(shown, by=person)).status_code == 200
        assert await world.listed(by=person) == ([shown["id"]] if found else [])
        return found

    assert [await seen_by(each) for each in (colleague, stranger)] == [False, False]
    for privacy, seen in (("PUBLIC", [True, True]), ("TEAM", [True, False]), ("PRIVATE", [False, False])):
        changed = await world.call("PUT", f"/{shown['id']}", {"privacy": privacy})
        assert (changed.status_code, changed.json()["data"]["privacy"]) == (200, privacy)
        assert [await seen_by(each) for each in (colleague, stranger)] == seen, privacy


async def test_a_timeline_shows_that_it_is_and_not_what_it_says(world: Accounts) -> None:
    await world.create(privacy="PRIVATE", title="secret")
    await world.create(privacy="PUBLIC", title="open")
    heads = [head_of(event.activity) for _, event in await events(world.database)]
    assert [(head.subject, head.summary, head.type) for head in heads] == [(None, None, "call"), ("open", None, "call")]


@pytest.mark.parametrize("status", ["PENDING", "COMPLETED"])
async def test_comments_are_kept_in_order_and_counted(world: Accounts, status: str) -> None:
    shown = await world.create(status=status)
    path = f"/{shown['id']}/comments"
    first = await world.call("POST", path, {"text": "well done"})
    assert (first.status_code, first.json()["data"]["text"]) == (201, "well done"), first.text
    assert (first.json()["data"]["creator"], first.json()["data"]["creatorEmail"]) == ("Grace", world.ada.email)
    assert first.json()["data"]["activityId"] == shown["id"]
    second = await world.call("POST", path, {"text": "indeed\nit was"})
    listed = (await world.call("GET", path)).json()
    assert listed["data"] == [first.json()["data"], second.json()["data"]]
    assert listed["meta"] == {"page": 1, "limit": 50, "total": 2, "totalPages": 1}
    assert (await world.get(shown)).json()["data"]["commentsCount"] == 2
    told = [event for _, event in await events(world.database)][-2:]
    assert [(event.change.type, event.change.why) for event in told] == [
        ("activity.updated", "a comment was added")
    ] * 2
    assert [event.activity.comments_count for event in told] == [1, 2]


async def test_a_mention_in_a_comment_notifies(world: Accounts) -> None:
    colleague, guest, _ = await people(world)
    shown = await world.create()
    given = {"text": "look", "mentions": [str(colleague.id), ulid_of(guest.id), str(guest.id)]}
    added = (await world.call("POST", f"/{shown['id']}/comments", given)).json()["data"]
    assert [each["name"] for each in added["mentions"]] == ["Colleague", "Guest"]
    async with world.database.work() as tx:
        rows = await tx.fetch("select member_id, kind, activity_id from notification order by member_id")
    assert {(row[0], row[1], str(row[2])) for row in rows} == {
        (person.id, "mention", uuid_text(shown)) for person in (colleague, guest)
    }


async def test_a_comment_that_is_not_valid_changes_nothing(world: Accounts) -> None:
    shown = await world.create()
    for body in ({}, {"text": ""}, {"text": "x", "mentions": [str(uuid7())]}, {"text": "x" * 10_001}):
        answer = await world.call("POST", f"/{shown['id']}/comments", body)
        assert (answer.status_code, answer.json()["error"]) == (400, "Bad Request")
    assert (await world.get(shown)).json()["data"] == shown
