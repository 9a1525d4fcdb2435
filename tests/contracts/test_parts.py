"""What projections read of an activity is all that they take from it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from libs.contracts.activity import Activity, ActivityEvent
from libs.contracts.decoding import decoder_of, part_decoder_of
from services.reporting.domain import facts
from services.timeline_projector.domain import lines

GOLDEN = sorted((Path(__file__).parent / "golden").glob("activity.c*.json"))
AT, ID = "2026-05-05T09:30:00Z", "0190a0b0-0000-7000-8000-0000000000ab"
OTHER = {
    "activity_id": ID, "source": "mail", "source_kind": "external", "logged_at": AT, "linked_at": AT,
    "member_ids": [ID], "links": [{"object": "lead", "record_id": ID}],
}  # fmt: skip
OTHERWISE: tuple[dict[str, Any], ...] = (
    {}, {"privacy": "private"}, {"privacy": "team"}, {"same": [OTHER]}, {"same": [OTHER], "same_as": ID},
    {"retracted_at": AT}, {"deleted_at": AT}, {"logged_at": None, "cancelled_at": AT}, {"actor": None},
    {"logged_at": None, "due_at": None}, {"interaction_id": ID, "direction": None}, {"assignee": {"role_id": ID}},
    {"summary": None, "subject": None, "notes": "<p>said</p>"},
)  # fmt: skip


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
@pytest.mark.parametrize(("only", "take"), [(facts.READ, facts.fact_of), (lines.READ, lines.head_of)])
def test_part_of_an_activity_that_is_read_gives_what_all_of_it_gives(
    path: Path, only: tuple[str, ...], take: Callable[[Activity], Any]
) -> None:
    whole, part = decoder_of(ActivityEvent), part_decoder_of(ActivityEvent, "activity", only)
    event = orjson.loads(path.read_bytes())
    for changes in OTHERWISE:
        written = orjson.dumps(event | {"activity": event["activity"] | changes})
        assert take(part(written).activity) == take(whole(written).activity)
        assert not hasattr(part(written).activity, "fields")


def test_part_with_a_field_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="Activity has no colour"):
        part_decoder_of(ActivityEvent, "activity", ("at", "colour"))
