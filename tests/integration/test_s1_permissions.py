"""Permissions of S1: (my, all) × (view, log, create, edit, delete) × (scheduled, logged), sharing, assignment, records.

The table goes through every level of every permission, for activities that are another's, one's own, assigned to the
member, and assigned to a role of the member. Ada may everything; each Bob what his one role says.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest

from libs.access.copy import save_members, save_roles
from libs.access.levels import ACTIVITY_PERMISSIONS, PERMISSIONS, Level, join_levels
from libs.contracts.activity import Link
from libs.contracts.activity_object import ActivityObject, Sharing
from libs.contracts.directory import Member, Record, Role
from libs.contracts.ids import activity_id_of, uuid7
from libs.database import Database
from services.lifecycle import handlers
from services.lifecycle.store import objects
from tests.integration.test_lifecycle_reports import admit, report
from tests.support.http import Tenant, served, settle

MakeDatabase = Callable[[str], Awaitable[Database]]
DUE = datetime(2030, 6, 1, 10, tzinfo=UTC)
NEVER, MINE, ME, MY_ROLE = WHOSE = ("another's", "my own", "assigned to me", "assigned to my role")
SCHEDULED, LOGGED = "/scheduled-activity", "/logged"
LEVELS: tuple[Level, ...] = ("none", "my", "all")


@dataclass(frozen=True)
class Bob:
    """A member with one role."""

    id: UUID
    role: UUID


@dataclass
class World:
    """A served lifecycle in which Ada may everything."""

    http: httpx.AsyncClient
    database: Database
    tenant: Tenant

    async def bobs(self, *allowed: dict[str, Level]) -> list[Bob]:
        """Make members, each with a role that allows just what is named; {}: a role that says nothing."""
        made, when, business_id = [Bob(uuid7(), uuid7()) for _ in allowed], datetime.now(UTC), self.tenant.business_id
        roles = [
            Role(
                business_id=business_id, id=bob.role, version=1, name="r", created_at=when, member_ids=[bob.id],
                permissions=dict.fromkeys(PERMISSIONS, "none") | levels if levels else {},
            )
            for bob, levels in zip(made, allowed, strict=True)
        ]  # fmt: skip
        members = [
            Member(
                business_id=business_id, id=bob.id, version=1, name="Bob", created_at=when, role_ids=[bob.role],
                email=f"{bob.id}@bob.example",
            )
            for bob in made
        ]  # fmt: skip
        async with self.database.work() as tx:
            await save_roles(tx, roles)
            await save_members(tx, members)
        return made

    async def bob(self, **allowed: Level) -> Bob:
        """Make one; names have `_` for `.`."""
        [bob] = await self.bobs({name.replace("_", "."): level for name, level in allowed.items()})
        return bob

    async def call(self, bob: Bob | None, method: str, path: str, body: Any = None) -> httpx.Response:
        headers = self.tenant.headers | ({"X-USER-ID": str(bob.id)} if bob else {})
        return await self.http.request(method, f"/api/activities{path}", json=body, headers=headers)

    async def plan(self, *wanted: tuple[Bob, str], logged: bool = False, **more: Any) -> list[UUID]:
        """Make an activity for each (Bob, whose), by reports of upstream."""
        business_id, ada = self.tenant.business_id, str(self.tenant.user_id)
        reports, found = [], []
        for bob, whose in wanted:
            ref = str(uuid7())
            actor = str(bob.id) if whose == MINE else ada
            assignee = {ME: str(bob.id), MY_ROLE: str(bob.role)}.get(whose, ada)
            given = {"type": "call", "actor": actor, "assignee": assignee, "due_at": DUE} | more
            reports.append(report(business_id, "schedule", ref, **given))
            if logged:
                reports.append(report(business_id, "log", ref, actor=actor))
            found.append(activity_id_of(business_id, "crm", ref))
        await admit(self.database, *reports)
        return found

    async def listed(self, bob: Bob) -> tuple[int, set[UUID]]:
        """What the list of scheduled activities counts and shows."""
        answer = (await self.call(bob, "GET", SCHEDULED)).json()
        return answer["count"], {UUID(each["id"]) for each in answer["results"]}


@pytest.fixture
async def world(make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setenv("REFERENCE_WAIT_MAX_MS", "100")
    database = await make_database("lifecycle")
    tenant = await settle(database)
    async with served("lifecycle", database) as http:
        yield World(http, database, tenant)


def is_mine(whose: str) -> bool:
    return whose != NEVER


def reaches(level: Level, whose: str) -> bool:
    return level == "all" or (level == "my" and is_mine(whose))


async def act(world: World, bob: Bob, permission: str, whose: str, identity: UUID) -> httpx.Response:
    """Do what a permission is about."""
    assignee = {NEVER: {"employee_id": str(world.tenant.user_id)}, MY_ROLE: {"role_id": str(bob.role)}}.get(whose, {})
    log = {"related_objects": []}
    requests: dict[str, tuple[str, str, Any]] = {
        "scheduled.view": ("GET", f"{SCHEDULED}/{identity}", None),
        "scheduled.log": ("POST", "/call/log-activity", log | {"scheduled_activity_id": str(identity)}),
        "scheduled.create": ("POST", SCHEDULED, {"activity_object_name": "call"} | assignee),
        "scheduled.edit": ("PATCH", f"{SCHEDULED}/{identity}", {"note": "changed"}),
        "scheduled.delete": ("DELETE", f"{SCHEDULED}/{identity}", None),
        "logged.view": ("GET", f"{LOGGED}/{identity}", None),
        "logged.log": ("POST", "/call/log-activity", log),
        "logged.create": ("POST", "/call/log-activity", log),
        "logged.edit": ("POST", f"{LOGGED}/{identity}/append", {"kind": "note", "text": "more"}),
    }
    return await world.call(bob, *requests[permission])


def expected(permission: str, level: Level, whose: str) -> int:
    """What the rules say of a member who sees everything of that life, unless the permission is about seeing."""
    assigned = whose in (ME, MY_ROLE)
    if permission.endswith(".view"):
        return 200 if assigned or reaches(level, whose) else 404
    if permission == "scheduled.log":
        return 201 if assigned or reaches(level, whose) else 403
    if permission in ("logged.log", "logged.create"):
        return 403 if level == "none" else 201
    allowed = {"scheduled.create": 201, "logged.edit": 201, "scheduled.edit": 200, "scheduled.delete": 204}
    return allowed[permission] if reaches(level, whose) else 403


async def test_every_level_of_every_permission_opens_what_the_rules_say(world: World) -> None:
    permissions = [name for name in ACTIVITY_PERMISSIONS if name != "logged.delete"]  # S1 has no route for it
    cases = [(name, level, whose) for name in permissions for level in LEVELS for whose in WHOSE]
    allowed: list[dict[str, Level]] = [
        {**({} if name.endswith(".view") else {f"{name.partition('.')[0]}.view": "all"}), name: level}
        for name, level, _ in cases
    ]
    bobs = await world.bobs(*allowed)
    places = {
        logged: [place for place, case in enumerate(cases) if case[0].startswith("logged") == logged]
        for logged in (False, True)
    }
    activities: dict[int, UUID] = {}
    for logged, chosen in places.items():
        found = await world.plan(*((bobs[place], cases[place][2]) for place in chosen), logged=logged)
        activities |= dict(zip(chosen, found, strict=True))
    wrong = []
    for place, case in enumerate(cases):
        answer = await act(world, bobs[place], case[0], case[2], activities[place])
        if answer.status_code != expected(*case):
            wrong.append((case, answer.status_code, expected(*case), answer.text[:200]))
    assert not wrong


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("logged", [False, True], ids=["scheduled", "logged"])
async def test_what_may_not_be_seen_is_neither_listed_nor_counted_and_answers_like_what_is_missing(
    world: World, level: Level, logged: bool
) -> None:
    bob = await world.bob(
        **{"logged_view" if logged else "scheduled_view": level, "scheduled_edit": "all", "logged_edit": "all"}
    )
    found = dict(zip(WHOSE, await world.plan(*((bob, whose) for whose in WHOSE), logged=logged), strict=True))
    seen = {found[whose] for whose in WHOSE if whose in (ME, MY_ROLE) or reaches(level, whose)}
    assert await world.listed(bob) == (len(seen), seen)
    missing = await world.call(bob, "GET", f"{SCHEDULED}/{uuid7()}")
    for identity in found.values():
        for path in (SCHEDULED, LOGGED) if logged else (SCHEDULED,):
            for method, end, body in (("GET", "", None), ("GET", "/history", None), ("PATCH", "", {"note": "x"})):
                if path == LOGGED and method == "PATCH":
                    continue
                answer = await world.call(bob, method, f"{path}/{identity}{end}", body)
                if identity in seen:
                    assert answer.status_code in (200, 409), (method, path, answer.text)
                    continue
                assert answer.status_code == 404, (method, path, answer.text)
                assert answer.json().keys() == missing.json().keys()
                assert answer.json()["code"] == missing.json()["code"]


async def test_what_i_see_and_may_edit_i_may_take_over_and_log(world: World) -> None:
    bob = await world.bob(scheduled_view="all", scheduled_edit="all")
    other, taken = await world.plan((bob, NEVER), (bob, NEVER))
    logged = {"related_objects": [], "scheduled_activity_id": str(other)}
    assert (await world.call(bob, "POST", "/call/log-activity", logged)).status_code == 201
    mine = await world.call(bob, "PATCH", f"{SCHEDULED}/{taken}", {"employee_id": str(bob.id)})
    assert mine.json()["employee"]["id"] == str(bob.id)


async def test_who_may_not_see_it_cannot_tell_it_from_a_missing_one_when_logging(world: World) -> None:
    bob = await world.bob(logged_log="all")
    [hidden] = await world.plan((bob, NEVER))
    answers = [
        await world.call(
            bob, "POST", "/call/log-activity", {"related_objects": [], "scheduled_activity_id": str(identity)}
        )
        for identity in (hidden, uuid7())
    ]
    assert [answer.status_code for answer in answers] == [400, 400]
    assert [answer.json()["errors"][0]["code"] for answer in answers] == ["does_not_exist", "does_not_exist"]


async def test_without_a_scheduling_right_there_are_no_scheduling_actions(world: World) -> None:
    bob = await world.bob(scheduled_view="all", scheduled_log="all", logged_log="all")
    assigned, _ = await world.plan((bob, ME), (bob, MY_ROLE))
    shown = (await world.call(bob, "GET", f"{SCHEDULED}/{assigned}")).json()
    assert shown["access"] == {"view": True, "edit": False, "remove": False}
    listed = (await world.call(bob, "GET", SCHEDULED)).json()["results"]
    assert {tuple(each["access"].values()) for each in listed} == {(True, False, False)}
    for method, path, body in (
        ("POST", SCHEDULED, {"activity_object_name": "call"}),
        ("PATCH", f"{SCHEDULED}/{assigned}", {"note": "x"}),
        ("PATCH", f"{SCHEDULED}/{assigned}/notes", {"notes": "x"}),
        ("PUT", f"{SCHEDULED}/{assigned}", {}),
        ("DELETE", f"{SCHEDULED}/{assigned}", None),
        ("POST", f"{SCHEDULED}/{assigned}/restore", {}),
    ):
        refused = await world.call(bob, method, path, body)
        assert (refused.status_code, refused.json()["code"]) == (403, "not_permitted"), (method, path)
    logged = {"related_objects": [], "scheduled_activity_id": str(assigned)}
    assert (await world.call(bob, "POST", "/call/log-activity", logged)).status_code == 201


async def test_sharing_only_narrows_and_never_hides_what_is_assigned_to_me(world: World) -> None:
    everything: dict[str, Level] = dict.fromkeys(ACTIVITY_PERMISSIONS, "all")
    bob, inside, narrow = await world.bobs(everything, everything, {"scheduled.view": "my"})
    activities = await world.plan(*((bob, whose) for whose in WHOSE))
    await share(world, Sharing(shared_with="selected", member_ids=[narrow.id], role_ids=[inside.role]))
    assert (await world.listed(bob))[1] == set(activities[2:])
    assert (await world.listed(inside))[1] == set(activities)
    assert await world.listed(narrow) == (0, set()), "sharing gives nothing that the roles do not"
    for path, body in (("/call/log-activity", {"related_objects": []}), (SCHEDULED, {"activity_object_name": "call"})):
        assert (await world.call(bob, "POST", path, body)).status_code == 403
        assert (await world.call(inside, "POST", path, body)).status_code == 201
    logged = {"related_objects": [], "scheduled_activity_id": str(activities[3])}
    assert (await world.call(bob, "POST", "/call/log-activity", logged)).status_code == 201


async def share(world: World, sharing: Sharing) -> None:
    """Let calls be shared so."""
    async with world.database.work() as tx:
        kinds = (await objects.list_objects(tx, [world.tenant.business_id]))[world.tenant.business_id]
        call = next(kind for kind in kinds if kind.api_name == "call")
        plain = {name: getattr(call, name) for name in ("business_id", "id", "name", "api_name", "created_at")}
        document = type_of(plain, sharing)
        await tx.execute(
            "update activity_object set version = 2, document = $3 where business_id = $1 and id = $2",
            world.tenant.business_id, call.id, document,
        )  # fmt: skip


def type_of(plain: dict[str, Any], sharing: Sharing) -> bytes:
    return ActivityObject(**plain, version=2, loggable_sharing_settings=sharing).model_dump_json().encode()


async def test_records_for_other_roles_hide_what_is_about_them_and_cannot_be_linked(world: World) -> None:
    everything: dict[str, Level] = dict.fromkeys(ACTIVITY_PERMISSIONS, "all")
    agent, outsider = await world.bobs(everything, everything)
    contact, when = uuid7(), datetime.now(UTC)
    async with world.database.work() as tx:
        record = Record(
            business_id=world.tenant.business_id, id=contact, version=1, object="contact", name="Grace",
            created_at=when, updated_at=when, visible_role_ids=[agent.role],
        )  # fmt: skip
        await handlers.copy_records(tx, [record])
    about = [Link(object="contact", record_id=contact)]
    hidden, mine = await world.plan((outsider, NEVER), (outsider, ME), links=about)
    assert (await world.listed(agent))[1] == {hidden, mine}
    assert await world.listed(outsider) == (1, {mine})
    assert (await world.call(outsider, "GET", f"{SCHEDULED}/{hidden}")).status_code == 404
    body = {"related_objects": [{"custom_object": "contact", "entity_id": str(contact)}]}
    refused = await world.call(outsider, "POST", "/call/log-activity", body)
    assert [each["code"] for each in refused.json()["errors"]] == ["does_not_exist"]
    assert (await world.call(agent, "POST", "/call/log-activity", body)).status_code == 201


async def test_a_member_whose_roles_say_nothing_may_everything_with_activities(world: World) -> None:
    [bob] = await world.bobs({})
    found = await world.plan(*((bob, whose) for whose in WHOSE))
    assert (await world.listed(bob))[1] == set(found)
    assert (await world.call(bob, "PATCH", f"{SCHEDULED}/{found[0]}", {"note": "x"})).status_code == 200


def test_of_several_roles_the_widest_level_counts() -> None:
    joined = join_levels([{"logged.view": "my", "logged.edit": "none"}, {"logged.view": "all"}, {}])
    assert (joined["logged.view"], joined["logged.edit"], joined["scheduled.view"]) == ("all", "none", "none")


def test_roles_of_before_there_was_administration_administer_if_they_allowed_everything() -> None:
    old = dict.fromkeys(ACTIVITY_PERMISSIONS, "all")
    assert join_levels([old])["admin.directory"] == "all"
    assert join_levels([old | {"logged.delete": "my"}])["admin.directory"] == "none"
    assert join_levels([old | {"admin.objects": "none"}])["admin.directory"] == "none"
    assert join_levels([])["admin.directory"] == "none"
