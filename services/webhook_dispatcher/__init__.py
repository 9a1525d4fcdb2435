"""Webhook dispatcher: who is told that something happened, and until when.

Owns    endpoint, endpoint_revision, endpoint_secret, delivery, event, attempt, replay, erased_activity, filter_failure,
        worker, shard
Serves  /api/webhooks
Hears   activity.completed, .appended, .changed (erasures), activity.object, access
Emits   webhook.endpoint
"""
