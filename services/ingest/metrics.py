"""Metrics of the intake, each with a line of meaning."""

from prometheus_client import Counter

REPORTS = Counter(
    "ingest_reports_total",
    "Reports by what the caller was told, lines of bulks that were rejected among them.",
    ("told",),
)
ANSWERS = Counter(
    "ingest_answers_total",
    "Answers heard for reports: applied, unchanged, waiting, refused, set_aside; those heard again included.",
    ("outcome",),
)
