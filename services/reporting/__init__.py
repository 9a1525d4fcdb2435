"""Reporting: how many activities and conversations there were, by time and by what they are.

Owns    fact, interaction_fact, rollup
Serves  /api/reports
Hears   activity.created, .completed, .changed, .appended, interaction.closed, access
Emits   nothing
"""
