"""What routes answer about activity objects, their fields and rules."""

from typing import Any

from libs.contracts.activity_object import ActivityObject, FieldOption, FieldRule, ObjectField
from libs.contracts.ids import preset_id_of
from services.lifecycle.domain import field_changes, rule_changes
from services.lifecycle.domain.fields import live_fields
from services.lifecycle.domain.fields.kinds import KINDS, SETTINGS, kind_of
from services.lifecycle.domain.known import Known

_AS_IT_IS = (
    "id", "name", "api_name", "description", "icon", "colour", "order", "is_editable", "association_mode",
    "submission_action", "redirect_url", "webhook_url", "calendar_sync_enabled", "default_note", "default_delay_min",
    "version",
)  # fmt: skip


def shown_object(kind: ActivityObject, known: Known, n_submissions: int) -> dict[str, Any]:
    """Show an activity object; `n_submissions` counts what was logged of it."""
    chosen = [_record_object(known, name) for name in kind.associated_objects]
    all_of_them = kind.association_mode == "all_objects_associated"
    sharing = kind.loggable_sharing_settings
    shown_rules = [shown_rule(rule, kind) for rule in kind.rules]
    assignee = kind.default_assignee
    return {name: getattr(kind, name) for name in _AS_IT_IS} | {
        "custom_objects": [_record_object(known, name) for name in known.record_object_names()]
        if all_of_them
        else chosen,
        "selected_objects": chosen,
        "calendar_sync_duration": kind.calendar_sync_duration_min,
        "loggable_sharing_settings": {
            "shared_with": sharing.shared_with if sharing is not None else "everyone",
            "member_ids": sharing.member_ids if sharing is not None else [],
            "role_ids": sharing.role_ids if sharing is not None else [],
        },
        "default_assignee": None
        if assignee is None
        else {"employee_id": assignee.member_id, "role_id": assignee.role_id, "name": assignee.name},
        "fields": [shown_field(field) for field in live_fields(kind)],
        "rules": shown_rules,
        "visibility_rules": shown_rules,
        "n_submissions": n_submissions,
        "created": kind.created_at,
        "deleted": kind.deleted_at is not None,
    }


def shown_field(field: ObjectField) -> dict[str, Any]:
    """Show a field; settings that its kind does not have are left out."""
    names = (
        "id", "name", "display_name", "field_type", "custom_field_type", "description", "is_required", "is_read_only",
        "is_hidden", "is_default", "is_deletable", "order",
    )  # fmt: skip
    kind = KINDS[kind_of(field)]
    shown: dict[str, Any] = {name: getattr(field, name) for name in names}
    shown["options"] = [shown_option(option) for option in field_changes.live_options(field)]
    shown |= {name: getattr(field, name) for name in SETTINGS if name in kind.settings}
    place = field.custom_object_field
    if place is not None:
        shown["custom_object_field"] = {"custom_object": place.object, "name": place.name}
    return shown | {"warnings": field_changes.warnings_of(field)}


def shown_option(option: FieldOption) -> dict[str, Any]:
    """Show an option."""
    return {"id": option.id, "name": option.name, "code": option.code}


def shown_rule(rule: FieldRule, kind: ActivityObject) -> dict[str, Any]:
    """Show a rule, with what can hardly be meant."""
    fields = {field.id: field for field in live_fields(kind)}
    return {
        "id": rule.id,
        "match": rule.match,
        "conditions": [
            {"field_id": each.field_id, "operator": each.operator, "value": each.value} for each in rule.conditions
        ],
        "target_field_ids": rule.target_field_ids,
        "warnings": rule_changes.warnings_of(rule, fields),
    }


def _record_object(known: Known, name: str) -> dict[str, Any]:
    return {"id": preset_id_of(known.business_id, "record_object", name), "api_name": name}
