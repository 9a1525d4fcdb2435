"""Timeline projector: what happened to a record and what is planned, in order, and what was said.

Owns    activity_head, entry, interaction, message, record, activity_object
Serves  /api/timeline, /api/interactions
Hears   activity.created, .completed, .changed, .appended, interaction.closed, activity.object, directory.record, access
Emits   nothing
"""
