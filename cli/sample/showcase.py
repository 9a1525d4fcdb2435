"""What a newcomer wants to see beside what systems report, entered as people do, each once: an object of their own with
fields and a rule, a correction, a claim from a role, recurrences, an undo, account activities with comments, records
that are merged and converted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from cli.sample.client import Client
from cli.sample.generate import email_of
from cli.sample.industries import Industry
from cli.sample.memory import Made, Memory

Ids = dict[str, dict[str, str]]
"""Ids of records by object and their place in the sample."""
OBJECT = "inspection"
PLANS = "/api/activities/scheduled-activity"
ACCOUNTS = "/v1/accounts/activities"
FIELDS: tuple[dict[str, Any], ...] = (
    {"name": "result", "display_name": "Result", "field_type": "radio", "is_required": True,
     "options": [{"name": "Passed"}, {"name": "Failed"}, {"name": "To be repeated"}]},
    {"name": "defects", "display_name": "Defects", "field_type": "longtext", "is_required": True},
    {"name": "costs", "display_name": "Costs", "field_type": "money", "currency": "EUR"},
    {"name": "measured_on", "display_name": "Measured on", "field_type": "date"},
    {"name": "quality", "display_name": "Quality", "field_type": "rating", "rating_max": 5},
    {"name": "inspector", "display_name": "Inspector", "field_type": "team_selector"},
    {"name": "budget", "display_name": "Budget of the contact", "field_type": "activity_custom_field",
     "custom_field_type": "money", "custom_object_field": {"custom_object": "contact", "name": "budget"}},
)  # fmt: skip
RULES = [
    {
        "match": "all", "conditions": [{"field_id": "result", "operator": "not_equals", "value": "passed"}],
        "target_field_ids": ["defects"],
    },
]  # fmt: skip


@dataclass
class Showcase:
    """Enters all of it for one business."""

    client: Client
    memory: Memory
    industry: Industry
    records: Ids

    def __post_init__(self) -> None:
        self._step, self._number = "", 0

    def enter(self) -> None:
        """Do each step that has not been done yet. Raises Trouble."""
        steps: tuple[Callable[[], str], ...] = (
            self.own_object, self.inspected, self.corrected, self.claimed, self.weekly, self.fortnightly, self.undone,
            self.discussed, self.private, self.merged, self.converted,
        )  # fmt: skip
        for step in steps:
            name = f"showcase {step.__name__}"
            if name not in self.made.activities:
                self._step, self._number = name, 0
                self.made.activities[name] = step()
                self.memory.write()

    @property
    def made(self) -> Made:
        """The business."""
        return self.memory.businesses[self.industry.key]

    def own_object(self) -> str:
        """An object of the business's own, with fields, one of them kept on the contact, and a rule."""
        body = {
            "name": "Inspection", "api_name": OBJECT, "description": "On site, with what was found and measured",
            "icon": "clipboard-check", "colour": "#0f766e", "is_editable": True, "default_delay_min": 24 * 60,
            "association_mode": "selected_objects_associated", "associated_objects": ["contact", "account"],
            "default_note": "<p>Take photographs of what is wrong.</p>",
        }  # fmt: skip
        made = self._post("/api/activities", body)
        for field in FIELDS:
            self._post(f"/api/activities/{OBJECT}/fields", field)
        self.client.put(f"/api/activities/{OBJECT}/rules", self.made.headers, RULES)
        return str(made["id"])

    def inspected(self) -> str:
        """One that passed; its budget is written to the contact."""
        values = {"result": "passed", "costs": "120.50", "quality": 5, "budget": "5000", "inspector": self._member(0)}
        return self._inspect(values, "<p>Nothing to complain of 👍</p>")

    def corrected(self) -> str:
        """One that failed, with what the rule asks for then, and a correction as a revision of its own."""
        values = {"result": "failed", "defects": "Two cracks in the south wall", "costs": "80", "quality": 2}
        identity = self._inspect(values, "<p>Failed, see the defects.</p>")
        correction = {"kind": "correction", "text": "The bill came", "fields": {"costs": "97.30"}}
        self._post(f"/api/activities/logged/{identity}/append", correction)
        return identity

    def claimed(self) -> str:
        """One that was planned for a role, and that a member of it took; and one that nobody has taken yet."""
        role = {"role_id": self.made.roles[self.industry.roles[0]], "associated_entities": self._about("contact", 1)}
        taken, _ = (self._post(PLANS, {"activity_object_name": OBJECT, **role}) for _ in range(2))
        self._post(f"{PLANS}/{taken['id']}/claim", {}, user=self._member(0))
        return str(taken["id"])

    def weekly(self) -> str:
        """A recurrence, one open at a time: the first is done, the next is there, one day is left out."""
        body = {
            "activity_object_name": "meeting", "due_datetime": self._at(-3), "note": "What came in, what is late",
            "subject": "Weekly review", "recurrence": {"rule": "FREQ=WEEKLY", "zone": self.industry.zone},
            "location": self.industry.location, "associated_entities": self._about("account", 0),
        }  # fmt: skip
        first = self._post(PLANS, body)
        done = {"related_objects": [], "scheduled_activity_id": first["id"], "notes": "All settled"}
        self._post("/api/activities/meeting/log-activity", done)
        day = (self.memory.base + timedelta(days=11)).isoformat()
        self._post(f"{PLANS}/series/{first['series_id']}/skip", {"date": day})
        return str(first["id"])

    def fortnightly(self) -> str:
        """A recurrence of fixed dates, each there from the beginning."""
        rule = {"rule": "FREQ=WEEKLY;INTERVAL=2;COUNT=6", "mode": "fixed", "zone": self.industry.zone}
        body = {"due_datetime": self._at(1), "subject": "Look after them", "recurrence": rule}
        about = {"activity_object_name": "call", "associated_entities": self._about("contact", 2)}
        return str(self._post(PLANS, body | about)["id"])

    def undone(self) -> str:
        """One that was logged by mistake: retracted, and planned again."""
        body = {"related_objects": self._about("contact", 3), "notes": "Wrong customer"}
        logged = self._post("/api/activities/call/log-activity", body)
        undo = {"text": "It was another customer", "reopen": True, "due_datetime": self._at(2)}
        self._post(f"/api/activities/logged/{logged['id']}/undo", undo)
        return str(logged["id"])

    def discussed(self) -> str:
        """A completed activity of an account, with an attachment and comments that mention a colleague."""
        one, other = self._session(0), self._session(3)
        body = {
            "type": "MEETING", "title": "Annual review", "participants": [{"id": self._member(0)}, "Their lawyer"],
            "attachmentUrls": [f"https://files.{self.industry.domain}/agenda.pdf"], "status": "COMPLETED",
            "metadata": {"room": "2.14"},
        }  # fmt: skip
        made = self._account_activity(one, body, -7)
        path = f"{ACCOUNTS}/{made['id']}/comments"
        asked = {"text": "Can you send them the minutes?", "mentions": [self._member(3)]}
        for session, comment in ((one, asked), (other, {"text": "Sent just now ✉️"})):
            self.client.post(path, self._keyed(session), comment)
        return str(made["id"])

    def private(self) -> str:
        """A pending activity of an account that only those see who take part."""
        body = {"type": "CALL", "title": "About the renewal", "privacy": "PRIVATE", "description": "Not for everybody"}
        return str(self._account_activity(self._session(3), body, 5)["id"])

    def merged(self) -> str:
        """Two records of one person, merged: both histories are on one timeline."""
        twin = self._record("contact", {"name": f"{self.industry.contacts[0]} (second file)", "status": "Active"})
        about = [{"custom_object": "contact", "entity_id": twin}]
        self._post("/api/activities/call/log-activity", {"related_objects": about, "notes": "Rang about a second file"})
        survivor = self.records["contact"]["0"]
        self._post(f"/api/directory/records/contact/{survivor}/merge", {"record_id": twin})
        return twin

    def converted(self) -> str:
        """A lead that became a contact, whose status changed then: both are entered by themselves."""
        lead = self._record("lead", {"name": "Walk-in customer", "status": "Qualified"})
        contact = self._post(f"/api/directory/records/lead/{lead}/convert", {})["contact"]["id"]
        path = f"/api/directory/records/contact/{contact}"
        self.client.patch(path, self._keyed(self.made.headers), {"status": "Do Not Contact"})
        return lead

    def _inspect(self, values: dict[str, Any], notes: str) -> str:
        body = {
            "related_objects": self._about("contact", 0), "notes": notes, "occurred_at": self._at(-2),
            "fields": [{"id": name, "value": value} for name, value in values.items()],
        }  # fmt: skip
        return str(self._post(f"/api/activities/{OBJECT}/log-activity", body)["id"])

    def _account_activity(self, session: dict[str, str], body: dict[str, Any], day: int) -> Any:
        given = {
            "accountId": self.records["account"]["0"], "activityTimestamp": self._at(day), "duration": 45,
            "location": self.industry.location,
        }  # fmt: skip
        return self.client.post(ACCOUNTS, self._keyed(session), given | body)["data"]

    def _record(self, kind: str, body: dict[str, Any]) -> str:
        return str(self._post(f"/api/directory/records/{kind}", body)["id"])

    def _post(self, path: str, body: dict[str, Any], *, user: str | None = None) -> Any:
        headers = self.made.headers | ({"x-user-id": user} if user else {})
        return self.client.post(path, self._keyed(headers), body)

    def _keyed(self, headers: dict[str, str]) -> dict[str, str]:
        """Let a request that is sent again, because a step was interrupted, happen once."""
        self._number += 1
        return headers | {"idempotency-key": f"sample {self.memory.seed} {self._step} {self._number}"}

    def _session(self, number: int) -> dict[str, str]:
        """Begin the session of a member, as account activities need one."""
        made = self.made
        key = {"x-api-key": made.api_key}
        token = self.client.post(f"/api/directory/members/{self._member(number)}/tokens", key, {"expires_in_s": 3600})
        return key | {"x-org-id": made.id, "authorization": f"Bearer {token['token']}"}

    def _member(self, number: int) -> str:
        return self.made.members[email_of(self.industry, self.industry.members[number])]

    def _about(self, kind: str, number: int) -> list[dict[str, str]]:
        return [{"custom_object": kind, "entity_id": self.records[kind][str(number)]}]

    def _at(self, day: int) -> str:
        at = time(9, tzinfo=ZoneInfo(self.industry.zone))
        return datetime.combine(self.memory.base + timedelta(days=day), at).isoformat()
