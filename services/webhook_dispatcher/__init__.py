"""Webhook dispatcher: who is told that something happened, and until when.

Owns    endpoint, endpoint_revision, endpoint_secret, delivery, event, attempt, erased_activity
Serves  /api/webhooks
Hears   activity.completed, .appended, .changed (erasures), access
Emits   nothing
"""
