"""S1: the life of a scheduled activity, line by line of the design's rules."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from libs.access.copy import save_members, save_roles
from libs.contracts.directory import Member, Role
from libs.contracts.ids import uuid7
from tests.integration.test_lifecycle_reports import events
from tests.integration.test_lifecycle_routes import MakeDatabase, World, settle
from tests.support.http import served

pytestmark = pytest.mark.integration
WHEN = datetime.now(UTC)


class Team(World):
    """A world with more people and roles."""

    async def member(self, name: str, **more: Any) -> UUID:
        """Let a member be known (or changed)."""
        identity = more.pop("id", None) or uuid7()
        email = f"{identity}@x.example"
        given = {"business_id": self.tenant.business_id, "version": 1, "created_at": WHEN, **more}
        async with self.database.work() as tx:
            await save_members(tx, [Member(id=identity, name=name, email=email, **given)])
        return identity

    async def role(self, name: str, *members: UUID) -> UUID:
        """Let a role be known."""
        identity, business_id = uuid7(), self.tenant.business_id
        role = Role(
            business_id=business_id, id=identity, version=1, name=name, created_at=WHEN, member_ids=list(members)
        )
        async with self.database.work() as tx:
            await save_roles(tx, [role])
        return identity

    async def claim(self, identity: str, member: UUID) -> Any:
        """Claim, and again while a busy server asks to come again (503)."""
        while True:
            answer = await self.call("POST", f"/scheduled-activity/{identity}/claim", X_USER_ID=str(member))
            if answer.status_code != 503:
                return answer


@pytest.fixture
async def team(make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Team]:
    monkeypatch.setenv("REFERENCE_WAIT_MAX_MS", "100")
    database = await make_database("lifecycle")
    tenant = await settle(database)
    async with served("lifecycle", database) as http:
        yield Team(http, database, tenant, uuid7())


async def test_of_a_hundred_concurrent_claims_exactly_one_wins_and_the_others_hear_who(team: Team) -> None:
    members = [await team.member(f"M{number}") for number in range(100)]
    role = await team.role("crew", *members)
    identity = (await team.schedule(role_id=str(role)))["id"]
    answers = await asyncio.gather(*(team.claim(identity, member) for member in members))
    won = [each for each in answers if each.status_code == 200]
    assert len(won) == 1
    employee = won[0].json()["employee"]
    assert won[0].json()["role"] is None
    lost = [each.json() for each in answers if each.status_code == 409]
    assert len(lost) == 99
    assert all(each["code"] == "taken" and employee["id"] in each["detail"] for each in lost)
    again = await team.claim(identity, UUID(employee["id"]))
    assert (again.status_code, again.headers["etag"]) == (200, '"2"')
    assert [event.change.type for _, event in await events(team.database)] == [
        "activity.created",
        "activity.reassigned",
    ]


async def test_only_members_of_the_role_claim_and_nobody_from_a_role_without_members(team: Team) -> None:
    crew, empty = await team.role("crew", await team.member("Bo")), await team.role("nobody")
    me = team.tenant.user_id
    for role in (crew, empty):
        identity = (await team.schedule(role_id=str(role)))["id"]
        refused = await team.claim(identity, me)
        assert (refused.status_code, refused.json()["code"]) == (403, "not_in_role")
        assert (await team.call("GET", f"/scheduled-activity/{identity}")).json()["role"]["id"] == str(role)
    free = (await team.call("PUT", f"/scheduled-activity/{identity}", {})).json()
    assert (await team.claim(free["id"], me)).json()["code"] == "no_role"
    assert (await team.claim(str(uuid7()), me)).status_code == 404


async def test_what_is_logged_or_cancelled_is_not_claimed(team: Team) -> None:
    role = await team.role("crew", team.tenant.user_id)
    logged = (await team.schedule(role_id=str(role)))["id"]
    await team.log(scheduled_activity_id=logged)
    cancelled = (await team.schedule(role_id=str(role)))["id"]
    await team.call("DELETE", f"/scheduled-activity/{cancelled}")
    codes = [(await team.claim(each, team.tenant.user_id)).json()["code"] for each in (logged, cancelled)]
    assert codes == ["already_logged", "cancelled"]


async def test_claiming_ends_a_day_where_the_claimer_is(team: Team) -> None:
    bo = await team.member("Bo", zone="America/New_York")
    role = await team.role("crew", bo)
    made = await team.schedule(role_id=str(role), due_datetime="2030-01-02")
    assert made["due_at"] == "2030-01-02T22:59:59.999999Z"  # the business is in Berlin
    claimed = (await team.claim(made["id"], bo)).json()
    assert (claimed["due_at"], claimed["due_datetime"]) == ("2030-01-03T04:59:59.999999Z", "2030-01-02")
    assert [event.change.type for _, event in await events(team.database)][-1] == "activity.reassigned"


@pytest.mark.parametrize(
    ("zone", "day", "end"),
    [
        ("Europe/Berlin", "2030-03-31", "2030-03-31T21:59:59.999999Z"),  # 23 hours
        ("Europe/Berlin", "2030-10-27", "2030-10-27T22:59:59.999999Z"),  # 25 hours
        ("America/Santiago", "2030-09-07", "2030-09-08T03:59:59.999999Z"),  # the next midnight does not exist
        ("America/Santiago", "2030-04-06", "2030-04-07T03:59:59.999999Z"),  # its last hour comes twice
        ("Pacific/Kiritimati", "2030-01-01", "2030-01-01T09:59:59.999999Z"),
    ],
)
async def test_a_day_ends_in_the_zone_of_its_assignee(team: Team, zone: str, day: str, end: str) -> None:
    bo = await team.member("Bo", zone=zone)
    made = await team.schedule(employee_id=str(bo), due_datetime=day)
    assert (made["due_datetime"], made["due_at"], made["original_due_datetime"]) == (day, end, end)


@pytest.mark.parametrize("due", ["2030-03-31T02:30:00+01:00", "2030-10-27T02:30:00+02:00", "2030-06-01T23:30:00+02:00"])
async def test_a_due_in_the_hour_a_clock_jumps_or_late_in_the_evening_is_kept_as_said(team: Team, due: str) -> None:
    made = await team.schedule(due_datetime=due)
    kept = datetime.fromisoformat(made["due_datetime"])
    assert kept == datetime.fromisoformat(due)
    day = datetime.fromisoformat(due).date()
    for query, count in ((f"from_date={day}&to_date={day}", 1), (f"to_date={day.replace(day=1)}", int(day.day == 1))):
        assert (await team.call("GET", f"/scheduled-activity?{query}")).json()["count"] == count


async def test_rescheduling_keeps_the_original_due_and_clearing_it_leaves_it_undated(team: Team) -> None:
    made = await team.schedule(due_datetime="2020-01-01T10:00:00Z", original_due_datetime="2019-01-01T10:00:00Z")
    assert (made["state"], made["original_due_datetime"]) == ("overdue", "2019-01-01T10:00:00Z")
    path = f"/scheduled-activity/{made['id']}"
    for due, state in (("2031-01-01T10:00:00Z", "scheduled"), ("2020-01-02", "overdue"), (None, "scheduled")):
        moved = (await team.call("PATCH", path, {"due_datetime": due})).json()
        assert (moved["due_datetime"], moved["state"]) == (due, state)
        assert moved["original_due_datetime"] == "2019-01-01T10:00:00Z"


async def test_notifications_are_stored_as_asked(team: Team) -> None:
    asked = [
        {"type": "email", "time_amount": 15, "time_unit": "minutes"},
        {"type": "push", "time_amount": 0, "time_unit": "days"},
    ]
    made = await team.schedule(notifications=asked, notify_mentioned=True, mentions=[str(team.tenant.user_id)])
    assert (made["notifications"], made["notify_mentioned"]) == (asked, True)
    shown = (await team.call("GET", f"/scheduled-activity/{made['id']}")).json()
    assert (shown["notifications"], shown["mentions"]) == (asked, [str(team.tenant.user_id)])


async def test_a_deactivated_member_is_not_mentioned_anew_but_stays_where_it_was(team: Team) -> None:
    bo = await team.member("Bo")
    made = await team.schedule(mentions=[str(bo)], employee_id=str(bo))
    await team.member("Bo", id=bo, version=2, deleted_at=WHEN)
    for more in ({"mentions": [str(bo)]}, {"employee_id": str(bo)}):
        refused = await team.call("POST", "/scheduled-activity", {"activity_object_name": "call"} | more)
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (400, "does_not_exist")
    path = f"/scheduled-activity/{made['id']}"
    kept = await team.call("PUT", path, {"mentions": [str(bo)], "employee_id": str(bo), "note": "still"})
    assert kept.status_code == 200, kept.text
    assert (kept.json()["mentions"], kept.json()["employee"]["id"]) == ([str(bo)], str(bo))
    listed = (await team.call("GET", "/scheduled-activity")).json()["results"][0]
    for shown in ((await team.call("GET", path)).json(), listed):
        assert shown["employee"] == {"id": str(bo), "name": "Bo", "deleted": True}


async def test_what_a_schedule_leaves_out_is_the_objects_default_while_it_is_there(team: Team) -> None:
    bo = await team.member("Bo")
    defaults = {"default_note": "agenda", "default_delay_min": 90, "default_assignee": {"employee_id": str(bo)}}
    set_so = await team.call("PATCH", "/call", defaults)
    assert set_so.status_code == 200, set_so.text
    made = await team.schedule(due_datetime=None)
    assert (made["note"], made["employee"]["id"]) == ("agenda", str(bo))
    delay = datetime.fromisoformat(made["due_datetime"]) - datetime.fromisoformat(made["created"])
    assert delay == timedelta(minutes=90)
    assert made["original_due_datetime"] == made["due_datetime"]
    own = await team.schedule(note="mine", employee_id=str(team.tenant.user_id), due_datetime="2030-01-01")
    assert (own["note"], own["employee"]["name"], own["due_datetime"]) == ("mine", "Ada", "2030-01-01")
    await team.member("Bo", id=bo, version=2, deleted_at=WHEN)
    assert (await team.schedule())["employee"]["name"] == "Ada"


async def test_a_write_that_wants_little_back_gets_its_version_alone(team: Team) -> None:
    little = {"prefer": "return=minimal"}
    body = {"activity_object_name": "call", "due_datetime": "2030-01-01"}
    made = await team.call("POST", "/scheduled-activity", body, idempotency_key="k", **little)
    assert (made.status_code, made.content, made.headers["etag"]) == (201, b"", '"1"')
    assert made.headers["preference-applied"] == "return=minimal"
    identity = made.headers["x-wrote"].partition(":")[0]
    full = await team.call("POST", "/scheduled-activity", body, idempotency_key="k")
    assert full.json()["id"] == identity
    changed = await team.call("PATCH", f"/scheduled-activity/{identity}", {"note": "x"}, **little)
    assert (changed.status_code, changed.content, changed.headers["x-wrote"]) == (204, b"", f"{identity}:2")
    logged = await team.call(
        "POST", "/call/log-activity", {"related_objects": [], "scheduled_activity_id": identity}, **little
    )
    assert (logged.status_code, logged.content, logged.headers["etag"]) == (201, b"", '"3"')
    refused = await team.call("PATCH", f"/scheduled-activity/{identity}", {"note": "y"}, **little)
    assert (refused.status_code, refused.json()["code"]) == (409, "already_logged")
