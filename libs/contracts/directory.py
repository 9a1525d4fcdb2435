"""Businesses, who acts in them, and their records: the latest state of each, on compacted topics."""

from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from libs.contracts.event import Event, Instant

KeyKind = Literal["api", "member", "operator"]


class Business(Event):
    """A tenant. `id` is its `business_id`."""

    id: UUID
    version: int
    name: str
    zone: str
    settings: dict[str, Any] = Field(default_factory=dict)
    created_at: Instant
    deleted_at: Instant | None = None


class Member(Event):
    """A person of a business."""

    business_id: UUID
    id: UUID
    version: int
    name: str
    email: str
    zone: str | None = None
    role_ids: list[UUID] = Field(default_factory=list)
    created_at: Instant
    deleted_at: Instant | None = None


class Role(Event):
    """A group of members with permissions. `permissions` maps a permission to `my`, `all` or `none`."""

    business_id: UUID
    id: UUID
    version: int
    name: str
    member_ids: list[UUID] = Field(default_factory=list)
    permissions: dict[str, str] = Field(default_factory=dict)
    created_at: Instant
    deleted_at: Instant | None = None


class ApiKey(Event):
    """A key without its secret: `hash` is SHA-256 (hex) of the whole key's text. `member_id`: who it acts for."""

    business_id: UUID
    id: UUID
    version: int
    kind: KeyKind
    name: str
    hash: str
    scopes: list[str] = Field(default_factory=list)
    member_id: UUID | None = None
    created_at: Instant
    expires_at: Instant | None = None
    revoked_at: Instant | None = None


class RecordObject(Event):
    """A kind of record: contact, account, lead, or the business's own. Activities may not write its `locked_fields`."""

    business_id: UUID
    id: UUID
    version: int
    name: str
    api_name: str
    statuses: list[str] = Field(default_factory=list)
    locked_fields: list[str] = Field(default_factory=list)
    created_at: Instant
    deleted_at: Instant | None = None


class Record(Event):
    """A record of an object. `name` is what people see; after an erasure (`erased_at`) nothing of it is left.

    `visible_role_ids`: only members with one of these roles see it; none: everyone. `account_id`: whose it is.
    `merged_into`: the record that stands for it since two were found to be one. `converted_to`: the contact that a
    lead became.
    """

    business_id: UUID
    id: UUID
    version: int
    object: str
    external_ref: str | None = None
    name: str
    status: str | None = None
    owner_id: UUID | None = None
    fields: dict[str, Any] = Field(default_factory=dict)
    created_at: Instant
    updated_at: Instant
    deleted_at: Instant | None = None
    erased_at: Instant | None = None
    archived_at: Instant | None = None
    visible_role_ids: list[UUID] = Field(default_factory=list)
    account_id: UUID | None = None
    merged_into: UUID | None = None
    converted_to: UUID | None = None
