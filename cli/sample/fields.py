"""Fields of the sample's own: how a call ended, and why not better, which is asked for only where it was declined."""

from typing import Any

OBJECT = "call"
FIELDS: tuple[dict[str, Any], ...] = (
    {
        "name": "outcome", "display_name": "Outcome", "field_type": "dropdown",
        "options": [{"name": "Agreed"}, {"name": "Undecided"}, {"name": "Declined"}],
    },
    {"name": "reason", "display_name": "Reason", "field_type": "text", "is_required": True},
    {"name": "satisfaction", "display_name": "Satisfaction", "field_type": "rating", "rating_max": 5},
    {"name": "topics", "display_name": "Topics", "field_type": "dynamictags"},
)  # fmt: skip
RULES: tuple[dict[str, Any], ...] = (
    {
        "match": "all",
        "conditions": [{"field_id": "outcome", "operator": "equals", "value": "declined"}],
        "target_field_ids": ["reason"],
    },
)
REASONS = ("Too expensive", "Another offer was better", "No need at present")


def values_of(number: int) -> dict[str, Any]:
    """Give the values of one call: of ten five agree, three are undecided, one is declined, one says nothing."""
    place = number % 10
    if place == 9:
        return {}
    values: dict[str, Any] = {"outcome": "agreed" if place < 5 else "undecided" if place < 8 else "declined"}
    if values["outcome"] == "declined":
        return values | {"reason": REASONS[number // 10 % len(REASONS)], "topics": ["price", "follow-up"]}
    return values | {"satisfaction": 1 + number // 10 % 5}
