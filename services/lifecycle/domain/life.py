"""The life of an activity: planned, moved, cancelled, restored, logged once, then only added to."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from libs.access.members import KnownRole
from libs.contracts import activity as contract
from libs.contracts.report import Reason as ReasonShape
from libs.errors import Conflict, Forbidden
from services.lifecycle.domain.held import (
    BY_REQUEST,
    HEARD,
    PLAN,
    Decision,
    Held,
    Reason,
    Subject,
    Told,
    begin,
    merge,
    next_version,
    refused,
    unchanged,
    waiting,
)

APPENDS_MAX = 500
APPENDS_SHOWN = 20
COMMENTS_MAX = 500
_UNPLANNED = "planned_at", "created_by", "original_due_at"


def plan(held: Held | None, subject: Subject, told: Told) -> Decision:
    """Plan it, or change the plan; a plan for a logged activity fills what is absent, once."""
    if held is None:
        first = _first_plan(told)
        if "type" not in first.content:
            return waiting(None, "unknown_activity", "is not known yet, and nothing says of which type it is")
        return Decision("applied", begin(subject, first, 0), ("activity.created",))
    activity = held.activity
    if activity.planned_at is None:
        return _applied(held, merge(held, _first_plan(told)), "activity.updated")
    if activity.logged_at is not None or activity.cancelled_at is not None or activity.deleted_at is not None:
        return unchanged(held)
    return change(held, told)


def change(held: Held, told: Told) -> Decision:
    """Change what is planned; the event says whether it was moved or given to somebody else."""
    later = merge(held, told)
    if later is None:
        return unchanged(held)
    before, after = held.activity, later.activity
    if (before.due_date or before.due_at) != (after.due_date or after.due_at):
        kind = "activity.rescheduled"
    elif before.assignee != after.assignee:
        kind = "activity.reassigned"
    else:
        kind = "activity.updated"
    return Decision("applied", later, (kind,))


def claim(held: Held, told: Told, role: KnownRole | None) -> Decision:
    """Give it to a member of the role it is assigned to; whoever was first keeps it. Raises Conflict, Forbidden."""
    activity, assignee = held.activity, held.activity.assignee
    taker = told.content["assignee"]
    if assignee is not None and assignee.member_id is not None:
        if assignee.member_id == taker.member_id:
            return unchanged(held)
        message = f"activity {activity.activity_id} is with {assignee.name or 'somebody else'} ({assignee.member_id})"
        raise Conflict(message, code="taken", link=f"/api/activities/scheduled-activity/{activity.activity_id}")
    if assignee is None or assignee.role_id is None:
        raise Conflict(f"activity {activity.activity_id} is not assigned to a role", code="no_role")
    if role is None or not role.live or taker.member_id not in role.member_ids:
        message = f"only members of the role {assignee.name or assignee.role_id} can claim it"
        raise Forbidden(message, code="not_in_role")
    return change(held, told)


def log(held: Held | None, subject: Subject, told: Told, *, by_request: bool = False) -> Decision:
    """Log it, directly or completing what was planned; a report's second word (`complete`, `log`) is added once."""
    heard = BY_REQUEST if by_request else HEARD[told.rank]
    told.content.setdefault("logged_at", told.at)
    if told.by is not None:
        told.content["logged_by"] = told.by
    if held is None:
        if "type" not in told.content:
            return waiting(None, "unknown_activity", "is not known yet, and nothing says of which type it is")
        return Decision("applied", begin(subject, told, heard), ("activity.created", "activity.completed"))
    if held.activity.logged_at is not None:
        if held.heard & (heard | BY_REQUEST) or by_request:
            return unchanged(held)
        return _applied(held, merge(held, told, heard), "activity.updated")
    if held.activity.deleted_at is not None:
        return unchanged(held)
    problems = kept_problems("links", told.content.get("links", held.activity.links), "give the one that it was about")
    if problems:
        return Decision("waiting", held, reasons=tuple(problems))
    why = None if held.activity.cancelled_at is None else "it had been cancelled, and happened after all"
    return _applied(held, merge(held, told, heard), "activity.completed", why)


def kept_problems(field: str, links: Iterable[contract.Link], advice: str) -> list[ReasonShape]:
    """Say of which objects what is planned has several records, with which it cannot be logged."""
    counts = Counter(link.object for link in links)
    message = "is planned with {} records of {!r}, and a logged activity has at most one of each object; {}"
    return [
        Reason(field=field, code="one_per_object", message=message.format(count, name, advice))
        for name, count in counts.items()
        if count > 1
    ]


def cancel(held: Held | None, at: datetime, now: datetime) -> Decision:
    """Cancel what is planned; what was logged stays, what is unknown is waited for."""
    if held is None:
        return waiting(None, "unknown_activity", "is not known yet")
    activity = held.activity
    if activity.logged_at is not None or activity.cancelled_at is not None or activity.deleted_at is not None:
        return unchanged(held)
    return Decision(
        "applied", held._replace(activity=next_version(held, now, cancelled_at=at)), ("activity.cancelled",)
    )


def restore(held: Held, now: datetime) -> Decision:
    """Take a cancellation back."""
    if held.activity.cancelled_at is None or held.activity.deleted_at is not None:
        return unchanged(held)
    later = held._replace(activity=next_version(held, now, cancelled_at=None))
    return Decision("applied", later, ("activity.restored",))


def delete(held: Held, now: datetime) -> Decision:
    """Take it out of sight; its history stays, and from there it can be restored."""
    if held.activity.deleted_at is not None:
        return unchanged(held)
    later = held._replace(activity=next_version(held, now, deleted_at=now))
    return Decision("applied", later, ("activity.deleted",))


def bring_back(held: Held, now: datetime) -> Decision:
    """Take a deletion back."""
    if held.activity.deleted_at is None:
        return unchanged(held)
    later = held._replace(activity=next_version(held, now, deleted_at=None))
    return Decision("applied", later, ("activity.restored",), "its deletion was taken back")


def comment(held: Held, now: datetime) -> Decision:
    """Count a comment; its text is kept beside."""
    count = held.activity.comments_count
    if count >= COMMENTS_MAX:
        message = f"has {count} comments; at most {COMMENTS_MAX} are taken"
        return refused(held, Reason(field="activity_id", code="too_many_comments", message=message))
    later = held._replace(activity=next_version(held, now, comments_count=count + 1))
    return Decision("applied", later, ("activity.updated",), "a comment was added")


def append(held: Held | None, addition: contract.Append, now: datetime, *, is_editable: bool) -> Decision:
    """Add to a logged activity. Additions stand in the order of their times; the event carries the newest 20."""
    if held is None:
        return waiting(None, "unknown_activity", "is not known yet")
    activity = held.activity
    if activity.logged_at is None:
        return waiting(held, "not_logged", "is not logged yet; only a logged activity can be added to")
    problems = _append_problems(activity, addition, is_editable)
    if problems:
        return refused(held, *problems)
    appends = sorted([*activity.appends, addition], key=lambda each: (each.at, each.id))[-APPENDS_SHOWN:]
    changes: dict[str, Any] = {"appends": appends, "appends_count": activity.appends_count + 1}
    if addition.kind == "retraction":
        earlier = activity.retracted_at
        changes["retracted_at"] = addition.at if earlier is None else min(earlier, addition.at)
    later = held._replace(activity=next_version(held, now, **changes))
    return Decision("applied", later, ("activity.appended",), addition=addition)


def _append_problems(activity: contract.Activity, addition: contract.Append, is_editable: bool) -> list[Any]:
    problems = []
    if activity.deleted_at is not None:
        problems.append(Reason(field="activity_id", code="deleted", message="is deleted"))
    if activity.appends_count >= APPENDS_MAX:
        message = f"has {activity.appends_count} additions; at most {APPENDS_MAX} are taken"
        problems.append(Reason(field="activity_id", code="too_many_appends", message=message))
    if addition.kind == "note" and not addition.text:
        problems.append(Reason(field="text", code="required", message="is required for a note"))
    if addition.kind == "attachment" and not addition.url:
        problems.append(Reason(field="url", code="required", message="is required for an attachment"))
    if addition.kind == "correction" and not addition.text and not addition.fields:
        problems.append(Reason(field="text", code="required", message="or fields is required for a correction"))
    if addition.fields and addition.kind != "correction":
        problems.append(Reason(field="fields", code="not_allowed", message="are taken for a correction only"))
    elif addition.fields and not is_editable:
        message = f"cannot be corrected: activities of type {activity.type!r} are not editable; correct with text"
        problems.append(Reason(field="fields", code="not_editable", message=message))
    return problems


def _first_plan(told: Told) -> Told:
    """Add what a plan has besides what it says; all of it comes from the plan that came first."""
    assert told.rank == PLAN
    planned = {"planned_at": told.at, "created_by": told.by, "original_due_at": told.content.get("due_at")}
    return Told(PLAN, told.at, told.now, told.by, {**planned, **told.content})


def _applied(held: Held, later: Held | None, kind: str, why: str | None = None) -> Decision:
    return unchanged(held) if later is None else Decision("applied", later, (kind,), why)
