"""Route: many writes in one request, each with a result of its own."""

import time
from dataclasses import replace
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import Field, TypeAdapter, ValidationError

from libs.database import Transaction
from libs.errors import Problem, Rejected
from libs.service.answers import json_answer
from libs.service.body import Body, Line
from libs.service.problems import read_validation
from libs.service.strict_json import read_json
from services.lifecycle.api import logs, planning
from services.lifecycle.api.bodies import AppendBody, LogBody, PlanBody
from services.lifecycle.api.callers import Caller, Writer, may_arrive
from services.lifecycle.api.writing import Done, Operation, Outcome, write_all

OPERATIONS_MAX = 500
INVALID_STATUS = 400
MARGIN_S = 0.2
ACTIONS = ("schedule", "change", "cancel", "log", "complete", "append")

router = APIRouter(prefix="/api/activities")


class ScheduleOperation(Body):
    """Schedule an activity; without a recurrence."""

    action: Literal["schedule"]
    body: PlanBody


class ChangeOperation(Body):
    """Change what is named of a scheduled activity. `version`: the one that it is meant for."""

    action: Literal["change"]
    id: UUID
    body: PlanBody
    version: Annotated[int, Field(strict=True, ge=1)] | None = None


class CancelOperation(Body):
    """Cancel a scheduled activity."""

    action: Literal["cancel"]
    id: UUID
    version: Annotated[int, Field(strict=True, ge=1)] | None = None


class LogOperation(Body):
    """Log an activity of an object (id or api_name); `complete` names what is completed."""

    action: Literal["log", "complete"]
    object: Annotated[str, Line(255)]
    body: LogBody
    version: Annotated[int, Field(strict=True, ge=1)] | None = None


class AppendOperation(Body):
    """Add to a logged activity."""

    action: Literal["append"]
    id: UUID
    body: AppendBody
    version: Annotated[int, Field(strict=True, ge=1)] | None = None


Wanted = ScheduleOperation | ChangeOperation | CancelOperation | LogOperation | AppendOperation
_wanted: TypeAdapter[Wanted] = TypeAdapter(Annotated[Wanted, Field(discriminator="action")])


class BulkBody(Body):
    """Up to 500 operations, each `{action, …}`: schedule, change, cancel, log, complete, append."""

    operations: Annotated[list[Any], Field(min_length=1, max_length=OPERATIONS_MAX)]


_SCHEMA = {
    "type": "object",
    "required": ["operations"],
    "properties": {
        "operations": {
            "type": "array", "minItems": 1, "maxItems": OPERATIONS_MAX,
            "items": {
                "type": "object", "required": ["action"], "properties": {"action": {"type": "string", "enum": ACTIONS}},
            },
        }
    },
}  # fmt: skip


@router.post("/bulk", openapi_extra={"requestBody": {"content": {"application/json": {"schema": _SCHEMA}}}})
async def write_bulk(request: Request, caller: Writer) -> Response:
    """Write up to 500 operations: `{"operations": [{"action": "schedule", "body": {…}}, …]}`.

    Actions are `schedule` (body), `change` (id, body), `cancel` (id), `log` and `complete` (object, body) and `append`
    (id, body); bodies are those of the single routes, `version` stands for `If-Match`. They are decided in their order,
    each on what those before it left; a refused one changes nothing and hinders no other. Answers 200 with a result for
    each: `{index, status, id, version}`, or `{index, status, code, detail, errors}`.
    """
    read = [_operation(caller, each) for each in _read(await request.body()).operations]
    good = [each for each in read if isinstance(each, Operation)]
    patient_until = time.monotonic() + request.app.state.service.settings.reference_wait_max_ms / 1000 - MARGIN_S

    async def write(tx: Transaction) -> Response:
        outcomes = iter(await write_all(tx, good) if good else ())
        whole: list[Outcome] = [each if isinstance(each, Rejected) else next(outcomes) for each in read]
        refused = [each for each in whole if isinstance(each, Rejected)]
        late = [each for each in refused if may_arrive(each)]
        if late and time.monotonic() < patient_until:
            raise late[0]  # all of it again, in a moment
        results = [_result(index, each) for index, each in enumerate(whole)]
        return json_answer({"written": len(whole) - len(refused), "refused": len(refused), "results": results})

    return await caller.write(write)


def _read(text: bytes) -> BulkBody:
    try:
        return BulkBody.model_validate(read_json(text))
    except ValidationError as error:
        raise Rejected("the request is not valid", read_validation(error.errors())) from None


def _operation(caller: Caller, given: Any) -> Operation | Rejected:
    """Read an operation; what is wrong with it is its result."""
    try:
        wanted = _wanted.validate_python(given)
    except ValidationError as error:
        problems = [_without_tag(problem) for problem in read_validation(error.errors())]
        return Rejected("the operation is not valid", problems, code=problems[0].code)
    if isinstance(wanted, ScheduleOperation):
        if wanted.body.recurrence is None:
            return planning.operation(caller, wanted.body)
        problem = Problem("body.recurrence", "not_in_bulk", "is taken by POST /api/activities/scheduled-activity alone")
        return Rejected("the operation is not valid", [problem], code=problem.code)
    caller = replace(caller, version=wanted.version)
    if isinstance(wanted, ChangeOperation):
        return planning.change_operation(caller, wanted.id, wanted.body)
    if isinstance(wanted, CancelOperation):
        return planning.cancel_operation(caller, wanted.id)
    if isinstance(wanted, AppendOperation):
        return logs.append_operation(caller, wanted.id, wanted.body)
    return logs.operation(caller, wanted.object, wanted.body)


def _without_tag(problem: Problem) -> Problem:
    """Leave out the action's name, which pydantic puts before the names of its fields."""
    tag, dot, rest = problem.field.partition(".")
    return replace(problem, field=rest if dot and tag in ACTIONS else problem.field)


def _result(index: int, outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, Done):
        activity = outcome.held.activity
        made = outcome.decision.types[:1] in (("activity.created",), ("activity.completed",), ("activity.appended",))
        return {
            "index": index, "status": 201 if made else 200, "id": activity.activity_id, "version": activity.version,
            "errors": [],
        }  # fmt: skip
    errors = [{"field": each.field, "code": each.code, "message": each.message} for each in outcome.problems]
    status = INVALID_STATUS if outcome.status == 422 else outcome.status
    link = getattr(outcome, "link", None)
    detail = "; ".join(f"{each.field}: {each.message}" for each in outcome.problems[:3]) or outcome.message
    return {
        "index": index, "status": status, "code": outcome.code, "detail": detail, "errors": errors,
        **({"link": link} if link else {}),
    }  # fmt: skip
