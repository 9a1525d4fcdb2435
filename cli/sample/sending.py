"""Sends a sample through the public interface. Everything may be sent again: it changes nothing then."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from cli.place import Trouble
from cli.sample import fields
from cli.sample.client import Client
from cli.sample.generate import DAYS_AHEAD, DAYS_BACK, ByHand, Sample
from cli.sample.industries import PERMISSIONS
from cli.sample.memory import Made, Memory

LINES = 1_000
SETTLE_S = 120.0
LOOK_S = 0.25
Advance = Callable[[int], None]


@dataclass
class Sender:
    """Sends the sample of one business and remembers what was made."""

    client: Client
    memory: Memory
    operator_key: str
    sample: Sample

    def __post_init__(self) -> None:
        self.said: Counter[str] = Counter()
        self.receipts: list[str] = []

    @property
    def made(self) -> Made:
        """The business, made before anything else."""
        return self.memory.businesses[self.sample.industry.key]

    def make_business(self) -> None:
        """Make the business with its roles and members, as far as they are not there."""
        industry, operator = self.sample.industry, {"x-api-key": self.operator_key}
        if industry.key not in self.memory.businesses:
            business = self.client.post(
                "/api/directory/businesses", operator, {"name": industry.name, "zone": industry.zone}
            )
            self.memory.businesses[industry.key] = Made(business["id"], business["api_key"], business["user_id"])
            self.memory.write()
        made = self.made
        for name, permissions in zip(industry.roles, PERMISSIONS, strict=True):
            if name not in made.roles:
                body = {"name": name, "permissions": permissions}
                made.roles[name] = self._make("/api/directory/roles", f"role {name}", body)
                self.memory.write()
        for number, member in enumerate(self.sample.members):
            if member["email"] not in made.members:
                role = made.roles[industry.roles[number % len(industry.roles)]]
                body = {**member, "role_ids": [role]}
                made.members[member["email"]] = self._make("/api/directory/members", f"member {member['email']}", body)
                self.memory.write()

    def make_fields(self) -> None:
        """Give calls their fields and rules, as far as they are not there."""
        path, headers = f"/api/activities/{fields.OBJECT}", self.made.headers
        known = {field["name"] for field in self.client.get(f"{path}/fields", headers)}
        for field in fields.FIELDS:
            if field["name"] not in known:
                self.client.post(f"{path}/fields", headers, field)
        self.client.put(f"{path}/rules", headers, fields.RULES)

    def send_records(self) -> dict[str, dict[str, str]]:
        """Bring the records in, and return their ids by object and ref's place in the sample."""
        ids: dict[str, dict[str, str]] = {}
        for name, lines in self.sample.records.items():
            answer = self.client.post(f"/api/directory/records/{name}/bulk", self._key, b"\n".join(lines))
            refused = [result for result in answer["results"] if "errors" in result]
            if refused:
                raise Trouble(f"{len(refused)} of {len(lines)} {name} records were refused, first: {refused[0]}")
            ids[name] = {str(result["index"]): result["id"] for result in answer["results"]}
        return ids

    def send_reports(self, advance: Advance) -> None:
        """Report the activities, 1,000 lines a request."""
        for lines in _chunks(self.sample.reports):
            answer = self.client.post("/ingest/activities/bulk", self._key, b"\n".join(lines))
            if answer["rejected"]:
                bad = next(result for result in answer["results"] if result["status"] == "rejected")
                raise Trouble(f"{answer['rejected']} of {len(lines)} reports were rejected, first: {bad}")
            for word in ("accepted", "duplicate"):
                self.said[word] += answer[word]
            self.receipts += [result["receipt_id"] for result in answer["results"][:: LINES // 4]]
            self.receipts.append(answer["results"][-1]["receipt_id"])
            advance(len(lines))

    def send_conversations(self, advance: Advance) -> None:
        """Tell of finished conversations, one a request."""
        for conversation in self.sample.conversations:
            self.client.post("/ingest/interactions", self._key, conversation)
            advance(1)

    def enter_by_hand(self, contacts: dict[str, str], advance: Advance) -> None:
        """Enter what people enter themselves, once each."""
        for entry in self.sample.by_hand:
            if entry.key not in self.made.activities:
                self.made.activities[entry.key] = self._enter(entry, contacts)
                self.memory.write()
                self.said["accepted"] += 1
            else:
                self.said["duplicate"] += 1
            advance(1)

    def await_answers(self) -> Counter[str]:
        """Wait until the receipts kept in mind are answered, and say with what. Raises Trouble."""
        deadline, answers = time.monotonic() + SETTLE_S, Counter[str]()
        for receipt_id in self.receipts:
            while True:
                receipt = self.client.get(f"/ingest/receipts/{receipt_id}", self._key)
                if receipt["status"] != "accepted":
                    break
                _pause(deadline, f"receipt {receipt_id} is not answered; look at /healthz/lifecycle")
            answers[receipt["status"]] += 1
            if receipt["status"] in ("refused", "set_aside"):
                raise Trouble(f"receipt {receipt_id} says {receipt['status']}: {receipt['reasons']}")
        return answers

    def await_report(self) -> dict[str, int]:
        """Wait until the reports count everything that was sent; return the counts by state. Raises Trouble."""
        first = self.memory.base - timedelta(days=DAYS_BACK + 5)
        last = self.memory.base + timedelta(days=DAYS_AHEAD + 5)
        path = f"/api/reports/volume?from={first}&to={last}&granularity=month&group_by=state"
        deadline = time.monotonic() + SETTLE_S
        while True:
            answer = self.client.get(path, self._key)
            if answer["total"] >= self.sample.countable:
                break
            wanted = f"the report counts {answer['total']} activities and conversations of {self.sample.countable}"
            _pause(deadline, f"{wanted}; look at /healthz/reporting")
        counts: Counter[str] = Counter()
        for cell in answer["series"]:
            counts[cell["group"]["state"]] += cell["count"]
        return dict(counts)

    @property
    def _key(self) -> dict[str, str]:
        return {"x-api-key": self.made.api_key}

    def _make(self, path: str, what: str, body: dict[str, Any]) -> str:
        key = f"sample {self.memory.seed} {what}".encode("ascii", "replace").decode()
        identity: str = self.client.post(path, {**self._key, "idempotency-key": key}, body)["id"]
        return identity

    def _enter(self, entry: ByHand, contacts: dict[str, str]) -> str:
        made, industry = self.made, self.sample.industry
        headers = {**made.headers, "idempotency-key": entry.key}
        about = [{"custom_object": "contact", "entity_id": contacts[entry.contact_ref.rpartition("-")[2]]}]
        if entry.kind == "log":
            path, body = f"/api/activities/{entry.type}/log-activity", {**entry.body, "related_objects": about}
        else:
            role = {"role_id": made.roles[industry.roles[entry.role]]} if entry.role is not None else {}
            path = "/api/activities/scheduled-activity"
            body = {**entry.body, **role, "activity_object_name": entry.type, "associated_entities": about}
        identity: str = self.client.post(path, headers, body)["id"]
        return identity


def _chunks(lines: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(lines), LINES):
        yield lines[start : start + LINES]


def _pause(deadline: float, why: str) -> None:
    if time.monotonic() > deadline:
        raise Trouble(f"after {SETTLE_S:g} s: {why}")
    time.sleep(LOOK_S)
