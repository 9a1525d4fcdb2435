"""How records are written: what they refer to is checked, they are locked, and what changed leaves with them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import Depends, Path, Request, Response

from libs.access import Principal, may
from libs.contracts.ids import record_id_of, uuid7
from libs.database import Database, Transaction
from libs.errors import Conflict, Problem, Rejected
from libs.messaging.outbox import append
from libs.service.answers import versioned
from libs.service.body import Line
from libs.service.clock import now
from libs.service.http import DatabaseDep
from services.directory.api.bodies import RecordBody
from services.directory.api.pages import must_exist, shown
from services.directory.domain import rules
from services.directory.domain.changes import record_events
from services.directory.store import members, objects, records
from services.directory.store.records import NewRecord, Place

Reader = Annotated[Principal, Depends(may("records.read"))]
Writer = Annotated[Principal, Depends(may("records.write"))]
Object = Annotated[str, Line(255), Path(alias="object")]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Write:
    """A write to the records of an object."""

    principal: Principal
    place: Place
    request: Request
    database: Database


async def _write(object_name: Object, principal: Writer, request: Request, database: DatabaseDep) -> Write:
    return Write(principal, place_of(principal, object_name), request, database)


Writing = Annotated[Write, Depends(_write)]


@dataclass(frozen=True, slots=True)
class Referred:
    """What some bodies refer to and there is: members, accounts, roles."""

    owners: set[UUID]
    accounts: set[UUID]
    roles: set[UUID]

    def problems(self, body: RecordBody, statuses: Sequence[str]) -> list[Problem]:
        """Name what is wrong with the status and the references of a body."""
        found = list(rules.check_record(body.status, body.owner_id, statuses, self.owners))
        if body.account_id is not None and body.account_id not in self.accounts:
            found.append(Problem("account_id", "does_not_exist", f"{body.account_id} is not a record of 'account'"))
        return found + rules.unknown_references("visible_role_ids", body.visible_role_ids or (), self.roles)


def place_of(principal: Principal, object_name: str) -> Place:
    """Say where a caller's records of an object are: those that the caller sees."""
    standing = principal.standing
    return Place(principal.business_id, object_name, None if standing is None else tuple(standing.role_ids))


async def refer(tx: Transaction, place: Place, bodies: Iterable[RecordBody]) -> Referred:
    """Look up what bodies refer to."""
    said = list(bodies)
    owners = {body.owner_id for body in said if body.owner_id is not None}
    accounts = {body.account_id for body in said if body.account_id is not None}
    roles = {role_id for body in said for role_id in body.visible_role_ids or ()}
    business_id = place.business_id
    return Referred(
        await members.list_member_ids(tx, business_id, owners) if owners else set(),
        await records.list_ids(tx, Place(business_id, "account", place.role_ids), accounts) if accounts else set(),
        set(await members.list_role_ids(tx, business_id, roles)) if roles else set(),
    )


async def check(tx: Transaction, place: Place, body: RecordBody) -> NewRecord:
    """Check a body and make its record. Raises Rejected."""
    found = await hold_object(tx, place)
    problems = (await refer(tx, place, [body])).problems(body, found["statuses"])
    if problems:
        raise Rejected("the record is not valid", problems)
    return new_record(place, body)


def new_record(place: Place, body: RecordBody) -> NewRecord:
    """Make a record of a body: its id follows from its external ref, if it has one."""
    ref = body.external_ref
    record_id = uuid7() if ref is None else record_id_of(place.business_id, place.object, ref)
    return NewRecord(
        record_id, ref, body.name, body.status, body.owner_id, orjson.dumps(body.fields), body.account_id,
        None if body.visible_role_ids is None else tuple(dict.fromkeys(body.visible_role_ids)),
    )  # fmt: skip


async def save(
    tx: Transaction, principal: Principal, place: Place, new: Sequence[NewRecord], *, replace: bool
) -> list[Row]:
    """Save records and say what changed; the answer has those that were written."""
    before = await records.lock_existing(tx, place.business_id, [each.id for each in new])
    rows = await records.save_records(tx, place, new, now(), replace=replace)
    await append(tx, record_events(before, rows, principal.user_id))
    return rows


async def change(tx: Transaction, call: Write, before: Row, after: Row) -> Row:
    """Save a locked record as its next version and say what changed."""
    record = await records.save_record(tx, after | {"updated_at": now()})
    await append(tx, record_events({record["id"]: before}, [record], call.principal.user_id))
    return record


async def hold_object(tx: Transaction, place: Place) -> Row:
    """Find the object to write records of: it is not deleted before they are."""
    found = await objects.hold_object(tx, place.business_id, place.object)
    return must_exist(found, "record object", repr(place.object))


async def lock(tx: Transaction, place: Place, record_id: UUID, seen: int | None) -> Row:
    """Lock a record that is not deleted. Raises NotFound, Stale."""
    record = must_exist(await records.lock_record(tx, place, record_id), place.object, record_id)
    rules.check_version(record["version"], seen)
    return record


async def refuse_erased(tx: Transaction, place: Place, record_id: UUID) -> None:
    """Refuse to fill an erased record again. Raises Conflict."""
    if await records.list_erased(tx, place.business_id, [record_id]):
        link = f"/api/directory/records/{place.object}/{record_id}/erase"
        raise Conflict(f"record {record_id}: {rules.ERASED}", "erased", link)


def refuse_merged(record: Row) -> None:
    """Refuse to change a record that another one stands for. Raises Conflict."""
    if record["merged_into"] is not None:
        link = f"/api/directory/records/{record['object']}/{record['merged_into']}"
        raise Conflict(f"record {record['id']} was merged into {record['merged_into']}; change that", "merged", link)


def answer(record: Row, status: int = 200) -> Response:
    """Answer a record that was written."""
    return versioned(shown(record), record["version"], status, record["id"])
