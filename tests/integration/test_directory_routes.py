"""Directory over HTTP with a real database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import orjson
import pytest

from libs.contracts.directory import ApiKey, Business, Member, Record, RecordObject, Role
from libs.contracts.ids import record_id_of, uuid7
from libs.database import Database
from services.directory.republish import republish
from tests.support.http import OPERATOR_KEY, served

OPERATOR = {"X-API-KEY": OPERATOR_KEY.text}
SHAPES: dict[str, Any] = {
    "directory.business": Business,
    "directory.member": Member,
    "directory.role": Role,
    "directory.api_key": ApiKey,
    "directory.object": RecordObject,
    "directory.record": Record,
}


class Directory:
    """A served directory with two businesses."""

    def __init__(self, client: httpx.AsyncClient, database: Database, made: list[dict[str, str]]) -> None:
        self.client = client
        self.database = database
        self.own, self.other = made

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """Call as the own business's first key."""
        return await self.call_as(self.own["api_key"], method, path, body, **headers)

    async def call_as(self, key: str, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """Call with a key."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        content = body if isinstance(body, bytes | None) else orjson.dumps(body)
        kind = {"content-type": "application/json"} if content is not None else {}
        return await self.client.request(
            method, f"/api/directory{path}", content=content, headers={"X-API-KEY": key} | kind | names
        )

    async def events(self, event_type: str) -> list[Any]:
        """Return what was put into the outbox, in order."""
        async with self.database.work() as tx:
            rows = await tx.fetch("select value from outbox where types = $1 order by id", event_type)
        return [SHAPES[event_type].model_validate_json(row["value"]) for row in rows]


@pytest.fixture
async def directory(make_database: Callable[[str], Awaitable[Database]]) -> AsyncIterator[Directory]:
    database = await make_database("directory")
    async with served("directory", database) as client:
        made = []
        for name in ("One", "One"):
            body = {"name": name, "zone": "Europe/Berlin"}
            answer = await client.post("/api/directory/businesses", json=body, headers=OPERATOR)
            assert answer.status_code == 201, answer.text
            made.append(answer.json())
        yield Directory(client, database, made)


async def test_new_business_has_a_member_a_role_a_key_and_preset_objects(directory: Directory) -> None:
    assert set(directory.own) == {"id", "api_key", "user_id"}
    member = (await directory.call("GET", f"/members/{directory.own['user_id']}")).json()
    roles = (await directory.call("GET", "/roles")).json()["results"]
    assert member["role_ids"] == [roles[0]["id"]]
    assert set(roles[0]["permissions"].values()) == {"all"}
    keys = (await directory.call("GET", "/api-keys")).json()["results"]
    assert "act_as" in keys[0]["scopes"]
    assert "hash" not in keys[0]
    objects = [
        each for each in await directory.events("directory.object") if str(each.business_id) == directory.own["id"]
    ]
    assert {each.api_name for each in objects} == {"contact", "account", "lead"}
    for event_type, count in (("business", 2), ("member", 2), ("role", 2), ("api_key", 2)):
        assert len(await directory.events(f"directory.{event_type}")) == count


async def test_operator_opens_businesses_and_nothing_else(directory: Directory) -> None:
    listed = await directory.client.get("/api/directory/businesses?limit=1", headers=OPERATOR)
    assert [each["id"] for each in listed.json()["results"]] == [directory.other["id"]]
    page = await directory.client.get(
        "/api/directory/businesses", params={"limit": 1, "cursor": listed.json()["next"]}, headers=OPERATOR
    )
    assert [each["id"] for each in page.json()["results"]] == [directory.own["id"]]
    assert page.json()["next"] is None
    for path in ("/members", "/roles", "/api-keys", "/records/contact"):
        assert (await directory.call_as(OPERATOR_KEY.text, "GET", path)).status_code == 401
    assert (await directory.call("GET", "/businesses")).status_code == 403
    assert (await directory.call("POST", "/businesses", {"name": "x", "zone": "UTC"})).status_code == 403
    assert (await directory.call_as(OPERATOR_KEY.text[:-1] + "~", "GET", "/businesses")).status_code == 401
    assert (await directory.client.get("/api/directory/businesses")).status_code == 401


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"zone": "UTC"}, "name"),
        ({"name": "", "zone": "UTC"}, "name"),
        ({"name": "a\nb", "zone": "UTC"}, "name"),
        ({"name": "a", "zone": "Mars/Olympus"}, "zone"),
        ({"name": "a", "zone": "UTC", "id": "1"}, "id"),
        ({"name": 1, "zone": "UTC"}, "name"),
        ([], "body"),
    ],
)
async def test_bad_business_is_refused_by_field(directory: Directory, body: Any, field: str) -> None:
    answer = await directory.call_as(OPERATOR_KEY.text, "POST", "/businesses", body)
    assert answer.status_code == 422
    assert field in [each["field"] for each in answer.json()["errors"]]


async def test_repeated_business_is_made_once_and_its_key_shown_once(directory: Directory) -> None:
    body = {"name": "Again", "zone": "UTC"}
    first, again = [
        await directory.call_as(OPERATOR_KEY.text, "POST", "/businesses", body, Idempotency_Key="k") for _ in range(2)
    ]
    assert first.json()["id"] == again.json()["id"]
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json()["api_key"] is None
    assert (await directory.call_as(first.json()["api_key"], "GET", "/members")).status_code == 200


async def test_members_come_change_and_go(directory: Directory) -> None:
    role = (await directory.call("POST", "/roles", {"name": "Sales", "permissions": {"logged.view": "my"}})).json()
    made = await directory.call(
        "POST", "/members", {"name": "Zoë", "email": "zoe@example.org", "zone": "Asia/Tokyo", "role_ids": [role["id"]]}
    )
    assert made.status_code == 201
    assert made.headers["etag"] == '"1"'
    member_id = made.json()["id"]
    assert made.headers["x-wrote"] == f"{member_id}:1"
    assert (await directory.call("GET", f"/roles/{role['id']}")).json()["member_ids"] == [member_id]
    taken = await directory.call("POST", "/members", {"name": "Z", "email": "ZOE@example.org"})
    assert taken.status_code == 409
    assert taken.json()["link"].endswith(member_id)
    stale = await directory.call("PATCH", f"/members/{member_id}", {"name": "Z"}, If_Match='"9"')
    assert stale.status_code == 412
    changed = await directory.call("PATCH", f"/members/{member_id}", {"role_ids": []}, If_Match='"1"')
    assert (changed.status_code, changed.json()["name"], changed.json()["version"]) == (200, "Zoë", 2)
    assert (await directory.call("GET", f"/roles/{role['id']}")).json()["member_ids"] == []
    assert (await directory.call("PATCH", f"/members/{member_id}", {"role_ids": []})).json()["version"] == 2
    assert (await directory.call("DELETE", f"/members/{member_id}")).status_code == 204
    assert (await directory.call("GET", f"/members/{member_id}")).status_code == 404
    assert (await directory.call("POST", "/members", {"name": "Z", "email": "zoe@example.org"})).status_code == 201
    versions = [each.version for each in await directory.events("directory.member") if str(each.id) == member_id]
    assert versions == [1, 2, 3]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/members", {"name": "a"}, "email"),
        ("/members", {"name": "a", "email": "nobody"}, "email"),
        ("/members", {"name": "a", "email": "a@b", "zone": "x"}, "zone"),
        ("/members", {"name": "a", "email": "a@b", "role_ids": [str(uuid4())]}, "role_ids.0"),
        ("/members", {"name": "a", "email": "a@b", "role_ids": ["x"]}, "role_ids.0"),
        ("/roles", {"name": "a", "member_ids": [str(uuid4())]}, "member_ids.0"),
        ("/roles", {"name": "a", "permissions": {"x": "some"}}, "permissions.x"),
        ("/api-keys", {"name": "a", "scopes": ["records.read", "fly"]}, "scopes.1"),
        ("/api-keys", {"scopes": []}, "name"),
        ("/records/contact", {"name": "a", "status": "Odd"}, "status"),
        ("/records/contact", {"name": "a", "owner_id": str(uuid4())}, "owner_id"),
        ("/records/contact", {"name": "a", "fields": []}, "fields"),
        ("/records/contact", {"name": "a", "external_ref": "a\u001fb"}, "external_ref"),
        ("/records/contact", {"name": "a" * 501}, "name"),
    ],
)
async def test_bad_input_is_refused_by_field_and_changes_nothing(
    directory: Directory, path: str, body: Any, field: str
) -> None:
    answer = await directory.call("POST", path, body)
    assert answer.status_code == 422
    assert field in [each["field"] for each in answer.json()["errors"]]
    assert answer.headers["content-type"] == "application/problem+json"


async def test_role_is_given_to_members(directory: Directory) -> None:
    user_id = directory.own["user_id"]
    role = await directory.call("POST", "/roles", {"name": "Night", "member_ids": [user_id, user_id]})
    assert role.json()["member_ids"] == [user_id]
    member = (await directory.call("GET", f"/members/{user_id}")).json()
    assert member["role_ids"][-1] == role.json()["id"]
    assert member["version"] == 2


async def test_member_token_acts_as_its_member_until_it_goes(directory: Directory) -> None:
    member_id = (await directory.call("POST", "/members", {"name": "T", "email": "t@example.org"})).json()["id"]
    made = await directory.call("POST", f"/members/{member_id}/tokens", {"expires_in_s": 60})
    assert made.status_code == 201
    token = made.json()["token"]
    bearer = {"Authorization": f"Bearer {token}"}
    assert (await directory.client.get("/api/directory/members", headers=bearer)).status_code == 200
    own = await directory.client.get("/api/directory/members", headers=bearer | {"X-USER-ID": member_id})
    assert own.status_code == 200
    other = await directory.client.get(
        "/api/directory/members", headers=bearer | {"X-USER-ID": directory.own["user_id"]}
    )
    assert other.status_code == 403
    without_body = await directory.call("POST", f"/members/{member_id}/tokens")
    assert without_body.status_code == 201
    for expires_in_s in (0, 59, 31_536_001, "60", 1.5):
        bad = await directory.call("POST", f"/members/{member_id}/tokens", {"expires_in_s": expires_in_s})
        assert bad.status_code == 422
        assert bad.json()["errors"][0]["field"].startswith("expires_in_s")
    await directory.call("DELETE", f"/members/{member_id}")
    assert (await directory.client.get("/api/directory/members", headers=bearer)).status_code == 401


async def test_key_is_limited_to_its_scopes_and_stops_when_revoked(directory: Directory) -> None:
    made = (await directory.call("POST", "/api-keys", {"name": "reader", "scopes": ["records.read"]})).json()
    key = made["api_key"]
    assert (await directory.call_as(key, "GET", "/records/lead")).status_code == 200
    refused = await directory.call_as(key, "POST", "/records/lead", {"name": "x"})
    assert (refused.status_code, refused.json()["code"]) == (403, "missing_scope")
    assert "records.write" in refused.json()["detail"]
    for _ in range(2):
        assert (await directory.call("DELETE", f"/api-keys/{made['id']}")).status_code == 204
    gone = await directory.call_as(key, "GET", "/records/lead")
    assert (gone.status_code, gone.json()["code"]) == (401, "revoked")
    states = [each for each in await directory.events("directory.api_key") if str(each.id) == made["id"]]
    assert [(each.version, each.revoked_at is not None) for each in states] == [(1, False), (2, True)]


async def test_key_without_scopes_has_all_but_act_as(directory: Directory) -> None:
    made = (await directory.call("POST", "/api-keys", {"name": "plain"})).json()
    assert "act_as" not in made["scopes"]
    assert len(made["scopes"]) == 12
    as_other = await directory.call_as(made["api_key"], "GET", "/members", X_USER_ID=directory.own["user_id"])
    assert as_other.status_code == 403
    more = await directory.call_as(made["api_key"], "POST", "/api-keys", {"name": "x", "scopes": ["act_as"]})
    assert more.status_code == 403


async def test_rotated_key_works_beside_the_new_one_until_it_ends(directory: Directory) -> None:
    old = (await directory.call("POST", "/api-keys", {"name": "reader", "scopes": ["records.read"]})).json()
    rotated = await directory.call("POST", f"/api-keys/{old['id']}/rotate", {"overlap_s": 3600}, Idempotency_Key="r")
    new = rotated.json()
    assert (rotated.status_code, new["name"], new["scopes"]) == (201, "reader", ["records.read"])
    assert new["replaces"]["id"] == old["id"]
    again = await directory.call("POST", f"/api-keys/{old['id']}/rotate", {"overlap_s": 3600}, Idempotency_Key="r")
    assert (again.json()["id"], again.json()["api_key"]) == (new["id"], None)
    for key in (old["api_key"], new["api_key"]):
        assert (await directory.call_as(key, "GET", "/records/lead")).status_code == 200
        assert (await directory.call_as(key, "POST", f"/api-keys/{old['id']}/rotate")).status_code == 403
    third = (await directory.call("POST", f"/api-keys/{new['id']}/rotate", {"overlap_s": 0})).json()
    ended = await directory.call_as(new["api_key"], "GET", "/records/lead")
    assert (ended.status_code, ended.json()["code"]) == (401, "expired")
    assert (await directory.call_as(third["api_key"], "GET", "/records/lead")).status_code == 200
    over = await directory.call("POST", f"/api-keys/{new['id']}/rotate")
    assert (over.status_code, over.json()["code"]) == (409, "key_ended")
    long = await directory.call("POST", f"/api-keys/{third['id']}/rotate", {"overlap_s": 604_801})
    assert (long.status_code, long.json()["errors"][0]["field"]) == (422, "overlap_s")
    states = [each for each in await directory.events("directory.api_key") if str(each.id) == old["id"]]
    assert [(each.version, each.expires_at is not None) for each in states] == [(1, False), (2, True)]


async def test_key_with_more_scopes_than_the_caller_is_not_rotated_by_it(directory: Directory) -> None:
    narrow = (await directory.call("POST", "/api-keys", {"name": "n", "scopes": ["directory.write"]})).json()
    broad = (await directory.call("POST", "/api-keys", {"name": "b", "scopes": ["records.write"]})).json()
    refused = await directory.call_as(narrow["api_key"], "POST", f"/api-keys/{broad['id']}/rotate")
    assert (refused.status_code, refused.json()["code"]) == (403, "missing_scope")
    assert (await directory.call_as(broad["api_key"], "POST", "/records/lead", {"name": "x"})).status_code == 201


async def test_repeated_key_is_made_once_and_shown_once(directory: Directory) -> None:
    body = {"name": "again"}
    first, again = [await directory.call("POST", "/api-keys", body, Idempotency_Key="k") for _ in range(2)]
    assert first.json()["id"] == again.json()["id"]
    assert first.json()["api_key"].startswith("ak_")
    assert again.json()["api_key"] is None
    async with directory.database.work() as tx:
        kept = await tx.value("select string_agg(convert_from(body, 'UTF8'), '') from idempotency")
    assert first.json()["api_key"] not in kept
    assert (await directory.call("POST", "/api-keys", {"name": "else"}, Idempotency_Key="k")).status_code == 409


async def test_record_lives_and_is_deleted_softly(directory: Directory) -> None:
    owner = directory.own["user_id"]
    body = {"external_ref": "crm/7", "name": "Ada", "status": "Active", "owner_id": owner, "fields": {"a": 1, "b": [2]}}
    made = await directory.call("POST", "/records/contact", body)
    assert made.status_code == 201
    record_id = made.json()["id"]
    assert record_id == str(record_id_of(UUID(directory.own["id"]), "contact", "crm/7"))
    assert made.json()["fields"] == {"a": 1, "b": [2]}
    path = f"/records/contact/{record_id}"
    again = await directory.call("POST", "/records/contact", body)
    assert (again.status_code, again.json()["link"]) == (409, f"/api/directory{path}")
    assert (await directory.call("PATCH", path, {"fields": {"b": None}}, If_Match='"2"')).status_code == 412
    changed = await directory.call("PATCH", path, {"fields": {"b": None}, "status": None}, If_Match='"1"')
    assert (changed.json()["fields"], changed.json()["status"], changed.json()["version"]) == ({"a": 1}, None, 2)
    assert (await directory.call("PATCH", path, {"fields": {"a": 1}})).json()["version"] == 2
    assert (await directory.call("GET", path)).headers["etag"] == '"2"'
    assert (await directory.call("GET", f"/records/lead/{record_id}")).status_code == 404
    assert (await directory.call("DELETE", path)).status_code == 204
    for method, sent in (("GET", None), ("PATCH", {"name": "x"}), ("DELETE", None)):
        assert (await directory.call(method, path, sent)).status_code == 404
    assert (await directory.call("GET", "/records/contact")).json()["results"] == []
    back = await directory.call("POST", "/records/contact", body)
    assert (back.status_code, back.json()["version"], back.json()["deleted_at"]) == (201, 4, None)
    states = await directory.events("directory.record")
    assert [each.version for each in states] == [1, 2, 3, 4]
    assert [each.deleted_at is not None for each in states] == [False, False, True, False]


async def test_put_by_ref_is_idempotent(directory: Directory) -> None:
    path = "/records/account/by-ref/a%2Fb c"
    answers = [await directory.call("PUT", path, {"name": "Acme"}) for _ in range(3)]
    assert [each.status_code for each in answers] == [201, 200, 200]
    assert [each.json()["version"] for each in answers] == [1, 1, 1]
    assert answers[0].json()["external_ref"] == "a/b c"
    changed = await directory.call("PUT", path, {"name": "Acme Ltd"}, If_Match='"1"')
    assert (changed.status_code, changed.json()["version"]) == (200, 2)
    assert (await directory.call("PUT", path, {"name": "x"}, If_Match='"1"')).status_code == 412
    assert (await directory.call("PUT", path, {"name": "x", "external_ref": "other"})).status_code == 422
    assert (await directory.call("PUT", f"/records/account/by-ref/{'x' * 256}", {"name": "x"})).status_code == 422
    assert len(await directory.events("directory.record")) == 2


async def test_a_record_is_shown_by_its_external_ref(directory: Directory) -> None:
    path = "/records/account/by-ref/a%2Fb c"
    missing = await directory.call("GET", path)
    assert (missing.status_code, missing.json()["detail"]) == (404, "there is no account 'a/b c'")
    made = (await directory.call("PUT", path, {"name": "Acme"})).json()
    shown = await directory.call("GET", path)
    assert (shown.status_code, shown.json(), shown.headers["etag"]) == (200, made, '"1"')
    assert (await directory.call("GET", "/records/contact/by-ref/a%2Fb c")).status_code == 404
    assert (await directory.call("GET", f"/records/account/by-ref/{'x' * 256}")).status_code == 422
    await directory.call("DELETE", f"/records/account/{made['id']}")
    assert (await directory.call("GET", path)).status_code == 404


async def test_unknown_object_is_not_found(directory: Directory) -> None:
    assert (await directory.call("GET", "/records/unicorn")).status_code == 404
    assert (await directory.call("POST", "/records/unicorn", {"name": "x"})).status_code == 404
    assert (await directory.call("POST", "/records/unicorn/bulk", b'{"name":"x"}')).status_code == 404


async def test_same_ref_twenty_times_at_once_is_one_record(directory: Directory) -> None:
    body = {"external_ref": "same", "name": "Same"}
    answers = await asyncio.gather(*(directory.call("POST", "/records/lead", body) for _ in range(20)))
    assert sorted(each.status_code for each in answers) == [201] + [409] * 19
    assert len(await directory.events("directory.record")) == 1
    puts = await asyncio.gather(
        *(directory.call("PUT", "/records/lead/by-ref/put", {"name": "Same"}) for _ in range(20))
    )
    assert sorted(each.status_code for each in puts) == [200] * 19 + [201]
    assert len(await directory.events("directory.record")) == 2


async def test_bulk_keeps_good_lines_when_others_fail(directory: Directory) -> None:
    lines = [
        b'{"external_ref":"1","name":"One"}',
        b'{"external_ref":"2"}',
        b'{"external_ref":"1","name":"One again"}',
        b'{"name":"No ref","owner_id":"' + directory.own["user_id"].encode() + b'"}',
        b'{"name":"x","name":"y"}',
        b"[1]",
        b"{broken",
        b"",
        b'{"name":"x","status":"Odd"}',
        b'{"name":"x","owner_id":"' + directory.other["user_id"].encode() + b'"}',
        b'{"name":"x","extra":1}',
        b'{"name":"x","fields":{"long":"' + b"x" * (256 << 10) + b'"}}',
    ]
    answer = await directory.call("POST", "/records/contact/bulk", b"\n".join(lines))
    assert answer.status_code == 200
    results = {each["index"]: each for each in answer.json()["results"]}
    assert [index for index, each in results.items() if "id" in each] == [0, 3]
    fields = {index: each["errors"][0]["field"] for index, each in results.items() if "errors" in each}
    assert fields == {
        1: "name", 2: "external_ref", 4: "body", 5: "body", 6: "body", 8: "status", 9: "owner_id", 10: "extra",
        11: "body",
    }  # fmt: skip
    assert results[0]["id"] == str(record_id_of(UUID(directory.own["id"]), "contact", "1"))
    again = await directory.call("POST", "/records/contact/bulk", lines[0])
    assert again.json()["results"] == [{"index": 0, "id": results[0]["id"]}]
    changed = await directory.call("POST", "/records/contact/bulk", b'{"external_ref":"1","name":"Uno"}\n')
    assert changed.status_code == 200
    ones = [each for each in await directory.events("directory.record") if each.external_ref == "1"]
    assert [(each.version, each.name) for each in ones] == [(1, "One"), (2, "Uno")]


async def test_bulk_is_bounded(directory: Directory) -> None:
    assert (await directory.call("POST", "/records/contact/bulk", b"\n")).status_code == 422
    assert (await directory.call("POST", "/records/contact/bulk", b"{}\n" * 10_001)).status_code == 413
    assert (await directory.call("POST", "/records/contact/bulk", b"x" * ((8 << 20) + 1))).status_code == 413


async def test_list_pages_through_everything_once_and_searches_literally(directory: Directory) -> None:
    names = [f"Name {n:02}" for n in range(25)] + ["100% sure", "100x sure", "a_b", "axb", "Größe"]
    body = b"\n".join(orjson.dumps({"external_ref": str(n), "name": name}) for n, name in enumerate(names))
    assert (await directory.call("POST", "/records/lead/bulk", body)).status_code == 200
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await directory.call("GET", f"/records/lead?limit=7{'&cursor=' + cursor if cursor else ''}")).json()
        seen += [each["name"] for each in page["results"]]
        cursor = page["next"]
    assert sorted(seen) == sorted(names)
    for search, found in (("100%25", ["100% sure"]), ("a_b", ["a_b"]), ("größe", ["Größe"]), ("nothing", [])):
        page = (await directory.call("GET", f"/records/lead?search={search}")).json()
        assert [each["name"] for each in page["results"]] == found
    first = (await directory.call("GET", "/records/lead?limit=1")).json()["next"]
    for path in (
        f"/records/contact?cursor={first}",
        f"/records/lead?search=a&cursor={first}",
        "/records/lead?cursor=x",
    ):
        assert (await directory.call("GET", path)).status_code == 422
    foreign = await directory.call_as(directory.other["api_key"], "GET", f"/records/lead?cursor={first}")
    assert foreign.status_code == 422
    for limit in (0, 201, "x"):
        assert (await directory.call("GET", f"/records/lead?limit={limit}")).status_code == 422
    refused = await directory.call("GET", "/records/lead?has_activities=true")
    assert (refused.status_code, "/api/timeline/lead?has_activities=" in refused.text) == (422, True)


async def test_foreign_answers_exactly_as_missing(directory: Directory) -> None:
    made = await directory.call("POST", "/records/contact", {"name": "Canary"})
    role = await directory.call("POST", "/roles", {"name": "Canary"})
    key = await directory.call("POST", "/api-keys", {"name": "Canary"})
    ids = {
        "/records/contact/{}": made.json()["id"],
        "/members/{}": directory.own["user_id"],
        "/roles/{}": role.json()["id"],
        "/api-keys/{}": key.json()["id"],
    }
    for method, template, body in (
        ("GET", "/records/contact/{}", None),
        ("PATCH", "/records/contact/{}", {"name": "x"}),
        ("DELETE", "/records/contact/{}", None),
        ("GET", "/members/{}", None),
        ("PATCH", "/members/{}", {"name": "x"}),
        ("DELETE", "/members/{}", None),
        ("POST", "/members/{}/tokens", {}),
        ("GET", "/roles/{}", None),
        ("DELETE", "/api-keys/{}", None),
    ):
        own_id = ids[template.removesuffix("/tokens")]
        missing_id = str(uuid7())
        foreign = await directory.call_as(directory.other["api_key"], method, template.format(own_id), body)
        missing = await directory.call_as(directory.other["api_key"], method, template.format(missing_id), body)
        assert (foreign.status_code, missing.status_code) == (404, 404), (method, template)
        assert foreign.json()["detail"].replace(own_id, "") == missing.json()["detail"].replace(missing_id, "")
        own = await directory.call(method, template.format(own_id), body if method != "DELETE" else None)
        if method == "GET":
            assert own.status_code == 200
    for path in ("/records/contact", "/members", "/roles", "/api-keys"):
        assert "Canary" not in (await directory.call_as(directory.other["api_key"], "GET", path)).text
    for path, linked in (
        ("/members", {"name": "a", "email": "a@b.example", "role_ids": [ids["/roles/{}"]]}),
        ("/roles", {"name": "a", "member_ids": [directory.own["user_id"]]}),
        ("/records/contact", {"name": "a", "owner_id": directory.own["user_id"]}),
    ):
        assert (await directory.call_as(directory.other["api_key"], "POST", path, linked)).status_code == 422


async def test_republish_sends_the_latest_state_of_everything_again(directory: Directory) -> None:
    await directory.call("PUT", "/records/account/by-ref/1", {"name": "Old"})
    await directory.call("PUT", "/records/account/by-ref/1", {"name": "New"})
    latest = {}
    for event_type in SHAPES:
        latest[event_type] = {(each.id, each.version) for each in await directory.events(event_type)}
    async with directory.database.work() as tx:
        before = await tx.value("select max(id) from outbox")
    count = await republish(directory.database)
    async with directory.database.work() as tx:
        rows = await tx.fetch("select types, value, version from outbox where id > $1", before)
    assert len(rows) == count == 2 * (1 + 1 + 1 + 1 + 3) + 1
    for row in rows:
        state = SHAPES[row["types"]].model_validate_json(row["value"])
        assert (state.id, row["version"]) in latest[row["types"]]
    assert [row["version"] for row in rows if row["types"] == "directory.record"] == [2]
