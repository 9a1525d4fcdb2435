"""A service's routes over ASGI with a real database and real keys, without Kafka."""

import importlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import httpx

from libs.access import keys
from libs.access.copy import save_api_keys, save_businesses, save_members, save_roles
from libs.access.levels import EVERYTHING
from libs.contracts.directory import ApiKey, Business, Member, Role
from libs.contracts.ids import uuid7
from libs.database import Database
from libs.service import Service
from tests.support.databases import ROLES_SECRET, server_url

OPERATOR_KEY = keys.generate_key("operator")
REFERENCE_WAIT_MAX_MS = 100
"""How long a key that nobody knows is looked for: here none is on its way, unless a test says so."""
ALL_SCOPES = (
    "directory.read", "directory.write", "records.read", "records.write", "ingest.write", "ingest.read",
    "activities.read", "activities.write", "timeline.read", "reports.read", "webhooks.read", "webhooks.write", "act_as",
)  # fmt: skip


@dataclass(frozen=True)
class Tenant:
    """A business with a member and a key that may do everything."""

    business_id: UUID
    user_id: UUID
    key: keys.Key

    @property
    def headers(self) -> dict[str, str]:
        """The headers that every route takes, S1's too."""
        return {
            "X-API-KEY": self.key.text,
            "X-BUSINESS-ID": str(self.business_id),
            "X-USER-ID": str(self.user_id),
        }


def make_service(package: str, database: Database) -> Service:
    """Wire a service onto a test's database."""
    os.environ |= {
        "DATABASE_URL": server_url(),
        "DATABASE_ROLES_SECRET": ROLES_SECRET,
        "OPERATOR_KEY": OPERATOR_KEY.text,
        "WEBHOOK_MASTER_KEY": "master-key-of-the-tests",
        "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8,::1/128",
        "WEBHOOK_ALLOW_HTTP": "1",
        "WEBHOOK_ANY_PORT": "1",
    }
    waits = {} if "REFERENCE_WAIT_MAX_MS" in os.environ else {"reference_wait_max_ms": REFERENCE_WAIT_MAX_MS}
    settings = importlib.import_module(f"services.{package}.settings").Settings(**waits)
    service: Service = importlib.import_module(f"services.{package}.app").create(settings)
    service.use(database)
    return service


@asynccontextmanager
async def served(package: str, database: Database) -> AsyncIterator[httpx.AsyncClient]:
    """Serve a service's routes to a client in this process."""
    app, _ = make_service(package, database).application()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1") as client:
        yield client


async def settle(database: Database, zone: str = "Europe/Berlin", known: Tenant | None = None) -> Tenant:
    """Let a new business, or one that others know, be known to a service's copies, and return it."""
    business_id, role_id, now = uuid7(), uuid7(), datetime.now(UTC)
    tenant = known or Tenant(business_id, uuid7(), keys.generate_key("api", business_id))
    async with database.work() as tx:
        await save_businesses(tx, [Business(id=tenant.business_id, version=1, name="Test", zone=zone, created_at=now)])
        await save_roles(
            tx,
            [
                Role(
                    business_id=tenant.business_id, id=role_id, version=1, name="all", created_at=now,
                    member_ids=[tenant.user_id], permissions=EVERYTHING,
                )
            ],
        )  # fmt: skip
        await save_members(
            tx,
            [
                Member(
                    business_id=tenant.business_id, id=tenant.user_id, version=1, name="Ada", created_at=now,
                    email=f"ada@{tenant.business_id}.example", role_ids=[role_id],
                )
            ],
        )  # fmt: skip
        await save_api_keys(
            tx,
            [
                ApiKey(
                    business_id=tenant.business_id, id=tenant.key.id, version=1, kind="api", name="test",
                    hash=tenant.key.hash, scopes=list(ALL_SCOPES), member_id=tenant.user_id, created_at=now,
                )
            ],
        )  # fmt: skip
    return tenant
