"""Callers are recognised from a service's copy, and each wall between businesses holds alone."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from libs.access import Access
from libs.access.copy import save_api_keys, save_businesses, save_members, save_roles
from libs.access.keys import Key, generate_key
from libs.access.members import business_zone, find_members, find_roles
from libs.contracts.directory import ApiKey, Business, Member, Role
from libs.contracts.ids import uuid7
from libs.database import Database
from libs.errors import Forbidden, Unauthenticated, Unavailable
from tests.support.http import Tenant, served, settle

MakeDatabase = Callable[[str], Awaitable[Database]]
COPY = "timeline_projector"
PAST = datetime(2026, 1, 1, tzinfo=UTC)
TABLES = ("business", "member", "role", "api_key")


def headers_of(key: str, **named: UUID) -> list[tuple[bytes, bytes]]:
    """Write a request's raw headers."""
    rest = [(f"x-{name}-id".encode(), str(value).encode()) for name, value in named.items()]
    return [(b"x-api-key", key.encode()), *rest]


def key_event(tenant: Tenant, key: Key) -> ApiKey:
    """Make the state of a live key of a business."""
    return ApiKey(
        business_id=tenant.business_id, id=key.id, version=1, kind="api", name="k", hash=key.hash,
        scopes=["timeline.read"], created_at=PAST,
    )  # fmt: skip


async def save_key(database: Database, event: ApiKey) -> None:
    """Let the copy hear of a key."""
    async with database.work() as tx:
        await save_api_keys(tx, [event])


async def test_caller_is_recognised_with_business_user_and_scopes(make_database: MakeDatabase) -> None:
    database = await make_database(COPY)
    tenant = await settle(database, zone="Asia/Tokyo")
    access = Access(database)
    headers = headers_of(tenant.key.text, business=tenant.business_id, user=tenant.user_id)
    principal = await access.authenticate(headers, named=True)
    assert (principal.business_id, principal.key_id) == (tenant.business_id, tenant.key.id)
    assert (principal.user_id, principal.zone, principal.kind) == (tenant.user_id, "Asia/Tokyo", "api")
    assert "act_as" in principal.scopes


async def test_hot_caller_costs_no_query(make_database: MakeDatabase) -> None:
    database = await make_database(COPY)
    tenant = await settle(database)
    access = Access(database)
    headers = headers_of(tenant.key.text)
    await access.authenticate(headers)
    async with database.key_lookup():  # the keys' only connection is taken: a query would wait for 5 s
        started = time.monotonic()
        for _ in range(100):
            await access.authenticate(headers)
        assert time.monotonic() - started < 4


async def test_business_header_selects_and_never_grants(make_database: MakeDatabase) -> None:
    database = await make_database(COPY)
    one, two = await settle(database), await settle(database)
    access = Access(database)
    for business_id in (two.business_id, uuid7()):
        with pytest.raises(Forbidden, match="another business"):
            await access.authenticate(headers_of(one.key.text, business=business_id))


async def test_user_header_needs_act_as_and_a_live_member(make_database: MakeDatabase) -> None:
    database = await make_database(COPY)
    one, two = await settle(database), await settle(database)
    access = Access(database, reference_wait_max_ms=50)
    for user_id in (two.user_id, uuid7()):
        with pytest.raises(Forbidden, match="is not a member"):
            await access.authenticate(headers_of(one.key.text, user=user_id))
    plain = generate_key("api", one.business_id)
    await save_key(database, key_event(one, plain))
    with pytest.raises(Forbidden, match="act_as"):
        await access.authenticate(headers_of(plain.text, user=one.user_id))


async def test_revoked_expired_and_tampered_keys_are_refused(make_database: MakeDatabase) -> None:
    database = await make_database(COPY)
    tenant = await settle(database)
    access = Access(database, reference_wait_max_ms=50)
    revoked, expired, living = [generate_key("api", tenant.business_id) for _ in range(3)]
    await save_key(database, key_event(tenant, revoked).model_copy(update={"revoked_at": PAST}))
    await save_key(database, key_event(tenant, expired).model_copy(update={"expires_at": PAST}))
    later = datetime.now(UTC) + timedelta(hours=1)
    await save_key(database, key_event(tenant, living).model_copy(update={"expires_at": later}))
    await access.authenticate(headers_of(living.text))
    for key, code in ((revoked, "revoked"), (expired, "expired")):
        with pytest.raises(Unauthenticated) as refused:
            await access.authenticate(headers_of(key.text))
        assert refused.value.code == code
    stranger = generate_key("api", tenant.business_id).text  # a checksum that holds, a secret of nobody
    for text in (living.text[:-1], living.text.swapcase(), stranger, "ak_x_y", "x" * 200):
        with pytest.raises(Unauthenticated):
            await access.authenticate(headers_of(text))


async def test_known_id_with_another_secret_is_refused(make_database: MakeDatabase) -> None:
    database = await make_database(COPY)
    tenant = await settle(database)
    real, forged = generate_key("api", tenant.business_id), generate_key("api", tenant.business_id)
    await save_key(database, key_event(tenant, replace(real, id=forged.id)))
    with pytest.raises(Unauthenticated):
        await Access(database, reference_wait_max_ms=0).authenticate(headers_of(forged.text))


async def test_key_that_arrives_a_moment_later_is_waited_for(make_database: MakeDatabase) -> None:
    database = await make_database(COPY)
    tenant = await settle(database)
    key = generate_key("api", tenant.business_id)
    waiting = asyncio.ensure_future(Access(database).authenticate(headers_of(key.text)))
    await asyncio.sleep(0)
    await save_key(database, key_event(tenant, key))
    assert (await waiting).key_id == key.id


async def test_revocation_that_is_heard_works_at_once(make_database: MakeDatabase) -> None:
    database = await make_database(COPY)
    tenant = await settle(database)
    access = Access(database)
    key = generate_key("api", tenant.business_id)
    event = key_event(tenant, key)
    await save_key(database, event)
    await access.authenticate(headers_of(key.text))
    hear = {model: handler for model, handler, _, _ in access.subscriptions()}
    async with database.work() as tx:
        await hear[ApiKey](tx, [event.model_copy(update={"version": 2, "revoked_at": PAST})])
    with pytest.raises(Unauthenticated):
        await access.authenticate(headers_of(key.text))


async def test_deleted_member_and_business_take_their_keys_with_them(make_database: MakeDatabase) -> None:
    database = await make_database(COPY)
    one, two = await settle(database), await settle(database)
    access = Access(database)
    async with database.work() as tx:
        await save_members(
            tx,
            [
                Member(
                    business_id=one.business_id, id=one.user_id, version=2, name="A", email="a@b", created_at=PAST,
                    deleted_at=PAST,
                )
            ],
        )  # fmt: skip
        gone = Business(id=two.business_id, version=2, name="B", zone="UTC", created_at=PAST, deleted_at=PAST)
        await save_businesses(tx, [gone])
    for tenant in (one, two):
        with pytest.raises(Unauthenticated):
            await access.authenticate(headers_of(tenant.key.text))


async def test_stale_copy_answers_unavailable_until_it_is_fresh_again(make_database: MakeDatabase) -> None:
    database = await make_database(COPY)
    tenant = await settle(database)
    access = Access(database, stale_max_s=0)
    with pytest.raises(Unavailable, match="copy of the keys"):
        await access.authenticate(headers_of(tenant.key.text))
    truth = Access(database, stale_max_s=None)
    await truth.authenticate(headers_of(tenant.key.text))
    assert truth.subscriptions() == []


async def test_older_version_changes_nothing_in_any_order(make_database: MakeDatabase) -> None:
    database = await make_database(COPY)
    business_id, role_id, member_id, key = uuid7(), uuid7(), uuid7(), generate_key("api", uuid7())
    versions = [3, 1, 3, 2]
    for batch in ([versions], [[version] for version in versions]):
        async with database.work() as tx:
            for part in batch:
                await save_businesses(
                    tx, [Business(id=business_id, version=v, name=f"v{v}", zone="UTC", created_at=PAST) for v in part]
                )
                base = {"business_id": business_id, "created_at": PAST}
                await save_members(
                    tx,
                    [
                        Member(**base, id=member_id, version=v, name=f"v{v}", email="A@x.y", role_ids=[role_id])
                        for v in part
                    ],
                )
                await save_roles(
                    tx, [Role(**base, id=role_id, version=v, name=f"v{v}", member_ids=[member_id]) for v in part]
                )
                await save_api_keys(
                    tx, [ApiKey(**base, id=key.id, version=v, kind="api", name=f"v{v}", hash="h") for v in part]
                )
    async with database.work() as tx:
        for table in TABLES:
            assert [tuple(row) for row in await tx.fetch(f"select version, name from {table}")] == [(3, "v3")]
        found = await find_members(tx, business_id, [member_id, "a@X.Y", "nobody@x.y", "name", uuid7()])
        assert set(found) == {str(member_id), "a@X.Y"}
        assert found["a@X.Y"].role_ids == (role_id,)
        assert await find_members(tx, uuid7(), [member_id, "a@x.y"]) == {}
        roles = await find_roles(tx, business_id, [role_id, uuid7()])
        assert (roles[role_id].member_ids, roles[role_id].live, len(roles)) == ((member_id,), True, 1)
        assert await business_zone(tx, business_id) == "UTC"
        assert await business_zone(tx, uuid7()) is None


@pytest.mark.parametrize("package", [COPY, "directory"])
async def test_route_role_sees_its_own_business_and_nothing_without_one(
    make_database: MakeDatabase, package: str
) -> None:
    database = await make_database(package)
    one, two = await settle(database), await settle(database)
    tables = TABLES if package == "directory" else TABLES[:3]
    connection = await asyncpg.connect(database.urls.of("routes"))
    try:
        for table in tables:
            assert await connection.fetch(f"select * from {table}") == []
            async with connection.transaction():
                await connection.execute("select set_config('app.business_id', $1, true)", str(one.business_id))
                rows = await connection.fetch(f"select * from {table}")
                assert {row["business_id"] for row in rows} == {one.business_id}
                foreign = await connection.fetch(f"select * from {table} where business_id = $1", two.business_id)
                assert foreign == []
            assert await connection.fetch(f"select * from {table}") == []
        if package != "directory":
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch("select * from api_key")
    finally:
        await connection.close()


async def test_route_role_cannot_write_into_another_business(make_database: MakeDatabase) -> None:
    database = await make_database("directory")
    one, two = await settle(database), await settle(database)
    async with database.transaction(one) as tx:
        assert await tx.execute("update member set name = 'x' where business_id = $1", two.business_id) == 0
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.transaction(one) as tx:
            await tx.execute(
                "insert into role (business_id, id, version, name, member_ids, permissions, created_at)"
                " values ($1, $2, 1, 'x', '{}', '{}', now())",
                two.business_id,
                uuid7(),
            )


@pytest.mark.parametrize("sql", ["select name from member", "select * from api_key", "select * from role"])
async def test_look_up_role_reads_what_look_up_needs_alone(make_database: MakeDatabase, sql: str) -> None:
    database = await make_database(COPY)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.key_lookup() as tx:
            await tx.fetch(sql)


async def test_wrong_headers_are_named_over_http(make_database: MakeDatabase) -> None:
    database = await make_database("directory")
    tenant = await settle(database)
    key = tenant.key.text
    async with served("directory", database) as client:
        for headers, status, field in (
            ([("X-API-KEY", key), ("Authorization", f"Bearer {key}")], 400, "Authorization"),
            ([("X-API-KEY", key), ("X-API-KEY", key)], 400, "X-API-KEY"),
            ([("X-API-KEY", key), ("X-BUSINESS-ID", "1")], 400, "X-BUSINESS-ID"),
            ([("X-API-KEY", key), ("X-BUSINESS-ID", str(uuid7()))], 403, "X-BUSINESS-ID"),
            ([("X-API-KEY", key), ("X-USER-ID", "me")], 400, "X-USER-ID"),
        ):
            answer = await client.get("/api/directory/members", headers=headers)
            assert answer.status_code == status
            assert [each["field"] for each in answer.json()["errors"]] == [field]
        for headers in ([], [("Authorization", "Basic x")], [("X-API-KEY", "")]):
            assert (await client.get("/api/directory/members", headers=headers)).status_code == 401
        assert (await client.get("/api/directory/members", headers={"Authorization": f"bearer {key}"})).is_success


async def test_restart_does_not_make_an_old_copy_fresh(make_database: MakeDatabase) -> None:
    database = await make_database(COPY)
    tenant = await settle(database)
    first = Access(database, stale_max_s=60)
    await first.touch(lag_s=100)
    assert first.age_s() < 60, "it was fresh when it was made"
    again = Access(database, stale_max_s=60)
    await again.load_age()
    assert "routes answer 503 from 60 s on" in " ".join(again.problems())
    with pytest.raises(Unavailable, match="the copy of the keys is 10"):
        await again.authenticate(headers_of(tenant.key.text))
    await again.touch()
    assert again.problems() == []
    await again.authenticate(headers_of(tenant.key.text))
