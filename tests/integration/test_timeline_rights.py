"""Timelines and badges as members see them, and of records that were merged: the badge equals the rows, always."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from libs.access.copy import save_members, save_roles
from libs.access.levels import PERMISSIONS
from libs.contracts.activity import Activity, ActivityEvent, Assignee, Change, Link, Person
from libs.contracts.activity_object import ActivityObject, Sharing
from libs.contracts.directory import Member, Record, Role
from libs.contracts.ids import uuid7
from libs.database import Database
from services.timeline_projector import handlers
from tests.support.conversations import conversation
from tests.support.http import Tenant, served, settle

WHEN = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
CALL = uuid7()


@dataclass
class World:
    """A served timeline with a business."""

    http: httpx.AsyncClient
    database: Database
    tenant: Tenant
    moments: int = 0

    async def record(self, record_id: UUID, version: int = 1, **given: Any) -> UUID:
        record = Record(
            business_id=self.tenant.business_id, id=record_id, version=version, object="contact", name="Grace",
            created_at=WHEN, updated_at=WHEN, **given,
        )  # fmt: skip
        async with self.database.work() as tx:
            await handlers.know_records(tx, [record])
        return record_id

    async def activity(self, *contacts: UUID, **given: Any) -> UUID:
        self.moments += 1
        at = WHEN + timedelta(minutes=self.moments)
        activity = Activity(
            business_id=self.tenant.business_id, activity_id=uuid7(), version=1, type="call", type_id=CALL,
            type_name="Call", at=at, created_at=at, recorded_at=at,
            links=[Link(object="contact", record_id=contact) for contact in contacts],
            **{"logged_at": at} | given,
        )  # fmt: skip
        async with self.database.work() as tx:
            event = ActivityEvent(activity=activity, change=Change(type="activity.created"))
            await handlers.show_activities(tx, [event])
        return activity.activity_id

    async def member(self, **allowed: str) -> tuple[UUID, UUID, dict[str, str]]:
        """Make a member with a role; give both and the headers to act as the member."""
        member_id, role_id, business_id = uuid7(), uuid7(), self.tenant.business_id
        levels = {name.replace("_", "."): level for name, level in allowed.items()}
        role = Role(
            business_id=business_id, id=role_id, version=1, name="r", created_at=WHEN, member_ids=[member_id],
            permissions=dict.fromkeys(PERMISSIONS, "none") | levels,
        )  # fmt: skip
        member = Member(
            business_id=business_id, id=member_id, version=1, name="Bob", created_at=WHEN, role_ids=[role_id],
            email=f"{member_id}@bob.example",
        )  # fmt: skip
        async with self.database.work() as tx:
            await save_roles(tx, [role])
            await save_members(tx, [member])
        return member_id, role_id, self.tenant.headers | {"X-USER-ID": str(member_id)}

    async def rows(self, contact: UUID, headers: dict[str, str] | None = None, **query: Any) -> list[dict[str, Any]]:
        """All rows by pages of two; the badge and the list of records must say the same."""
        headers = headers or self.tenant.headers
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            given = {"limit": 2, **({"cursor": cursor} if cursor else {}), **query}
            answer = await self.http.get(f"/api/timeline/contact/{contact}", params=given, headers=headers)
            assert answer.status_code == 200, answer.text
            found += answer.json()["results"]
            cursor = answer.json()["next"]
            if cursor is None:
                break
        if not query:
            body = {"object": "contact", "record_ids": [str(contact)]}
            badge = (await self.http.post("/api/timeline/badges", json=body, headers=headers)).json()["counts"]
            assert badge == {str(contact): len(found)}
        return found

    async def counts(self, headers: dict[str, str] | None = None, **query: Any) -> dict[str, int]:
        answer = await self.http.get("/api/timeline/contact", params=query, headers=headers or self.tenant.headers)
        return {row["id"]: row["count"] for row in answer.json()["results"]}


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["id"] for row in rows]


@pytest.fixture
async def world(
    make_database: Callable[[str], Awaitable[Database]], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    monkeypatch.setenv("REFERENCE_WAIT_MAX_MS", "100")
    database = await make_database("timeline_projector")
    tenant = await settle(database)
    async with served("timeline_projector", database) as http:
        yield World(http, database, tenant)


async def test_a_survivor_shows_both_histories_and_after_undo_each_its_own(world: World) -> None:
    one, two = await world.record(uuid7()), await world.record(uuid7())
    first, second = await world.activity(one), await world.activity(two)
    both = await world.activity(one, two)
    planned = await world.activity(one, logged_at=None, planned_at=WHEN, due_at=None)
    before = await world.rows(one), await world.rows(two)
    await world.record(one, 2, merged_into=two)
    shown = await world.rows(two)
    assert ids(shown) == [str(planned), str(both), str(second), str(first)]
    assert [row["merged_from"] for row in shown] == [str(one), None, None, str(one)]
    assert await world.rows(one) == shown, "the merged one leads there"
    assert ids(await world.rows(two, state="upcoming")) == [str(planned)]
    assert await world.counts() == {str(two): 4}
    assert await world.counts(has_activities="false") == {}
    late = await world.activity(one)
    assert ids(await world.rows(two))[0] == str(late), "what comes for the merged one later is shown too"
    await world.record(one, 3)
    assert ids(await world.rows(one)) == [str(late), *ids(before[0])]
    assert await world.rows(two) == before[1]


@pytest.mark.parametrize("level", ["none", "my", "all"])
async def test_lines_that_a_member_may_not_see_are_neither_shown_nor_counted(world: World, level: str) -> None:
    contact = await world.record(uuid7())
    bob, role, headers = await world.member(logged_view=level, scheduled_view="my")
    other = await world.activity(contact)
    own = await world.activity(contact, logged_by=Person(member_id=bob))
    mine = await world.activity(contact, assignee=Assignee(member_id=bob))
    queued = await world.activity(contact, assignee=Assignee(role_id=role))
    hidden_plan = await world.activity(contact, logged_at=None, planned_at=WHEN, due_at=WHEN)
    plan = await world.activity(contact, logged_at=None, planned_at=WHEN, due_at=WHEN, created_by=Person(member_id=bob))
    expected = {"none": [], "my": [own], "all": [own, other]}[level]
    assert ids(await world.rows(contact, headers)) == [str(each) for each in (plan, queued, mine, *expected)]
    assert ids(await world.rows(contact, headers, state="upcoming")) == [str(plan)]
    assert await world.counts(headers) == {str(contact): 3 + len(expected)}
    assert str(hidden_plan) in ids(await world.rows(contact))


async def test_conversations_are_seen_by_who_may_see_what_was_logged(world: World) -> None:
    contact = await world.record(uuid7())
    bob, _, own = await world.member(logged_view="my")
    _, _, none = await world.member(scheduled_view="all")
    talk = conversation(world.tenant.business_id, agent_id=bob, links=[Link(object="contact", record_id=contact)])
    async with world.database.work() as tx:
        await handlers.show_conversations(tx, [talk])
    assert len(await world.rows(contact, own)) == 1
    assert await world.rows(contact, none) == []
    path = f"/api/interactions/{talk.interaction.interaction_id}/messages"
    assert (await world.http.get(path, headers=own)).status_code == 200
    assert (await world.http.get(path, headers=none)).status_code == 404


async def test_a_record_for_some_roles_has_a_timeline_for_their_members_alone(world: World) -> None:
    _, queue, agent = await world.member(logged_view="all", scheduled_view="all")
    _, _, outsider = await world.member(logged_view="all", scheduled_view="all")
    secret, open_one = await world.record(uuid7(), visible_role_ids=[queue]), await world.record(uuid7())
    about_both, about_open = await world.activity(secret, open_one), await world.activity(open_one)
    assert ids(await world.rows(secret, agent)) == [str(about_both)]
    hidden = await world.http.get(f"/api/timeline/contact/{secret}", headers=outsider)
    assert hidden.status_code == 404
    body = {"object": "contact", "record_ids": [str(secret)]}
    badge = await world.http.post("/api/timeline/badges", json=body, headers=outsider)
    assert badge.json()["counts"] == {str(secret): 0}
    assert await world.counts(outsider) == {str(open_one): 1}
    assert ids(await world.rows(open_one, outsider)) == [str(about_open)]
    assert ids(await world.rows(open_one, agent)) == [str(about_open), str(about_both)]


async def test_a_private_activity_is_on_the_timeline_of_those_alone_who_may_see_it(world: World) -> None:
    contact = await world.record(uuid7())
    everything = {"logged_view": "all", "scheduled_view": "all"}
    (ada, role, maker), (bob, _, guest), (_, _, stranger) = [await world.member(**everything) for _ in range(3)]
    colleague_id, _, colleague = await world.member(**everything)
    async with world.database.work() as tx:
        await tx.execute("update member set role_ids = role_ids || $2 where id = $1", colleague_id, [role])
    made = {"created_by": Person(member_id=ada), "participants": [Person(member_id=bob)]}
    private = await world.activity(contact, privacy="private", subject="secret", **made)
    team = await world.activity(contact, privacy="team", logged_at=None, planned_at=WHEN, due_at=None, **made)
    public = await world.activity(contact)
    for headers, wanted in (
        (maker, [public, team, private]), (guest, [public, team, private]), (colleague, [public, team]),
        (stranger, [public]),
    ):  # fmt: skip
        rows = await world.rows(contact, headers)
        assert ids(rows) == [str(each) for each in wanted]
        assert {row["subject"] for row in rows} == {None}
        assert await world.counts(headers) == {str(contact): len(wanted)}
    assert ids(await world.rows(contact, colleague, state="upcoming")) == [str(team)]
    assert await world.rows(contact, stranger, state="upcoming") == []


async def test_an_archived_record_is_in_no_list_and_keeps_its_timeline(world: World) -> None:
    contact = await world.record(uuid7())
    line = await world.activity(contact)
    assert await world.counts() == {str(contact): 1}
    await world.record(contact, 2, archived_at=WHEN)
    assert await world.counts() == await world.counts(has_activities="true") == {}
    assert ids(await world.rows(contact)) == [str(line)]
    await world.record(contact, 3)
    assert await world.counts() == {str(contact): 1}


async def test_a_record_that_was_merged_into_one_for_some_roles_is_for_them_alone_too(world: World) -> None:
    _, queue, agent = await world.member(logged_view="all", scheduled_view="all")
    _, _, outsider = await world.member(logged_view="all", scheduled_view="all")
    secret, merged = await world.record(uuid7(), visible_role_ids=[queue]), await world.record(uuid7())
    other = await world.record(uuid7())
    about = await world.activity(merged, other)
    assert ids(await world.rows(other, outsider)) == [str(about)]
    await world.record(merged, 2, merged_into=secret)
    assert ids(await world.rows(secret, agent)) == [str(about)]
    assert await world.rows(other, outsider) == []
    body = {"object": "contact", "record_ids": [str(merged)]}
    badge = await world.http.post("/api/timeline/badges", json=body, headers=outsider)
    assert badge.json()["counts"] == {str(merged): 0}
    assert (await world.http.get(f"/api/timeline/contact/{merged}", headers=outsider)).status_code == 404


async def test_types_that_are_not_shared_with_a_member_are_not_on_the_timeline(world: World) -> None:
    contact = await world.record(uuid7())
    _, role, inside = await world.member(logged_view="all")
    _, _, outside = await world.member(logged_view="all", scheduled_view="all")
    await world.activity(contact)
    sharing = Sharing(shared_with="selected", role_ids=[role])
    kind = ActivityObject(
        business_id=world.tenant.business_id, id=CALL, version=1, name="Call", api_name="call", created_at=WHEN,
        loggable_sharing_settings=sharing,
    )  # fmt: skip
    async with world.database.work() as tx:
        await handlers.name_types(tx, [kind])
    assert (len(await world.rows(contact, inside)), len(await world.rows(contact, outside))) == (1, 0)


async def test_receipts_are_for_members_who_see_everything(
    make_database: Callable[[str], Awaitable[Database]],
) -> None:
    database = await make_database("ingest")
    tenant = await settle(database)
    async with served("ingest", database) as http:
        reports = World(http, database, tenant)
        _, _, whole = await reports.member(logged_view="all", scheduled_view="all")
        _, _, narrow = await reports.member(logged_view="all", scheduled_view="my")
        for path, query in (
            (f"/ingest/receipts/{uuid7()}", {}),
            ("/ingest/receipts", {"source": "a", "source_ref": "b"}),
        ):
            answers = [await http.get(path, params=query, headers=headers) for headers in (whole, narrow)]
            assert [answer.status_code for answer in answers] == [404, 403]
            assert answers[1].json()["code"] == "not_permitted"
