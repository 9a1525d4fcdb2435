"""Bodies of requests about records."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from libs.service.body import Body, Line

FIELDS_MAX = 500
ROLES_MAX = 100

Ref = Annotated[str, Line(255)]
Name = Annotated[str, Line(500)]
Status = Annotated[str, Line(100)]
RoleIds = Annotated[list[UUID], Field(max_length=ROLES_MAX)]
Fields = Annotated[dict[Annotated[str, Line(255)], Any], Field(max_length=FIELDS_MAX)]


class RecordBody(Body):
    """A whole record; what is not named is absent.

    `account_id` and `visible_role_ids` (who sees it; none: everyone) stay as they are where they are not named.
    """

    external_ref: Ref | None = None
    name: Name
    status: Status | None = None
    owner_id: UUID | None = None
    account_id: UUID | None = None
    visible_role_ids: RoleIds | None = None
    fields: Fields = Field(default_factory=dict)


class RecordPatch(Body):
    """What is to change about a record; what is not named stays, a field that is null goes away."""

    name: Name = ""
    status: Status | None = None
    owner_id: UUID | None = None
    account_id: UUID | None = None
    visible_role_ids: RoleIds = Field(default_factory=list)
    fields: Fields = Field(default_factory=dict)


class MergeBody(Body):
    """The record that is the same as another one: its history is shown there from now on."""

    record_id: UUID


class ConversionBody(Body):
    """What a lead becomes: a contact, new or known, and an account if there is one."""

    contact: RecordBody | None = None
    contact_id: UUID | None = None
    account: RecordBody | None = None
    account_id: UUID | None = None
