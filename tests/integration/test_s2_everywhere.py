"""S2: the same activities everywhere, on timelines, in badges, reports, webhooks and S1; and what deletion does."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from libs.access.copy import save_members, save_roles
from libs.access.levels import ACTIVITY_PERMISSIONS, PERMISSIONS
from libs.contracts.directory import Member, Role
from libs.contracts.ids import ulid_of, uuid7
from libs.service.clock import now
from tests.support.accounts import Accounts, Person, save_person, uuid_text
from tests.support.everywhere import Company, Served, all_served


@pytest.fixture(scope="module")
async def running() -> AsyncIterator[Served]:
    async with all_served() as found:
        yield found


@pytest.fixture
async def company(running: Served) -> Company:
    return await Company.settled(running)


@pytest.fixture
async def world(company: Company) -> Accounts:
    tenant, database = company.tenant, company.databases["lifecycle"]
    ada = await save_person(database, tenant.business_id, "Ada", member_id=tenant.user_id)
    return Accounts(company.clients["lifecycle"], database, tenant, await company.record("account"), ada)


async def with_role(world: Accounts, **levels: str) -> Person:
    """Make a member whose one role allows what is named, and seeing everything."""
    role_id, business_id = uuid7(), world.tenant.business_id
    allowed = {"scheduled.view": "all", "logged.view": "all"} | {k.replace("_", "."): v for k, v in levels.items()}
    role = Role(
        business_id=business_id, id=role_id, version=1, name="r", created_at=now(),
        permissions=dict.fromkeys(PERMISSIONS, "none") | allowed,
    )  # fmt: skip
    async with world.database.work() as tx:
        await save_roles(tx, [role])
    return await save_person(world.database, business_id, f"M{role_id.hex}", [role_id])


async def test_an_activity_of_s2_is_on_timelines_in_reports_and_told_like_one_of_s1(
    company: Company, world: Accounts
) -> None:
    await company.endpoint()
    pending = await world.create(type="SITE_VISIT")
    identity = uuid_text(pending)
    assert await company.lines("account", world.account, state="upcoming") == [(identity, "scheduled")]
    assert (await company.counts("type"), await company.owed()) == ({"site_visit": 1}, [])
    await world.call("PUT", f"/{pending['id']}", {"status": "COMPLETED"})
    assert await company.lines("account", world.account, state="past") == [(identity, "completed")]
    assert await company.counts() == {"completed": 1}
    assert sorted(await company.owed()) == [("activity.completed", identity), ("activity.logged", identity)]
    assert (await company.call("GET", f"/api/activities/logged/{identity}"))["state"] == "completed"


async def test_an_activity_of_s1_is_an_activity_of_s2_with_its_account(company: Company, world: Accounts) -> None:
    body = {"related_objects": [{"custom_object": "account", "entity_id": str(world.account)}], "notes": "said"}
    logged = await company.call("POST", "/api/activities/meeting/log-activity", body)
    shown = (await world.call("GET", f"/{ulid_of(UUID(logged['id']))}")).json()["data"]
    assert (shown["account"], shown["type"], shown["status"]) == ("Account", "MEETING", "COMPLETED")
    assert (shown["description"], await world.listed()) == ("said", [shown["id"]])


@pytest.mark.parametrize("status", ["PENDING", "COMPLETED", "CANCELLED"])
async def test_a_deleted_one_leaves_lists_timelines_badges_and_totals_and_comes_back_with_its_history(
    company: Company, world: Accounts, status: str
) -> None:
    shown = await world.create(status=status)
    life = "logged" if status == "COMPLETED" else "scheduled-activity"
    path = f"/api/activities/{life}/{uuid_text(shown)}"
    before = await company.lines("account", world.account), await company.counts(), await _submissions(company)
    assert (len(before[0]), before[2]) == (1, int(status == "COMPLETED"))
    assert (await world.call("DELETE", f"/{shown['id']}")).status_code == 204
    assert await company.lines("account", world.account) == []
    assert (await company.counts(), await _submissions(company), await world.listed()) == ({}, 0, [])
    assert (await world.s1("GET", path.removeprefix("/api/activities"))).status_code == 404
    history = (await company.call("GET", f"{path}/history"))["results"]
    assert history[-1]["type"] == "activity.deleted"
    await company.call("POST", f"{path}/restore")
    after = await company.lines("account", world.account), await company.counts(), await _submissions(company)
    assert after == before
    assert await world.listed() == [shown["id"]]


async def _submissions(company: Company) -> int:
    return int((await company.call("GET", "/api/activities/call"))["n_submissions"])


@pytest.mark.parametrize("life", ["scheduled", "logged"])
async def test_soft_delete_needs_the_delete_right_of_that_life(world: Accounts, life: str) -> None:
    other = "logged" if life == "scheduled" else "scheduled"
    everything = {name.replace(".", "_"): "all" for name in ACTIVITY_PERMISSIONS}
    without = await with_role(world, **everything | {f"{life}_delete": "none"})
    own = await with_role(world, **{f"{life}_delete": "my", f"{other}_delete": "all"})
    allowed = await with_role(world, **{f"{life}_delete": "all"})
    shown = await world.create(status="COMPLETED" if life == "logged" else "PENDING")
    for person, status in ((without, 403), (own, 403), (allowed, 204)):
        answer = await world.call("DELETE", f"/{shown['id']}", by=person)
        assert answer.status_code == status, answer.text
    for person, status in ((without, 403), (allowed, 200)):
        assert (await world.call("POST", f"/{shown['id']}/restore", by=person)).status_code == status


async def test_types_are_the_four_of_s2_and_whatever_else_the_business_has(company: Company, world: Accounts) -> None:
    await company.call("POST", "/api/activities", {"name": "Plant tour"})
    for given, shown in (
        (None, "CALL"), ("CALL", "CALL"), ("EMAIL", "EMAIL"), ("MEETING", "MEETING"), ("SITE_VISIT", "SITE_VISIT"),
        ("PLANT_TOUR", "PLANT_TOUR"), ("plant_tour", "PLANT_TOUR"),
    ):  # fmt: skip
        made: dict[str, Any] = await world.create(**({"type": given} if given else {}))
        assert (made["type"], made["status"], made["participants"]) == (shown, "PENDING", [])


async def test_a_timestamp_lies_in_the_past_or_the_future_and_has_an_offset(world: Accounts) -> None:
    for status in ("PENDING", "COMPLETED"):
        for at, stored in (("1999-12-31T23:30:00-05:00", "2000-01-01T04:30:00Z"), ("2199-01-01T00:00:00Z",) * 2):
            shown = await world.create(status=status, activityTimestamp=at)
            assert shown["activityTimestamp"] == stored
    refused = await world.call("POST", "", {"activityTimestamp": "2030-06-01T10:00:00"})
    assert "activityTimestamp" in refused.json()["message"]


async def test_who_made_it_is_the_session_and_a_member_who_left_is_still_named(world: Accounts) -> None:
    person = await save_person(world.database, world.tenant.business_id, "Leaver")
    shown = await world.create(by=person)
    assert (shown["creator"], shown["creatorId"], shown["creatorEmail"]) == ("Leaver", str(person.id), person.email)
    gone = Member(
        business_id=world.tenant.business_id, id=person.id, version=2, name="Leaver", email=person.email,
        created_at=now(), deleted_at=now(),
    )  # fmt: skip
    async with world.database.work() as tx:
        await save_members(tx, [gone])
    assert (await world.get(shown)).json()["data"]["creator"] == "Leaver"
