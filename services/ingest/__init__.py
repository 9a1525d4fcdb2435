"""Ingest: is this report acceptable, have we had it before.

Owns    report_identity, report_outcome, report_accepted, report_answered, source, interaction, message,
        interaction_record, erasure
Serves  /ingest/activities, /ingest/activities/bulk, /ingest/interactions, /ingest/receipts
Hears   activity.answered, activity.inbound…, directory.record (erasures), access
Emits   activity.received, interaction.closed
"""
