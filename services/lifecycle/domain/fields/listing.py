"""Which fields an activity object has."""

from uuid import UUID

from libs.contracts.activity_object import ActivityObject, ObjectField
from libs.contracts.decoding import struct_of
from libs.contracts.ids import uuid5

NOTES = "notes"
"""The name of the field that every object has; its value is the activity's note."""

_Field = struct_of(ObjectField)


def notes_field(object_id: UUID) -> ObjectField:
    """Make the notes field of an object."""
    return _Field(
        id=str(uuid5(object_id, NOTES)),
        name=NOTES,
        display_name="Notes",
        field_type="wysiwyg",
        is_default=True,
        is_deletable=False,
    )


def live_fields(definition: ActivityObject) -> list[ObjectField]:
    """List the fields that are not deleted in their order; definitions from before fields have their notes too."""
    fields = [each for each in definition.fields if each.deleted_at is None]
    if not any(each.is_default for each in fields):
        fields.insert(0, notes_field(definition.id))
    return sorted(fields, key=lambda each: each.order)
