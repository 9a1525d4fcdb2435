"""Reports as a caller sees them: numbers that add up, and the rows behind each."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4
from zoneinfo import ZoneInfo

import httpx
import pytest

from libs.contracts.activity import Activity
from libs.contracts.ids import activity_id_of_interaction, instant_text
from libs.contracts.interaction import InteractionClosed
from libs.database import Database
from services.reporting.handlers import count_activities, count_conversations
from tests.conftest import MakeDatabase
from tests.support.conversations import conversation
from tests.support.histories import START, activity, event, history, next_version, planned
from tests.support.http import Tenant, served, settle

RANGE: dict[str, Any] = {"from": "2026-02-01", "to": "2026-05-31"}
EVERYTHING = "state,type,source,source_kind,direction,agent"


@dataclass(frozen=True)
class Stage:
    """A served service with two businesses."""

    database: Database
    client: httpx.AsyncClient
    mine: Tenant
    other: Tenant

    async def hear(self, *states: Activity) -> None:
        """Let activities be heard of."""
        async with self.database.work() as tx:
            await count_activities(tx, [event(state) for state in states])

    async def talk(self, *talks: InteractionClosed) -> None:
        """Let finished conversations be heard of."""
        async with self.database.work() as tx:
            await count_conversations(tx, talks)

    async def get(self, path: str, tenant: Tenant | None = None, **more: Any) -> httpx.Response:
        """Get as a caller of a business, mine if none is named."""
        headers = (tenant or self.mine).headers | more.pop("headers", {})
        return await self.client.get(path, headers=headers, params=more or None)

    async def volume(self, **query: Any) -> dict[str, Any]:
        """Ask for volume."""
        answer = await self.get("/api/reports/volume", **RANGE | query)
        assert answer.status_code == 200, answer.text
        report: dict[str, Any] = answer.json()
        assert report["total"] == sum(cell["count"] for cell in report["series"])
        return report

    async def rows(self, link: str) -> tuple[int, list[dict[str, Any]]]:
        """Follow a drill-down link through all its pages."""
        found: list[dict[str, Any]] = []
        query: dict[str, Any] = {"limit": 7}
        given = parse_qs(urlsplit(link).query, keep_blank_values=True)
        while True:
            answer = await self.get(urlsplit(link).path, **given | query)
            assert answer.status_code == 200, answer.text
            page = answer.json()
            found += page["results"]
            if page["next"] is None:
                return page["count"], found
            query["cursor"] = page["next"]


@pytest.fixture
async def stage(make_database: MakeDatabase) -> AsyncIterator[Stage]:
    """Give the served service."""
    async with _stage(await make_database("reporting")) as ready:
        yield ready


@asynccontextmanager
async def _stage(database: Database) -> AsyncIterator[Stage]:
    async with served("reporting", database) as client:
        yield Stage(database, client, await settle(database), await settle(database))


async def _live(stage: Stage, seed: int, count: int = 120) -> list[Activity]:
    chance = random.Random(seed)
    records = [uuid4() for _ in range(3)]
    lives = [history(stage.mine.business_id, chance, records) for _ in range(count)]
    for life in lives:
        for state in life:
            await stage.hear(state)
    return [life[-1] for life in lives]


def _counted(states: list[Activity]) -> list[Activity]:
    return [state for state in states if state.retracted_at is None and state.deleted_at is None]


@pytest.mark.parametrize("granularity", ["day", "week", "month"])
async def test_each_cell_counts_the_rows_it_leads_to(stage: Stage, granularity: str) -> None:
    states = await _live(stage, 1)
    report = await stage.volume(granularity=granularity, group_by=EVERYTHING, zone="Asia/Kathmandu")
    assert report["total"] == len(_counted(states)) == (await stage.volume())["total"]
    seen: set[str] = set()
    for cell in report["series"]:
        count, rows = await stage.rows(cell["rows"])
        assert count == len(rows) == cell["count"]
        for row in rows:
            assert {name: row[name] for name in cell["group"]} == cell["group"]
        seen |= {row["activity_id"] for row in rows}
    assert seen == {str(state.activity_id) for state in _counted(states)}


@pytest.mark.parametrize(
    "zone", ["UTC", "Europe/Berlin", "Asia/Kolkata", "Pacific/Chatham", "America/New_York", "Australia/Lord_Howe"]
)
async def test_days_are_those_of_the_zone_also_when_clocks_change(stage: Stage, zone: str) -> None:
    states = await _live(stage, 2)
    edges = [datetime.combine(day, datetime.min.time(), ZoneInfo(zone)).astimezone(UTC)
             for day in (date(2026, 3, 8), date(2026, 3, 29), date(2026, 3, 30), date(2026, 4, 5))]  # fmt: skip
    moments = [at + timedelta(microseconds=shift) for at in edges for shift in (-1, 0)]
    added = [activity(stage.mine.business_id, at=at) for at in moments]
    await stage.hear(*added)
    wanted: dict[str, int] = {}
    for state in _counted(states) + added:
        day = state.at.astimezone(ZoneInfo(zone)).date().isoformat()
        wanted[day] = wanted.get(day, 0) + 1
    report = await stage.volume(zone=zone)
    assert {cell["bucket"]: cell["count"] for cell in report["series"]} == wanted


async def test_without_zone_days_are_those_of_the_business(stage: Stage) -> None:
    late = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)  # 00:30 of the next day in Berlin
    await stage.hear(activity(stage.mine.business_id, at=late))
    assert [cell["bucket"] for cell in (await stage.volume())["series"]] == ["2026-03-02"]
    assert [cell["bucket"] for cell in (await stage.volume(zone="UTC"))["series"]] == ["2026-03-01"]


async def test_scheduled_becomes_overdue_by_itself_and_groups_add_up(stage: Stage) -> None:
    business, now = stage.mine.business_id, datetime.now(UTC)
    shifts = (-timedelta(days=2), -timedelta(seconds=30), timedelta(minutes=10), timedelta(days=2))
    await stage.hear(*(planned(business, due_at=now + shift) for shift in shifts))
    await stage.hear(planned(business, created_at=now - timedelta(days=1), at=now - timedelta(days=1)))
    days = {"from": (now - timedelta(days=4)).date(), "to": (now + timedelta(days=4)).date()}
    report = await stage.volume(group_by="state", granularity="month", **days)
    counts: dict[str, int] = {}
    for cell in report["series"]:
        counts[cell["group"]["state"]] = counts.get(cell["group"]["state"], 0) + cell["count"]
        assert (await stage.rows(cell["rows"]))[0] == cell["count"]
    assert counts == {"overdue": 2, "scheduled": 3}
    assert (await stage.volume(state="overdue", **days))["total"] == 2
    assert (await stage.volume(**days))["total"] == 5


async def test_filters_count_what_the_groups_of_that_value_count(stage: Stage) -> None:
    await _live(stage, 3)
    for name in EVERYTHING.split(","):
        report = await stage.volume(group_by=name, granularity="month")
        sums: dict[str, int] = {}
        for cell in report["series"]:
            value = cell["group"][name] or ""
            sums[value] = sums.get(value, 0) + cell["count"]
        for value, count in sums.items():
            assert (await stage.volume(**{name: value}))["total"] == count


async def test_first_and_last_day_are_included_and_no_other(stage: Stage) -> None:
    business = stage.mine.business_id
    days = [datetime(2026, 3, day, hour, tzinfo=UTC) for day, hour in ((9, 23), (10, 0), (12, 23), (13, 0))]
    await stage.hear(*(activity(business, at=at) for at in days))
    assert (await stage.volume(**{"from": "2026-03-10", "to": "2026-03-12", "zone": "UTC"}))["total"] == 2


async def test_another_business_counts_nothing_of_it(stage: Stage) -> None:
    first = activity(stage.mine.business_id)
    await stage.hear(first)
    assert (await stage.volume())["total"] == 1
    foreign = await stage.get("/api/reports/volume", tenant=stage.other, **RANGE)
    assert (foreign.json()["total"], foreign.json()["series"]) == (0, [])
    assert (await stage.get("/api/reports/rows", tenant=stage.other, **RANGE)).json()["count"] == 0
    held = await stage.get(
        "/api/reports/volume", tenant=stage.other, **RANGE, min_version=f"{first.activity_id}:1",
        headers={"Prefer": "wait=0"},
    )  # fmt: skip
    assert (held.status_code, held.json()) == (202, {"versions": {str(first.activity_id): 0}})
    for table in ("fact", "interaction_fact", "rollup"):
        async with stage.database.transaction(stage.other) as tx:
            assert await tx.fetch(f"select * from {table}") == []


async def test_min_version_waits_until_it_is_counted(stage: Stage) -> None:
    first = activity(stage.mine.business_id)
    asking = asyncio.create_task(
        stage.get("/api/reports/volume", **RANGE, min_version=f"{first.activity_id}:2", headers={"Prefer": "wait=20"})
    )
    await stage.hear(first)
    await stage.hear(next_version(first))
    answer = await asking
    assert (answer.status_code, answer.json()["total"]) == (200, 1)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"from": "2026-03-02", "to": "2026-03-01"}, "from"),
        ({"from": "1735689600"}, "from"),
        ({"from": "2026-02-30"}, "from"),
        ({"from": "1960-01-01"}, "from"),
        ({"from": "2020-01-01"}, "to"),
        ({"to": "2500-01-01"}, "to"),
        ({"zone": "Europe"}, "zone"),
        ({"zone": "../etc/passwd"}, "zone"),
        ({"granularity": "hour"}, "granularity"),
        ({"group_by": "state,colour"}, "group_by"),
        ({"state": "deleted"}, "state"),
        ({"grouped": "state"}, "grouped"),
        ({"min_version": "1"}, "min_version"),
    ],
)
async def test_what_is_not_allowed_is_refused_by_name(stage: Stage, query: dict[str, Any], field: str) -> None:
    answer = await stage.get("/api/reports/volume", **RANGE | query)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


async def test_cursor_of_other_rows_is_refused(stage: Stage) -> None:
    await stage.hear(*(activity(stage.mine.business_id) for _ in range(3)))
    cursor = (await stage.get("/api/reports/rows", **RANGE, limit=1)).json()["next"]
    assert (await stage.get("/api/reports/rows", **RANGE, cursor=cursor)).status_code == 200
    other = await stage.get("/api/reports/rows", **RANGE, cursor=cursor, type="call")
    assert (other.status_code, other.json()["errors"][0]["field"]) == (422, "cursor")


async def test_rows_as_of_a_moment_tell_overdue_as_it_was_then(stage: Stage) -> None:
    await stage.hear(planned(stage.mine.business_id, due_at=START))
    for moment, state in ((START, "scheduled"), (START + timedelta(seconds=1), "overdue")):
        page = (await stage.get("/api/reports/rows", **RANGE, as_of=instant_text(moment), state=state)).json()
        assert (page["count"], page["results"][0]["state"]) == (1, state)


async def test_conversations_are_counted_by_their_channels_type_and_lead_to_their_rows(stage: Stage) -> None:
    business = stage.mine.business_id
    types = {"voice": "call", "email": "email", "sms": "sms", "whatsapp": "whatsapp", "webchat": "chat"}
    talks = [conversation(business, channel=channel, agent="Ben", direction="outbound") for channel in types]
    await stage.talk(*talks)
    await stage.hear(activity(business, type="call"))
    report = await stage.volume(group_by="type,source_kind")
    counts = {(cell["group"]["type"], cell["group"]["source_kind"]): cell["count"] for cell in report["series"]}
    assert counts == {(name, "interaction"): 1 for name in types.values()} | {("call", "external"): 1}
    seen = set()
    for cell in report["series"]:
        count, rows = await stage.rows(cell["rows"])
        assert count == len(rows) == cell["count"]
        seen |= {(row["kind"], row["interaction_id"]) for row in rows}
    assert seen == {("interaction", str(talk.interaction.interaction_id)) for talk in talks} | {("activity", None)}
    both = await stage.volume(group_by="type", agent="Ben", direction="outbound", state="logged", source="pbx")
    assert both["total"] == 5


async def test_conversation_that_became_an_activity_is_one_in_numbers_and_rows(stage: Stage) -> None:
    business = stage.mine.business_id
    talk = conversation(business)
    await stage.talk(talk)
    interaction_id = talk.interaction.interaction_id
    made = activity(
        business, activity_id=activity_id_of_interaction(interaction_id), interaction_id=interaction_id, source="ours"
    )
    retracted = next_version(made, retracted_at=START)
    deleted = next_version(retracted, retracted_at=None, deleted_at=START)
    for state, total, kinds in ((None, 1, ["interaction"]), (made, 1, ["activity"]), (retracted, 0, []),
                                (deleted, 1, ["interaction"])):  # fmt: skip
        if state is not None:
            await stage.hear(state)
        report = await stage.volume()
        page = (await stage.get("/api/reports/rows", **RANGE)).json()
        assert (report["total"], page["count"], [row["kind"] for row in page["results"]]) == (total, total, kinds)
        assert {row["interaction_id"] for row in page["results"]} <= {str(interaction_id)}


async def test_rows_of_activities_and_conversations_at_one_moment_are_paged_without_gaps(stage: Stage) -> None:
    business = stage.mine.business_id
    await stage.hear(*(activity(business) for _ in range(9)))
    await stage.talk(*(conversation(business) for _ in range(9)))
    count, rows = await stage.rows("/api/reports/rows?from=2026-02-01&to=2026-05-31")
    ids = [row["activity_id"] or row["interaction_id"] for row in rows]
    assert (count, len(set(ids)), ids) == (18, 18, sorted(ids, reverse=True))


async def test_min_version_waits_until_a_conversation_is_counted(stage: Stage) -> None:
    talk = conversation(stage.mine.business_id)
    wanted = f"{talk.interaction.interaction_id}:1"
    query = RANGE | {"min_version": wanted}
    asking = asyncio.create_task(stage.get("/api/reports/volume", **query, headers={"Prefer": "wait=20"}))
    await stage.talk(talk)
    assert (await asking).json()["total"] == 1


async def test_rows_of_more_than_the_longest_range_are_refused(stage: Stage) -> None:
    answer = await stage.get("/api/reports/rows", **{"from": "2010-01-01", "to": "2026-01-01"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "to")
