"""Reads what linked fields say now: the values of the records that planned activities are about."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, cast
from uuid import UUID

import msgspec

from libs.access.members import find_members
from libs.contracts import activity as contract
from libs.contracts.activity_object import ActivityObject
from libs.database import Transaction
from services.lifecycle.domain import linked
from services.lifecycle.domain.fields import Compiled, compiled_of
from services.lifecycle.domain.fields.kinds import kind_of
from services.lifecycle.domain.held import Held
from services.lifecycle.domain.known import Known
from services.lifecycle.store import living as store

Roles = Collection[UUID] | None
"""Roles of who reads; None: whoever may read all records."""


async def as_now(
    tx: Transaction, known: Known, activities: Sequence[contract.Activity], role_ids: Roles = None
) -> list[contract.Activity]:
    """Give activities, where they are planned, with the values that the records of their linked fields have now.

    Costs nothing where no field is linked, else one statement for all of them. Records that are for other roles only,
    or not known here, leave what the activity says itself.
    """
    found: dict[int, tuple[Compiled, dict[str, UUID]]] = {}
    for place, activity in enumerate(activities):
        kind = known.type_of(str(activity.type_id)) if activity.logged_at is None and activity.links else None
        if kind is not None and (compiled := compiled_of(kind)).linked:
            found[place] = compiled, linked.records_of(compiled, activity.links)
    ids = {record_id for _, records in found.values() for record_id in records.values()}
    if not ids:
        return list(activities)
    living = await _list(tx, known, ids, role_ids)
    values = {
        place: linked.as_now(compiled, activities[place].fields, activities[place].links, living)
        for place, (compiled, _) in found.items()
    }
    await _name_members(tx, known, [(found[place][0], fields) for place, fields in values.items()])
    return [
        _with_fields(activity, values[place]) if place in values else activity
        for place, activity in enumerate(activities)
    ]


async def held_as_now(tx: Transaction, known: Known, held: Iterable[Held]) -> list[Held]:
    """Give activities that are being logged with what is true of them until then."""
    many = list(held)
    now = await as_now(tx, known, [each.activity for each in many])
    return [each._replace(activity=activity) for each, activity in zip(many, now, strict=True)]


async def learn(tx: Transaction, known: Known, links: Iterable[contract.Link]) -> None:
    """Look up what the records of these links say."""
    ids = {link.record_id for link in links if link.record_id is not None}
    if ids:
        known.living.update(await store.list_living(tx, known.business_id, ids))


async def values_now(
    tx: Transaction,
    known: Known,
    kind: ActivityObject,
    about: tuple[Mapping[str, Any], Sequence[contract.Link]],
    role_ids: Roles,
) -> dict[str, Any]:
    """Give values held by an activity that is about records (`about`: both), as those records say now."""
    held, links = about
    compiled = compiled_of(kind)
    ids = set(linked.records_of(compiled, links).values())
    fields = linked.as_now(compiled, held, links, await _list(tx, known, ids, role_ids) if ids else {})
    await _name_members(tx, known, [(compiled, fields)])
    return fields


async def _list(tx: Transaction, known: Known, record_ids: Collection[UUID], role_ids: Roles) -> linked.Living:
    found = await store.list_living(tx, known.business_id, record_ids, role_ids)
    return {record_id: says | known.asked.get(record_id, {}) for record_id, says in found.items()}


async def _name_members(tx: Transaction, known: Known, shown: Iterable[tuple[Compiled, dict[str, Any]]]) -> None:
    """Put their names to members that records name by their ids alone."""
    bare = [
        (fields, name, fields[name]["id"])
        for compiled, fields in shown
        for name in compiled.linked.keys() & fields.keys()
        if kind_of(compiled.fields[name]) == "team_selector" and "name" not in fields[name]
    ]
    unknown = {member_id for _, _, member_id in bare if member_id not in known.members}
    if unknown:
        known.members.update(await find_members(tx, known.business_id, unknown))
    for fields, name, member_id in bare:
        member = known.members.get(member_id)
        fields[name] = {"id": member_id, "name": member.name if member is not None else None}


def _with_fields(activity: contract.Activity, fields: dict[str, Any]) -> contract.Activity:
    return cast(contract.Activity, msgspec.structs.replace(cast(Any, activity), fields=fields))
