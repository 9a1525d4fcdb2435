"""A type of activity, as `activity.object` carries its latest definition."""

from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from libs.contracts.event import Event, Instant

AssociationMode = Literal["all_objects_associated", "selected_objects_associated", "no_objects_associated"]


class ActivityObject(Event):
    """The latest definition of an activity object. Endings are a state: `deleted_at`."""

    business_id: UUID
    id: UUID
    version: int
    name: str
    api_name: str
    description: str | None = None
    icon: str | None = None
    colour: str | None = None
    order: int = 0
    association_mode: AssociationMode = "all_objects_associated"
    associated_objects: list[str] = Field(default_factory=list)
    is_editable: bool = False
    submission_action: Literal["redirect", "trigger_webhook"] | None = None
    redirect_url: str | None = None
    webhook_url: str | None = None
    default_delay_min: int | None = None
    fields: list[dict[str, Any]] = Field(default_factory=list)
    rules: list[dict[str, Any]] = Field(default_factory=list)
    created_at: Instant
    deleted_at: Instant | None = None
