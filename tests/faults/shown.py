"""I4 and I5: timelines, badges and reports say what the truth says, in the stores and through the routes."""

from collections import Counter
from typing import Any
from uuid import UUID

import orjson

from libs.contracts.ids import activity_id_of_interaction
from services.reporting.domain.facts import fact_of
from tests.faults.evidence import Case, Found
from tests.faults.load import RECORDS

PAGE = 200


def shown_exactly(case: Case) -> Found:
    """I4: each timeline holds exactly the activities of its record, each once, at the truth's version; badge = rows."""
    return [*case.about("timeline"), *case.about("badge")]


async def shown_in_order(case: Case) -> Found:
    """I4, through the routes: pages in the stated order, each activity once, as many as the badge says."""
    found = []
    ids = [case.tenant.record_id(number) for number in range(RECORDS)]
    answer = await case.tenant.call("POST", "/api/timeline/badges", {"object": "contact", "record_ids": ids})
    if answer.status != 200:
        return [f"badges answer {answer.status}"]
    badges = orjson.loads(answer.body)["counts"]
    for record_id in ids:
        lines = await _pages(case, f"/api/timeline/contact/{record_id}?limit={PAGE}")
        places = [(line["at"], _stands_as(line)) for line in lines]
        if places != sorted(places, reverse=True):
            found.append(f"the timeline of contact {record_id} is not in order")
        if len(set(places)) != len(places):
            found.append(f"the timeline of contact {record_id} shows an activity twice")
        if badges[record_id] != len(lines):
            found.append(f"the badge of contact {record_id} says {badges[record_id]}, there are {len(lines)} lines")
    return found


def _stands_as(line: dict[str, Any]) -> str:
    """A conversation stands among activities as the one that would follow from it."""
    return line["activity_id"] or str(activity_id_of_interaction(UUID(line["interaction_id"])))


async def _pages(case: Case, path: str) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    cursor = ""
    while True:
        answer = await case.tenant.call("GET", f"{path}{cursor}")
        if answer.status != 200:
            return lines
        page = orjson.loads(answer.body)
        lines += page["results"]
        if page["next"] is None:
            return lines
        cursor = f"&cursor={page['next']}"


def counted_right(case: Case) -> Found:
    """I5: facts and roll-ups equal a recomputation from the truth."""
    return case.about("reports")


async def totals_right(case: Case) -> Found:
    """I5, through the routes: totals by state equal those counted from the truth; parts add up to the whole."""
    span = "/api/reports/volume?from=2026-01-01&to=2031-12-31&granularity=month"
    grouped, whole = [await case.tenant.call("GET", f"{span}{more}") for more in ("&group_by=state", "")]
    if (grouped.status, whole.status) != (200, 200):
        return [f"reports answer {grouped.status}, {whole.status}"]
    told: Counter[str] = Counter()
    for cell in orjson.loads(grouped.body)["series"]:
        told[cell["group"]["state"]] += cell["count"]
    right: Counter[str] = Counter()
    for event in case.events.values():
        fact = fact_of(event.activity)
        if fact.counted:
            right[{"due": "scheduled", "undated": "scheduled"}.get(fact.state, fact.state)] += 1
    hosted = {event.activity.interaction_id for event in case.events.values() if event.activity.deleted_at is None}
    right["logged"] += sum(interaction_id not in hosted for interaction_id, _ in case.talks.values())
    found = [] if told == right else [f"reports: totals by state are {dict(told)}, the truth has {dict(right)}"]
    total = orjson.loads(whole.body)["total"]
    return found if total == sum(told.values()) else [*found, f"reports: the parts are {told}, the whole is {total}"]
