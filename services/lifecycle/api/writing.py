"""Writes that are decided together: those of a bulk, and single ones that come while another is being written.

Whatever they are, they cost the statements of one: references are looked up, activities locked, and versions saved for
all at once. Each is decided for itself, in order, on what those before it left; one that is refused changes nothing and
hinders no other. Whoever finds nobody writing for the business writes for all who wait: no delay is added.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from fastapi import Response

from libs.access.levels import Act
from libs.database import Transaction
from libs.errors import Rejected, Unavailable
from libs.service.answers import preferred
from services.lifecycle import admission, living, recording
from services.lifecycle.api.bodies import Entity
from services.lifecycle.api.callers import Caller, Wanted, may_arrive
from services.lifecycle.api.marks import Marks, marks_of
from services.lifecycle.api.references import References, look_up, roles_of
from services.lifecycle.domain.held import Decision, Held
from services.lifecycle.recording import Entry
from services.lifecycle.store import activities
from services.lifecycle.store.activities import Key

GATHERED_MAX = 100

Decide = Callable[[Transaction, References, Held | None], Awaitable[Decision]]


class Target(NamedTuple):
    """An activity that an operation is about, and what is to be done with it; `act` None: the decision looks itself."""

    activity_id: UUID
    act: Act | None = None
    logged: bool = False


class Operation(NamedTuple):
    """A write: who asks for it, whom and what it names, and how it is decided."""

    caller: Caller
    decide: Decide
    people: Sequence[UUID | None] = ()
    entities: Sequence[Entity] = ()
    target: Target | None = None


@dataclass(slots=True)
class Done:
    """What became of an operation that was not refused: the activity after it, the additions that it has, and what is
    to be said of the records that a completed one was planned with.
    """

    held: Held
    references: References
    decision: Decision
    appends: Sequence[bytes] = ()
    marks: Marks = field(default_factory=dict)


Outcome = Done | Rejected


async def write_all(tx: Transaction, operations: Sequence[Operation]) -> list[Outcome]:
    """Decide operations of one caller in their order, and record what they come to."""
    people = [each for op in operations for each in op.people]
    together = await look_up(tx, operations[0].caller, people, [entity for op in operations for entity in op.entities])
    keys = {(op.caller.business_id, op.target.activity_id) for op in operations if op.target is not None}
    held, awaited = await activities.lock_awaited(tx, keys) if keys else activities.Locked({}, set())
    outcomes: list[Outcome] = []
    for op in operations:
        try:
            done = await _decide(tx, op, together.beside(op.caller), held)
        except Rejected as error:
            outcomes.append(error)
            continue
        held[op.caller.business_id, done.held.activity.activity_id] = done.held
        outcomes.append(done)
    await _record(tx, [each for each in outcomes if isinstance(each, Done)], awaited)
    return outcomes


async def _decide(tx: Transaction, op: Operation, references: References, held: dict[Key, Held]) -> Done:
    before, target = None, op.target
    if target is not None:
        before = held.get((op.caller.business_id, target.activity_id))
        if target.act is not None:
            wanted = Wanted(target.activity_id, target.act, logged=target.logged)
            before = await op.caller.check(tx, before, references.known, wanted)
    decision = await op.decide(tx, references, before)
    assert decision.held is not None
    for (_, record_id), fields in references.linked.items():
        references.known.asked.setdefault(record_id, {}).update(fields)
    return Done(decision.held, references, decision._replace(linked=references.linked))


async def _record(tx: Transaction, done: Sequence[Done], awaited: Collection[Key]) -> None:
    """Record what applies, in one go; then admit the reports that waited for it."""
    applied = [each for each in done if each.decision.outcome == "applied"]
    if applied:
        await recording.record(tx, [_entry_of(each) for each in applied])
    completed = {_key_of(each.held): each for each in applied if each.decision.types == ("activity.completed",)}
    waited = [key for key in completed if key in awaited]
    if waited and await admission.retry(tx, waited, done[0].references.caller.now):
        for key, now_held in (await activities.lock_activities(tx, completed)).items():
            completed[key].held = now_held
    kept = [each.held.activity for each in completed.values() if each.held.activity.links]
    marks = await marks_of(tx, done[0].references.caller, kept) if kept else {}
    await _show_now(tx, done)
    for each in done:
        each.marks = marks
        if each.held.activity.logged_at is not None and each.held.activity.appends_count:
            each.appends = await activities.list_appends(tx, *_key_of(each.held))


async def _show_now(tx: Transaction, done: Sequence[Done]) -> None:
    """Let what is planned show what its records say, with what was just asked of them."""
    if done:
        references = done[0].references
        activities_now = [each.held.activity for each in done]
        roles = roles_of(references.caller)
        for each, now in zip(done, await living.as_now(tx, references.known, activities_now, roles), strict=True):
            each.held = each.held._replace(activity=now)


def _entry_of(done: Done) -> Entry:
    caller, known = done.references.caller, done.references.known
    me = known.person_of(caller.principal.user_id)
    return Entry(done.decision, me, request_id=caller.request_id, recognise=known.recognises)


def _key_of(held: Held) -> Key:
    return held.activity.business_id, held.activity.activity_id


@dataclass(eq=False, slots=True)
class Ticket:
    """An operation in a queue. `told` becomes what became of it, or None: "your turn to write for all"."""

    operation: Operation
    told: "asyncio.Future[Outcome | None]"


@dataclass(slots=True)
class Lane:
    """The queue of one caller's operations. While `writing`, one of its requests is committing for the others."""

    waiting: deque[Ticket] = field(default_factory=deque)
    writing: bool = False


class Gather:
    """Writes single operations, those of one member with one key that come at the same time together."""

    def __init__(self) -> None:
        self._lanes: dict[tuple[UUID, UUID, UUID | None], Lane] = {}

    async def write(self, operation: Operation) -> Done:
        """Write an operation in a commit that may be shared. Raises Rejected, Unavailable."""
        principal = operation.caller.principal
        place = principal.business_id, principal.key_id, principal.user_id
        lane = self._lanes.setdefault(place, Lane())
        ticket = Ticket(operation, asyncio.get_running_loop().create_future())
        lane.waiting.append(ticket)
        if lane.writing:
            outcome = await self._wait(lane, ticket)
            if outcome is not None:
                return _given(outcome)
        lane.writing = True
        try:
            return _given(await _write(lane, ticket))
        finally:
            self._hand_on(lane)
            if not lane.waiting and not lane.writing:
                self._lanes.pop(place, None)

    async def _wait(self, lane: Lane, ticket: Ticket) -> Outcome | None:
        try:
            return await ticket.told
        except asyncio.CancelledError:
            told = ticket.told
            if ticket in lane.waiting:
                lane.waiting.remove(ticket)
            if not told.cancelled() and told.done() and told.exception() is None and told.result() is None:
                self._hand_on(lane)  # cancelled in the moment it was given the turn
            raise

    def _hand_on(self, lane: Lane) -> None:
        """Give the turn to the first who waits, if anybody does."""
        for ticket in lane.waiting:
            if not ticket.told.done():
                ticket.told.set_result(None)
                return
        lane.writing = False


async def _write(lane: Lane, own: Ticket) -> Outcome:
    """Write for all who wait, and tell them; whoever is told of a failure may write for itself."""
    tickets = [own, *(each for each in lane.waiting if each is not own and not each.told.done())][:GATHERED_MAX]
    for each in tickets:
        lane.waiting.remove(each)
    caller = own.operation.caller
    try:
        async with caller.database.transaction(caller.principal) as tx:
            outcomes = await write_all(tx, [each.operation for each in tickets])
    except BaseException:
        failure = Unavailable("what was written together with this failed; try again")
        for each in tickets[1:]:
            if not each.told.done():
                each.told.set_exception(failure)
                each.told.exception()
        raise
    for each, outcome in zip(tickets[1:], outcomes[1:], strict=True):
        if not each.told.done():
            each.told.set_result(outcome)
    return outcomes[0]


def _given(outcome: Outcome) -> Done:
    if isinstance(outcome, Rejected):
        raise outcome
    return outcome


async def written(operation: Operation, answer: Callable[[Done], Response]) -> Response:
    """Write an operation and answer: shared with others, but for one with an Idempotency-Key, or whose references
    have yet to arrive.
    """
    caller = operation.caller
    state = caller.request.app.state
    if "idempotency-key" not in caller.request.headers:
        if not hasattr(state, "gather"):
            state.gather = Gather()
        try:
            return preferred(caller.request, answer(await state.gather.write(operation)))
        except Rejected as error:
            if not may_arrive(error):
                raise

    async def alone(tx: Transaction) -> Response:
        return answer(_given((await write_all(tx, [operation]))[0]))

    return await caller.write(alone)
