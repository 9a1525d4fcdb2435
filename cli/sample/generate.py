"""What the sample sends, made from a seed: the same seed, day and industry give the same bytes. No I/O, no clock.

Each activity is drawn by itself, so that a larger sample begins with the smaller one.
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from cli.sample import fields
from cli.sample.industries import INDUSTRIES, Industry

DAYS_BACK, DAYS_AHEAD = 180, 30
RECORDS = {"account": 30, "contact": 120, "lead": 60}
STATUSES = {
    "contact": ("Active", "Active", "Active", "Inactive", "Do Not Contact"),
    "lead": ("New", "Contacted", "Qualified", "Converted", "Lost"),
}
KINDS = {"log": 44, "completed": 21, "planned": 12, "late": 8, "cancelled": 5, "undated": 4, "dated": 6}
"""How an activity goes, with weights; `dated` is due on a day without a time."""
APPENDS = {"note": 70, "correction": 15, "attachment": 10, "retraction": 5}
SOURCES = {"call": "phone-system", "sms": "phone-system", "meeting": "calendar", "site_visit": "calendar"}
CONVERSATIONS_EVERY, CONVERSATIONS_BELOW = 10, 5_000
"""Beside so many of the first activities there is a conversation."""
CHANNELS = {"whatsapp": 35, "webchat": 20, "sms": 15, "email": 10, "voice": 20}
LONG_MESSAGES = 500
"""Messages of the first conversation; the others have up to a dozen, calls have none."""
BY_HAND_EVERY, BY_HAND_BELOW = 50, 2_000
"""Of the first activities every so many is entered as a person would, through the routes of activities."""


@dataclass(frozen=True)
class Drawing:
    """What everything is drawn from."""

    industry: Industry
    seed: int
    base: date

    def random(self, *names: object) -> Random:
        """Make the source of chance of one thing."""
        return Random(":".join(map(str, (self.seed, self.industry.key, *names))))  # noqa: S311

    def ref(self, number: int) -> str:
        """Name an activity."""
        return f"sample-{self.seed}-{self.industry.key}-{number}"

    def record_ref(self, object_name: str, number: int) -> str:
        """Name a record as its own system does."""
        return f"{self.industry.key}-{object_name}-{self.seed}-{number}"

    def instant(self, random: Random, day: int) -> datetime:
        """Choose a quarter hour of a working day, `day` days after the base, in the business's zone."""
        at = time(8, tzinfo=ZoneInfo(self.industry.zone))
        return datetime.combine(self.base + timedelta(days=day), at) + timedelta(minutes=15 * random.randrange(40))


@dataclass(frozen=True)
class ByHand:
    """An activity that a person enters: `plan` or `log`, and its body without references to people and records."""

    key: str
    kind: str
    type: str
    body: dict[str, Any]
    contact_ref: str
    role: int | None


@dataclass(frozen=True)
class Sample:
    """All that is sent for one business. Records and reports are lines of JSON; `countable` is what reports count.

    Conversations are counted as well.
    """

    industry: Industry
    members: list[dict[str, str]]
    records: dict[str, list[bytes]]
    reports: list[bytes]
    by_hand: list[ByHand]
    conversations: list[dict[str, Any]]
    countable: int

    @property
    def size(self) -> int:
        """Count what is sent of activities and conversations."""
        return len(self.reports) + len(self.by_hand) + len(self.conversations)


def generate(seed: int, activities: int, base: date) -> list[Sample]:
    """Make the samples of the three businesses, with so many activities in all."""
    share = [len(range(place, activities, len(INDUSTRIES))) for place in range(len(INDUSTRIES))]
    return [_sample(Drawing(industry, seed, base), count) for industry, count in zip(INDUSTRIES, share, strict=True)]


def _sample(drawing: Drawing, activities: int) -> Sample:
    reports: list[dict[str, Any]] = []
    by_hand: list[ByHand] = []
    retracted = 0
    for number in range(activities):
        if number % BY_HAND_EVERY == BY_HAND_EVERY - 1 and number < BY_HAND_BELOW:
            by_hand.append(_by_hand(drawing, number))
            continue
        made = list(_reports(drawing, number))
        retracted += any(report.get("kind") == "retraction" for report in made)
        reports += made
    talks = range(0, min(activities, CONVERSATIONS_BELOW), CONVERSATIONS_EVERY)
    return Sample(
        industry=drawing.industry,
        members=[_member(drawing.industry, name) for name in drawing.industry.members],
        records={name: [orjson.dumps(each) for each in _records(drawing, name)] for name in RECORDS},
        reports=[orjson.dumps(report) for report in reports],
        by_hand=by_hand,
        conversations=[_conversation(drawing, number) for number in talks],
        countable=activities - retracted + len(talks),
    )


def email_of(industry: Industry, name: str) -> str:
    """Derive a member's address."""
    letters = unicodedata.normalize("NFKD", name.lower().replace("ł", "l").replace("ı", "i").removeprefix("dr. "))
    plain = "".join(letter for letter in letters if letter.isascii() and (letter.isalnum() or letter in " -"))
    return f"{plain.strip().replace(' ', '.')}@{industry.domain}"


def _member(industry: Industry, name: str) -> dict[str, str]:
    return {"name": name, "email": email_of(industry, name), "zone": industry.zone}


def _records(drawing: Drawing, object_name: str) -> Iterator[dict[str, Any]]:
    names = drawing.industry.accounts if object_name == "account" else drawing.industry.contacts
    for number in range(RECORDS[object_name]):
        random = drawing.random(object_name, number)
        name = names[number % len(names)]
        record: dict[str, Any] = {
            "external_ref": drawing.record_ref(object_name, number),
            "name": name if number < len(names) else f"{name} {number // len(names) + 1}",
            "fields": {"city": drawing.industry.zone.partition("/")[2], "since": 1998 + random.randrange(28)},
        }
        if object_name in STATUSES:
            record["status"] = random.choice(STATUSES[object_name])
        yield record


def _reports(drawing: Drawing, number: int) -> Iterator[dict[str, Any]]:
    """Make all reports about one activity, in the order in which they come."""
    random = drawing.random("activity", number)
    names = list(KINDS)
    kind = names[number] if number < len(names) else random.choices(names, list(KINDS.values()))[0]
    content = _content(drawing, random)
    head = {"source": content.pop("source"), "activity_ref": drawing.ref(number)}
    done_at = drawing.instant(random, -random.randint(1, DAYS_BACK))

    def report(action: str, **rest: Any) -> dict[str, Any]:
        return {**head, "source_ref": f"{drawing.ref(number)}-{action}", "action": action, **rest}

    if kind == "log":
        values = fields.values_of(number) if content["type"] == fields.OBJECT else {}
        yield report("log", **content, occurred_at=done_at.isoformat(), **({"fields": values} if values else {}))
    else:
        outcome = content.pop("notes")
        yield report("schedule", **content, **_due(drawing, random, kind, done_at))
    if kind == "completed":
        minutes = random.choice((0, 0, 5, 30, 24 * 60))
        occurred_at = min(done_at + timedelta(minutes=minutes), drawing.instant(random, -1))
        yield report("complete", notes=outcome, occurred_at=occurred_at.isoformat())
    if kind == "cancelled":
        yield report("cancel", notes="Cancelled by the customer")
    if kind in ("log", "completed") and (number < len(names) or random.random() < 0.06):
        yield report("append", **_append(drawing, random))


def _due(drawing: Drawing, random: Random, kind: str, done_at: datetime) -> dict[str, str]:
    if kind == "undated":
        return {}
    if kind == "completed":
        return {"due_at": done_at.isoformat()}
    days = {"planned": (1, DAYS_AHEAD), "late": (-45, -1), "cancelled": (-90, DAYS_AHEAD), "dated": (-10, DAYS_AHEAD)}
    day = random.randint(*days[kind])
    if kind == "dated":
        return {"due_at": (drawing.base + timedelta(days=day)).isoformat()}
    return {"due_at": drawing.instant(random, day).isoformat()}


def _append(drawing: Drawing, random: Random) -> dict[str, Any]:
    kind = random.choices(list(APPENDS), list(APPENDS.values()))[0]
    if kind == "attachment":
        return {"kind": kind, "url": f"https://files.{drawing.industry.domain}/{random.getrandbits(48):012x}.pdf"}
    texts = {
        "note": "Called back: everything is settled ✅",
        "correction": "It was the spouse who called, not the policy holder.",
        "retraction": "Entered for the wrong customer.",
    }
    return {"kind": kind, "text": texts[kind]}


def _content(drawing: Drawing, random: Random) -> dict[str, Any]:
    """Say what an activity is about."""
    industry = drawing.industry
    scene = random.choice(industry.scenes)
    contact = random.randrange(RECORDS["contact"])
    who = industry.contacts[contact % len(industry.contacts)]
    number = industry.number.format(random.randrange(1, 100_000))
    member = email_of(industry, random.choice(industry.members))
    content: dict[str, Any] = {
        "source": SOURCES.get(scene.type, "crm"),
        "type": scene.type,
        "subject": scene.subject,
        "summary": f"{scene.subject} – {who}",
        "notes": scene.notes.format(who=who, number=number),
        "assignee": member,
        "actor": member,
        "participants": [who],
        "links": _links(drawing, random, contact),
        "metadata": {"file": number, "sample": True},
    }
    if scene.direction:
        content |= {"direction": scene.direction, "duration_min": random.choice((3, 5, 10, 15, 30, 45))}
    if scene.first_message:
        content["first_message"] = scene.first_message
    if scene.type in ("meeting", "site_visit", "training", "presentation"):
        content |= {"location": industry.location, "duration_min": random.choice((30, 45, 60, 90))}
    return content


def _links(drawing: Drawing, random: Random, contact: int) -> list[dict[str, Any]]:
    """Choose records: the contact, often the account, sometimes a lead instead, seldom none or all contacts."""
    share = random.random()
    if share < 0.03:
        return []
    if share < 0.033:
        return [{"object": "contact", "all": True}]

    def link(object_name: str, number: int) -> dict[str, Any]:
        return {"object": object_name, "external_ref": drawing.record_ref(object_name, number)}

    if share < 0.2:
        return [link("lead", random.randrange(RECORDS["lead"]))]
    account = [link("account", contact % RECORDS["account"])] if share < 0.6 else []
    return [link("contact", contact), *account]


def _conversation(drawing: Drawing, number: int) -> dict[str, Any]:
    """Make a finished conversation with a contact, as the contact centre tells of it."""
    random, industry = drawing.random("conversation", number), drawing.industry
    channel = "whatsapp" if number == 0 else random.choices(list(CHANNELS), list(CHANNELS.values()))[0]
    contact = random.randrange(RECORDS["contact"])
    who, agent = industry.contacts[contact % len(industry.contacts)], random.choice(industry.members)
    opened_at = drawing.instant(random, -random.randint(1, DAYS_BACK))
    inbound = random.random() < 0.8
    count = 0 if channel == "voice" else LONG_MESSAGES if number == 0 else random.randint(1, 12)
    opening = random.choice([scene.first_message for scene in industry.scenes if scene.first_message])
    texts = [opening, *(random.choice(industry.scenes).notes for _ in range(count - 1))]
    messages = []
    for place, text in enumerate(texts[:count]):
        incoming = inbound == (place % 2 == 0)
        number_text = industry.number.format(random.randrange(1, 100_000))
        messages.append({
            "id": f"m{place}", "direction": "inbound" if incoming else "outbound", "author": who if incoming else agent,
            "text": text.format(who=who, number=number_text),
            "sent_at": (opened_at + timedelta(seconds=20 * place)).isoformat(),
        })  # fmt: skip
    return {
        "interaction_id": f"{drawing.ref(number)}-conversation", "source": "contact-centre", "channel": channel,
        "queue": random.choice(industry.roles), "agent": agent, "direction": "inbound" if inbound else "outbound",
        "address": f"+1555{contact:07}", "opened_at": opened_at.isoformat(),
        "answered_at": (opened_at + timedelta(seconds=random.randint(0, 20))).isoformat(),
        "closed_at": (opened_at + timedelta(seconds=20 * count + 60)).isoformat(), "disposition": "solved",
        "links": [{"object": "contact", "external_ref": drawing.record_ref("contact", contact)}], "messages": messages,
    }  # fmt: skip


def _by_hand(drawing: Drawing, number: int) -> ByHand:
    random = drawing.random("by hand", number)
    content = _content(drawing, random)
    kind = random.choice(("plan", "log"))
    body: dict[str, Any] = {
        name: content[name] for name in ("subject", "summary", "notes", "direction") if name in content
    }
    if kind == "plan":
        body["due_datetime"] = drawing.instant(random, random.randint(-20, DAYS_AHEAD)).isoformat()
    else:
        body["occurred_at"] = drawing.instant(random, -random.randint(1, DAYS_BACK)).isoformat()
    contact_ref = drawing.record_ref("contact", random.randrange(RECORDS["contact"]))
    role = random.randrange(len(drawing.industry.roles)) if random.random() < 0.5 else None
    return ByHand(drawing.ref(number), kind, content["type"], body, contact_ref, role)
