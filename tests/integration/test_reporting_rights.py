"""Reports as members see them: what a member may not see is in no number and no row, and each number has its rows."""

import random
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import httpx
import pytest

from libs.access import Standing
from libs.access.copy import save_api_keys, save_members, save_roles
from libs.access.keys import generate_key
from libs.access.levels import PERMISSIONS, Level
from libs.contracts.activity import Activity, Assignee, Link, Person, linked_of, readers_of, team_of
from libs.contracts.activity_object import ActivityObject, Sharing
from libs.contracts.directory import ApiKey, Member, Record, Role
from libs.contracts.ids import preset_id_of, uuid7
from libs.database import Database
from services.lifecycle.domain.rights import Rights
from services.reporting import handlers, store
from tests.conftest import MakeDatabase
from tests.support.conversations import conversation, made_from
from tests.support.histories import START, TYPES, activity, event, planned
from tests.support.http import Tenant, served, settle

SPAN = {"from": "2026-02-01", "to": "2026-05-31"}
LEVELS: tuple[Level, ...] = ("none", "my", "all")
EVERYTHING = {"scheduled.view": "all", "logged.view": "all"}


@dataclass(frozen=True)
class Bob:
    """A member with one role."""

    id: UUID
    role: UUID
    levels: dict[str, Level]
    headers: dict[str, str]


@dataclass
class World:
    """A served reporting with a business."""

    http: httpx.AsyncClient
    database: Database
    tenant: Tenant

    async def bob(self, levels: dict[str, Any]) -> Bob:
        member_id, role_id, business_id = uuid7(), uuid7(), self.tenant.business_id
        role = Role(
            business_id=business_id, id=role_id, version=1, name="r", created_at=START, member_ids=[member_id],
            permissions=dict.fromkeys(PERMISSIONS, "none") | levels,
        )  # fmt: skip
        member = Member(
            business_id=business_id, id=member_id, version=1, name="Bob", created_at=START, role_ids=[role_id],
            email=f"{member_id}@bob.example",
        )  # fmt: skip
        async with self.database.work() as tx:
            await save_roles(tx, [role])
            await save_members(tx, [member])
        return Bob(member_id, role_id, levels, self.tenant.headers | {"X-USER-ID": str(member_id)})

    async def hear(self, states: Iterable[Activity], kind: str = "activity.updated") -> None:
        async with self.database.work() as tx:
            await handlers.count_activities(tx, [event(state, kind) for state in states])

    async def record(self, *role_ids: UUID, merged_into: UUID | None = None) -> UUID:
        record = Record(
            business_id=self.tenant.business_id, id=uuid7(), version=1, object="contact", name="Grace",
            created_at=START, updated_at=START, visible_role_ids=list(role_ids), merged_into=merged_into,
        )  # fmt: skip
        async with self.database.work() as tx:
            await handlers.know_records(tx, [record])
        return record.id

    async def share(self, name: str, sharing: Sharing) -> UUID:
        kind = ActivityObject(
            business_id=self.tenant.business_id, id=preset_id_of(self.tenant.business_id, "activity_object", name),
            version=1, name=name, api_name=name, created_at=START, loggable_sharing_settings=sharing,
        )  # fmt: skip
        async with self.database.work() as tx:
            await handlers.know_types(tx, [kind])
        return kind.id

    async def get(self, path: str, bob: Bob | None, **query: Any) -> dict[str, Any]:
        answer = await self.http.get(path, params=query, headers=bob.headers if bob else self.tenant.headers)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def told(self, bob: Bob | None, **query: Any) -> set[str]:
        """What a caller is told of; total, cells, their rows and the list of all rows say the same."""
        report = await self.get("/api/reports/volume", bob, **SPAN, group_by="type,state,direction", **query)
        found: list[str] = []
        for cell in report["series"]:
            rows = await self.rows(bob, cell["rows"])
            assert cell["count"] == len(rows) > 0
            found += rows
        assert len(set(found)) == len(found) == report["total"]
        plain = await self.get("/api/reports/volume", bob, **SPAN, granularity="month", **query)
        assert plain["total"] == report["total"]
        link = "/api/reports/rows?" + "&".join(f"{name}={value}" for name, value in (SPAN | query).items())
        assert sorted(await self.rows(bob, link)) == sorted(found)
        return set(found)

    async def rows(self, bob: Bob | None, link: str) -> list[str]:
        found: list[str] = []
        query: dict[str, Any] = {"limit": 100, **parse_qs(urlsplit(link).query, keep_blank_values=True)}
        while True:
            page = await self.get("/api/reports/rows", bob, **query)
            found += [row["activity_id"] or row["interaction_id"] for row in page["results"]]
            if page["next"] is None:
                assert page["count"] == len(found)
                return found
            query["cursor"] = page["next"]


@pytest.fixture
async def world(make_database: MakeDatabase) -> AsyncIterator[World]:
    database = await make_database("reporting")
    tenant = await settle(database)
    async with served("reporting", database) as http:
        yield World(http, database, tenant)


def make_up(world: World, chance: random.Random, people: list[Bob], contacts: list[UUID]) -> Activity:
    """Make an activity of anybody's, about anything, for anybody to see."""
    somebody: list[Any] = [*(Person(member_id=each.id) for each in people), Person(name="Zoe"), None]
    at = START + timedelta(hours=chance.randrange(24 * 50))
    assignees = [None, Assignee(name="Zoe"), Assignee(member_id=world.tenant.user_id)]
    assignees += [Assignee(member_id=each.id) for each in people] + [Assignee(role_id=each.role) for each in people]
    made = planned if chance.random() < 0.4 else activity
    times = {"due_at": at} if made is planned else {"occurred_at": at, "logged_at": at}
    return made(
        world.tenant.business_id, **times, at=at, type=chance.choice(TYPES), assignee=chance.choice(assignees),
        created_by=chance.choice(somebody), actor=chance.choice(somebody),
        participants=[person for person in chance.sample(somebody, 2) if person],
        links=[Link(object="contact", record_id=contact) for contact in chance.sample(contacts, chance.randrange(3))],
        privacy=chance.choice(["public", "public", "public", "private", "team"]),
    )  # fmt: skip


def may_see(
    bob: Bob, state: Activity, shut: frozenset[UUID], guarded: dict[UUID, UUID], roles: dict[UUID, UUID]
) -> bool:
    """Tell by lifecycle's own rules whether a member sees an activity. `guarded`: record → the role that it is for."""
    readers, team = readers_of(state), team_of(state)
    if readers is not None and bob.id not in readers and (team is None or roles.get(team) != bob.role):
        return False
    hidden = any(guarded.get(each, bob.role) != bob.role for each in linked_of(state))
    return Rights(bob.id, Standing(frozenset([bob.role]), bob.levels), shut).may_view(state, hidden=hidden)


@pytest.mark.parametrize("guarded", [True, False])
async def test_a_member_is_told_of_just_what_lifecycle_would_show(world: World, guarded: bool) -> None:
    chance = random.Random(5)
    bobs = [await world.bob({"scheduled.view": one, "logged.view": two}) for one in LEVELS for two in LEVELS]
    contacts = [await world.record(), await world.record(), await world.record(*[bobs[-1].role] if guarded else [])]
    shut = await world.share("email", Sharing(shared_with="selected", member_ids=[bobs[0].id], role_ids=[bobs[4].role]))
    states = [make_up(world, chance, bobs, contacts) for _ in range(120)]
    await world.hear(states)
    roles = {each.id: each.role for each in bobs}
    for number, bob in enumerate(bobs):
        closed = frozenset() if number in (0, 4) else frozenset([shut])
        role = {contacts[2]: bobs[-1].role} if guarded else {}
        wanted = [each for each in states if may_see(bob, each, closed, role, roles)]
        assert await world.told(bob) == {str(each.activity_id) for each in wanted}, bob.levels
    assert (await world.told(bobs[5], type="call")) < (await world.told(bobs[5]))


async def test_private_ones_are_taken_from_the_totals_of_a_member_who_sees_all_else(world: World) -> None:
    bob, maker = await world.bob(EVERYTHING), await world.bob(EVERYTHING)
    business_id, soon = world.tenant.business_id, START + timedelta(days=3)
    person = Person(member_id=maker.id)
    shown = [activity(business_id), planned(business_id, due_at=soon), planned(business_id)]
    hidden = [
        activity(business_id, privacy="private", created_by=person),
        planned(business_id, due_at=soon, privacy="team", created_by=person),
        planned(business_id, privacy="private"),
    ]
    await world.hear([*shown, *hidden])
    assert await world.told(bob) == {str(each.activity_id) for each in shown}
    assert await world.told(maker) == {str(each.activity_id) for each in [*shown, *hidden[:2]]}
    alone = generate_key("api", business_id)
    key = ApiKey(
        business_id=business_id, id=alone.id, version=1, kind="api", name="k", hash=alone.hash,
        scopes=["reports.read"], created_at=START,
    )  # fmt: skip
    async with world.database.work() as tx:
        await save_api_keys(tx, [key])
    key_alone = {"X-API-KEY": alone.text}
    total = (await world.http.get("/api/reports/volume", params=SPAN, headers=key_alone)).json()["total"]
    assert total == 6, "a key without a member counts for the business"


async def test_conversations_are_counted_for_their_agent_and_for_those_who_see_all(world: World) -> None:
    bob, other = [await world.bob({"logged.view": "my"}) for _ in range(2)]
    none, everything = await world.bob({"scheduled.view": "all"}), await world.bob(EVERYTHING)
    guarded = await world.record(bob.role)
    business_id = world.tenant.business_id
    talk = conversation(business_id, agent_id=bob.id)
    about = conversation(business_id, agent_id=bob.id, links=[Link(object="contact", record_id=guarded)])
    async with world.database.work() as tx:
        await handlers.count_conversations(tx, [talk, about])
    ids = [str(each.interaction.interaction_id) for each in (talk, about)]
    assert await world.told(bob) == set(ids)
    assert (await world.told(other), await world.told(none)) == (set(), set())
    assert await world.told(everything) == {ids[0]}
    made = made_from(talk, actor=Person(member_id=other.id))
    await world.hear([made])
    assert await world.told(bob) == {ids[1]}, "as an activity it is seen as that is"
    assert await world.told(other) == {str(made.activity_id)}


async def test_what_is_about_a_record_that_one_for_some_roles_stands_for_is_for_those_alone(world: World) -> None:
    agent, outsider = await world.bob(EVERYTHING), await world.bob(EVERYTHING)
    secret = await world.record(agent.role)
    merged = await world.record(merged_into=secret)
    state = activity(world.tenant.business_id, links=[Link(object="contact", record_id=merged)])
    await world.hear([state])
    assert [await world.told(each) for each in (agent, outsider)] == [{str(state.activity_id)}, set()]


async def test_rows_of_before_are_hidden_from_narrow_views_until_they_are_heard_again(world: World) -> None:
    bob = await world.bob({"logged.view": "all", "scheduled.view": "my"})
    state, talk = activity(world.tenant.business_id), conversation(world.tenant.business_id)
    wanted = {str(state.activity_id), str(talk.interaction.interaction_id)}
    await world.hear([state])
    async with world.database.work() as tx:
        await handlers.count_conversations(tx, [talk])
        await tx.execute("update fact set type_id = null, linked = '{}', own = '{}'")
        await tx.execute("update interaction_fact set type_id = null")
    assert (await world.told(bob), await world.told(None)) == (set(), wanted)
    await world.hear([state], "activity.state")
    async with world.database.work() as tx:
        await handlers.count_conversations(tx, [talk])
    assert (await world.told(bob), await world.told(None)) == (wanted, wanted)


async def test_a_rebuilt_reporting_knows_who_may_see_what(world: World) -> None:
    bob = await world.bob({"logged.view": "my"})
    state = activity(world.tenant.business_id, logged_by=Person(member_id=bob.id))
    await world.hear([state])
    await world.share("call", Sharing(shared_with="selected"))
    assert await world.told(bob) == set()
    async with world.database.work() as tx:
        await store.empty(tx)
    await world.hear([state], "activity.state")
    assert await world.told(bob) == {str(state.activity_id)}, "until it is said again with whom its type is shared"
    await world.share("call", Sharing(shared_with="selected"))
    assert await world.told(bob) == set()
