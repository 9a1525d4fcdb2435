"""Undoing what was logged: a retraction, and where the work is still to be done a new scheduled activity."""

from datetime import datetime
from typing import Any, NamedTuple

from libs.contracts import activity as contract
from libs.contracts.ids import uuid5
from services.lifecycle.domain import life
from services.lifecycle.domain.held import PLAN, Decision, Held, Subject, Told

_TAKEN_OVER = (
    "type", "type_id", "type_name", "subject", "summary", "notes", "direction", "location", "duration_min", "assignee",
    "participants", "links", "fields", "attachments", "metadata", "mentions", "notify_mentioned", "notifications",
)  # fmt: skip


class Undone(NamedTuple):
    """What an undo makes: the retraction, and the new activity (None: nothing is to be done)."""

    retraction: Decision
    following: Decision | None


def undo(
    held: Held, retraction: contract.Append, now: datetime, *, reopen: bool, due: dict[str, Any] | None = None
) -> Undone:
    """Retract it; with `reopen` plan it again as it was logged, by `due` (`due_at`, `due_date`) or as it was due then.

    The new one has an id that follows from what is undone, so that undoing it twice at once makes one.
    """
    retracted = life.append(held, retraction, now, is_editable=False)
    if retracted.outcome != "applied" or not reopen:
        return Undone(retracted, None)
    activity = held.activity
    content = {name: getattr(activity, name) for name in _TAKEN_OVER}
    content |= due if due is not None else {"due_at": activity.due_at, "due_date": activity.due_date}
    content["original_due_at"] = content["due_at"]
    if activity.privacy != "public":
        content["privacy"] = activity.privacy
    subject = Subject(
        activity.business_id, uuid5(activity.activity_id, "undone"), activity.source, activity.source_kind,
        follows_id=activity.activity_id,
    )  # fmt: skip
    planned = life.plan(None, subject, Told(PLAN, now, now, retraction.by, content))
    return Undone(
        retracted._replace(why=f"undone; {subject.activity_id} follows it"),
        planned._replace(why=f"it follows {activity.activity_id}, which was undone"),
    )
