"""Records that are merged, archived, moved, converted, seen by some roles only, and changed by activities."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from libs.contracts.directory import Record, RecordObject
from libs.contracts.ids import uuid7
from libs.contracts.record import RecordChanged, RecordRefused, RecordRequested
from libs.database import Database
from services.directory import handlers
from tests.support.http import OPERATOR_KEY, served

SHAPES: dict[str, Any] = {
    "directory.record": Record, "directory.object": RecordObject, "record.changed": RecordChanged,
    "record.refused": RecordRefused,
}  # fmt: skip


@dataclass
class World:
    """A served directory with a business."""

    http: httpx.AsyncClient
    database: Database
    own: dict[str, str]
    headers: dict[str, str] = field(default_factory=dict)

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        sent = self.headers | {"X-API-KEY": self.own["api_key"]} | {k.replace("_", "-"): v for k, v in headers.items()}
        return await self.http.request(method, f"/api/directory{path}", json=body, headers=sent)

    async def make(self, object_name: str, **given: Any) -> dict[str, Any]:
        answer = await self.call("POST", f"/records/{object_name}", {"name": "Grace"} | given)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def show(self, record: dict[str, Any], object_name: str = "contact") -> dict[str, Any]:
        shown: dict[str, Any] = (await self.call("GET", f"/records/{object_name}/{record['id']}")).json()
        return shown

    async def names(self, object_name: str = "contact", **headers: str) -> list[str]:
        listed = (await self.call("GET", f"/records/{object_name}", **headers)).json()
        return [record["name"] for record in listed["results"]]

    async def events(self, event_type: str) -> list[Any]:
        async with self.database.work() as tx:
            rows = await tx.fetch("select value from outbox where types = $1 order by id", event_type)
        return [SHAPES[event_type].model_validate_json(row["value"]) for row in rows]

    async def member(self, role_id: str | None = None, **permissions: str) -> dict[str, str]:
        """Make a member with a role of these permissions (and another one); give the headers of its token."""
        roles = [role_id] if role_id else []
        if permissions:
            given = {name.replace("_", "."): level for name, level in permissions.items()}
            made = await self.call("POST", "/roles", {"name": "r", "permissions": given})
            roles.append(made.json()["id"])
        person = {"name": "Bob", "email": f"{uuid4()}@example.org", "role_ids": roles}
        member = (await self.call("POST", "/members", person)).json()
        return {"X-API-KEY": (await self.call("POST", f"/members/{member['id']}/tokens", {})).json()["token"]}


@pytest.fixture
async def world(make_database: Callable[[str], Awaitable[Database]]) -> AsyncIterator[World]:
    database = await make_database("directory")
    async with served("directory", database) as http:
        body, operator = {"name": "One", "zone": "UTC"}, {"X-API-KEY": OPERATOR_KEY.text}
        made = await http.post("/api/directory/businesses", json=body, headers=operator)
        yield World(http, database, made.json())


async def test_a_merged_record_leads_to_its_survivor_and_back_after_undo(world: World) -> None:
    one, two, three = [await world.make("contact", name=name) for name in ("one", "two", "three")]
    merged = await world.call("POST", f"/records/contact/{two['id']}/merge", {"record_id": one["id"]})
    assert (merged.status_code, merged.json()["id"]) == (200, two["id"])
    assert (await world.show(one))["merged_into"] == two["id"]
    assert sorted(await world.names()) == ["three", "two"]
    again = await world.call("POST", f"/records/contact/{two['id']}/merge", {"record_id": one["id"]})
    assert (again.status_code, again.json()["code"]) == (409, "merged")
    await world.call("POST", f"/records/contact/{three['id']}/merge", {"record_id": two["id"]})
    assert [(await world.show(each))["merged_into"] for each in (one, two)] == [three["id"]] * 2
    back = await world.call("POST", f"/records/contact/{two['id']}/unmerge")
    assert back.json()["merged_into"] is None
    assert (await world.show(one))["merged_into"] == two["id"], "what was merged into it before stays with it"
    assert (await world.call("POST", f"/records/contact/{one['id']}/unmerge")).status_code == 200
    assert sorted(await world.names()) == ["one", "three", "two"]
    assert (await world.call("POST", f"/records/contact/{one['id']}/unmerge")).json()["code"] == "not_merged"
    newest = {each.id: each for each in await world.events("directory.record")}
    assert {each.merged_into for each in newest.values()} == {None}
    paths = [each.after["merged_into"] for each in await world.events("record.changed")]
    assert paths[0] == two["id"]
    assert paths[-1] is None


async def test_a_merged_record_is_not_changed_and_nothing_is_merged_into_itself(world: World) -> None:
    one, two = await world.make("contact"), await world.make("contact")
    lead = await world.make("lead")
    same = await world.call("POST", f"/records/contact/{two['id']}/merge", {"record_id": two["id"]})
    assert (same.status_code, same.json()["errors"][0]["code"]) == (422, "same")
    other = await world.call("POST", f"/records/contact/{two['id']}/merge", {"record_id": lead["id"]})
    assert (other.status_code, other.json()["errors"][0]["code"]) == (422, "does_not_exist")
    stale = await world.call("POST", f"/records/contact/{two['id']}/merge", {"record_id": one["id"]}, If_Match='"7"')
    assert stale.status_code == 412
    await world.call("POST", f"/records/contact/{two['id']}/merge", {"record_id": one["id"]})
    for method, end, body in (("PATCH", "", {"name": "x"}), ("POST", "/archive", None)):
        refused = await world.call(method, f"/records/contact/{one['id']}{end}", body)
        assert (refused.status_code, refused.json()["code"]) == (409, "merged")
        assert refused.json()["link"].endswith(two["id"])


async def test_an_archived_record_leaves_the_lists_and_comes_back(world: World) -> None:
    record = await world.make("contact")
    archived = await world.call("POST", f"/records/contact/{record['id']}/archive")
    assert archived.json()["archived_at"] is not None
    again = await world.call("POST", f"/records/contact/{record['id']}/archive")
    assert again.json()["version"] == archived.json()["version"]
    assert await world.names() == []
    assert len((await world.call("GET", "/records/contact?archived=true")).json()["results"]) == 1
    await world.call("POST", f"/records/contact/{record['id']}/unarchive")
    assert await world.names() == ["Grace"]


async def test_a_contact_moves_to_another_account_and_imports_do_not_move_it_back(world: World) -> None:
    here, there = await world.make("account", name="Here"), await world.make("account", name="There")
    contact = await world.make("contact", external_ref="c-1", account_id=here["id"])
    moved = await world.call("PATCH", f"/records/contact/{contact['id']}", {"account_id": there["id"]})
    assert moved.json()["account_id"] == there["id"]
    [change] = await world.events("record.changed")
    assert (change.before, change.after) == ({"account_id": here["id"]}, {"account_id": there["id"]})
    assert change.version == 2
    await world.call("PUT", "/records/contact/by-ref/c-1", {"name": "Grace H."})
    assert (await world.show(contact))["account_id"] == there["id"]
    wrong = await world.call("PATCH", f"/records/contact/{contact['id']}", {"account_id": contact["id"]})
    assert [each["field"] for each in wrong.json()["errors"]] == ["account_id"]


async def test_a_lead_is_converted_once_into_a_contact_of_an_account(world: World) -> None:
    lead = await world.make("lead", name="Ada", fields={"email": "ada@example.org"})
    made = await world.call("POST", f"/records/lead/{lead['id']}/convert", {"account": {"name": "Engines"}})
    assert made.status_code == 201, made.text
    shown = made.json()
    assert shown["lead"]["status"] == "Converted"
    assert shown["lead"]["converted_to"] == shown["contact"]["id"]
    assert shown["contact"]["account_id"] == shown["account"]["id"]
    assert (shown["contact"]["name"], shown["contact"]["fields"]) == ("Ada", {"email": "ada@example.org"})
    again = await world.call("POST", f"/records/lead/{lead['id']}/convert", {})
    assert (again.status_code, again.json()["code"]) == (409, "converted")
    [change] = await world.events("record.changed")
    assert change.after["converted_to"] == shown["contact"]["id"]
    both = await world.call("POST", f"/records/lead/{lead['id']}/convert", {"contact_id": "x"})
    assert both.status_code == 422


async def test_a_record_for_some_roles_is_there_for_their_members_alone(world: World) -> None:
    queue = (await world.call("POST", "/roles", {"name": "Queue"})).json()["id"]
    agent, outsider = await world.member(queue), await world.member()
    record = await world.make("contact", external_ref="q-1", visible_role_ids=[queue])
    path = f"/records/contact/{record['id']}"
    assert (await world.names(**agent), await world.names(**outsider)) == (["Grace"], [])
    hidden = [
        await world.call(method, path + end, body, **outsider)
        for method, end, body in (
            ("GET", "", None), ("PATCH", "", {"name": "x"}), ("DELETE", "", None), ("POST", "/archive", None),
            ("POST", "/merge", {"record_id": str(uuid7())}),
        )
    ]  # fmt: skip
    assert {answer.status_code for answer in hidden} == {404}
    for caller in (agent, outsider):
        erased = await world.call("POST", f"{path}/erase", {"reason": "asked"}, **caller)
        assert (erased.status_code, erased.json()["code"]) == (403, "not_permitted"), "administrators alone erase"
    put = await world.call("PUT", "/records/contact/by-ref/q-1", {"name": "Taken"}, **outsider)
    assert put.status_code == 404
    assert (await world.call("PATCH", path, {"status": "Inactive"}, **agent)).status_code == 200
    assert (await world.show(record))["name"] == "Grace"
    await world.call("PUT", "/records/contact/by-ref/q-1", {"name": "Imported"})
    assert await world.names(**outsider) == [], "an import says nothing of who sees it"
    await world.call("PATCH", path, {"visible_role_ids": []})
    assert await world.names(**outsider) == ["Imported"]
    unknown = await world.call("PATCH", path, {"visible_role_ids": [str(uuid4())]})
    assert [each["field"] for each in unknown.json()["errors"]] == ["visible_role_ids.0"]


async def test_a_record_that_was_merged_into_one_for_some_roles_is_for_their_members_alone_too(world: World) -> None:
    queue = (await world.call("POST", "/roles", {"name": "Queue"})).json()["id"]
    agent, outsider = await world.member(queue), await world.member()
    secret, merged = await world.make("contact", visible_role_ids=[queue]), await world.make("contact")
    await world.call("POST", f"/records/contact/{secret['id']}/merge", {"record_id": merged["id"]})
    for method, end in (("GET", ""), ("POST", "/unmerge"), ("POST", "/archive")):
        hidden = await world.call(method, f"/records/contact/{merged['id']}{end}", **outsider)
        assert hidden.status_code == 404, (method, end)
    assert (await world.call("GET", f"/records/contact/{merged['id']}", **agent)).status_code == 200
    put = await world.make("contact", external_ref="m-1")
    await world.call("POST", f"/records/contact/{secret['id']}/merge", {"record_id": put["id"]})
    refused = await world.call("PUT", "/records/contact/by-ref/m-1", {"name": "Taken"}, **outsider)
    assert refused.status_code == 404
    assert (await world.call("PUT", "/records/contact/by-ref/m-1", {"name": "Taken"}, **agent)).status_code == 200


def request(world: World, record: dict[str, Any], **fields: Any) -> RecordRequested:
    return RecordRequested(
        request_id=uuid7(), business_id=UUID(world.own["id"]), object="contact", record_id=UUID(record["id"]),
        fields=fields, activity_id=uuid7(), version=1, requested_at=datetime.now(UTC),
    )  # fmt: skip


async def ask(world: World, *requests: RecordRequested) -> None:
    async with world.database.work() as tx:
        await handlers.apply_requests(tx, requests)


async def test_what_an_activity_asks_for_is_done_once_and_said(world: World) -> None:
    record = await world.make("contact", fields={"size": 1, "old": 2})
    asked = request(world, record, size=3, old=None, status="Inactive")
    await ask(world, asked, asked)
    await ask(world, request(world, record, size=4))
    await ask(world, asked)
    shown = await world.show(record)
    assert (shown["fields"], shown["status"], shown["version"]) == ({"size": 4}, "Inactive", 3)
    first, second = await world.events("record.changed")
    assert first.after == {"fields.size": 3, "fields.old": None, "status": "Inactive"}
    assert first.before == {"fields.size": 1, "fields.old": 2, "status": None}
    assert (first.request_id, first.activity_id) == (asked.request_id, asked.activity_id)
    assert second.version == 3


async def test_what_the_object_or_the_record_does_not_allow_is_refused_with_all_reasons(world: World) -> None:
    locked = await world.call("PATCH", "/objects/contact", {"locked_fields": ["limit", "rating"]})
    assert locked.json()["locked_fields"] == ["limit", "rating"]
    record, gone = await world.make("contact"), await world.make("contact")
    await world.call("DELETE", f"/records/contact/{gone['id']}")
    await ask(world, request(world, record, limit=1, rating=2, status="Odd", owner_id=str(uuid4())))
    await ask(world, request(world, gone, size=1))
    first, second = await world.events("record.refused")
    assert [(each.field, each.code) for each in first.reasons] == [
        ("limit", "not_allowed"), ("rating", "not_allowed"), ("status", "unknown_status"),
        ("owner_id", "does_not_exist"),
    ]  # fmt: skip
    assert [each.code for each in second.reasons] == ["does_not_exist"]
    assert (await world.show(record))["version"] == 1


async def test_what_is_asked_of_a_merged_record_is_done_to_the_one_that_stands_for_it(world: World) -> None:
    one, two = await world.make("contact", name="one"), await world.make("contact", name="two")
    await world.call("POST", f"/records/contact/{two['id']}/merge", {"record_id": one["id"]})
    await ask(world, request(world, one, size=3))
    assert [(await world.show(each))["fields"] for each in (one, two)] == [{}, {"size": 3}]


async def test_administration_is_for_members_whose_role_says_so(world: World) -> None:
    plain, admin = await world.member(), await world.member(admin_directory="all")
    body = {"name": "New", "permissions": {"logged.view": "my"}}
    refused = await world.call("POST", "/roles", body, **plain)
    assert (refused.status_code, refused.json()["code"]) == (403, "not_permitted")
    made = await world.call("POST", "/roles", body, **admin)
    assert made.status_code == 201
    assert made.json()["permissions"]["scheduled.edit"] == "none", "all are written down"
    path = f"/roles/{made.json()['id']}"
    changed = await world.call("PATCH", path, {"permissions": {"logged.edit": "all", "logged.view": None}}, **admin)
    assert (changed.json()["permissions"]["logged.edit"], changed.json()["permissions"]["logged.view"]) == (
        "all", "none",
    )  # fmt: skip
    wrong = await world.call("PUT", path, {"name": "x", "permissions": {"logged.fly": "all", "admin.objects": "my"}})
    assert [(each["field"], each["code"]) for each in wrong.json()["errors"]] == [
        ("permissions.logged.fly", "unknown_permission"), ("permissions.admin.objects", "unknown_level")
    ]  # fmt: skip
    member = (await world.call("GET", "/members")).json()["results"][0]["id"]
    await world.call("PUT", path, {"name": "Agents", "member_ids": [member]})
    assert made.json()["id"] in (await world.call("GET", f"/members/{member}")).json()["role_ids"]
    assert (await world.call("DELETE", path)).status_code == 204
    assert made.json()["id"] not in (await world.call("GET", f"/members/{member}")).json()["role_ids"]


async def test_a_business_says_when_reports_are_of_the_same_event(world: World) -> None:
    wanted = {"sources": ["crm", "phone"], "tolerance_s": 60}
    changed = await world.call("PATCH", "/business", {"settings": {"same_event": wanted}})
    complete = wanted | {"agree": ["records", "type", "time"], "conversation_key": "conversation_id"}
    since = changed.json()["settings"]["same_event"]["since"]
    assert changed.json()["settings"] == {"same_event": complete | {"since": since}}
    later = await world.call("PATCH", "/business", {"settings": {"same_event": complete | {"since": since}}})
    assert later.json() == changed.json(), "it counts from when it was set first, and what was read can be sent back"
    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    for wrong, named in (
        ({"tolerance_s": 3_601}, "tolerance_s"),
        ({"agree": ["records"]}, "agree"),
        ({"agree": ["mood"]}, "agree.0"),
        ({"sources": []}, "sources"),
        ({"sources": ["crm", "crm"]}, "sources"),
        ({"zone": "UTC"}, "zone"),
    ):
        refused = await world.call("PATCH", "/business", {"settings": {"same_event": wrong}})
        assert refused.status_code == 422, wrong
        assert [each["field"] for each in refused.json()["errors"]] == [f"settings.same_event.{named}"]
    off = await world.call("PATCH", "/business", {"settings": {"same_event": None}})
    assert off.json()["settings"] == {}


async def test_a_business_says_which_changes_of_contacts_are_significant(world: World) -> None:
    changed = await world.call("PATCH", "/business", {"settings": {"significant_contact_fields": ["name", "size"]}})
    assert changed.json()["settings"] == {"significant_contact_fields": ["name", "size"]}
    assert (await world.call("GET", "/business")).json()["version"] == 2
    back = await world.call("PATCH", "/business", {"settings": {"significant_contact_fields": None}})
    assert back.json()["settings"] == {}
