"""What requests about plans amount to: bodies, with their references looked up, become decisions."""

from datetime import date, datetime, time, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from libs.contracts import activity as contract
from libs.contracts.activity_object import ActivityObject
from libs.contracts.ids import uuid7
from libs.database import Transaction
from libs.errors import Conflict, Problem
from services.lifecycle.api.bodies import PlanBody, RecurrenceBody
from services.lifecycle.api.callers import Caller, refuse, require
from services.lifecycle.api.references import Given, References
from services.lifecycle.api.writing import Operation, Target
from services.lifecycle.domain import life, linked, recurrence
from services.lifecycle.domain.due import zone_of
from services.lifecycle.domain.held import PLAN, Assignee, Decision, Held, Subject, Told
from services.lifecycle.domain.plans import schedule_of
from services.lifecycle.domain.recurrence import HORIZON_DAYS, BadRule, Segment, Series

REPLACED = (
    "due_datetime", "employee_id", "role_id", "notes", "mentions", "subject", "summary", "location", "direction",
    "duration_min", "notify_mentioned", "notifications", "associated_entities", "fields",
)  # fmt: skip
"""What PUT sets, to nothing where it is left out."""


class Planned(NamedTuple):
    """What becomes of a schedule: the activity, and the recurrence that it is the first occurrence of."""

    decision: Decision
    series: Series | None = None


def operation(caller: Caller, body: PlanBody) -> Operation:
    """Schedule an activity."""

    async def decide(tx: Transaction, references: References, held: Held | None) -> Decision:
        await learn_defaults(tx, references, body)
        return (await schedule(tx, references, body)).decision

    return Operation(caller, decide, people_of(body), body.associated_entities)


def change_operation(caller: Caller, activity_id: UUID, body: PlanBody) -> Operation:
    """Change what a body names of a scheduled activity."""

    async def decide(tx: Transaction, references: References, held: Held | None) -> Decision:
        assert held is not None
        await references.learn(tx, held.activity.assignee)
        if "recurrence" in body.model_fields_set:
            message = "is taken by PATCH /api/activities/scheduled-activity/{id} alone"
            references.problems.append(Problem("body.recurrence", "not_in_bulk", message))
        return (await change(tx, references, held, (body, body.model_fields_set)))[0]

    return Operation(caller, decide, people_of(body), body.associated_entities, Target(activity_id, "edit"))


def cancel_operation(caller: Caller, activity_id: UUID) -> Operation:
    """Cancel a scheduled activity; of a recurrence this one."""

    async def decide(tx: Transaction, references: References, held: Held | None) -> Decision:
        assert held is not None
        return cancel(references, held)

    return Operation(caller, decide, target=Target(activity_id, "delete"))


async def learn_defaults(tx: Transaction, references: References, body: PlanBody) -> None:
    """Look up who an activity object is assigned to where a schedule does not say."""
    kind = references.known.type_of(str(body.activity_object_id or body.activity_object_name))
    if kind is not None and body.employee_id is None and body.role_id is None:
        await references.learn(tx, kind.default_assignee)


async def schedule(tx: Transaction, references: References, body: PlanBody) -> Planned:
    """Plan an activity; what the body leaves out is the object's default, else the caller's. Raises Rejected."""
    caller, known = references.caller, references.known
    kind = references.type_of(body)
    content = await content_of(tx, body, references, set(REPLACED), None)
    me = known.person_of(caller.principal.user_id)
    if kind is not None:
        content |= _defaults(references, body, content, kind)
    series = None
    if body.recurrence is not None:
        series = _series(references, body.recurrence, content)
    refuse(references.problems)
    assert kind is not None
    allowed = caller.rights(known).may_assign(kind.id, content["assignee"])
    require(allowed, "schedule", f"a {kind.api_name!r} for {body.employee_id or body.role_id or 'yourself'}")
    content |= {"type": kind.api_name, "type_id": kind.id, "type_name": kind.name}
    content["original_due_at"] = body.original_due_datetime or content["due_at"]
    subject = Subject(caller.business_id, uuid7())
    if series is not None:
        first = series.segments[0]
        subject = subject._replace(activity_id=first.activity_id, series_id=series.id, occurs_on=first.first)
    return Planned(life.plan(None, subject, Told(PLAN, caller.now, caller.now, me, content)), series)


async def change(
    tx: Transaction, references: References, held: Held, given: tuple[PlanBody, set[str]]
) -> tuple[Decision, dict[str, Any]]:
    """Change what is planned: of a body the fields named. Returns the content too. Raises Rejected."""
    body, names = given
    caller = references.caller
    _check_create_only(body, held, references)
    content = await content_of(tx, body, references, names, held)
    refuse(references.problems)
    caller.match(held)
    refuse_logged(held)
    refuse_cancelled(held)
    me = references.known.person_of(caller.principal.user_id)
    changed = life.change(held, Told(PLAN, caller.now, caller.now, me, content))
    return linked.ask(changed, caller.now, asks=references.asks), content


def cancel(references: References, held: Held) -> Decision:
    """Cancel what is planned; what is cancelled stays so. Raises Conflict, Stale."""
    caller = references.caller
    refuse_logged(held)
    if held.activity.cancelled_at is None:
        caller.match(held)
    return life.cancel(held, caller.now, caller.now)


def refuse_logged(held: Held) -> None:
    """Refuse a second log, and changes to what was logged. Raises Conflict."""
    if held.activity.logged_at is not None:
        link = f"/api/activities/logged/{held.activity.activity_id}"
        raise Conflict(f"activity {held.activity.activity_id} is logged already", code="already_logged", link=link)


def refuse_cancelled(held: Held) -> None:
    """Refuse changes to what is cancelled. Raises Conflict."""
    if held.activity.cancelled_at is not None:
        raise Conflict(f"activity {held.activity.activity_id} is cancelled; restore it first", code="cancelled")


def people_of(body: PlanBody) -> list[UUID | None]:
    """Name the members and roles in a body."""
    return [body.employee_id, body.role_id, *body.mentions]


def time_of(activity: contract.Activity, zone: str) -> tuple[date, time | None]:
    """Return the day and the time of day that something is due in a zone; it must be dated."""
    if activity.due_date is not None:
        return activity.due_date, None
    assert activity.due_at is not None
    local = activity.due_at.astimezone(zone_of(zone))
    return local.date(), local.time()


def _defaults(references: References, body: PlanBody, content: dict[str, Any], kind: ActivityObject) -> dict[str, Any]:
    """Fill in what an object gives where a schedule says nothing: assignee, else the caller; note; delay."""
    caller, known = references.caller, references.known
    found: dict[str, Any] = {}
    assignee = content["assignee"]
    if assignee is None and body.employee_id is None and body.role_id is None:
        me = known.person_of(caller.principal.user_id)
        mine = Assignee(member_id=me.member_id, name=me.name) if me is not None else None
        assignee = found["assignee"] = references.live(kind.default_assignee) or mine
        found |= references.due(body.due_datetime, assignee)
    if body.notes is None and kind.default_note is not None:
        found["notes"] = kind.default_note
    if body.due_datetime is None and kind.default_delay_min is not None:
        found["due_at"] = schedule_of(caller.now, kind.default_delay_min)
    return found


def _series(references: References, wanted: RecurrenceBody, content: dict[str, Any]) -> Series | None:
    """Begin a recurrence with what is planned; its problems are added to the request's."""
    due: datetime | None = content["due_at"]
    if due is None:
        references.problems.append(Problem("due_datetime", "required", "is required for a recurrence: it begins there"))
        return None
    zone = wanted.zone or references.known.zone_of(content["assignee"])
    if zone_of(zone).key != zone:
        references.problems.append(Problem("recurrence.zone", "does_not_exist", f"{zone!r} is not an IANA zone"))
        return None
    day, at = content["due_date"], None
    if day is None:
        local = due.astimezone(zone_of(zone))
        day, at = local.date(), local.time()
    if wanted.mode == "fixed" and day < references.caller.now.date() - timedelta(days=HORIZON_DAYS):
        message = f"lies more than {HORIZON_DAYS} days back; all that occurred since would be made"
        references.problems.append(Problem("due_datetime", "range", message))
        return None
    try:
        rule = recurrence.check(wanted.rule, day, at, zone)
    except BadRule as error:
        references.problems.append(Problem("recurrence", "rule_invalid", str(error)))
        return None
    identity = uuid7()
    first = Segment(day, day, rule, recurrence.id_of(identity, day), 1, at)
    return Series(references.caller.business_id, identity, wanted.mode, zone, day, (first,))


def _check_create_only(body: PlanBody, held: Held, references: References) -> None:
    if body.original_due_datetime not in (None, held.activity.original_due_at):
        message = "is set when an activity is scheduled; change due_datetime"
        references.problems.append(Problem("original_due_datetime", "create_only", message))
    if body.activity_object_id is None and body.activity_object_name is None:
        return
    if body.activity_object_id not in (None, held.activity.type_id) or body.activity_object_name not in (
        None, held.activity.type, str(held.activity.type_id),
    ):  # fmt: skip
        field = "activity_object_id" if body.activity_object_id is not None else "activity_object_name"
        message = f"is set when an activity is scheduled and stays {held.activity.type!r}"
        references.problems.append(Problem(field, "create_only", message))


async def content_of(
    tx: Transaction, body: PlanBody, references: References, names: set[str], held: Held | None
) -> dict[str, Any]:
    """Read what a body says about a plan: the fields in `names`."""
    earlier = held.activity.assignee if held is not None else None
    content = references.said(body, names, held.activity.mentions if held is not None else ())
    if names & {"employee_id", "role_id"}:
        content["assignee"] = references.assignee(body, earlier)
    assignee = content.get("assignee", earlier)
    if "due_datetime" in names:
        content |= references.due(body.due_datetime, assignee)
    elif "assignee" in content and held is not None and held.activity.due_date is not None:
        content |= references.due(held.activity.due_date, assignee)
    if "notify_mentioned" in names:
        content["notify_mentioned"] = body.notify_mentioned
    if "notifications" in names:
        content["notifications"] = [each.model_dump() for each in body.notifications]
    text = body.activity_object_name or str(body.activity_object_id or "")
    kind = references.known.type_of(str(held.activity.type_id) if held else text)
    links = held.activity.links if held is not None else []
    if "associated_entities" in names:
        links = references.links("associated_entities", body.associated_entities, kind, logging=False)
        content["links"] = links
    before = None if held is None or names.issuperset(REPLACED) else held.activity
    return content | await references.fields(tx, body, Given(kind, names, links, before))
