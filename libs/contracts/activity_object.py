"""A type of activity, as `activity.object` carries its latest definition."""

from typing import Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from libs.contracts.activity import Assignee
from libs.contracts.event import Event, Instant, Shape

AssociationMode = Literal["all_objects_associated", "selected_objects_associated", "no_objects_associated"]


class Part(Shape):
    """A part of a definition. The first release promised nothing about what it holds, so all of it has a default."""

    model_config = ConfigDict(extra="ignore", frozen=True, json_schema_extra={"additionalProperties": True})


class FieldOption(Part):
    """One of the values of a choice field. `deleted_at`: not taken any more, still named where it was used."""

    id: str = ""
    name: str = ""
    code: str = ""
    deleted_at: Instant | None = None


class LinkedTo(Part):
    """The field of a record object that a linked field is: `name` is its api_name."""

    object: str = ""
    name: str = ""


class ObjectField(Part):
    """A field of an activity object. `name` is its api_name, stable; values are stored under it.

    A linked field (`activity_custom_field`) has `custom_object_field`, and in `custom_field_type` the kind of its
    value. `relation`: the record object that a relationship refers to. A deleted field is kept for its name.
    """

    id: str = ""
    name: str = ""
    display_name: str = ""
    field_type: str = ""
    custom_field_type: str | None = None
    description: str | None = None
    is_required: bool = False
    is_read_only: bool = False
    is_hidden: bool = False
    is_default: bool = False
    is_deletable: bool = True
    order: int = 0
    options: list[FieldOption] = Field(default_factory=list)
    relation: str | None = None
    rating_max: int | None = None
    currency: str | None = None
    decimals: int | None = None
    phone_region: str | None = None
    custom_object_field: LinkedTo | None = None
    deleted_at: Instant | None = None


class RuleCondition(Part):
    """What the value of a field is compared with."""

    field_id: str = ""
    operator: str = ""
    value: Any = None


class FieldRule(Part):
    """Shows its targets while all, or any, of its conditions hold; else they are hidden."""

    id: str = ""
    match: Literal["all", "any"] = "all"
    conditions: list[RuleCondition] = Field(default_factory=list)
    target_field_ids: list[str] = Field(default_factory=list)


class Sharing(Part):
    """Who may log: everyone whose rights allow it, or of those only the members and roles named."""

    shared_with: Literal["everyone", "selected"] = "everyone"
    member_ids: list[UUID] = Field(default_factory=list)
    role_ids: list[UUID] = Field(default_factory=list)


class ActivityObject(Event):
    """The latest definition of an activity object. Endings are a state: `deleted_at`.

    `calendar_sync_duration_min`: how long its activities last in calendars where they do not say. Without
    `loggable_sharing_settings` it is shared with everyone.
    """

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
    default_assignee: Assignee | None = None
    default_note: str | None = None
    calendar_sync_enabled: bool = False
    calendar_sync_duration_min: int | None = None
    loggable_sharing_settings: Sharing | None = None
    fields: list[ObjectField] = Field(default_factory=list)
    rules: list[FieldRule] = Field(default_factory=list)
    created_at: Instant
    deleted_at: Instant | None = None
