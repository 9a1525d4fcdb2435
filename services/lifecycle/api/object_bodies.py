"""Bodies of requests that make and change activity objects, their fields, options and rules."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AliasChoices, BeforeValidator, Field

from libs.contracts.activity_object import AssociationMode
from libs.service.body import Body, Line, Text
from services.lifecycle.api.bodies import Entities, FieldValue, ObjectName
from services.lifecycle.api.pages import ShownBody
from services.lifecycle.domain.field_changes import OPTIONS_MAX, ORDER_MAX
from services.lifecycle.domain.rule_changes import CONDITIONS_MAX, RULES_MAX

DESCRIPTION_MAX = 500
DELAY_MAX_MIN = 10 * 366 * 24 * 60
DURATION_MAX_MIN = 31 * 24 * 60
SHARED_MAX = 1_000
ASSOCIATED_MAX = 200
TARGETS_MAX = 200

Name = Annotated[str, Line(200)]
ApiName = Annotated[str, Line(255)]
Description = Annotated[str, Text(DESCRIPTION_MAX)]
Url = Annotated[str, Line(2_000), Field(pattern=r"^https?://[^/\s]+")]
Order = Annotated[int, Field(strict=True, ge=0, le=ORDER_MAX)]
Word = Annotated[str, Line(255)]


def _named(value: Any) -> Any:
    """Read a record object, named bare or within `custom_object`, as its id or api_name."""
    if isinstance(value, dict) and set(value) == {"custom_object"}:
        value = value["custom_object"]
    if not isinstance(value, dict):
        return value
    found = ObjectName.model_validate(value)
    return found.id or found.api_name


def _absent(value: Any) -> Any:
    return None if value == "none" else value


RecordObjectName = Annotated[Word, BeforeValidator(_named)]


class SharingBody(Body):
    """Who may log."""

    shared_with: Literal["everyone", "selected"] = "everyone"
    member_ids: list[UUID] = Field(default_factory=list, max_length=SHARED_MAX)
    role_ids: list[UUID] = Field(default_factory=list, max_length=SHARED_MAX)


class AssigneeBody(Body):
    """Who is to do what names nobody: a member or a role."""

    employee_id: UUID | None = None
    role_id: UUID | None = None


class ConditionBody(Body):
    """A condition of a rule."""

    field_id: Word
    operator: Word
    value: Any = None


class RuleBody(Body):
    """A rule; as it is answered it can be sent back."""

    match: Literal["all", "any"] = "all"
    conditions: list[ConditionBody] = Field(max_length=CONDITIONS_MAX)
    target_field_ids: list[Word] = Field(max_length=TARGETS_MAX)
    id: Word | None = None
    warnings: list[Any] | None = None


Rules = Annotated[list[RuleBody], Field(max_length=RULES_MAX)]


class ObjectList(ShownBody):
    """Which activity objects to list, and what of them."""

    search: Annotated[str, Line(200)] | None = None
    custom_object_id: Word | None = None
    show_no_objects_associated: bool = False
    page: int = Field(1, ge=1, le=1_000_000)
    page_size: int = Field(100, ge=1, le=1_000)


class ObjectPatch(Body):
    """What is to change of an activity object. Its api_name stays."""

    name: Name | None = None
    api_name: ApiName | None = None
    description: Description | None = None
    icon: Annotated[str, Line(100)] | None = None
    colour: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")] | None = None
    order: Order | None = None
    is_editable: bool = False
    association_mode: AssociationMode = "all_objects_associated"
    associated_objects: list[RecordObjectName] = Field(default_factory=list, max_length=ASSOCIATED_MAX)
    submission_action: Annotated[Literal["redirect", "trigger_webhook"] | None, BeforeValidator(_absent)] = None
    redirect_url: Url | None = None
    webhook_url: Url | None = None
    calendar_sync_enabled: bool = False
    calendar_sync_duration: Annotated[int, Field(strict=True, ge=1, le=DURATION_MAX_MIN)] | None = None
    loggable_sharing_settings: SharingBody | None = None
    default_assignee: AssigneeBody | None = None
    default_note: Annotated[str, Text(50_000)] | None = None
    default_delay_min: Annotated[int, Field(strict=True, ge=0, le=DELAY_MAX_MIN)] | None = None
    visibility_rules: Rules | None = None


class ObjectBody(ObjectPatch):
    """A new activity object, or a whole one in place of what was."""

    name: Name


class CopyBody(Body):
    """How a copy is to be called."""

    name: Name | None = None
    api_name: ApiName | None = None


class OptionBody(Body):
    """An option of a choice field. Its code is made of the name where it is absent."""

    id: Word | None = None
    name: Annotated[str, Line(200)]
    code: Annotated[str, Line(200)] | None = None


class LinkedToBody(Body):
    """The field of a record object that a linked field is."""

    custom_object: RecordObjectName = Field(validation_alias=AliasChoices("custom_object", "object"))
    name: ApiName


class FieldPatch(Body):
    """What is to change of a field. Its name and kind stay; options are given whole, in their order."""

    name: ApiName | None = None
    display_name: Name | None = None
    field_type: Word | None = None
    custom_field_type: Word | None = None
    description: Description | None = None
    is_required: bool = False
    is_read_only: bool = False
    is_hidden: bool = False
    order: Order | None = None
    options: list[OptionBody] | None = Field(None, max_length=OPTIONS_MAX)
    relation: RecordObjectName | None = None
    rating_max: Annotated[int, Field(strict=True)] | None = None
    currency: Annotated[str, Line(3)] | None = None
    decimals: Annotated[int, Field(strict=True)] | None = None
    phone_region: Annotated[str, Line(2)] | None = None
    custom_object_field: LinkedToBody | None = None


class FieldBody(FieldPatch):
    """A new field, or a whole one in place of what was."""

    display_name: Name
    field_type: Word


class ReplacementBody(Body):
    """Which option takes the place of another."""

    option_id: Word = Field(validation_alias=AliasChoices("option_id", "replacement_id", "new_option_id"))


class EvaluateBody(Body):
    """The values of a form as they stand, and the records that it is about: linked fields have their values."""

    fields: list[FieldValue] = Field(default_factory=list, max_length=200)
    notes: Annotated[str, Text(50_000)] | None = Field(None, validation_alias=AliasChoices("notes", "note"))
    logging: bool = True
    related_objects: Entities = Field(default_factory=list)
