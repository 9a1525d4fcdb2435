"""What requests to log and to append amount to: bodies, with their references looked up, become decisions."""

from typing import Any
from uuid import UUID

from libs.contracts.activity_object import ActivityObject
from libs.contracts.ids import uuid7
from libs.database import Transaction
from libs.errors import Problem, Rejected
from services.lifecycle.api.bodies import AppendBody, LogBody
from services.lifecycle.api.callers import Caller, refuse, require
from services.lifecycle.api.planning import refuse_logged
from services.lifecycle.api.references import Given, References, object_in_path
from services.lifecycle.api.writing import Operation, Target
from services.lifecycle.domain import life
from services.lifecycle.domain.held import LOG, Append, Decision, Held, Subject, Told


def operation(caller: Caller, named: str, body: LogBody) -> Operation:
    """Log an activity of the object named, or complete the scheduled one that the body names."""

    async def decide(tx: Transaction, references: References, held: Held | None) -> Decision:
        return await decide_log(tx, references, (named, body), held)

    target = Target(body.scheduled_activity_id) if body.scheduled_activity_id is not None else None
    return Operation(caller, decide, body.mentions, body.related_objects, target)


def append_operation(caller: Caller, activity_id: UUID, body: AppendBody) -> Operation:
    """Add to a logged activity."""

    async def decide(tx: Transaction, references: References, held: Held | None) -> Decision:
        assert held is not None
        return await decide_append(tx, references, held, body)

    return Operation(caller, decide, target=Target(activity_id, "edit", logged=True))


async def decide_log(
    tx: Transaction, references: References, wanted: tuple[str, LogBody], before: Held | None
) -> Decision:
    """Log, or complete what was planned (`before`, as it is locked). Raises Rejected."""
    named, body = wanted
    caller, known = references.caller, references.known
    kind = object_in_path(known, named)
    held = await _completed(tx, references, body, before)
    rights = caller.rights(known)
    if held is not None:
        require(rights.may("log", held.activity), "log", f"activity {held.activity.activity_id}")
    elif body.scheduled_activity_id is None:
        require(rights.may_log_directly(kind.id), "log", f"a {kind.api_name!r}")
    told = await _told(tx, body, references, kind, held)
    if kind.deleted_at is not None:
        references.problems.append(Problem("activity_object_id", "archived", f"{kind.api_name!r} is archived"))
    if held is not None and held.activity.type_id != kind.id:
        message = f"is a scheduled {held.activity.type!r}, not a {kind.api_name!r}"
        references.problems.append(Problem("scheduled_activity_id", "other_type", message))
    refuse(references.problems)
    if held is not None:
        caller.match(held)
        refuse_logged(held)
    return life.log(held, Subject(caller.business_id, uuid7()), told, by_request=True)


async def decide_append(tx: Transaction, references: References, held: Held, body: AppendBody) -> Decision:
    """Add to what was logged. Raises Rejected."""
    caller, known = references.caller, references.known
    caller.match(held)
    said, kind = body.model_dump(), known.type_of(str(held.activity.type_id))
    editable = kind is not None and kind.is_editable
    if kind is not None and editable and body.fields and body.kind == "correction":
        said["fields"] = await references.correction(tx, body.fields, kind, held.activity)
        refuse(references.problems)
    me = known.person_of(caller.principal.user_id)
    addition = Append(id=uuid7(), at=caller.now, by=me, **said)
    decision = life.append(held, addition, caller.now, is_editable=editable)
    if decision.outcome != "applied":
        problems = [Problem(each.field, each.code, each.message) for each in decision.reasons]
        raise Rejected("this cannot be added", problems, code=problems[0].code)
    return decision._replace(linked=references.linked)


async def _completed(tx: Transaction, references: References, body: LogBody, held: Held | None) -> Held | None:
    """Pass on what is to be completed; what is none, or not for the caller's eyes, is a problem."""
    if body.scheduled_activity_id is None:
        return None
    caller = references.caller
    if held is not None and (held.activity.deleted_at is not None or not await caller.sees(tx, held, references.known)):
        held = None
    if held is None or held.activity.planned_at is None:
        message = f"{body.scheduled_activity_id} is not a scheduled activity"
        if held is not None:
            refuse_logged(held)
        references.problems.append(Problem("scheduled_activity_id", "does_not_exist", message))
        return None
    return held


async def _told(
    tx: Transaction, body: LogBody, references: References, kind: ActivityObject, held: Held | None
) -> Told:
    caller = references.caller
    content: dict[str, Any] = references.said(body, body.model_fields_set)
    links = references.links("related_objects", body.related_objects, kind, logging=True)
    before = held.activity if held is not None else None
    if links:
        content["links"] = links
    elif before is not None and before.logged_at is None:
        references.check_kept(before)
    given = Given(kind, body.model_fields_set, links or (before.links if before else []), before, logging=True)
    content |= await references.fields(tx, body, given)
    content = {name: value for name, value in content.items() if value not in (None, [])}
    content |= {"type": kind.api_name, "type_id": kind.id, "type_name": kind.name}
    if body.occurred_at is not None:
        content["occurred_at"] = body.occurred_at
    me = references.known.person_of(caller.principal.user_id)
    if me is not None:
        content["actor"] = me
    return Told(LOG, caller.now, caller.now, me, content)
