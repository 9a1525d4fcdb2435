"""S1: what follows from an activity elsewhere: on timelines, in badges, reports and webhooks (rules 5 and 6)."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from libs.contracts.activity import Link
from libs.contracts.ids import activity_id_of
from tests.integration.test_lifecycle_reports import admit, report
from tests.support.everywhere import Company, Served, all_served

PLANS = "/api/activities/scheduled-activity"


@pytest.fixture(scope="module")
async def running() -> AsyncIterator[Served]:
    async with all_served() as found:
        yield found


@pytest.fixture
async def company(running: Served) -> Company:
    return await Company.settled(running)


def about(**records: UUID) -> list[dict[str, str]]:
    return [{"custom_object": kind, "entity_id": str(record_id)} for kind, record_id in records.items()]


async def plan(company: Company, **more: Any) -> str:
    body = {"activity_object_name": "call", "due_datetime": "2030-06-01T10:00:00Z"} | more
    return str((await company.call("POST", PLANS, body))["id"])


async def log(company: Company, **more: Any) -> str:
    return str((await company.call("POST", "/api/activities/call/log-activity", {"related_objects": []} | more))["id"])


async def test_rule_5_it_is_on_each_linked_timeline_upcoming_then_completed_and_in_the_reports(
    company: Company,
) -> None:
    contact, account = await company.record("contact"), await company.record("account")
    other = await company.record("contact")
    places = (("contact", contact), ("account", account))
    identity = await plan(company, associated_entities=about(contact=contact, account=account))
    for place in places:
        assert await company.lines(*place) == await company.lines(*place, state="upcoming") == [(identity, "scheduled")]
    assert await company.counts() == {"scheduled": 1}
    await company.call("PATCH", f"{PLANS}/{identity}", {"associated_entities": about(contact=other)})
    assert [await company.lines(*place) for place in (*places, ("contact", other))] == [
        [],
        [],
        [(identity, "scheduled")],
    ]
    await log(company, scheduled_activity_id=identity, related_objects=about(contact=contact, account=account))
    for place in places:
        assert await company.lines(*place) == await company.lines(*place, state="past") == [(identity, "completed")]
    assert await company.lines("contact", other) == []
    assert await company.counts() == {"completed": 1}


async def test_rule_5_a_scheduled_one_alone_never_fires_a_webhook_whatever_is_done_with_it(company: Company) -> None:
    await company.endpoint()
    identity = await plan(company)
    await company.call("PATCH", f"{PLANS}/{identity}", {"note": "x", "due_datetime": "2030-06-02"})
    await company.call("DELETE", f"{PLANS}/{identity}")
    await company.call("POST", f"{PLANS}/{identity}/restore")
    assert await company.owed() == []
    await log(company, scheduled_activity_id=identity)
    assert sorted(await company.owed()) == [("activity.completed", identity), ("activity.logged", identity)]


async def test_rule_6_each_subscription_chooses_between_logged_and_completed(company: Company) -> None:
    logged, completed = await company.endpoint("activity.logged"), await company.endpoint("activity.completed")
    both = await company.endpoint("activity.logged", "activity.completed")
    direct, planned = await log(company), await plan(company)
    await log(company, scheduled_activity_id=planned)
    assert sorted(await company.owed([logged])) == sorted([("activity.logged", direct), ("activity.logged", planned)])
    assert await company.owed([completed]) == [("activity.completed", planned)]
    assert len(await company.owed([both])) == 3


async def test_rule_6_a_body_carries_enough_to_fetch_the_full_record(company: Company) -> None:
    await company.endpoint("activity.logged")
    direct, planned = await log(company, notes="said"), await plan(company)
    await log(company, scheduled_activity_id=planned)
    told = {body["data"]["activity_id"]: body["data"] for body in await company.bodies()}
    assert [told[each]["scheduled_activity_id"] for each in (direct, planned)] == [None, planned]
    for identity, data in told.items():
        assert (data["logged_activity_id"], data["business_id"]) == (identity, str(company.tenant.business_id))
        shown = await company.call("GET", f"/api/activities/logged/{data['logged_activity_id']}")
        assert (shown["version"], shown["activity_object"]["api_name"]) == (data["version"], data["type"])


async def test_what_is_retracted_stays_on_timeline_and_badge_and_leaves_the_totals(company: Company) -> None:
    contact = await company.record("contact")
    identity = await log(company, related_objects=about(contact=contact))
    await company.call("POST", f"/api/activities/logged/{identity}/undo", {"reopen": True})
    lines = await company.lines("contact", contact)
    assert [state for each, state in lines if each == identity] == ["logged"]
    assert (len(lines), await company.counts()) == (2, {"scheduled": 1})


async def test_without_links_it_is_listed_counted_and_told_and_on_no_timeline(company: Company) -> None:
    contact = await company.record("contact")
    await company.endpoint("activity.logged")
    direct, planned = await log(company, related_objects=[]), await plan(company, associated_entities=[])
    assert await company.lines("contact", contact) == []
    assert await company.counts() == {"logged": 1, "scheduled": 1}
    assert await company.owed() == [("activity.logged", direct)]
    assert [each["id"] for each in (await company.call("GET", PLANS))["results"]] == [planned]


async def test_what_is_about_all_records_of_an_object_is_on_the_timeline_of_each(company: Company) -> None:
    one, other = await company.record("lead"), await company.record("lead")
    identity = await log(company, related_objects=[{"custom_object": "lead", "all": True}])
    later = await company.record("lead")
    for record_id in (one, other, later):
        assert await company.lines("lead", record_id) == [(identity, "logged")]
    assert await company.counts() == {"logged": 1}


async def test_an_account_whose_contacts_moved_elsewhere_keeps_its_history_and_they_keep_theirs(
    company: Company,
) -> None:
    here, there = await company.record("account"), await company.record("account")
    contact = await company.record("contact", account_id=here)
    both = await log(company, related_objects=about(contact=contact, account=here))
    await company.record("contact", contact, account_id=there)
    after = await log(company, related_objects=about(contact=contact, account=there))
    assert await company.lines("account", here) == [(both, "logged")]
    assert await company.lines("account", there) == [(after, "logged")]
    assert await company.lines("contact", contact) == [(after, "logged"), (both, "logged")]


async def test_a_link_to_a_record_that_is_deleted_since_stays_and_its_timeline_is_gone(company: Company) -> None:
    contact, account = await company.record("contact"), await company.record("account")
    identity = await plan(company, associated_entities=about(contact=contact, account=account))
    await company.lines("contact", contact)
    await company.record("contact", contact, deleted_at=datetime.now(UTC))
    answer = await company.clients["timeline_projector"].get(
        f"/api/timeline/contact/{contact}", headers=company.tenant.headers
    )
    assert answer.status_code == 404
    assert await company.lines("account", account) == [(identity, "scheduled")]
    for method, path, body in (
        ("GET", f"{PLANS}/{identity}", None), ("PATCH", f"{PLANS}/{identity}", {"note": "x"}),
        ("POST", "/api/activities/call/log-activity", {"related_objects": [], "scheduled_activity_id": identity}),
        ("GET", f"/api/activities/logged/{identity}", None),
    ):  # fmt: skip
        shown = await company.call(method, path, body)
        assert [each.get("deleted") for each in shown["associated_entities"]] == [True, None], (method, path)
    assert await company.counts() == {"completed": 1}


async def test_a_moment_by_a_producers_clock_an_hour_ahead_is_kept_as_said_beside_ours(company: Company) -> None:
    contact, ahead = await company.record("contact"), datetime.now(UTC) + timedelta(hours=1)
    business, links = company.tenant.business_id, [Link(object="contact", record_id=contact)]
    received = datetime.now(UTC)
    told = report(business, "log", "fast", type="call", occurred_at=ahead, links=links, received_at=received)
    await admit(company.databases["lifecycle"], told)
    identity = str(activity_id_of(business, "crm", "fast"))
    shown = await company.call("GET", f"/api/activities/logged/{identity}")
    assert [datetime.fromisoformat(shown[name]) for name in ("occurred_at", "logged_at")] == [ahead, received]
    assert await company.lines("contact", contact, state="past") == [(identity, "logged")]
    assert await company.counts() == {"logged": 1}


async def test_an_activity_that_began_and_has_no_end_is_logged_without_a_duration(company: Company) -> None:
    begun = {"type": "call", "occurred_at": datetime(2026, 5, 4, 9, 30, tzinfo=UTC), "received_at": datetime.now(UTC)}
    await admit(company.databases["lifecycle"], report(company.tenant.business_id, "log", "open", **begun))
    identity = str(activity_id_of(company.tenant.business_id, "crm", "open"))
    shown = await company.call("GET", f"/api/activities/logged/{identity}")
    assert (shown["state"], shown["duration_min"], shown["occurred_at"]) == ("logged", None, "2026-05-04T09:30:00Z")
    assert await company.counts() == {"logged": 1}
