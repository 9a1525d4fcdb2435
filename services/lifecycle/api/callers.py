"""Who calls, and how a route writes: in one transaction, once for each Idempotency-Key, after references arrived."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, NamedTuple
from uuid import UUID

from fastapi import Depends, Request, Response

from libs.access import Principal, may
from libs.access.levels import ADMIN_OBJECTS, Act
from libs.access.sight import Sight, sight_of
from libs.contracts import activity as contract
from libs.contracts.activity import linked_of
from libs.database import Database, Transaction
from libs.errors import Forbidden, NotFound, Problem, Rejected, Stale
from libs.service.answers import if_match
from libs.service.clock import now
from libs.service.http import DatabaseDep, rewrites, writes
from libs.service.idempotency import once
from services.lifecycle import admission
from services.lifecycle.domain.held import Held
from services.lifecycle.domain.known import Known
from services.lifecycle.domain.rights import Rights, rights_of
from services.lifecycle.store import activities, privacy, records

COPIED = (
    "employee_id", "role_id", "mentions", "associated_entities", "related_objects", "accountId", "participants",
    "fields", "metadata",
)  # fmt: skip
"""References to what is copied from directory, and may arrive a moment after its caller has heard of it."""
POLL_S = 0.05


class Wanted(NamedTuple):
    """An activity, as scheduled or logged one, maybe a deleted one, and what is to be done with it."""

    activity_id: UUID
    act: Act
    logged: bool = False
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls with which request, against which database. `now` is when the request came.

    `version`: the one that an operation of a bulk is meant for, in the place of `If-Match`.
    """

    principal: Principal
    request: Request
    database: Database
    now: datetime
    version: int | None = None

    @property
    def business_id(self) -> UUID:
        """The caller's business."""
        return self.principal.business_id

    @property
    def request_id(self) -> str:
        """The request's id."""
        text: str = self.request.state.request_id
        return text

    async def write(self, work: Callable[[Transaction], Awaitable[Response]]) -> Response:
        """Do `work` in a transaction of its own, once; again for a while when a reference is not known here yet."""
        wait_s = self.request.app.state.service.settings.reference_wait_max_ms / 1000
        deadline = time.monotonic() + wait_s
        while True:
            try:
                async with self.database.transaction(self.principal) as tx:
                    return await once(tx, self.principal, self.request, lambda tx=tx: work(tx))  # type: ignore[misc]
            except Rejected as error:
                if time.monotonic() + POLL_S > deadline or not may_arrive(error):
                    raise
            await asyncio.sleep(POLL_S)

    async def find(
        self, tx: Transaction, activity_id: UUID, known: Known, *, logged: bool = False, deleted: bool = False
    ) -> Held:
        """Read the activity of that id as scheduled (or logged) one, if the caller sees it; `deleted`: also deleted.

        Raises NotFound.
        """
        held = await activities.find_activity(tx, self.business_id, activity_id)
        found = visible(held, activity_id, logged=logged, deleted=deleted)
        return await self._see(tx, found, known, logged=logged)

    async def lock(  # noqa: PLR0913 - two of them are words
        self, tx: Transaction, activity_id: UUID, known: Known, act: Act, *, logged: bool = False, deleted: bool = False
    ) -> Held:
        """Lock the activity of that id as scheduled (or logged) one, to do something with it that the caller may do.

        Raises NotFound, also where the caller does not see it, and Forbidden.
        """
        locked = await activities.lock_activities(tx, [(self.business_id, activity_id)])
        wanted = Wanted(activity_id, act, logged=logged, deleted=deleted)
        return await self.check(tx, locked.get((self.business_id, activity_id)), known, wanted)

    async def check(self, tx: Transaction, held: Held | None, known: Known, wanted: Wanted) -> Held:
        """Pass on what was locked, if the caller sees it and may do that with it. Raises NotFound, Forbidden."""
        found = visible(held, wanted.activity_id, logged=wanted.logged, deleted=wanted.deleted)
        seen = await self._see(tx, found, known, logged=wanted.logged)
        require(self.rights(known).may(wanted.act, seen.activity), wanted.act, f"activity {wanted.activity_id}")
        return seen

    async def lock_to_claim(self, tx: Transaction, activity_id: UUID, known: Known) -> Held:
        """Lock a scheduled activity that the caller sees, or that somebody has taken from one of the caller's roles.

        Raises NotFound, and Forbidden where the caller has no scheduling right.
        """
        locked = await activities.lock_activities(tx, [(self.business_id, activity_id)])
        held = visible(locked.get((self.business_id, activity_id)), activity_id)
        before = await activities.find_version(tx, self.business_id, activity_id, held.activity.version - 1)
        rights = self.rights(known)
        if before is None or not rights.is_assigned(before):
            held = await self._see(tx, held, known, logged=False)
        require(rights.may_schedule(), "claim", f"activity {activity_id}")
        return held

    def rights(self, known: Known) -> Rights:
        """Tell what the caller may do."""
        return rights_of(self.principal, known.types.values())

    async def sight(self, tx: Transaction, known: Known) -> Sight | None:
        """Tell what lists show to the caller; None: everything that is for everybody."""
        return await sight_of(tx, self.principal, self.rights(known).shut)

    async def reader(self, tx: Transaction) -> UUID | None:
        """Name the caller where some activities are not for everybody; None: all are."""
        some = await privacy.has_restricted(tx, self.business_id)
        return (self.principal.user_id or privacy.NOBODY) if some else None

    async def sees(self, tx: Transaction, held: Held, known: Known) -> bool:
        """Tell whether the caller sees an activity."""
        activity, reader_id = held.activity, self.principal.user_id
        if activity.privacy != "public" and await privacy.is_hidden(
            tx, activity.business_id, activity.activity_id, reader_id
        ):
            return False
        rights = self.rights(known)
        if rights.standing is None or rights.is_assigned(activity):
            return True
        linked = linked_of(activity)
        hidden = bool(linked) and await records.is_guarded(tx, self.business_id, linked, rights.standing.role_ids)
        return rights.may_view(activity, hidden=hidden)

    async def sees_each(self, tx: Transaction, found: Sequence[contract.Activity], known: Known) -> list[bool]:
        """Tell of each of some activities, maybe at older versions, whether the caller sees it."""
        ids = {each.activity_id for each in found}
        private = await privacy.list_hidden(tx, self.business_id, ids, self.principal.user_id)
        rights = self.rights(known)
        linked = {each for activity in found for each in linked_of(activity)} if rights.standing is not None else set()
        guarded: set[UUID] = set()
        if linked and rights.standing is not None:
            guarded = await records.list_guarded(tx, self.business_id, linked, rights.standing.role_ids)
        return [
            each.activity_id not in private and rights.may_view(each, hidden=not guarded.isdisjoint(linked_of(each)))
            for each in found
        ]

    async def _see(self, tx: Transaction, held: Held, known: Known, *, logged: bool) -> Held:
        if not await self.sees(tx, held, known):
            raise _no_such(held.activity.activity_id, logged=logged)
        return held

    def match(self, held: Held) -> None:
        """Refuse a write that was meant for another version. Raises Stale."""
        self.match_version(held.activity.version)

    def match_version(self, current: int) -> None:
        """Refuse a write that was meant for another version than the current one. Raises Stale."""
        version = self.version if self.version is not None else if_match(self.request)
        if version is not None and version != current:
            raise Stale(f'If-Match names version {version}; the current one is "{current}"')

    async def retry_waiting(self, tx: Transaction, held: Held) -> None:
        """Admit reports that waited for what this request has brought."""
        await admission.retry(tx, [(held.activity.business_id, held.activity.activity_id)], self.now)


def visible(held: Held | None, activity_id: UUID, *, logged: bool = False, deleted: bool = False) -> Held:
    """Pass on what is there as scheduled (or logged) activity; with `deleted` a deleted one too. Raises NotFound."""
    if held is None or (held.activity.deleted_at is not None and not deleted):
        raise _no_such(activity_id, logged=logged)
    if (held.activity.logged_at if logged else held.activity.planned_at) is None:
        raise _no_such(activity_id, logged=logged)
    return held


def require(allowed: bool, act: str, what: str) -> None:
    """Refuse what the caller's rights do not allow. Raises Forbidden."""
    if not allowed:
        message = f"your roles do not allow you to {act} {what}"
        raise Forbidden(message, [Problem("permissions", "not_permitted", message)], code="not_permitted")


def _no_such(activity_id: UUID, *, logged: bool) -> NotFound:
    return NotFound(f"there is no {'logged' if logged else 'scheduled'} activity {activity_id}")


def id_of(text: str, kind: str) -> UUID:
    """Read an activity's id from a path. Raises NotFound: what is no id names nothing."""
    try:
        return UUID(text)
    except ValueError:
        raise NotFound(f"there is no {kind} activity {text[:100]!r}") from None


def refuse(problems: list[Problem]) -> None:
    """Refuse a request with all its problems, if there are any. Raises Rejected."""
    if problems:
        raise Rejected("the request is not valid", problems, code=problems[0].code)


def may_arrive(error: Rejected) -> bool:
    """Tell whether a request was refused for a reference that may not have been copied yet."""
    return any(each.code == "does_not_exist" and each.field.startswith(COPIED) for each in error.problems)


def make_caller(
    scope: str, permission: str | None = None, *, session: bool = False, matched: bool = True
) -> Callable[..., Awaitable[Caller]]:
    """Make the dependency that gives a route its caller; `matched`: a write that takes `If-Match`."""
    principal_with_scope = may(scope, named=not session, session=session, permission=permission)

    async def caller(
        request: Request, database: DatabaseDep, principal: Annotated[Principal, Depends(principal_with_scope)]
    ) -> Caller:
        return Caller(principal, request, database, now())

    if scope != "activities.write":
        return caller
    return rewrites(caller) if matched else writes(caller)


Reader = Annotated[Caller, Depends(make_caller("activities.read"))]
Writer = Annotated[Caller, Depends(make_caller("activities.write"))]
SeriesWriter = Annotated[Caller, Depends(make_caller("activities.write", matched=False))]
"""Who writes to a recurrence, which has no versions."""
Admin = Annotated[Caller, Depends(make_caller("activities.write", ADMIN_OBJECTS))]
"""Who may change activity objects, their fields and rules."""
MemberReader = Annotated[Caller, Depends(make_caller("activities.read", session=True))]
MemberWriter = Annotated[Caller, Depends(make_caller("activities.write", session=True))]
"""Members who call S2's routes, by key and token."""
