"""Reporting: how many activities there were, by time and by what they are.

Owns    fact, rollup
Serves  /api/reports
Hears   activity.created, .completed, .changed, .appended, access
Emits   nothing
"""
