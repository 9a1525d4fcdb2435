"""Fields of activity objects: 25 kinds, each with one stored form; values are checked together with the rules.

compiled = compiled_of(definition)
checked = compiled.check([("outcome", "won"), (field_id, 3)], logging=True, held=activity.fields)
checked.problems  # all of them, or
checked.stored    # what the activity's fields are now
"""

from services.lifecycle.domain.fields.compiled import Checked, Compiled, compile_object, compiled_of
from services.lifecycle.domain.fields.listing import NOTES, live_fields
from services.lifecycle.domain.fields.references import Reference

__all__ = ("NOTES", "Checked", "Compiled", "Reference", "compile_object", "compiled_of", "live_fields")
