"""Looks up what decisions need to know of a business: its types, its people, its zone."""

from collections.abc import Collection, Iterable
from datetime import datetime
from uuid import UUID

from libs.access.members import list_members, list_roles, list_zones_and_settings
from libs.contracts.activity_object import ActivityObject
from libs.contracts.ids import key_of
from libs.contracts.report import ReportReceived
from libs.database import Transaction
from libs.messaging.outbox import Outgoing, append
from services.lifecycle.domain.alike import SETTING
from services.lifecycle.domain.known import Known, uuid_or_none
from services.lifecycle.domain.presets import RECORD_OBJECTS, presets_of
from services.lifecycle.store import businesses, objects, records

_UNKNOWN = ("UTC", b"{}")
_RECOGNISES = f'"{SETTING}"'.encode()
"""Stands in the settings of businesses that want reports of one event recognised."""


async def look_up(
    tx: Transaction,
    business_ids: Collection[UUID],
    people: Collection[tuple[UUID, str]],
    now: datetime,
    own_objects: bool = True,
) -> dict[UUID, Known]:
    """Look up businesses, and those of `people` (business, id or e-mail address or name) who are members or roles.

    `own_objects`: also the record objects that the businesses made for themselves.
    """
    types = await find_types(tx, business_ids, now)
    settled = await list_zones_and_settings(tx, business_ids)
    own = (
        await records.list_objects(tx, business_ids)
        if own_objects or any(map(has_linked_fields, types.values()))
        else {}
    )
    known = {
        business_id: Known(
            business_id,
            settled.get(business_id, _UNKNOWN)[0],
            _by_name(types[business_id]),
            record_objects=frozenset(own.get(business_id, ())),
            locked=own.get(business_id, {}),
            recognises=_RECOGNISES in settled.get(business_id, _UNKNOWN)[1] or None,
        )
        for business_id in business_ids
    }
    if not people:
        return known
    for (business_id, text), member in (await list_members(tx, people)).items():
        known[business_id].members[text] = member
        known[business_id].members[str(member.id)] = member
    ids = [(business_id, found) for business_id, text in people if (found := uuid_or_none(text)) is not None]
    if ids:
        for (business_id, role_id), role in (await list_roles(tx, ids)).items():
            known[business_id].roles[role_id] = role
    return known


async def look_up_one(tx: Transaction, business_id: UUID, people: Collection[UUID], now: datetime) -> Known:
    """As `look_up`, of one business and in one round trip; `people` are ids of members or roles."""
    found = await businesses.find_business(tx, business_id, people)
    types = await objects.list_at(tx, found.types) or await make_presets(tx, [business_id], now)
    return Known(
        business_id,
        found.zone or _UNKNOWN[0],
        _by_name(types[business_id]),
        members=found.members,
        roles=found.roles,
        record_objects=frozenset(found.record_objects),
        locked=found.record_objects,
        recognises=_RECOGNISES in found.settings or None,
    )


async def find_types(
    tx: Transaction, business_ids: Collection[UUID], now: datetime
) -> dict[UUID, list[ActivityObject]]:
    """List the activity objects of businesses; one that has none yet gets the presets here and now."""
    found = await objects.list_objects(tx, business_ids)
    bare = [business_id for business_id in business_ids if business_id not in found]
    return found | await make_presets(tx, bare, now) if bare else found


async def make_presets(
    tx: Transaction, business_ids: Iterable[UUID], now: datetime
) -> dict[UUID, list[ActivityObject]]:
    """Make the presets of businesses where they are missing, and publish those made."""
    by_business = {business_id: presets_of(business_id, now) for business_id in business_ids}
    presets = [each for presets in by_business.values() for each in presets]
    made = await objects.insert_objects(tx, presets)
    events = [published(each) for each in presets if each.id in made]
    if events:
        await append(tx, events)
    return by_business


def published(definition: ActivityObject) -> Outgoing:
    """Write a definition's event."""
    key = key_of(definition.business_id, definition.id)
    return Outgoing(("activity.object",), key, objects.document_of(definition), definition.version)


def people_of(reports: Iterable[ReportReceived]) -> set[tuple[UUID, str]]:
    """Name those in reports who may be members or roles: ids and e-mail addresses."""
    people = set()
    for event in reports:
        body = event.report
        for text in (body.actor, body.assignee, *body.participants):
            if text is not None and ("@" in text or len(text) == 36):
                people.add((event.business_id, text))
        for value in body.fields.values():
            text = value.get("id") if isinstance(value, dict) else value
            if isinstance(text, str) and len(text) == 36:
                people.add((event.business_id, text.lower()))
    return people


def speak_of_own_objects(reports: Iterable[ReportReceived]) -> bool:
    """Tell whether reports are linked to records of other objects than every business has."""
    return any(link.object not in RECORD_OBJECTS for event in reports for link in event.report.links)


def has_linked_fields(kinds: Iterable[ActivityObject]) -> bool:
    """Tell whether some types have fields whose values live on records."""
    return any(field.custom_object_field for kind in kinds for field in kind.fields)


def _by_name(types: Iterable[ActivityObject]) -> dict[str, ActivityObject]:
    found: dict[str, ActivityObject] = {}
    for each in types:
        found[str(each.id)] = each
        found[each.api_name] = each
    return found
