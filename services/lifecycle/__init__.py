"""Lifecycle: the only source of truth about activities.

Owns    activity_object, activity, history, activity_append, comment, notification, account_activity, restricted,
        recurrence_series, admission, waiting, erasure, remapping, recognisable, same_verdict, recheck, asked_value,
        record, record_object (copies)
Serves  /api/activities, /v1/accounts
Hears   activity.received, interaction.closed, record.changed, record.refused, directory.business, directory.object,
        directory.record, access
Emits   activity.created, .completed, .changed, .appended, activity.answered, activity.object, record.requested
"""
