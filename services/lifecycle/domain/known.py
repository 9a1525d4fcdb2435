"""What is known of a business while its reports and requests are decided: types, people, zone."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from uuid import UUID

from libs.access.members import KnownMember, KnownRole
from libs.contracts import activity as contract
from libs.contracts.activity_object import ActivityObject
from libs.contracts.ids import preset_id_of
from services.lifecycle.domain.due import end_of_day
from services.lifecycle.domain.held import Assignee, Person
from services.lifecycle.domain.presets import RECORD_OBJECTS, record_object_of


@dataclass(frozen=True, slots=True)
class Known:
    """One business. `types` is by api_name and by id, `members` by id and by e-mail address, `roles` by id.

    `record_objects` are the api_names of those that the business made for itself. `erased` says of records when their
    person was erased, where that is later than a report that is being decided.
    `locked` names by record object the fields that activities may not write. `recognises`: the business wants reports
    of one event recognised (None: it does not, and only what is linked is looked at). `asked` are the values that were
    asked of records by what is being decided together; `living` says what records said before, where it was looked up.
    """

    business_id: UUID
    zone: str = "UTC"
    types: dict[str, ActivityObject] = field(default_factory=dict)
    members: dict[str, KnownMember] = field(default_factory=dict)
    roles: dict[UUID, KnownRole] = field(default_factory=dict)
    record_objects: frozenset[str] = frozenset()
    erased: dict[UUID, datetime] = field(default_factory=dict)
    locked: Mapping[str, Collection[str]] = field(default_factory=dict)
    recognises: bool | None = None
    asked: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    living: dict[UUID, dict[str, Any]] = field(default_factory=dict)

    def says(self) -> dict[UUID, dict[str, Any]]:
        """Tell what records say with what they were asked for."""
        return {record_id: values | self.asked.get(record_id, {}) for record_id, values in self.living.items()}

    def type_of(self, text: str) -> ActivityObject | None:
        """Find an activity object by api_name or id."""
        return self.types.get(text) or self.types.get(text.lower())

    def record_object(self, text: str) -> str | None:
        """Find a record object by api_name, a preset by its id too; None where there is no such one."""
        if text in RECORD_OBJECTS:
            return text
        return record_object_of(self.business_id, text) or (text if text in self.record_objects else None)

    def record_object_of(self, text: str) -> str | None:
        """Find a record object that a request names, by api_name or id, the business's own too."""
        ids = ((str(preset_id_of(self.business_id, "record_object", name)), name) for name in self.record_objects)
        return self.record_object(text) or next((name for identity, name in ids if identity == text.lower()), None)

    def record_object_names(self) -> list[str]:
        """Name the record objects, the presets first."""
        return [*RECORD_OBJECTS, *sorted(self.record_objects.difference(RECORD_OBJECTS))]

    def type_names(self) -> list[str]:
        """Name the types that can be used, in their order."""
        live = {each.api_name: each.order for each in self.types.values() if each.deleted_at is None}
        return sorted(live, key=lambda name: live[name])

    def person(self, text: str | None) -> contract.Person | None:
        """Read a person: a member's id or e-mail address, or any name."""
        if text is None:
            return None
        member = self.members.get(text)
        return Person(name=text) if member is None else Person(member_id=member.id, name=member.name)

    def person_of(self, member_id: UUID | None) -> contract.Person | None:
        """Name a member."""
        if member_id is None:
            return None
        member = self.members.get(str(member_id))
        return Person(member_id=member_id, name=member.name if member else None)

    def assignee(self, text: str) -> contract.Assignee:
        """Read an assignee: a member's id or e-mail address, a role's id, or any name."""
        member = self.members.get(text)
        if member is not None:
            return Assignee(member_id=member.id, name=member.name)
        role = self.roles.get(uuid_or_none(text) or UUID(int=0))
        return Assignee(name=text) if role is None else Assignee(role_id=role.id, name=role.name)

    def zone_of(self, assignee: contract.Assignee | None) -> str:
        """Name the zone of an assignee; for a role or nobody, the business's."""
        member_id = assignee.member_id if assignee is not None else None
        member = self.members.get(str(member_id)) if member_id is not None else None
        return (member.zone if member is not None else None) or self.zone

    def end_of(self, day: date, assignee: contract.Assignee | None) -> datetime:
        """End a day where its assignee is; for a role or nobody, where the business is."""
        return end_of_day(day, self.zone_of(assignee))


def uuid_or_none(text: str) -> UUID | None:
    """Read a UUID in its usual form, None where the text is something else."""
    try:
        return UUID(text) if len(text) == 36 else None
    except ValueError:
        return None
