"""Timeline projector: what happened to a record and what is planned, in order.

Owns    activity_head, entry, record, activity_object
Serves  /api/timeline
Hears   activity.created, .completed, .changed, .appended, activity.object, directory.record, access
Emits   nothing
"""
