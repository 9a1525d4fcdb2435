"""S2's activities, line by line: ids, fields, answers, headers, errors, transitions, deletion, and S1 beside it."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from libs.contracts.directory import Record
from libs.contracts.ids import preset_id_of, ulid_of, uuid7
from libs.database import Database
from services.lifecycle import handlers
from tests.integration.test_lifecycle_reports import admit, events, report
from tests.support.accounts import AT, PATH, Accounts, save_person, save_record, uuid_text
from tests.support.http import served, settle

MakeDatabase = Callable[[str], Awaitable[Database]]
WHEN = datetime(2030, 6, 1, tzinfo=UTC)
ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
INVALID: list[tuple[str, Any]] = [
    ("accountId", "nobody"), ("accountId", str(uuid7())), ("activityTimestamp", "2030-06-01T10:00:00"),
    ("activityTimestamp", 7), ("duration", -1), ("duration", 1.5), ("duration", "30"), ("location", ""),
    ("type", "DANCE"), ("status", "DONE"), ("participants", {}), ("attachmentUrls", ["ftp://x"]),
    ("privacy", "SECRET"), ("metadata", []), ("creator", "me"), ("id", "x"),
    ("participants", [{"id": str(uuid7())}]), ("metadata", {"long": "x" * 70_000}),
]  # fmt: skip


@pytest.fixture
async def world(make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Accounts]:
    monkeypatch.setenv("REFERENCE_WAIT_MAX_MS", "100")
    database = await make_database("lifecycle")
    tenant = await settle(database)
    account = await save_record(database, tenant.business_id, "Acme")
    ada = await save_person(database, tenant.business_id, "Ada", member_id=tenant.user_id)
    async with served("lifecycle", database) as http:
        yield Accounts(http, database, tenant, account, ada)


async def types(world: Accounts) -> list[str]:
    return [event.change.type for _, event in await events(world.database)]


async def test_the_answer_is_wrapped_in_data_and_has_every_field(world: Accounts) -> None:
    shown = await world.create(title="Quarterly", description="talk", metadata={"a": [1]})
    business_id = world.tenant.business_id
    assert ULID.fullmatch(shown["id"])
    assert shown["accountId"] == str(world.account)
    assert (shown["account"], shown["activityTimestamp"], shown["duration"]) == ("Acme", AT, 30)
    assert (shown["location"], shown["title"], shown["description"]) == ("Berlin", "Quarterly", "talk")
    assert (shown["type"], shown["status"], shown["privacy"]) == ("CALL", "PENDING", "PUBLIC")
    assert shown["typeId"] == str(preset_id_of(business_id, "activity_object", "call"))
    assert shown["typeConfiguration"]["label"] == "Call"
    assert (shown["statusConfiguration"]["value"], shown["statusConfiguration"]["id"]) == ("PENDING", shown["statusId"])
    assert (shown["participants"], shown["attachmentUrls"], shown["attachments"]) == ([], [], [])
    assert (shown["metadata"], shown["isActive"], shown["deletedAt"]) == ({"a": [1]}, True, None)
    assert (shown["creator"], shown["creatorId"]) == ("Ada", str(world.ada.id))
    assert shown["creatorEmail"] == world.ada.email
    assert shown["createdAt"] == shown["updatedAt"]
    assert (await world.get(shown)).json() == {"data": shown}


async def test_the_ulid_is_the_uuid_of_s1(world: Accounts) -> None:
    shown = await world.create()
    assert ulid_of(UUID(uuid_text(shown))) == shown["id"]
    assert (await world.s1("GET", f"/scheduled-activity/{uuid_text(shown)}")).status_code == 200
    assert (await world.call("GET", f"/{shown['id'].lower()}")).json()["data"]["id"] == shown["id"]


async def test_each_required_field_is_named_all_at_once(world: Accounts) -> None:
    answer = await world.call("POST", "", {"title": "x"})
    assert answer.status_code == 400
    message = answer.json()["message"]
    assert all(f"{name}: is required" in message for name in ("accountId", "activityTimestamp", "duration", "location"))


async def test_what_is_not_valid_is_a_400_that_names_the_field(world: Accounts) -> None:
    given = {"accountId": str(world.account), "activityTimestamp": AT, "duration": 30, "location": "Berlin"}
    for field, value in INVALID:
        answer = await world.call("POST", "", given | {field: value})
        assert answer.status_code == 400, answer.text
        assert answer.json().keys() == {"statusCode", "message", "error"}
        assert answer.json()["statusCode"] == 400
        assert answer.json()["message"].startswith(field)
    assert await events(world.database) == []


async def test_types_and_statuses_are_given_by_value_or_by_id(world: Accounts) -> None:
    for_value = await world.create(type="SITE_VISIT", status="COMPLETED")
    assert (for_value["type"], for_value["status"]) == ("SITE_VISIT", "COMPLETED")
    for given in (for_value["typeId"], ulid_of(UUID(for_value["typeId"]))):
        again = await world.create(type=given, status=for_value["statusId"])
        assert (again["type"], again["status"]) == ("SITE_VISIT", "COMPLETED")


async def test_participants_are_members_or_anybody(world: Accounts) -> None:
    people = ["Grace", {"id": str(world.ada.id)}, {"name": "Bob", "email": "bob@x.example"}, world.ada.email]
    shown = await world.create(participants=people)
    ada = {"id": str(world.ada.id), "name": "Ada", "email": None}
    bob = {"id": None, "name": "Bob", "email": "bob@x.example"}
    assert shown["participants"] == [{"id": None, "name": "Grace", "email": None}, ada, bob, ada]


async def test_attachments_have_ids_and_one_can_be_removed(world: Accounts) -> None:
    urls = ["https://x.example/a.pdf", "https://x.example/b.png?v=1"]
    shown = await world.create(attachmentUrls=[*urls, urls[0]])
    assert shown["attachmentUrls"] == urls
    assert [each["name"] for each in shown["attachments"]] == ["a.pdf", "b.png"]
    path = f"/{shown['id']}/attachments/{shown['attachments'][0]['id']}"
    assert (await world.call("DELETE", path)).status_code == 204
    assert (await world.call("DELETE", path)).status_code == 404
    left = (await world.get(shown)).json()["data"]
    assert [each["id"] for each in left["attachments"]] == [shown["attachments"][1]["id"]]
    assert left["attachmentUrls"] == urls[1:]


async def test_put_changes_only_what_it_names(world: Accounts) -> None:
    shown = await world.create(title="old", metadata={"a": 1})
    answer = await world.call("PUT", f"/{shown['id']}", {"title": "new", "type": "MEETING"})
    after = answer.json()["data"]
    assert (after["title"], after["type"], answer.headers["etag"]) == ("new", "MEETING", '"2"')
    changed = {"title", "type", "typeId", "typeConfiguration", "updatedAt"}
    assert {name for name in shown if after[name] != shown[name]} == changed
    cleared = await world.call("PUT", f"/{shown['id']}", {"title": None})
    assert cleared.json()["data"]["title"] is None
    assert (await world.call("PUT", f"/{shown['id']}", {"location": None})).status_code == 400
    other = await save_record(world.database, world.tenant.business_id, "Other")
    moved = await world.call("PUT", f"/{shown['id']}", {"accountId": str(other)})
    assert moved.json()["data"]["account"] == "Other"
    assert await world.listed() == []
    assert await world.listed(accountId=str(other)) == [shown["id"]]


async def test_pending_becomes_completed_at_the_time_it_was_to_be(world: Accounts) -> None:
    shown = await world.create()
    answer = await world.call("PUT", f"/{shown['id']}", {"status": "COMPLETED"})
    assert answer.status_code == 200, answer.text
    after = answer.json()["data"]
    assert (after["status"], after["activityTimestamp"]) == ("COMPLETED", AT)
    logged = (await world.s1("GET", f"/logged/{uuid_text(shown)}")).json()
    assert (logged["state"], logged["occurred_at"]) == ("completed", AT)
    assert logged["completed_by"]["name"] == "Ada"
    assert await types(world) == ["activity.created", "activity.completed"]


async def test_pending_becomes_cancelled(world: Accounts) -> None:
    shown = await world.create()
    answer = await world.call("PUT", f"/{shown['id']}", {"status": "CANCELLED", "title": "not now"})
    assert (answer.json()["data"]["status"], answer.json()["data"]["title"]) == ("CANCELLED", "not now")
    assert await types(world) == ["activity.created", "activity.updated", "activity.cancelled"]
    assert (await world.create(status="CANCELLED"))["status"] == "CANCELLED"


@pytest.mark.parametrize("before", ["COMPLETED", "CANCELLED"])
async def test_every_other_transition_and_change_is_a_conflict(world: Accounts, before: str) -> None:
    shown = await world.create(status=before, attachmentUrls=["https://x.example/a"])
    attachment = f"/{shown['id']}/attachments/{shown['attachments'][0]['id']}"
    versions = len(await events(world.database))
    for method, path, body in (
        *(
            ("PUT", f"/{shown['id']}", {"status": status})
            for status in ("PENDING", "COMPLETED", "CANCELLED")
            if status != before
        ),
        ("PUT", f"/{shown['id']}", {"title": "other"}),
        ("DELETE", attachment, None),
    ):
        answer = await world.call(method, path, body)
        assert answer.status_code == 409, answer.text
        assert answer.json()["error"] == "Conflict"
    same = await world.call("PUT", f"/{shown['id']}", {"status": before, "location": "Berlin"})
    assert (same.status_code, same.json()["data"]) == (200, shown)
    assert len(await events(world.database)) == versions


async def test_a_completed_one_is_logged_in_s1_and_can_be_added_to(world: Accounts) -> None:
    shown = await world.create(status="COMPLETED", activityTimestamp="2026-01-01T09:00:00+02:00")
    assert shown["activityTimestamp"] == "2026-01-01T07:00:00Z"
    path = f"/logged/{uuid_text(shown)}"
    logged = (await world.s1("GET", path)).json()
    assert (logged["state"], logged["completed_at"], logged["location"]) == ("logged", None, "Berlin")
    url = "https://x.example/report.pdf"
    assert (await world.s1("POST", f"{path}/append", {"kind": "attachment", "url": url})).status_code == 201
    assert (await world.get(shown)).json()["data"]["attachments"][0]["url"] == url


async def test_what_s1_made_is_read_listed_and_changed_through_s2(world: Accounts) -> None:
    links = [{"custom_object": "account", "entity_id": str(world.account)}]
    plan = {"activity_object_name": "meeting", "due_datetime": AT, "note": "papers", "associated_entities": links}
    made = (await world.s1("POST", "/scheduled-activity", plan)).json()
    ulid = ulid_of(UUID(made["id"]))
    shown = (await world.call("GET", f"/{ulid}")).json()["data"]
    assert (shown["type"], shown["description"], shown["accountId"]) == ("MEETING", "papers", str(world.account))
    assert (shown["activityTimestamp"], shown["duration"], shown["location"]) == (AT, None, None)
    assert await world.listed() == [ulid]
    done = await world.call("PUT", f"/{ulid}", {"status": "COMPLETED", "duration": 5})
    assert done.json()["data"]["duration"] == 5
    listed = (await world.s1("GET", "/scheduled-activity?completed=true")).json()
    assert [each["id"] for each in listed["results"]] == [made["id"]]
    every = {"related_objects": [{"custom_object": "account", "all": True}]}
    whole = (await world.s1("POST", "/note/log-activity", every)).json()
    assert set(await world.listed()) == {ulid, ulid_of(UUID(whole["id"]))}


async def test_the_list_is_newest_first_and_paged(world: Accounts) -> None:
    days = [await world.create(activityTimestamp=f"2030-06-{day:02}T10:00:00Z") for day in (3, 1, 5, 2, 4)]
    ordered = [days[place]["id"] for place in (2, 4, 0, 3, 1)]
    assert await world.listed() == ordered
    assert await world.listed(page=2, limit=2) == ordered[2:4]
    answer = await world.call("GET", "", params={"accountId": str(world.account), "page": 3, "limit": 2})
    meta = answer.json()["meta"]
    assert {name: meta[name] for name in ("page", "limit", "total", "totalPages")} == {
        "page": 3, "limit": 2, "total": 5, "totalPages": 3,
    }  # fmt: skip
    assert (meta["totalIsEstimate"], meta["next"]) == (False, None)
    assert (await world.call("GET")).status_code == 400
    assert (await world.call("GET", "", params={"accountId": str(uuid7())})).status_code == 404
    for wrong in ({"page": 0}, {"limit": 101}):
        assert (await world.call("GET", "", params={"accountId": str(world.account)} | wrong)).status_code == 400


async def follow(world: Accounts, link: str | None, word: str) -> list[list[str]]:
    """Go on by `next` or `previous` to the end; the ids on each page."""
    found = []
    while link is not None:
        path, _, query = link.partition("?")
        assert path == PATH
        answer = await world.call("GET", f"?{query}")
        assert answer.status_code == 200, answer.text
        found.append([each["id"] for each in answer.json()["data"]])
        link = answer.json()["meta"][word]
        if link is None and word == "next":
            found += await follow(world, answer.json()["meta"]["previous"], "previous")
    return found


async def test_the_list_goes_on_by_its_links_both_ways_and_does_not_slip(world: Accounts) -> None:
    same = [(await world.create())["id"] for _ in range(3)]  # at the same instant: the id decides
    late = (await world.create(activityTimestamp="2030-06-07T10:00:00Z"))["id"]
    every = {"related_objects": [{"custom_object": "account", "all": True}], "occurred_at": "2030-01-01T00:00:00Z"}
    whole = ulid_of(UUID((await world.s1("POST", "/note/log-activity", every)).json()["id"]))
    ordered = await world.listed()
    assert (ordered[0], ordered[-1], set(ordered[1:4])) == (late, whole, set(same))
    first = await world.call("GET", "", params={"accountId": str(world.account), "limit": 2})
    await world.create(activityTimestamp="2031-01-01T10:00:00Z")
    walked = await follow(world, first.json()["meta"]["next"], "next")
    assert walked == [ordered[2:4], ordered[4:], ordered[2:4], ordered[:2]]
    for wrong in ("abc", first.json()["meta"]["next"].rpartition("cursor=")[2]):
        other = await save_record(world.database, world.tenant.business_id, "Other")
        answer = await world.call("GET", "", params={"accountId": str(other), "limit": 2, "cursor": wrong})
        assert (answer.status_code, answer.json()["message"].split(":")[0]) == (400, "cursor")


async def test_accounts_that_were_merged_list_the_activities_of_both_until_that_is_undone(world: Accounts) -> None:
    other = await save_record(world.database, world.tenant.business_id, "Other")
    own = (await world.create())["id"]
    his = (await world.create(accountId=str(other), activityTimestamp="2030-06-02T10:00:00Z"))["id"]
    links = [{"custom_object": "account", "entity_id": str(each)} for each in (world.account, other)]
    both = {"activity_object_name": "call", "due_datetime": "2030-06-03T00:00:00Z", "associated_entities": links}
    shared = ulid_of(UUID((await world.s1("POST", "/scheduled-activity", both)).json()["id"]))
    merged = Record(
        business_id=world.tenant.business_id, id=other, version=2, object="account", name="Other",
        created_at=WHEN, updated_at=WHEN, merged_into=world.account,
    )  # fmt: skip
    async with world.database.work() as tx:
        await handlers.copy_records(tx, [merged])
    for account in (world.account, other):
        answer = await world.call("GET", "", params={"accountId": str(account), "limit": 2})
        assert [each["id"] for each in answer.json()["data"]] == [shared, his]
        assert answer.json()["meta"]["total"] == 3, "what is linked to both is one"
        second = await world.call("GET", "", params={"accountId": str(account), "limit": 2, "page": 2})
        assert [each["id"] for each in second.json()["data"]] == [own]
    async with world.database.work() as tx:
        await handlers.copy_records(tx, [merged.model_copy(update={"version": 3, "merged_into": None})])
    assert await world.listed() == [shared, own]
    assert await world.listed(accountId=str(other)) == [shared, his]


async def test_a_total_is_exact_up_to_its_bound_and_marked_beyond(
    world: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [await world.create(location=f"room {number}") for number in range(6)]
    await world.call("DELETE", f"/{made[0]['id']}")
    for bound, is_estimate in ((7, False), (4, True)):
        monkeypatch.setattr("services.lifecycle.store.pages.LOOKED_AT_MAX", bound)
        answer = await world.call("GET", "", params={"accountId": str(world.account), "page": 3, "limit": 2})
        meta = answer.json()["meta"]
        assert (meta["totalIsEstimate"], len(answer.json()["data"])) == (is_estimate, 1)
        assert meta["total"] == 5 if not is_estimate else meta["total"] >= 5


async def test_a_deleted_one_is_gone_everywhere_but_in_its_history_and_can_be_restored(world: Accounts) -> None:
    shown, done = await world.create(), await world.create(status="COMPLETED")
    identity = uuid_text(shown)
    for each in (shown, done):
        assert (await world.call("DELETE", f"/{each['id']}")).status_code == 204
        for method, path, body in (("GET", "", None), ("PUT", "", {"title": "x"}), ("DELETE", "", None)):
            assert (await world.call(method, f"/{each['id']}{path}", body)).status_code == 404
    assert await world.listed() == []
    assert (await world.s1("GET", f"/scheduled-activity/{identity}")).status_code == 404
    assert (await world.s1("GET", "/scheduled-activity")).json()["count"] == 0
    history = await world.s1("GET", f"/scheduled-activity/{identity}/history")
    assert [each["type"] for each in history.json()["results"]] == ["activity.created", "activity.deleted"]
    for each in (shown, done):
        back = await world.call("POST", f"/{each['id']}/restore")
        assert (back.status_code, back.json()["data"]["isActive"]) == (200, True)
    assert len(await world.listed()) == 2
    assert (await types(world))[-2:] == ["activity.restored", "activity.restored"]


async def test_all_three_headers_are_required(world: Accounts) -> None:
    shown = await world.create()
    whole = world.headers(world.ada)
    other = await settle(world.database)
    for headers, status, words in (
        ({name: value for name, value in whole.items() if name != "x-api-key"}, 401, "x-api-key"),
        ({name: value for name, value in whole.items() if name != "authorization"}, 401, "Bearer"),
        ({name: value for name, value in whole.items() if name != "x-org-id"}, 400, "x-org-id"),
        (whole | {"x-org-id": "mine"}, 400, "x-org-id"),
        (whole | {"x-org-id": str(other.business_id)}, 403, "x-org-id"),
        (whole | {"x-api-key": other.key.text}, 403, "x-org-id"),
        (whole | {"authorization": f"Bearer {world.tenant.key.text}"}, 401, "token"),
        (whole | {"x-api-key": world.ada.token}, 401, "key"),
        (whole | {"authorization": "Basic x"}, 401, "Authorization"),
    ):
        answer = await world.http.get(f"{PATH}/{shown['id']}", headers=headers)
        assert (answer.status_code, answer.json()["statusCode"]) == (status, status), answer.text
        assert answer.json().keys() == {"statusCode", "message", "error"}
        assert words in answer.json()["message"]
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-request-id"]


async def test_an_unknown_id_and_a_foreign_one_are_a_404_in_s2s_shape(world: Accounts) -> None:
    other = await settle(world.database)
    of_theirs = report(other.business_id, "log", "theirs", type="call")
    await admit(world.database, of_theirs)
    for identity in (ulid_of(uuid7()), ulid_of(of_theirs.activity_id), "nonsense", "x" * 26):
        answer = await world.call("GET", f"/{identity}")
        shown = {"statusCode": 404, "message": f"there is no activity '{identity}'", "error": "Not Found"}
        assert (answer.status_code, answer.json()) == (404, shown)


async def test_what_cannot_be_read_at_all_is_told_in_s2s_shape(world: Accounts) -> None:
    sent = world.headers(world.ada) | {"content-type": "application/json"}
    for content, status in ((b"{", 400), (b'{"x": NaN}', 400), (b'"' + b"x" * (1 << 20) + b'"', 413)):
        answer = await world.http.post(PATH, content=content, headers=sent)
        assert (answer.status_code, answer.json()["statusCode"]) == (status, status)


async def test_a_write_that_is_sent_again_with_its_key_happens_once(world: Accounts) -> None:
    given = {"accountId": str(world.account), "activityTimestamp": AT, "duration": 30, "location": "Berlin"}
    first, second = [await world.call("POST", "", given, headers={"idempotency-key": "k-1"}) for _ in range(2)]
    assert first.json() == second.json()
    assert len(await events(world.database)) == 1
    stale = await world.call("PUT", f"/{first.json()['data']['id']}", {"title": "x"}, headers={"if-match": '"9"'})
    assert (stale.status_code, stale.json()["statusCode"]) == (412, 412)


async def test_two_that_tell_of_one_event_say_so_and_are_listed_once(world: Accounts) -> None:
    one = await world.create(status="COMPLETED", title="Renewal")
    other = await world.create(status="COMPLETED", title="Renewal call")
    assert (one["sameAs"], one["same"]) == (None, [])
    linked = await world.s1("PUT", f"/logged/{uuid_text(one)}/same-event/{uuid_text(other)}")
    assert linked.status_code == 200, linked.text
    shown = {each["id"]: (await world.get(each)).json()["data"] for each in (one, other)}
    [stands] = [each for each in shown.values() if each["sameAs"] is None]
    [told] = [each for each in shown.values() if each["sameAs"] is not None]
    assert told["sameAs"] == stands["id"]
    for here, there in ((stands, told), (told, stands)):
        [same] = here["same"]
        assert (same["activityId"], same["linkedBy"]) == (there["id"], str(world.ada.id))
        assert same["differs"] == ["subject"]
        assert same["differences"] == [{"field": "subject", "here": here["title"], "there": there["title"]}]
    listed = (await world.call("GET", params={"accountId": str(world.account)})).json()["data"]
    assert [(each["id"], [same["activityId"] for same in each["same"]]) for each in listed] == [
        (stands["id"], [told["id"]])
    ]


async def test_an_account_that_is_deleted_stays_and_is_marked(world: Accounts) -> None:
    made = await world.create()
    assert (made["account"], made["accountIsActive"]) == ("Acme", True)
    when = datetime.now(UTC)
    gone = Record(
        business_id=world.tenant.business_id, id=world.account, version=2, object="account", name="Acme",
        created_at=when, updated_at=when, deleted_at=when,
    )  # fmt: skip
    async with world.database.work() as tx:
        await handlers.copy_records(tx, [gone])
    listed = (await world.call("GET", params={"accountId": str(world.account)})).json()["data"]
    for shown in ((await world.get(made)).json()["data"], *listed):
        assert (shown["account"], shown["accountIsActive"]) == ("Acme", False)


async def test_what_is_planned_with_two_records_of_an_object_is_not_completed_as_it_is(world: Accounts) -> None:
    business_id = world.tenant.business_id
    contacts = [await save_record(world.database, business_id, name, "contact") for name in ("Grace", "Bo")]
    accounts = [world.account, await save_record(world.database, business_id, "Other")]
    for kind, ids, field in (("contact", contacts, "status"), ("account", accounts, "accountId")):
        links = [{"custom_object": kind, "entity_id": str(each)} for each in ids]
        planned = {"activity_object_name": "call", "associated_entities": links}
        identity = ulid_of(UUID((await world.s1("POST", "/scheduled-activity", planned)).json()["id"]))
        refused = await world.call("PUT", f"/{identity}", {"status": "COMPLETED", "duration": 10})
        assert refused.status_code == 400
        assert (f"{field}:" in str(refused.json()["message"]), f"2 records of '{kind}'" in str(refused.json())) == (
            True, True,
        )  # fmt: skip
        assert (await world.call("GET", f"/{identity}")).json()["data"]["status"] == "PENDING"
    named = {"status": "COMPLETED", "accountId": str(world.account)}
    assert (await world.call("PUT", f"/{identity}", named)).json()["data"]["status"] == "COMPLETED"
