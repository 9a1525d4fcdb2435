"""S1, reports and records against a pure model: whatever comes in whatever order, everything is as the model says.

Calls go over HTTP to the routes of lifecycle, directory and the timeline; reports and events come to the handlers that
Kafka brings them to. At the end of each example the timeline hears of all versions, in any order and some twice.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import httpx
import orjson
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    get_state_machine_test,
    initialize,
    precondition,
    rule,
)

from libs.access.copy import save_api_keys, save_businesses, save_members, save_roles
from libs.contracts.activity import ActivityEvent, Link
from libs.contracts.decoding import decoder_of
from libs.contracts.directory import ApiKey, Business, Member, Record, RecordObject, Role
from libs.contracts.ids import activity_id_of, receipt_id_of, uuid7
from libs.contracts.report import ReportAnswered, ReportBody, ReportReceived
from libs.database import Database
from services.lifecycle import handlers as lifecycle
from services.timeline_projector import handlers as timeline
from tests.integration.test_lifecycle_reports import admit
from tests.support.http import OPERATOR_KEY, served
from tests.support.passing import Heard, Outbox, deliver, versions_in
from tests.support.reckoning import BY_REQUEST, LOG, PLAN, Reckoned, Reckoning, Report

pytestmark = pytest.mark.integration
T = TypeVar("T")
MakeDatabase = Callable[[str], Awaitable[Database]]
LOOK_EVERY = 10
RECEIVED = datetime(2026, 3, 1, 9, tzinfo=UTC)
NOTES = st.sampled_from(("a", "b", "Grüße"))
DUES = st.sampled_from((None, "2030-01-01", "2030-06-01T10:00:00Z", "2020-01-01T10:00:00Z"))
ACCESS: Heard = {
    "directory.business": (Business, save_businesses), "directory.role": (Role, save_roles),
    "directory.member": (Member, save_members), "directory.api_key": (ApiKey, save_api_keys),
}  # fmt: skip
LIFECYCLE: Heard = {
    **ACCESS, "directory.record": (Record, lifecycle.copy_records),
    "directory.object": (RecordObject, lifecycle.copy_objects),
}  # fmt: skip
TIMELINE: Heard = {**ACCESS, "directory.record": (Record, timeline.know_records)}
read_answer, read_report = decoder_of(ReportAnswered), decoder_of(ReportReceived)


@dataclass
class Place:
    """Three services without Kafka between them, and the loop that serves them."""

    loop: asyncio.AbstractEventLoop
    http: dict[str, httpx.AsyncClient]
    databases: dict[str, Database]

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait, in the machine's thread, for what the loop does."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)


@dataclass
class Crew:
    """A business with two members in one role, and three contacts."""

    business_id: UUID
    key: str
    ada: str
    bo: str
    role: str
    contacts: list[str]

    def headers(self, user: str | None = None) -> dict[str, str]:
        """Call as a member; as Ada, unless another one is named."""
        return {"X-API-KEY": self.key, "X-BUSINESS-ID": str(self.business_id), "X-USER-ID": user or self.ada}


async def make_crew(place: Place) -> Crew:
    """Make a business as its people do."""
    http = place.http["directory"]

    async def post(path: str, key: str, **more: Any) -> Any:
        answer = await http.post(f"/api/directory{path}", headers={"X-API-KEY": key}, **more)
        assert answer.is_success, answer.text
        return answer.json()

    made = await post("/businesses", OPERATOR_KEY.text, json={"name": "Crew", "zone": "UTC"})
    key, ada = made["api_key"], made["user_id"]
    bo = (await post("/members", key, json={"name": "Bo", "email": f"bo@{made['id']}.example"}))["id"]
    role = (await post("/roles", key, json={"name": "crew", "member_ids": [ada, bo]}))["id"]
    lines = b"\n".join(orjson.dumps({"name": name}) for name in "abc")
    contacts = [each["id"] for each in (await post("/records/contact/bulk", key, content=lines))["results"]]
    return Crew(UUID(made["id"]), key, ada, bo, role, contacts)


class Life(RuleBasedStateMachine):
    """One business, and what it ought to be. The reports it may hear of, again and again, are in `pool`."""

    place: ClassVar[Place]
    ids = Bundle("ids")

    @initialize()
    def begin(self) -> None:
        self.crew = self.place.do(make_crew(self.place))
        self.outboxes = {name: Outbox(each, self.crew.business_id) for name, each in self.place.databases.items()}
        self.told: list[tuple[str, bytes]] = []
        self.place.do(self.pass_on())
        self.ought = Reckoning(self.crew.contacts)
        self.pool: list[Report] = []
        self.numbers = self.calls = 0
        self.requests: list[tuple[str, dict[str, Any], str, Any]] = []

    async def pass_on(self) -> None:
        """Let lifecycle hear what directory has to say; the timeline hears of it later."""
        told = await self.outboxes["directory"].read()
        await deliver(told, self.place.databases["lifecycle"], LIFECYCLE)
        self.told += told

    def call(self, method: str, path: str, body: Any = None, user: str | None = None, **headers: str) -> httpx.Response:
        self.calls += 1
        sent = self.crew.headers(user) | {name.replace("_", "-"): value for name, value in headers.items()}
        client = self.place.http["lifecycle"]
        return self.place.do(client.request(method, f"/api/activities{path}", json=body, headers=sent))

    def links(self, numbers: list[int]) -> list[dict[str, str]]:
        return [{"custom_object": "contact", "entity_id": self.crew.contacts[number]} for number in numbers]

    def content(self, numbers: list[int], **said: Any) -> list[tuple[str, Any]]:
        links = [("links", tuple(self.crew.contacts[number] for number in numbers))] if numbers else []
        return [*links, *said.items()]

    def is_as(self, shown: dict[str, Any], ought: Reckoned) -> None:
        about = tuple(each["entity_id"] for each in shown["associated_entities"])
        assert about == (ought.value("links") or ())
        assert (shown["state"], shown["version"], shown["follows_id"]) == (ought.state, ought.version, ought.follows)
        if "due_datetime" in shown:
            assignee = (shown["employee"] or shown["role"] or {}).get("id")
            assert (shown["note"], shown["due_datetime"]) == (ought.value("note"), ought.value("due"))
            assert (assignee, shown["logged_activity_id"]) == (
                ought.value("assignee"),
                ought.id if ought.logged else None,
            )
            return
        assert (shown["notes"], shown["appends_count"]) == (ought.value("note"), ought.additions)
        assert (shown["retracted_at"] is not None, shown["completed_at"] is not None) == (
            ought.retracted,
            ought.completed,
        )
        assert shown["scheduled_activity_id"] == (ought.id if ought.planned else None)

    def made(self, answer: httpx.Response, status: int, ought: Reckoned) -> None:
        """A write was answered with that status and the activity as it ought to be; a refused one names its reason."""
        assert answer.status_code == status, answer.text
        if status in (200, 201):
            self.is_as(answer.json(), ought)
        elif status == 204:
            assert answer.headers["etag"] == f'"{ought.version}"'
        else:
            assert answer.json()["code"], answer.text

    @rule(
        target=ids,
        note=NOTES,
        due=DUES,
        to_role=st.booleans(),
        about=st.lists(st.integers(0, 2), max_size=2, unique=True),
    )
    def schedule(self, note: str, due: str | None, to_role: bool, about: list[int]) -> str:
        body = {
            "activity_object_name": "call",
            "note": note,
            "due_datetime": due,
            "associated_entities": self.links(about),
        }
        body |= {"role_id": self.crew.role} if to_role else {}
        answer = self._post("/scheduled-activity", body)
        ought = self.ought.of(answer.json()["id"])
        assignee = self.crew.role if to_role else self.crew.ada
        ought.become(PLAN, self.content(about, note=note, due=due, assignee=assignee), planned=True)
        self.made(answer, 201, ought)
        return ought.id

    @rule(target=ids, note=NOTES, about=st.lists(st.integers(0, 2), max_size=1))
    def log(self, note: str, about: list[int]) -> str:
        answer = self._post("/call/log-activity", {"related_objects": self.links(about), "notes": note})
        ought = self.ought.of(answer.json()["id"])
        ought.log(LOG, self.content(about, note=note, logged_at=BY_REQUEST), BY_REQUEST)
        self.made(answer, 201, ought)
        return ought.id

    def _post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        key = uuid7().hex
        answer = self.call("POST", path, body, idempotency_key=key)
        assert answer.status_code == 201, answer.text
        self.requests.append((path, body, key, answer.json()))
        return answer

    @rule(identity=ids, note=NOTES, due=DUES, stale=st.booleans())
    def change(self, identity: str, note: str, due: str | None, stale: bool) -> None:
        ought = self.ought.of(identity)
        version = f'"{ought.version + stale}"'
        answer = self.call(
            "PATCH", f"/scheduled-activity/{identity}", {"note": note, "due_datetime": due}, if_match=version
        )
        status = 404 if not ought.planned else 412 if stale else 200 if ought.is_open else 409
        if status == 200:
            ought.become(PLAN, [("note", note), ("due", due)])
        self.made(answer, status, ought)

    @rule(identity=ids, by_bo=st.booleans())
    def claim(self, identity: str, by_bo: bool) -> None:
        ought, me = self.ought.of(identity), self.crew.bo if by_bo else self.crew.ada
        answer = self.call("POST", f"/scheduled-activity/{identity}/claim", user=me)
        allowed = ought.is_open and ought.value("assignee") in (self.crew.role, me)
        if allowed:
            ought.become(PLAN, [("assignee", me)])
        self.made(answer, 404 if not ought.planned else 200 if allowed else 409, ought)

    @rule(identity=ids)
    def cancel(self, identity: str) -> None:
        ought = self.ought.of(identity)
        answer = self.call("DELETE", f"/scheduled-activity/{identity}")
        if ought.is_open:
            ought.become(cancelled=True)
        self.made(answer, 404 if not ought.planned else 409 if ought.logged else 204, ought)

    @rule(identity=ids)
    def restore(self, identity: str) -> None:
        ought = self.ought.of(identity)
        answer = self.call("POST", f"/scheduled-activity/{identity}/restore")
        if ought.planned and not ought.logged:
            ought.become(cancelled=False)
        self.made(answer, 404 if not ought.planned else 409 if ought.logged else 200, ought)

    @rule(identity=ids, note=NOTES, about=st.lists(st.integers(0, 2), max_size=1))
    def complete(self, identity: str, note: str, about: list[int]) -> None:
        ought = self.ought.of(identity)
        body = {"related_objects": self.links(about), "scheduled_activity_id": identity, "notes": note}
        answer = self.call("POST", "/call/log-activity", body)
        allowed = ought.planned and (about or not ought.keeps_too_many)
        status = 409 if ought.logged else 201 if allowed else 400
        if status == 201:
            ought.log(LOG, self.content(about, note=note, logged_at=BY_REQUEST), BY_REQUEST)
            self.ought.look_again(identity)
        self.made(answer, status, ought)

    @rule(identity=ids, kind=st.sampled_from(("note", "correction", "retraction")))
    def append(self, identity: str, kind: str) -> None:
        ought = self.ought.of(identity)
        answer = self.call("POST", f"/logged/{identity}/append", {"kind": kind, "text": "more"})
        if ought.logged:
            ought.become(additions=ought.additions + 1, retracted=ought.retracted or kind == "retraction")
        self.made(answer, 201 if ought.logged else 404, ought)

    @rule(target=ids, identity=ids, reopen=st.sampled_from((None, True, False)))
    def undo(self, identity: str, reopen: bool | None) -> str:
        ought = self.ought.of(identity)
        answer = self.call("POST", f"/logged/{identity}/undo", {"reopen": reopen})
        status = 404 if not ought.logged else 409 if ought.retracted else 201
        assert answer.status_code == status, answer.text
        if status != 201:
            return identity
        again = ought.completed if reopen is None else reopen
        following = answer.json()["scheduled"]
        assert (following is not None) == again
        self.ought.undo(identity, following and following["id"])
        self.is_as(answer.json()["logged"], ought)
        if following is None:
            return identity
        self.is_as(following, self.ought.of(following["id"]))
        return str(following["id"])

    @rule(target=ids, said=st.lists(
        st.tuples(st.sampled_from(("schedule", "log", "complete", "cancel", "append")), st.none() | NOTES, DUES,
                  st.booleans(), st.lists(st.integers(0, 2), max_size=2, unique=True)),
        min_size=1, max_size=5,
    ))  # fmt: skip
    def refer(self, said: list[tuple[Any, ...]]) -> str:
        """An upstream system has something to say of an activity of its own; it is heard later, if ever."""
        identity = str(activity_id_of(self.crew.business_id, "crm", uuid7().hex))
        for action, note, due, typed, about in said:
            self.report(identity, action, (note, due, about), typed=typed or action in ("schedule", "log"))
        return identity

    @rule(
        identity=ids, action=st.sampled_from(("schedule", "log", "complete", "cancel", "append")), note=NOTES, due=DUES,
        about=st.lists(st.integers(0, 2), max_size=2, unique=True),
    )  # fmt: skip
    def speak_of(self, identity: str, action: str, note: str, due: str | None, about: list[int]) -> None:
        """An upstream system has something to say of an activity that it knows by its id."""
        self.report(identity, action, (note, due, about), known_only=True)

    def report(self, identity: str, action: str, said: tuple[Any, ...], **more: Any) -> None:
        self.numbers += 1
        note, due, about = said
        content = self.content(about, **({"note": note} if note else {}), **({"due": due} if due else {}))
        if action == "append":
            more["kind"] = "retraction" if note == "b" else "note"
        typed = more.pop("typed", False) and action not in ("cancel", "append")
        self.pool.append(Report(self.numbers, identity, action, tuple(content), typed=typed, **more))

    @precondition(lambda self: self.pool)
    @rule(data=st.data())
    def hear(self, data: st.DataObject) -> None:
        """Some reports come, in any order, again or for the first time."""
        batch = data.draw(st.lists(st.sampled_from(self.pool), min_size=1, max_size=6))
        self.place.do(admit(self.place.databases["lifecycle"], *(self._received(each) for each in batch)))
        self.ought.hear(batch)

    def _received(self, told: Report) -> ReportReceived:
        said, business_id = dict(told.content), self.crew.business_id
        due = said.get("due") or ""
        body = ReportBody(
            source="crm", source_ref=str(told.number), action=told.action, type="call" if told.typed else None,  # type: ignore[arg-type]
            notes=said.get("note"), due_date=date.fromisoformat(due) if len(due) == 10 else None,
            due_at=datetime.fromisoformat(due) if len(due) > 10 else None, kind=told.kind,  # type: ignore[arg-type]
            text="more" if told.kind else None,
            links=[Link(object="contact", record_id=UUID(each)) for each in said.get("links", ())],
        )  # fmt: skip
        received_at = RECEIVED + timedelta(seconds=told.number)
        event = ReportReceived(
            receipt_id=receipt_id_of(business_id, "crm", body.source_ref), business_id=business_id,
            activity_id=UUID(told.activity_id), received_at=received_at, known_only=told.known_only, report=body,
        )  # fmt: skip
        return read_report(event.model_dump_json().encode())

    @rule(one=st.integers(0, 2), into=st.integers(0, 2), back=st.booleans())
    def merge(self, one: int, into: int, back: bool) -> None:
        """Let one record stand for another one, or take that back."""
        record, survivor = self.crew.contacts[one], self.crew.contacts[into]
        if back:
            answer, status = self._change_record(f"{record}/unmerge", None), 200 if self.ought.unmerge(record) else 409
        else:
            merged = self.ought.merge(record, survivor)
            answer = self._change_record(f"{survivor}/merge", {"record_id": record})
            status = 200 if merged else 422 if one == into else 409
        assert answer.status_code == status, answer.text

    def _change_record(self, path: str, body: Any) -> httpx.Response:
        client, headers = self.place.http["directory"], self.crew.headers()
        answer = self.place.do(client.post(f"/api/directory/records/contact/{path}", json=body, headers=headers))
        self.place.do(self.pass_on())
        return answer

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """A request is sent again with its key: the first answer, and nothing happens."""
        path, body, key, first = data.draw(st.sampled_from(self.requests))
        answer = self.call("POST", path, body, idempotency_key=key)
        assert (answer.status_code, answer.json()) == (201, first)
        assert self.call("POST", path, body | {"subject": "other"}, idempotency_key=key).status_code == 409

    @precondition(lambda self: self.calls >= LOOK_EVERY)
    @rule()
    def look(self) -> None:
        """The lists hold what they ought to, each as it ought to be, with marks of merged records."""
        self.calls = 0
        planned = self.call("GET", "/scheduled-activity?page_size=1000").json()
        logged = self.call("POST", "/call/responses", {"page_size": 1000}).json()
        everything = [each for each in self.ought.activities.values() if each.version]
        for listed, wanted in (
            (planned, [each for each in everything if each.planned and not each.cancelled]),
            (logged, [each for each in everything if each.logged]),
        ):
            assert (sorted(each["id"] for each in listed["results"]), listed["count"]) == (
                sorted(each.id for each in wanted), len(wanted),
            )  # fmt: skip
            for shown in listed["results"]:
                self.is_as(shown, self.ought.of(shown["id"]))
                for entity in shown["associated_entities"]:
                    root = self.ought.root(entity["entity_id"])
                    assert entity.get("merged_into") == (root if root != entity["entity_id"] else None)

    def teardown(self) -> None:
        """Judge the whole: lists, versions without gaps, an answer to each report, timelines and badges."""
        if not hasattr(self, "crew"):
            return
        self.look()
        told = self.place.do(self.outboxes["lifecycle"].read())
        events = versions_in(told)
        versions: dict[str, list[int]] = {}
        for event in events:
            versions.setdefault(str(event.activity.activity_id), []).append(event.activity.version)
        everything = {each.id: each.version for each in self.ought.activities.values() if each.version}
        assert versions == {identity: list(range(1, version + 1)) for identity, version in everything.items()}
        answers = [read_answer(value) for types, value in told if types == "activity.answered"]
        outcomes = {each.receipt_id: (each.outcome, each.version) for each in answers}
        assert outcomes == {
            receipt_id_of(self.crew.business_id, "crm", str(number)): outcome
            for number, outcome in self.ought.outcomes.items()
        }
        self.place.do(self._judge_timelines(events))

    async def _judge_timelines(self, events: list[ActivityEvent]) -> None:
        database, chance = self.place.databases["timeline_projector"], Random(len(events))
        again = [*events, *chance.sample(events, len(events) // 3)]
        chance.shuffle(again)
        for start in range(0, len(again), 20):
            async with database.work() as tx:
                await timeline.show_activities(tx, again[start : start + 20])
        await deliver(self.told, database, TIMELINE)
        client, headers = self.place.http["timeline_projector"], self.crew.headers()
        counts = {}
        for contact in self.crew.contacts:
            rows = (await client.get(f"/api/timeline/contact/{contact}?limit=200", headers=headers)).json()["results"]
            shown = sorted(
                (row["activity_id"], row["state"], row["version"], row["retracted_at"] is not None) for row in rows
            )
            ought = self.ought.about(contact)
            assert shown == sorted((each.id, each.state, each.version, each.retracted) for each in ought)
            counts[contact] = len(ought)
        body = {"object": "contact", "record_ids": self.crew.contacts}
        badges = (await client.post("/api/timeline/badges", json=body, headers=headers)).json()
        assert badges == {"counts": counts}


@asynccontextmanager
async def placed(make_database: MakeDatabase) -> AsyncIterator[Place]:
    """Serve the three services."""
    names = ("directory", "lifecycle", "timeline_projector")
    databases = {name: await make_database(name) for name in names}
    async with (
        served("directory", databases["directory"]) as directory,
        served("lifecycle", databases["lifecycle"]) as activities,
        served("timeline_projector", databases["timeline_projector"]) as timelines,
    ):
        http = dict(zip(names, (directory, activities, timelines), strict=True))
        yield Place(asyncio.get_running_loop(), http, databases)


async def live(place: Place, chosen: settings) -> None:
    """Run two machines beside each other, each with examples of its own, in threads beside the loop that serves."""
    Life.place = place
    lives = [type(name, (Life,), {}) for name in ("One", "Other")]
    runs = [get_state_machine_test(each, settings=chosen) for each in lives]  # here: sources are not read by threads
    await asyncio.gather(*(asyncio.to_thread(run) for run in runs))


SETTINGS = settings(
    max_examples=50, stateful_step_count=50, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


@pytest.mark.timeout(300)
async def test_everything_is_what_a_model_says_after_any_calls_and_reports(make_database: MakeDatabase) -> None:
    async with placed(make_database) as place:
        await live(place, SETTINGS)


@pytest.mark.faults
@pytest.mark.timeout(1_800)
async def test_everything_is_what_a_model_says_by_chance_and_at_length(make_database: MakeDatabase) -> None:
    async with placed(make_database) as place:
        await live(place, settings(SETTINGS, max_examples=100, stateful_step_count=100, derandomize=False))
