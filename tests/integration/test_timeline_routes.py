"""Timelines and badges as a caller sees them."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from libs.contracts.activity import Activity, Link
from libs.contracts.activity_object import ActivityObject
from libs.contracts.directory import Record
from libs.contracts.ids import preset_id_of
from libs.database import Database
from services.timeline_projector.handlers import know_records, name_types, show_activities
from tests.conftest import MakeDatabase
from tests.support.histories import START, activity, event, history, next_version, planned
from tests.support.http import Tenant, served, settle


@dataclass(frozen=True)
class Stage:
    """A served service with two businesses."""

    database: Database
    client: httpx.AsyncClient
    mine: Tenant
    other: Tenant

    async def knows(self, *record_ids: UUID, name: str = "contact", **more: Any) -> None:
        """Let records of my business be known."""
        async with self.database.work() as tx:
            await know_records(tx, [self.record(record_id, name, **more) for record_id in record_ids])

    def record(self, record_id: UUID, name: str = "contact", **more: Any) -> Record:
        """Make a record of my business."""
        fields = {"business_id": self.mine.business_id, "id": record_id, "version": 1, "object": name, "name": "Ada"}
        return Record(**fields | {"created_at": START, "updated_at": START} | more)

    async def hear(self, *states: Activity) -> None:
        """Let activities be heard of."""
        async with self.database.work() as tx:
            await show_activities(tx, [event(state) for state in states])

    async def get(self, path: str, tenant: Tenant | None = None, **more: Any) -> httpx.Response:
        """Get as a caller of a business, mine if none is named."""
        headers = (tenant or self.mine).headers | more.pop("headers", {})
        return await self.client.get(path, headers=headers, params=more)

    async def lines(self, record_id: UUID, name: str = "contact", **more: Any) -> list[dict[str, Any]]:
        """Go through all pages of a timeline."""
        found: list[dict[str, Any]] = []
        while True:
            answer = await self.get(f"/api/timeline/{name}/{record_id}", **more)
            assert answer.status_code == 200, answer.text
            page = answer.json()
            assert len(page["results"]) <= more.get("limit", 50)
            found += page["results"]
            assert len({line["id"] for line in found}) == len(found), "a line came twice"
            if page["next"] is None:
                return found
            more["cursor"] = page["next"]

    async def counts(self, *record_ids: UUID, tenant: Tenant | None = None, name: str = "contact") -> dict[str, int]:
        """Ask for badges."""
        body = {"object": name, "record_ids": [str(record_id) for record_id in record_ids]}
        headers = (tenant or self.mine).headers
        answer = await self.client.post("/api/timeline/badges", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        counts: dict[str, int] = answer.json()["counts"]
        return counts


@pytest.fixture
async def stage(make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    """Give the served service."""
    monkeypatch.setenv("REFERENCE_WAIT_MAX_MS", "200")
    async with _stage(await make_database("timeline_projector")) as ready:
        yield ready


@asynccontextmanager
async def _stage(database: Database) -> AsyncIterator[Stage]:
    async with served("timeline_projector", database) as client:
        yield Stage(database, client, await settle(database), await settle(database))


def _about(*record_ids: UUID, name: str = "contact") -> list[Link]:
    return [Link(object=name, record_id=record_id) for record_id in record_ids]


async def test_line_answers_what_its_activity_is(stage: Stage) -> None:
    contact, business = uuid4(), stage.mine.business_id
    await stage.knows(contact)
    done = activity(
        business, links=_about(contact), summary="Renewal ✅ مرحبا", direction="inbound", retracted_at=START
    )
    await stage.hear(done)
    (line,) = await stage.lines(contact)
    wanted = {
        "kind": "activity", "id": str(done.activity_id), "activity_id": str(done.activity_id), "interaction_id": None,
        "type": "call", "state": "logged", "at": "2026-03-01T00:00:00Z", "summary": "Renewal ✅ مرحبا",
        "source": "crm", "source_kind": "external", "direction": "inbound", "agent": None, "version": 1,
        "retracted_at": "2026-03-01T00:00:00Z",
    }  # fmt: skip
    assert {name: line[name] for name in wanted} == wanted


async def test_type_is_called_what_its_object_is_called_now(stage: Stage) -> None:
    contact, business = uuid4(), stage.mine.business_id
    await stage.knows(contact)
    await stage.hear(activity(business, links=_about(contact)))
    named = ActivityObject(
        business_id=business, id=preset_id_of(business, "activity_object", "call"), version=2, name="Phone call",
        api_name="call", icon="phone", created_at=START,
    )  # fmt: skip
    async with stage.database.work() as tx:
        await name_types(tx, [named, named.model_copy(update={"version": 1, "name": "Old"})])
    (line,) = await stage.lines(contact)
    assert (line["type"], line["type_name"], line["icon"]) == ("call", "Phone call", "phone")


async def test_pages_have_neither_gaps_nor_doubles_when_many_lines_have_one_moment(stage: Stage) -> None:
    contact, business = uuid4(), stage.mine.business_id
    await stage.knows(contact)
    moments = [START + timedelta(microseconds=number // 9) for number in range(47)]
    await stage.hear(*(activity(business, at=at, links=_about(contact)) for at in moments))
    await stage.hear(*(activity(business, at=at, links=[Link(object="contact", all=True)]) for at in moments[:20]))
    whole = await stage.lines(contact, limit=200)
    assert len(whole) == 67
    assert [(line["at"], line["id"]) for line in whole] == sorted(
        ((line["at"], line["id"]) for line in whole), key=lambda key: (_padded(key[0]), key[1]), reverse=True
    )
    for limit in (1, 4, 9, 66, 67):
        assert await stage.lines(contact, limit=limit) == whole


def _padded(at: str) -> str:
    return at.replace("Z", "") if "." in at else at.replace("Z", ".000000")


async def test_upcoming_and_past_divide_the_timeline(stage: Stage) -> None:
    contact, business = uuid4(), stage.mine.business_id
    await stage.knows(contact)
    plan = planned(business, due_at=START, links=_about(contact))
    undated = planned(business, links=_about(contact))
    done = next_version(planned(business, links=_about(contact)), logged_at=START, occurred_at=START)
    off = next_version(planned(business, links=_about(contact)), cancelled_at=START)
    await stage.hear(plan, undated, done, off, activity(business, links=_about(contact)))
    upcoming = await stage.lines(contact, state="upcoming")
    past = await stage.lines(contact, state="past")
    assert sorted(line["state"] for line in upcoming) == ["overdue", "scheduled"]
    assert sorted(line["state"] for line in past) == ["cancelled", "completed", "logged"]
    assert len(await stage.lines(contact)) == 5


@pytest.mark.parametrize("seed", range(3))
async def test_badge_is_the_number_of_lines_always(stage: Stage, seed: int) -> None:
    chance, business = random.Random(seed), stage.mine.business_id
    records = [uuid4() for _ in range(5)]
    await stage.knows(*records[:4])
    lives = [history(business, chance, records) for _ in range(60)]
    for length in range(1, 5):
        await stage.hear(*(life[length - 1] for life in lives if len(life) >= length))
        counts = await stage.counts(*records)
        for record_id in records[:4]:
            assert counts[str(record_id)] == len(await stage.lines(record_id, limit=200))
        assert counts[str(records[4])] == 0


async def test_thousands_of_entries_are_counted_and_paged(stage: Stage) -> None:
    contact, business = uuid4(), stage.mine.business_id
    await stage.knows(contact)
    await stage.hear(*(activity(business, links=_about(contact)) for _ in range(2_000)))
    assert await stage.counts(contact) == {str(contact): 2_000}
    assert len({line["id"] for line in await stage.lines(contact, limit=200)}) == 2_000


async def test_link_to_a_record_that_comes_later_is_shown_when_it_comes(stage: Stage) -> None:
    contact, business = uuid4(), stage.mine.business_id
    await stage.hear(activity(business, links=_about(contact)))
    assert await stage.counts(contact) == {str(contact): 0}
    assert (await stage.get(f"/api/timeline/contact/{contact}")).status_code == 404
    await stage.knows(contact)
    assert len(await stage.lines(contact)) == 1
    assert await stage.counts(contact) == {str(contact): 1}


async def test_record_that_is_being_told_of_is_waited_for(stage: Stage) -> None:
    contact = uuid4()
    asking = asyncio.create_task(stage.get(f"/api/timeline/contact/{contact}"))
    await stage.knows(contact)
    assert (await asking).status_code == 200


async def test_deleted_record_answers_as_one_that_never_was(stage: Stage) -> None:
    contact, business = uuid4(), stage.mine.business_id
    await stage.hear(activity(business, links=_about(contact)))
    await stage.knows(contact, version=2, deleted_at=START)
    await stage.knows(contact)
    assert (await stage.get(f"/api/timeline/contact/{contact}")).status_code == 404
    assert await stage.counts(contact) == {str(contact): 0}


async def test_another_business_sees_neither_lines_nor_counts_nor_versions(stage: Stage) -> None:
    contact, business = uuid4(), stage.mine.business_id
    await stage.knows(contact)
    shared = activity(business, links=[*_about(contact), Link(object="lead", all=True)])
    await stage.hear(shared)
    foreign = await stage.get(f"/api/timeline/contact/{contact}", tenant=stage.other)
    missing = await stage.get(f"/api/timeline/contact/{uuid4()}", tenant=stage.other)
    assert (foreign.status_code, foreign.json()["code"]) == (missing.status_code, missing.json()["code"])
    assert foreign.status_code == 404
    assert await stage.counts(contact, tenant=stage.other) == {str(contact): 0}
    held = await stage.get(
        f"/api/timeline/contact/{contact}", tenant=stage.other, min_version=f"{shared.activity_id}:1",
        headers={"Prefer": "wait=0"},
    )  # fmt: skip
    assert (held.status_code, held.json()) == (202, {"versions": {str(shared.activity_id): 0}})


async def test_route_role_sees_rows_of_its_business_alone(stage: Stage) -> None:
    contact = uuid4()
    await stage.knows(contact)
    await stage.hear(activity(stage.mine.business_id, links=_about(contact)))
    for table in ("activity_head", "entry", "record", "activity_object"):
        async with stage.database.transaction(stage.other) as tx:
            assert await tx.fetch(f"select * from {table}") == []


async def test_min_version_waits_until_it_is_there(stage: Stage) -> None:
    contact, business = uuid4(), stage.mine.business_id
    await stage.knows(contact)
    first = activity(business, links=_about(contact))
    await stage.hear(first)
    wanted = [f"{first.activity_id}:2", f"{contact}:1"]
    path = f"/api/timeline/contact/{contact}"
    short = await stage.get(path, min_version=wanted, headers={"Prefer": "wait=0.05"})
    assert short.status_code == 202
    assert short.json() == {"versions": {str(first.activity_id): 1, str(contact): 1}}
    asking = asyncio.create_task(stage.get(path, min_version=wanted, headers={"Prefer": "wait=20"}))
    await stage.hear(next_version(first, summary="second"))
    answer = await asking
    assert (answer.status_code, answer.json()["results"][0]["summary"]) == (200, "second")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 201}, "limit"),
        ({"state": "done"}, "state"),
        ({"cursor": "abc"}, "cursor"),
        ({"min_version": "abc:1"}, "min_version"),
        ({"min_version": f"{uuid4()}:x"}, "min_version"),
        ({"order": "asc"}, "order"),
    ],
)
async def test_what_is_not_allowed_is_refused_by_name(stage: Stage, query: dict[str, Any], field: str) -> None:
    answer = await stage.get(f"/api/timeline/contact/{uuid4()}", **query)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


async def test_cursor_of_another_record_or_filter_is_refused(stage: Stage) -> None:
    contact, other, business = uuid4(), uuid4(), stage.mine.business_id
    await stage.knows(contact, other)
    await stage.hear(*(activity(business, links=_about(contact, other)) for _ in range(3)))
    cursor = (await stage.get(f"/api/timeline/contact/{contact}", limit=1)).json()["next"]
    assert (await stage.get(f"/api/timeline/contact/{contact}", limit=2, cursor=cursor)).status_code == 200
    assert (await stage.get(f"/api/timeline/contact/{other}", cursor=cursor)).status_code == 422
    assert (await stage.get(f"/api/timeline/contact/{contact}", cursor=cursor, state="past")).status_code == 422


async def test_more_than_500_badges_at_once_are_refused(stage: Stage) -> None:
    body = {"object": "contact", "record_ids": [str(uuid4()) for _ in range(501)]}
    answer = await stage.client.post("/api/timeline/badges", json=body, headers=stage.mine.headers)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "record_ids")
    assert len(await stage.counts(*(uuid4() for _ in range(500)))) == 500
