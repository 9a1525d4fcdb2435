"""People at work: an activity's life over the routes, each write under an Idempotency-Key until it is answered."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import orjson

if TYPE_CHECKING:
    from tests.faults.answered import Answered
    from tests.faults.load import Tenant

SCHEDULED = "/api/activities/scheduled-activity"
FAR = datetime(2031, 6, 1, tzinfo=UTC)
STEPS = ("change", "move", "cancel", "relink", "read", "stale", "log")
STEPS_MAX = 6


class Person:
    """Lives one activity from its plan on. `version` is the newest that was answered; 0: it is not known any more."""

    def __init__(self, tenant: "Tenant", number: int) -> None:
        self.tenant = tenant
        self.ref = f"p{number}"
        self.number = number
        self.record = tenant.record_id(number % 4)
        self.activity_id = ""
        self.version = 0
        self.cancelled = False
        self.seen = 0

    async def write(self, action: str, method: str, path: str, body: Any = None, **more: Any) -> "Answered":
        """Write under a key of its own until it is answered. `expect`: the refusal that is due."""
        key, expect = str(uuid4()), more.pop("expect", None)
        history, business = self.tenant.history, self.tenant.business.id
        said = {"ref": self.ref, "act": action, "key": key, **({} if expect is None else {"expect": expect})}

        def end(number: int, answer: "Answered") -> None:
            wrote = answer.headers.get("x-wrote") if answer.outcome == "ok" else None
            found = {"id": wrote.rpartition(":")[0], "v": int(wrote.rpartition(":")[2])} if wrote else {}
            history.end(number, answer.outcome, **found, **({} if found else {"s": answer.status}))

        answer = await self.tenant.until_answered(
            lambda: self.tenant.call(method, path, body, idempotency_key=key, **more),
            lambda: history.invoke(business, "route", **said),
            end,
        )
        wrote = answer.headers.get("x-wrote") if answer.outcome == "ok" else None
        if wrote and expect is None:
            self.activity_id, _, version = wrote.rpartition(":")
            self.version = int(version)
            self.tenant.acknowledged.add(self.activity_id)
        elif answer.outcome != "ok" and not answer.final:
            self.version = 0  # nobody knows what happened to it
        return answer

    async def plan(self) -> None:
        due = (FAR + timedelta(minutes=self.number)).isoformat()
        body = {
            "activity_object_name": "call",
            "due_datetime": due,
            "summary": f"{self.tenant.canary} {self.ref}",
            "associated_entities": [{"object": "contact", "record_id": self.record}],
        }
        await self.write("schedule", "POST", SCHEDULED, body)

    async def step(self, action: str) -> None:
        path, chance = f"{SCHEDULED}/{self.activity_id}", self.tenant.chance
        if action == "change":
            matching = {"if_match": f'"{self.version}"'} if chance.random() < 0.5 else {}
            await self.write(action, "PATCH", path, {"notes": f"note {chance.random()}"}, **matching)
        elif action == "move":
            due = (FAR + timedelta(minutes=self.number, hours=chance.randrange(24))).isoformat()
            await self.write(action, "PATCH", path, {"due_datetime": due})
        elif action == "relink":
            self.record = self.tenant.record_id(chance.randrange(4))
            entity = {"object": "contact", "record_id": self.record}
            await self.write(action, "PATCH", path, {"associated_entities": [entity]})
        elif action == "stale":
            await self.write(action, "PATCH", path, {"notes": "stale"}, if_match='"9999"', expect=412)
        elif action == "read":
            await self.read()
        elif action == "cancel":
            await self.write("cancel", "DELETE", path)
            if self.version:
                await self.write("restore", "POST", f"{path}/restore")

    async def log(self) -> bool:
        """Log it by two people at once: one wins. Tells whether it is logged now."""
        body = {
            "related_objects": [{"object": "contact", "record_id": self.record}],
            "scheduled_activity_id": self.activity_id,
        }
        answers = await asyncio.gather(
            *(self.write("log", "POST", "/api/activities/call/log-activity", body) for _ in range(2)),
        )
        return bool(self.version) and any(answer.outcome == "ok" for answer in answers)

    async def add(self) -> None:
        """Add a note, then ask for a version that it does not have, and for changes that nothing logged takes."""
        path = f"/api/activities/logged/{self.activity_id}/append"
        await self.write("append", "POST", path, {"kind": "note", "text": f"{self.tenant.canary} and more"})
        if self.version:
            await self.write(
                "thaw", "PATCH", f"{SCHEDULED}/{self.activity_id}", {"notes": "thawed"}, expect=409
            )  # fmt: skip

    async def read(self) -> None:
        """Read what was written: on the timeline where it is promised, and never an older version than before."""
        history, business = self.tenant.history, self.tenant.business.id
        version = self.version
        answer = await self.tenant.call("GET", f"{SCHEDULED}/{self.activity_id}")
        if answer.status == 200:
            found = int(answer.headers["etag"].strip('"'))
            if found < max(version, self.seen):
                text = f"activity {self.activity_id} was at {max(version, self.seen)}, then read at {found}"
                history.see(business, "I12", text)
            self.seen = max(self.seen, found)
        path = f"/api/timeline/contact/{self.record}?state=upcoming&limit=200&min_version={self.activity_id}:{version}"
        answer = await self.tenant.call("GET", path)
        if answer.status == 200 and not self.cancelled:
            lines = orjson.loads(answer.body)["results"]
            held = [line["version"] for line in lines if line["activity_id"] == self.activity_id]
            if (not held and len(lines) < 200) or any(each < version for each in held):
                text = f"{self.activity_id} was written at {version}, the timeline showed {held} with min_version"
                history.see(business, "I12", text)


async def live(tenant: "Tenant", number: int) -> None:
    """Live one activity: planned, then some steps, then logged and added to, unless an answer never came."""
    person = Person(tenant, number)
    await person.plan()
    for action in tenant.chance.sample(STEPS, k=STEPS_MAX):
        if not person.version:
            return
        if action == "log":
            if await person.log():
                await person.add()
                tenant.shown.append(person.activity_id)
                await tenant.look_at_strangers()
            return
        await person.step(action)
