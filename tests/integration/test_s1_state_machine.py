"""S1 against a pure model: whatever is called in whatever order, the activity is what the model says."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from libs.access.copy import save_roles
from libs.contracts.directory import Role
from libs.contracts.ids import uuid7
from libs.database import Database
from tests.integration.test_lifecycle_reports import admit, report
from tests.integration.test_lifecycle_routes import World
from tests.support.http import served, settle

pytestmark = pytest.mark.integration
T = TypeVar("T")
MakeDatabase = Callable[[str], Awaitable[Database]]
NOTES = st.sampled_from(("a", "b", "Grüße"))
DUES = st.sampled_from((None, "2030-01-01", "2030-06-01T10:00:00Z", "2020-01-01T10:00:00Z"))


@dataclass
class Model:
    """What an activity ought to be."""

    id: str
    note: str | None = None
    due: str | None = None
    assignee: str | None = None
    version: int = 1
    planned: bool = True
    logged: bool = False
    cancelled: bool = False
    retracted: bool = False
    appends: list[str] = field(default_factory=list)
    requests: list[tuple[Any, ...]] = field(default_factory=list)

    @property
    def state(self) -> str:
        if self.logged:
            return "completed" if self.planned else "logged"
        if self.cancelled:
            return "cancelled"
        return "overdue" if self.due is not None and self.due < "2026" else "scheduled"


class Life(RuleBasedStateMachine):
    """One business, its activities, and the model of each. `database`, `client` and `loop` are of the test."""

    database: Database
    client: Any
    loop: asyncio.AbstractEventLoop
    activities = Bundle("activities")

    def __init__(self) -> None:
        super().__init__()
        self.models: dict[str, Model] = {}

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    @initialize()
    def begin(self) -> None:
        tenant = self.do(settle(self.database))
        self.world, self.me, self.role = (
            World(self.client, self.database, tenant, uuid7()),
            str(tenant.user_id),
            uuid7(),
        )
        role = Role(
            business_id=tenant.business_id, id=self.role, version=1, name="crew", created_at=datetime.now(UTC),
            member_ids=[tenant.user_id],
        )  # fmt: skip
        self.do(self._save(role))

    async def _save(self, role: Role) -> None:
        async with self.database.work() as tx:
            await save_roles(tx, [role])

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        return self.do(self.world.call(method, path, body, **headers))

    @rule(target=activities, note=NOTES, due=DUES, to_role=st.booleans())
    def schedule(self, note: str, due: str | None, to_role: bool) -> Model:
        body = {"activity_object_name": "call", "note": note, "due_datetime": due}
        body |= {"role_id": str(self.role)} if to_role else {}
        key = uuid7().hex
        answer = self.call("POST", "/scheduled-activity", body, idempotency_key=key)
        assert answer.status_code == 201, answer.text
        model = Model(answer.json()["id"], note, due, None if to_role else self.me)
        model.requests.append(("POST", "/scheduled-activity", body, key, answer.json()))
        self.models[model.id] = model
        return model

    @rule(target=activities, note=NOTES)
    def log_directly(self, note: str) -> Model:
        body = {"related_objects": [], "notes": note}
        key = uuid7().hex
        answer = self.call("POST", "/call/log-activity", body, idempotency_key=key)
        assert answer.status_code == 201, answer.text
        model = Model(answer.json()["id"], note, planned=False, logged=True)
        model.requests.append(("POST", "/call/log-activity", body, key, answer.json()))
        self.models[model.id] = model
        return model

    @rule(model=activities, note=NOTES, due=DUES, stale=st.booleans())
    def change(self, model: Model, note: str, due: str | None, stale: bool) -> None:
        version = model.version - 1 if stale else model.version
        answer = self.call(
            "PATCH", f"/scheduled-activity/{model.id}", {"note": note, "due_datetime": due}, if_match=f'"{version}"'
        )
        if not model.planned:
            assert answer.status_code == 404
        elif stale:
            assert answer.status_code == 412, answer.text
        elif model.logged or model.cancelled:
            assert answer.status_code == 409
        else:
            assert answer.status_code == 200
            model.version += (note, due) != (model.note, model.due)
            model.note, model.due = note, due

    @rule(model=activities)
    def claim(self, model: Model) -> None:
        answer = self.call("POST", f"/scheduled-activity/{model.id}/claim")
        if not model.planned:
            assert answer.status_code == 404
        elif model.logged or model.cancelled:
            assert answer.status_code == 409
        else:
            assert answer.status_code == 200, answer.text
            model.version += model.assignee is None
            model.assignee = self.me

    @rule(model=activities)
    def cancel(self, model: Model) -> None:
        answer = self.call("DELETE", f"/scheduled-activity/{model.id}")
        assert answer.status_code == (404 if not model.planned else 409 if model.logged else 204)
        if answer.status_code == 204:
            model.version += not model.cancelled
            model.cancelled = True

    @rule(model=activities)
    def restore(self, model: Model) -> None:
        answer = self.call("POST", f"/scheduled-activity/{model.id}/restore")
        assert answer.status_code == (404 if not model.planned else 409 if model.logged else 200)
        if answer.status_code == 200:
            model.version += model.cancelled
            model.cancelled = False

    @rule(model=activities, note=NOTES)
    def complete(self, model: Model, note: str) -> None:
        body = {"related_objects": [], "scheduled_activity_id": model.id, "notes": note}
        answer = self.call("POST", "/call/log-activity", body)
        if model.logged:
            assert answer.status_code == 409, answer.text
            return
        assert answer.status_code == 201, answer.text
        model.version, model.logged, model.cancelled, model.note = model.version + 1, True, False, note

    @rule(model=activities, kind=st.sampled_from(("note", "correction", "retraction")))
    def append(self, model: Model, kind: str) -> None:
        answer = self.call("POST", f"/logged/{model.id}/append", {"kind": kind, "text": "more"})
        assert answer.status_code == (201 if model.logged else 404)
        if model.logged:
            model.version, model.retracted = model.version + 1, model.retracted or kind == "retraction"
            model.appends.append(kind)

    @rule(model=activities, action=st.sampled_from(("complete", "cancel")), times=st.integers(1, 3))
    def hear(self, model: Model, action: str, times: int) -> None:
        """A report about it comes, maybe several times."""
        event = report(self.world.tenant.business_id, action, uuid7().hex, known_only=True)
        event.activity_id = UUID(model.id)  # type: ignore[misc]
        for _ in range(times):
            self.do(admit(self.database, event))
        if model.logged or (action == "cancel" and model.cancelled):
            return
        model.version += 1
        model.logged, model.cancelled = action == "complete", action == "cancel"

    @rule(model=activities, data=st.data())
    def replay(self, model: Model, data: st.DataObject) -> None:
        """A request is sent again with its key: the first answer, and nothing happens."""
        method, path, body, key, first = data.draw(st.sampled_from(model.requests))
        answer = self.call(method, path, body, idempotency_key=key)
        assert (answer.status_code, answer.json()) == (201, first)
        other = self.call(method, path, body | {"subject": "other"}, idempotency_key=key)
        assert other.status_code == 409

    @rule(model=consumes(activities))
    def check_history(self, model: Model) -> None:
        life = "scheduled-activity" if model.planned else "logged"
        rows = self.call("GET", f"/{life}/{model.id}/history").json()["results"]
        assert [row["version"] for row in rows] == list(range(1, model.version + 1))

    @invariant()
    def everything_is_as_the_model_says(self) -> None:
        if not hasattr(self, "world"):
            return
        listed = self.call("GET", "/scheduled-activity?page_size=1000").json()
        found = {each["id"]: each for each in listed["results"]}
        wanted = {model.id for model in self.models.values() if model.planned and not model.cancelled}
        assert (found.keys(), listed["count"]) == (wanted, len(wanted))
        for identity, shown in found.items():
            model = self.models[identity]
            assert (shown["state"], shown["version"], shown["note"]) == (model.state, model.version, model.note)
            assert shown["due_datetime"] == model.due
            assert (shown["employee"] or {}).get("id") == model.assignee
        logged = self.call("POST", "/call/responses", {"page_size": 1000}).json()["results"]
        by_id = {each["id"]: each for each in logged}
        assert by_id.keys() == {model.id for model in self.models.values() if model.logged}
        for identity, shown in by_id.items():
            model = self.models[identity]
            assert (shown["state"], shown["version"], shown["notes"]) == (model.state, model.version, model.note)
            assert (shown["appends_count"], shown["retracted_at"] is not None) == (len(model.appends), model.retracted)


async def live(make_database: MakeDatabase, examples: int, steps: int) -> None:
    """Run the machine in a thread against routes served in this loop."""
    database = await make_database("lifecycle")
    async with served("lifecycle", database) as client:
        Life.database, Life.client, Life.loop = database, client, asyncio.get_running_loop()
        chosen = settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, derandomize=True,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        await asyncio.to_thread(run_machine, Life, settings=chosen)


async def test_activities_are_what_a_model_says_after_any_calls(make_database: MakeDatabase) -> None:
    await live(make_database, 10, 30)


@pytest.mark.faults
@pytest.mark.timeout(900)
async def test_activities_are_what_a_model_says_after_any_calls_at_length(make_database: MakeDatabase) -> None:
    await live(make_database, 100, 50)
