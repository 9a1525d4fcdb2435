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
from libs.contracts.ids import activity_id_of_interaction, instant_text, preset_id_of, record_id_of
from libs.contracts.interaction import InteractionClosed, Transfer
from libs.database import Database
from services.timeline_projector.handlers import know_records, name_types, show_activities, show_conversations
from tests.conftest import MakeDatabase
from tests.support.conversations import conversation, erased
from tests.support.histories import (
    START,
    activity,
    event,
    history,
    next_version,
    planned,
)
from tests.support.http import Tenant, served, settle

TRANSFER = Transfer(at=START, from_queue="front", to_queue="support")


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
        called = more.pop("name_of_record", "Ada")
        fields = {"business_id": self.mine.business_id, "id": record_id, "version": 1, "object": name, "name": called}
        return Record(**fields | {"created_at": START, "updated_at": START} | more)

    async def hear(self, *states: Activity) -> None:
        """Let activities be heard of."""
        async with self.database.work() as tx:
            await show_activities(tx, [event(state) for state in states])

    async def talk(self, *talks: InteractionClosed) -> None:
        """Let finished conversations be heard of."""
        async with self.database.work() as tx:
            await show_conversations(tx, talks)

    async def records(self, **more: Any) -> list[dict[str, Any]]:
        """Go through all pages of the contacts with their counts."""
        found: list[dict[str, Any]] = []
        while True:
            answer = await self.get("/api/timeline/contact", **more)
            assert answer.status_code == 200, answer.text
            found += answer.json()["results"]
            if answer.json()["next"] is None:
                return found
            more["cursor"] = answer.json()["next"]

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
    for table in ("activity_head", "entry", "record", "activity_object", "interaction", "message"):
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


async def test_conversation_is_a_line_of_its_own_until_it_is_an_activity(stage: Stage) -> None:
    contact, business = uuid4(), stage.mine.business_id
    await stage.knows(contact)
    talk = conversation(business, links=_about(contact), agent="Ben", messages=["שלום 👋", "Guten Tag"])
    await stage.talk(talk)
    (line,) = await stage.lines(contact)
    interaction_id = str(talk.interaction.interaction_id)
    wanted = {
        "kind": "interaction", "id": interaction_id, "activity_id": None, "interaction_id": interaction_id,
        "type": "whatsapp", "type_name": "Whatsapp", "state": "logged", "at": "2026-03-01T00:00:00Z",
        "summary": "שלום 👋", "source": "pbx", "source_kind": "interaction", "direction": "inbound", "agent": "Ben",
        "version": 1, "retracted_at": None, "occurred_at": "2026-03-01T00:00:00Z", "due_at": None,
    }  # fmt: skip
    assert {name: line[name] for name in wanted} == wanted
    made = activity(
        business, activity_id=activity_id_of_interaction(talk.interaction.interaction_id), links=_about(contact),
        interaction_id=talk.interaction.interaction_id,
    )  # fmt: skip
    await stage.hear(made)
    (line,) = await stage.lines(contact)
    assert (line["kind"], line["id"], line["interaction_id"]) == ("activity", str(made.activity_id), interaction_id)
    assert await stage.counts(contact) == {str(contact): 1}
    await stage.hear(next_version(made, deleted_at=START))
    (line,) = await stage.lines(contact)
    assert (line["kind"], line["id"], line["summary"]) == ("interaction", interaction_id, "שלום 👋")
    assert await stage.counts(contact) == {str(contact): 1}


async def test_line_of_a_conversation_is_called_what_its_type_is_called_now(stage: Stage) -> None:
    contact, business = uuid4(), stage.mine.business_id
    await stage.knows(contact)
    await stage.talk(conversation(business, links=_about(contact), channel="webchat"))
    named = ActivityObject(
        business_id=business, id=preset_id_of(business, "activity_object", "chat"), version=2, name="Live chat",
        api_name="chat", icon="messages-square", created_at=START,
    )  # fmt: skip
    async with stage.database.work() as tx:
        await name_types(tx, [named])
    (line,) = await stage.lines(contact)
    assert (line["type"], line["type_name"], line["icon"]) == ("chat", "Live chat", "messages-square")


async def test_conversation_stands_where_it_began_among_the_activities(stage: Stage) -> None:
    contact, business = uuid4(), stage.mine.business_id
    await stage.knows(contact)
    for minutes in (0, 20, 40):
        at = START + timedelta(minutes=minutes)
        await stage.hear(activity(business, at=at, links=_about(contact)))
        began, ended = at + timedelta(minutes=10), at + timedelta(hours=9)
        await stage.talk(conversation(business, links=_about(contact), opened_at=began, closed_at=ended))
    whole = await stage.lines(contact)
    assert [line["kind"] for line in whole] == ["interaction", "activity"] * 3
    assert [line["at"][14:16] for line in whole] == ["50", "40", "30", "20", "10", "00"]
    for limit in (1, 2, 5):
        assert await stage.lines(contact, limit=limit) == whole
    assert await stage.lines(contact, state="past") == whole


async def test_conversation_about_a_record_that_comes_later_is_shown_when_it_comes(stage: Stage) -> None:
    business = stage.mine.business_id
    contact = record_id_of(business, "contact", "c-9")
    await stage.talk(conversation(business, links=[Link(object="contact", external_ref="c-9")]))
    assert await stage.counts(contact) == {str(contact): 0}
    await stage.knows(contact)
    assert [line["kind"] for line in await stage.lines(contact)] == ["interaction"]
    assert await stage.counts(contact) == {str(contact): 1}


async def test_messages_are_paged_oldest_first(stage: Stage) -> None:
    texts = [f"{number} مرحبا 👩‍👩‍👧‍👦 שלום" for number in range(500)]
    talk = conversation(stage.mine.business_id, messages=texts, queue="support", transfers=[TRANSFER])
    await stage.talk(talk)
    path = f"/api/interactions/{talk.interaction.interaction_id}/messages"
    whole = (await stage.get(path, limit=500)).json()
    assert whole["next"] is None
    assert [message["text"] for message in whole["results"]] == texts
    wanted = {
        "id": str(talk.interaction.interaction_id), "activity_id": None, "channel": "whatsapp", "queue": "support",
        "messages_count": 500, "first_message": texts[0], "opened_at": "2026-03-01T00:00:00Z", "erased_at": None,
    }  # fmt: skip
    assert {name: whole["interaction"][name] for name in wanted} == wanted
    assert whole["interaction"]["transfers"][0]["to_queue"] == "support"
    for limit in (1, 7, 499):
        found, cursor = [], {}
        for _ in range(3 if limit == 1 else 500):
            page = (await stage.get(path, limit=limit, **cursor)).json()
            found += page["results"]
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
        assert found == whole["results"][: len(found)]
        assert len(found) == (3 if limit == 1 else 500)


async def test_words_are_found_in_all_of_a_conversation(stage: Stage) -> None:
    talk = conversation(stage.mine.business_id, messages=["100 % sure", "Straße", "STRASSE, straße", "100 x", "שלום"])
    await stage.talk(talk)
    path = f"/api/interactions/{talk.interaction.interaction_id}/messages"
    for text, positions in (("straße", [1, 2]), ("0 %", [0]), ("_", []), ("שלו", [4]), ("100", [0, 3])):
        page = (await stage.get(path, q=text, limit=1)).json()
        assert (page["matches"], [message["position"] for message in page["results"]]) == (positions, [0])
    assert "matches" not in (await stage.get(path)).json()


async def test_erased_conversation_keeps_times_and_counts_and_none_of_its_words(stage: Stage) -> None:
    contact = uuid4()
    await stage.knows(contact)
    talk = conversation(stage.mine.business_id, links=_about(contact), messages=["canary-1", "canary-2"])
    await stage.talk(talk)
    await stage.talk(erased(talk))
    await stage.talk(talk)
    path = f"/api/interactions/{talk.interaction.interaction_id}/messages"
    page = await stage.get(path)
    assert "canary" not in page.text
    assert "Ada" not in page.text
    assert "+4930" not in page.text
    assert (page.json()["interaction"]["messages_count"], len(page.json()["results"])) == (2, 2)
    assert page.json()["interaction"]["erased_at"]
    (line,) = await stage.lines(contact)
    assert (line["version"], line["summary"]) == (2, None)
    for table in ("interaction", "message", "activity_head"):
        async with stage.database.work() as tx:
            assert "canary" not in str([tuple(row) for row in await tx.fetch(f"select * from {table}")])


async def test_conversation_of_another_business_answers_as_one_that_never_was(stage: Stage) -> None:
    contact = uuid4()
    await stage.knows(contact)
    talk = conversation(stage.mine.business_id, links=_about(contact))
    await stage.talk(talk)
    path = f"/api/interactions/{talk.interaction.interaction_id}/messages"
    assert (await stage.get(path)).status_code == 200
    foreign = await stage.get(path, tenant=stage.other)
    missing = await stage.get(f"/api/interactions/{uuid4()}/messages", tenant=stage.other)
    assert (foreign.status_code, foreign.json()["code"]) == (missing.status_code, missing.json()["code"])
    assert foreign.status_code == 404
    for table in ("interaction", "message"):
        async with stage.database.transaction(stage.other) as tx:
            assert await tx.fetch(f"select * from {table}") == []


async def test_min_version_waits_for_a_conversation(stage: Stage) -> None:
    talk = conversation(stage.mine.business_id)
    path = f"/api/interactions/{talk.interaction.interaction_id}/messages"
    wanted = f"{talk.interaction.interaction_id}:1"
    short = await stage.get(path, min_version=wanted, headers={"Prefer": "wait=0"})
    assert (short.status_code, short.json()) == (202, {"versions": {str(talk.interaction.interaction_id): 0}})
    asking = asyncio.create_task(stage.get(path, min_version=wanted, headers={"Prefer": "wait=20"}))
    await stage.talk(talk)
    assert (await asking).status_code == 200


@pytest.mark.parametrize("query", [{"limit": 501}, {"limit": 0}, {"cursor": "abc"}, {"order": "desc"}, {"q": ""}])
async def test_what_is_not_allowed_of_messages_is_refused_by_name(stage: Stage, query: dict[str, Any]) -> None:
    answer = await stage.get(f"/api/interactions/{uuid4()}/messages", **query)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, next(iter(query)))


async def test_upcoming_without_a_date_comes_after_all_that_is_due(stage: Stage) -> None:
    contact, business = uuid4(), stage.mine.business_id
    await stage.knows(contact)
    undated = [
        planned(business, links=links, at=START + timedelta(days=day), created_at=START + timedelta(days=day))
        for day, links in ((1, _about(contact)), (3, [Link(object="contact", all=True)]), (5, _about(contact)))
    ]
    due = [planned(business, links=_about(contact), due_at=START + timedelta(days=day)) for day in (-9, 2, 2, 4, 9)]
    await stage.hear(*undated, *due)
    upcoming = await stage.lines(contact, state="upcoming")
    assert [line["at"] for line in upcoming] == [
        *sorted((instant_text(state.at) for state in due), reverse=True),
        *sorted((instant_text(state.at) for state in undated), reverse=True),
    ]
    assert [line["due_at"] is None for line in upcoming] == [False] * 5 + [True] * 3
    for limit in (1, 2, 5, 6):
        assert await stage.lines(contact, state="upcoming", limit=limit) == upcoming
    ordered = [line["at"] for line in await stage.lines(contact)]
    assert ordered == sorted(ordered, reverse=True)


async def test_records_are_listed_with_their_counts_and_by_whether_they_have_any(stage: Stage) -> None:
    busy, talked, idle, gone = (uuid4() for _ in range(4))
    for record_id, name in ((busy, "Ben"), (talked, "Ada"), (idle, "Ben"), (gone, "Zoe")):
        await stage.knows(record_id, name_of_record=name)
    business = stage.mine.business_id
    await stage.knows(gone, version=2, deleted_at=START)
    await stage.hear(*(activity(business, links=_about(busy, gone)) for _ in range(3)))
    await stage.talk(conversation(business, links=_about(talked)))
    whole = await stage.records()
    assert {row["id"]: row["count"] for row in whole} == {str(busy): 3, str(talked): 1, str(idle): 0}
    assert [row["name"] for row in whole] == sorted(row["name"] for row in whole)
    assert {row["id"] for row in await stage.records(has_activities="true")} == {str(busy), str(talked)}
    assert {row["id"] for row in await stage.records(has_activities="false")} == {str(idle)}
    for limit in (1, 2, 3):
        assert await stage.records(limit=limit) == whole
    assert {row["id"]: row["count"] for row in whole} == await stage.counts(busy, talked, idle)
    await stage.hear(activity(business, links=[Link(object="contact", all=True)]))
    assert await stage.records(has_activities="false") == []
    assert [row["count"] for row in await stage.records(has_activities="true")] == [row["count"] + 1 for row in whole]
    foreign = await stage.get("/api/timeline/contact", tenant=stage.other)
    assert foreign.json() == {"results": [], "next": None}


@pytest.mark.parametrize("query", [{"limit": 201}, {"has_activities": "perhaps"}, {"cursor": "x"}, {"search": "a"}])
async def test_what_is_not_allowed_of_records_is_refused_by_name(stage: Stage, query: dict[str, Any]) -> None:
    answer = await stage.get("/api/timeline/contact", **query)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, next(iter(query)))
