"""The rights a key can carry."""

SCOPES: tuple[str, ...] = (
    "directory.read",
    "directory.write",
    "records.read",
    "records.write",
    "ingest.write",
    "ingest.read",
    "activities.read",
    "activities.write",
    "timeline.read",
    "reports.read",
    "webhooks.read",
    "webhooks.write",
    "act_as",
)

ACT_AS = "act_as"

DEFAULT_SCOPES: tuple[str, ...] = tuple(scope for scope in SCOPES if scope != ACT_AS)
"""What a key made without `scopes` has, and every member token."""
