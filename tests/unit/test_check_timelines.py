"""What the check says about timelines that were made before notes stood in for summaries."""

from uuid import uuid4

from cli.check.compare import compare_heads
from services.timeline_projector.domain.lines import head_of
from tests.support.histories import activity, event


def test_a_line_from_before_a_note_stood_in_for_its_summary_agrees_and_another_text_does_not() -> None:
    told = event(activity(uuid4(), summary=None, subject=None, notes="<p>said</p>"))
    identity, row = told.activity.activity_id, head_of(told.activity)._asdict()
    differing = [f"timeline: activity {identity}: summary differs"]
    for summary, found in (("said", []), (None, []), ("else", differing)):
        assert compare_heads({identity: told}, {identity: row | {"summary": summary}}, full=True) == found
    summed = event(activity(uuid4(), summary="told"))
    identity, row = summed.activity.activity_id, head_of(summed.activity)._asdict()
    found = compare_heads({identity: summed}, {identity: row | {"summary": None}}, full=True)
    assert found == [f"timeline: activity {identity}: summary differs"]
