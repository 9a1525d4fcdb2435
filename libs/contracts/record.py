"""Changes of records: asked for by an activity, made, or refused (key: business/record)."""

from typing import Any
from uuid import UUID

from pydantic import Field

from libs.contracts.activity import Person
from libs.contracts.event import Event, Instant
from libs.contracts.report import Reason


class RecordRequested(Event):
    """`record.requested`: an activity at `version` wrote fields whose values live on a record of `object`.

    `fields` is by the record's own api_names; null takes a value away. `request_id` names the request for good: whoever
    applies it answers it once, by `record.changed` or `record.refused`.
    """

    request_id: UUID
    business_id: UUID
    object: str
    record_id: UUID
    fields: dict[str, Any] = Field(default_factory=dict)
    by: Person | None = None
    activity_id: UUID
    version: int
    requested_at: Instant


class RecordRefused(RecordRequested):
    """`record.refused`: what an activity asked for was not done, with all reasons; the record is as it was."""

    refused_at: Instant
    reasons: list[Reason] = Field(default_factory=list)


class RecordChanged(Event):
    """`record.changed`: a record became its `version`. `before` and `after` hold what changed alone.

    Their names are `name`, `status`, `owner_id`, `external_ref`, `deleted_at` and `fields.<api_name>`; a value that was
    or is absent is null. `request_id` and `activity_id`: the activity's request that it was changed by, if it was.
    """

    business_id: UUID
    object: str
    record_id: UUID
    version: int
    before: dict[str, Any] = Field(default_factory=dict)
    after: dict[str, Any] = Field(default_factory=dict)
    by: Person | None = None
    request_id: UUID | None = None
    activity_id: UUID | None = None
    changed_at: Instant
