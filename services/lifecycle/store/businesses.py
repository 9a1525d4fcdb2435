"""What a request has to know of its business, in one round trip."""

from collections.abc import Collection
from dataclasses import dataclass, field
from uuid import UUID

from libs.access.members import KnownMember, KnownRole
from libs.database import Transaction
from services.lifecycle.store.objects import Place

_TYPE, _BUSINESS, _RECORD_OBJECT, _MEMBER, _ROLE = range(5)


@dataclass(slots=True)
class Business:
    """A business as it is known here. `types` are in their order, `settings` is JSON, `zone` None: it is not known.

    `record_objects` are the live ones that it made for itself, each with the fields that activities may not write;
    `members` are by id as text.
    """

    types: list[Place] = field(default_factory=list)
    zone: str | None = None
    settings: bytes = b"{}"
    record_objects: dict[str, frozenset[str]] = field(default_factory=dict)
    members: dict[str, KnownMember] = field(default_factory=dict)
    roles: dict[UUID, KnownRole] = field(default_factory=dict)


async def find_business(tx: Transaction, business_id: UUID, people: Collection[UUID]) -> Business:
    """Read a business, with those of `people` (ids) who are its members or roles; others are not in the answer."""
    rows = await tx.fetch(
        f"""
        select {_TYPE} as part, id, version as number, null::text as name, null::text as email, null::text as zone,
            null::text[] as words, null::uuid[] as ids, true as live, null::jsonb as settings, position as place
        from activity_object where business_id = $1
        union all
        select {_BUSINESS}, null, 0, null, null, zone, null, null, true, settings, 0
        from business where business_id = $1
        union all
        select {_RECORD_OBJECT}, id, 0, api_name, null, null, locked_fields, null, true, null, 0
        from record_object where business_id = $1 and deleted_at is null
        union all
        select {_MEMBER}, m.id, 0, m.name, m.email, m.zone, null, m.role_ids, m.deleted_at is null, null, 0
        from unnest($2::uuid[]) as wanted (id)
        cross join lateral (select * from member where business_id = $1 and id = wanted.id limit 1) as m
        union all
        select {_ROLE}, r.id, 0, r.name, null, null, null, r.member_ids, r.deleted_at is null, null, 0
        from unnest($2::uuid[]) as wanted (id)
        cross join lateral (select * from role where business_id = $1 and id = wanted.id limit 1) as r
        order by part, place, id
        """,  # noqa: S608 - numbers from above
        business_id, list(people),
    )  # fmt: skip
    found = Business()
    for part, identity, version, name, email, zone, words, ids, live, settings, _ in rows:
        if part == _TYPE:
            found.types.append(Place(business_id, identity, version))
        elif part == _BUSINESS:
            found.zone, found.settings = zone, settings
        elif part == _RECORD_OBJECT:
            found.record_objects[name] = frozenset(words)
        elif part == _MEMBER:
            found.members[str(identity)] = KnownMember(identity, name, email, zone, tuple(ids), live)
        else:
            found.roles[identity] = KnownRole(identity, name, tuple(ids), live)
    return found
