"""Reporting: how many activities and conversations there were, by time and by what they are.

Owns    fact, interaction_fact, rollup, record, activity_object
Serves  /api/reports
Hears   activity.created, .completed, .changed, .appended, interaction.closed, activity.object, directory.record, access
Emits   nothing
"""
