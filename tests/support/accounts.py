"""A served lifecycle with an account and members who call S2's routes, for tests of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx

from libs.access import keys
from libs.access.copy import save_api_keys, save_members
from libs.contracts.directory import ApiKey, Member, Record
from libs.contracts.ids import uuid7, uuid_of
from libs.database import Database
from services.lifecycle import handlers
from tests.support.http import ALL_SCOPES, Tenant

PATH = "/v1/accounts/activities"
AT = "2030-06-01T10:00:00Z"


@dataclass(frozen=True)
class Person:
    """A member with a token."""

    id: UUID
    name: str
    email: str
    token: str


@dataclass
class Accounts:
    """A business with an account `Acme`, and its member Ada, who calls."""

    http: httpx.AsyncClient
    database: Database
    tenant: Tenant
    account: UUID
    ada: Person

    async def call(self, method: str, path: str = "", body: Any = None, **more: Any) -> httpx.Response:
        headers = self.headers(more.pop("by", self.ada)) | more.pop("headers", {})
        return await self.http.request(method, f"{PATH}{path}", json=body, headers=headers, **more)

    def headers(self, person: Person) -> dict[str, str]:
        return {
            "x-api-key": self.tenant.key.text,
            "x-org-id": str(self.tenant.business_id),
            "authorization": f"Bearer {person.token}",
        }

    async def create(self, *, by: Person | None = None, **more: Any) -> dict[str, Any]:
        given = {"accountId": str(self.account), "activityTimestamp": AT, "duration": 30, "location": "Berlin"}
        answer = await self.call("POST", "", given | more, by=by or self.ada)
        assert answer.status_code == 201, answer.text
        shown: dict[str, Any] = answer.json()["data"]
        return shown

    async def get(self, shown: dict[str, Any], *, by: Person | None = None) -> httpx.Response:
        return await self.call("GET", f"/{shown['id']}", by=by or self.ada)

    async def s1(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        sent = self.tenant.headers | {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.request(method, f"/api/activities{path}", json=body, headers=sent)

    async def listed(self, *, by: Person | None = None, **params: Any) -> list[str]:
        answer = await self.call("GET", "", by=by or self.ada, params={"accountId": str(self.account)} | params)
        assert answer.status_code == 200, answer.text
        return [each["id"] for each in answer.json()["data"]]


def uuid_text(shown: dict[str, Any]) -> str:
    """The id that S1 has for what S2 shows."""
    return str(uuid_of(shown["id"]))


async def save_record(database: Database, business_id: UUID, name: str, kind: str = "account") -> UUID:
    """Let a record be known."""
    record_id, when = uuid7(), datetime.now(UTC)
    record = Record(
        business_id=business_id, id=record_id, version=1, object=kind, name=name, created_at=when, updated_at=when
    )
    async with database.work() as tx:
        await handlers.copy_records(tx, [record])
    return record_id


async def save_person(
    database: Database, business_id: UUID, name: str, role_ids: Sequence[UUID] = (), member_id: UUID | None = None
) -> Person:
    """Let a member be known, and give them a token; with `member_id` a token alone."""
    when, token = datetime.now(UTC), keys.generate_key("member", business_id)
    email = f"{name.lower()}@{business_id}.example"
    identity = member_id or uuid7()
    key = ApiKey(
        business_id=business_id, id=token.id, version=1, kind="member", name="session", hash=token.hash,
        scopes=list(ALL_SCOPES[:-1]), member_id=identity, created_at=when,
    )  # fmt: skip
    async with database.work() as tx:
        if member_id is None:
            member = Member(
                business_id=business_id, id=identity, version=1, name=name, email=email, created_at=when,
                role_ids=list(role_ids),
            )  # fmt: skip
            await save_members(tx, [member])
        await save_api_keys(tx, [key])
    return Person(identity, name, email, token.text)
