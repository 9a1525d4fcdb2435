"""The activity objects that every business begins with (design: vocabulary)."""

from datetime import datetime
from uuid import UUID

from libs.contracts import activity_object as contract
from libs.contracts.decoding import struct_of
from libs.contracts.ids import preset_id_of
from services.lifecycle.domain.fields.listing import notes_field

ActivityObject = struct_of(contract.ActivityObject)

RECORD_OBJECTS = ("contact", "account", "lead")

_PRESETS = (
    ("call", "Call", "phone", "#2563eb"),
    ("email", "Email", "mail", "#0891b2"),
    ("meeting", "Meeting", "users", "#7c3aed"),
    ("site_visit", "Site visit", "map-pin", "#c2410c"),
    ("task", "Task", "check-square", "#475569"),
    ("note", "Note", "file-text", "#ca8a04"),
    ("sms", "SMS", "message-square", "#16a34a"),
    ("whatsapp", "WhatsApp", "message-circle", "#15803d"),
    ("chat", "Chat", "messages-square", "#0d9488"),
    ("review", "Review", "clipboard-check", "#9333ea"),
    ("presentation", "Presentation", "presentation", "#db2777"),
    ("training", "Training", "graduation-cap", "#4f46e5"),
    ("lead_conversion", "Lead conversion", "repeat", "#dc2626"),
)


def presets_of(business_id: UUID, created_at: datetime) -> list[contract.ActivityObject]:
    """Make the presets of a business; their ids follow from the business and the api_name."""
    return [
        ActivityObject(
            business_id=business_id,
            id=(object_id := preset_id_of(business_id, "activity_object", api_name)),
            version=1,
            name=name,
            api_name=api_name,
            icon=icon,
            colour=colour,
            order=order,
            fields=[notes_field(object_id)],
            created_at=created_at,
        )
        for order, (api_name, name, icon, colour) in enumerate(_PRESETS)
    ]


def record_object_of(business_id: UUID, text: str) -> str | None:
    """Find a record object by api_name or id; None where there is no such one."""
    if text in RECORD_OBJECTS:
        return text
    ids = {str(preset_id_of(business_id, "record_object", name)): name for name in RECORD_OBJECTS}
    return ids.get(text.lower())
