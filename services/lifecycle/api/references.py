"""What a request refers to is looked up: types, members, roles, records; what is unknown is named, all at once."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

from libs.access.members import find_members, find_roles
from libs.contracts import activity as contract
from libs.contracts.activity_object import ActivityObject
from libs.database import Transaction
from libs.errors import NotFound, Problem
from services.lifecycle import living, looking
from services.lifecycle.api.bodies import Entity, PlanBody, Said
from services.lifecycle.api.callers import Caller
from services.lifecycle.domain import life
from services.lifecycle.domain import reports as rules
from services.lifecycle.domain.fields import NOTES, Checked, compiled_of
from services.lifecycle.domain.held import Assignee, Link, Linked
from services.lifecycle.domain.known import Known
from services.lifecycle.domain.linked import own_values, put_on_records
from services.lifecycle.domain.values import corrected, latest_of, name_members
from services.lifecycle.store import records

_PEOPLE = ("employee", "created_by", "logged_by", "completed_by")
"""Members in what is shown of an activity, besides its participants."""
_TEXTS = ("subject", "summary", "location", "direction", "duration_min")


class Given(NamedTuple):
    """Of which type an activity is, what a body names of it, what it is about, and what of before stays."""

    kind: ActivityObject | None
    names: Collection[str]
    links: Sequence[contract.Link]
    before: contract.Activity | None = None
    logging: bool = False

    @property
    def held(self) -> dict[str, Any]:
        """The values and the note that stay where the body does not name them."""
        if self.before is None:
            return {}
        return self.before.fields | ({NOTES: self.before.notes} if self.before.notes else {})


class References:
    """The references of one request, and what was found wrong with them."""

    def __init__(self, caller: Caller, known: Known, live: dict[UUID, tuple[str, str, bool]]) -> None:
        self.caller = caller
        self.known = known
        self.problems: list[Problem] = []
        self.linked: Linked = {}
        self.asks = False
        """Whether values in `linked` are others than their records have now."""
        self._records = live

    def beside(self, caller: Caller) -> "References":
        """Give another request of the same caller the same references, with problems of its own."""
        return References(caller, self.known, self._records)

    def type_of(self, body: PlanBody) -> ActivityObject | None:
        """Find the type a schedule names: exactly one of id and name."""
        given = [name for name in ("activity_object_id", "activity_object_name") if getattr(body, name) is not None]
        if len(given) != 1:
            message = "give exactly one of activity_object_id and activity_object_name"
            self._add("activity_object_id" if not given else given[1], "exactly_one", message)
            return None
        text = str(getattr(body, given[0]))
        kind = self.known.type_of(text)
        for problem in rules.type_problems(kind, text, self.known):
            self._add(given[0], problem.code, problem.message)
        return kind

    def said(self, body: Said, names: Iterable[str], kept: Collection[UUID] = ()) -> dict[str, Any]:
        """Take over the plain fields of a body that are in `names`. Who is mentioned already (`kept`) may be gone."""
        content = {name: getattr(body, name) for name in _TEXTS if name in names}
        if "mentions" in names:
            content["mentions"] = list(dict.fromkeys(body.mentions))
            for place, member_id in enumerate(body.mentions):
                if member_id not in kept:
                    self._member(f"mentions.{place}", member_id)
        return content

    def assignee(self, body: PlanBody, kept: contract.Assignee | None = None) -> contract.Assignee | None:
        """Find who is to do it: a member or a role, not both. Who has it already (`kept`) may be gone."""
        if body.employee_id is not None and body.role_id is not None:
            self._add("role_id", "exclusive", "give employee_id or role_id, not both")
        if kept is not None and (body.employee_id, body.role_id) == (kept.member_id, kept.role_id):
            return kept
        if body.employee_id is not None:
            member = self._member("employee_id", body.employee_id)
            return Assignee(member_id=body.employee_id, name=member)
        if body.role_id is None:
            return None
        role = self.known.roles.get(body.role_id)
        if role is None or not role.live:
            self._add("role_id", "does_not_exist", f"{body.role_id} is not a role of this business")
            return None
        return Assignee(role_id=role.id, name=role.name)

    def live(self, assignee: contract.Assignee | None) -> contract.Assignee | None:
        """Name who something is assigned to by default, where that member or role is still there."""
        if assignee is None:
            return None
        member = self.known.members.get(str(assignee.member_id))
        role = self.known.roles.get(assignee.role_id) if assignee.role_id is not None else None
        if member is not None and member.live:
            return Assignee(member_id=member.id, name=member.name)
        return Assignee(role_id=role.id, name=role.name) if role is not None and role.live else None

    def due(self, due: datetime | date | None, assignee: contract.Assignee | None) -> dict[str, Any]:
        """Read a due: an instant, or a day that ends where its assignee is."""
        if due is None or isinstance(due, datetime):
            return {"due_at": due, "due_date": None}
        return {"due_at": self.known.end_of(due, assignee), "due_date": due}

    def links(
        self, field: str, entities: Sequence[Entity], kind: ActivityObject | None, *, logging: bool
    ) -> list[contract.Link]:
        """Find the records that an activity is about."""
        links = []
        for place, entity in enumerate(entities):
            name = self.known.record_object_of(entity.object_text) or entity.object_text
            links.append(Link(object=name, record_id=entity.entity_id, all=entity.all))
            if (entity.entity_id is None) != entity.all:
                message = "give a record's id, or all: true"
                self._add(f"{field}.{place}.entity_id", "required" if not entity.all else "exclusive", message)
            elif entity.entity_id is not None:
                self._check_record(f"{field}.{place}.entity_id", name, entity.entity_id)
        for problem in rules.link_problems(links, kind, self.known, one_each=logging):
            _, place_text, _ = problem.field.split(".")
            self._add(f"{field}.{place_text}.custom_object", problem.code, problem.message)
        return links

    def check_kept(self, before: contract.Activity) -> None:
        """Check the records that a completion keeps of its plan, as it names none."""
        for each in life.kept_problems("related_objects", before.links, "name the one that it was about"):
            self._add(each.field, each.code, each.message)

    async def fields(self, tx: Transaction, body: Said, given: Given) -> dict[str, Any]:
        """Check the note and the fields that a body gives, on top of those held; what they come to by name.

        Values that live on records are kept aside in `linked`, until the records are known.
        """
        if given.kind is None:
            return {}
        values = [(each.id, each.value) for each in body.fields] if "fields" in given.names else []
        if NOTES in given.names:
            values.append((NOTES, body.notes))
        compiled = compiled_of(given.kind)
        if not values and not (given.logging and compiled.linked) and compiled.needs_nothing(logging=given.logging):
            return {}
        held = given.held
        if compiled.linked:
            about = held, given.links
            held = await living.values_now(tx, self.known, given.kind, about, roles_of(self.caller))
        checked = compiled.check(values, logging=given.logging, held=held)
        await self._find(tx, checked)
        self.problems += checked.problems + name_members(checked, self.known)
        if checked.linked:
            self.asks = any(held.get(name) != checked.stored.get(name) for name in checked.linked)
            self.linked, refused = put_on_records(compiled, checked, given.links, self.known.locked)
            self.problems += refused
        note = checked.stored.pop(NOTES, None)
        named = {compiled.by_word.get(word) for word, _ in values}
        content: dict[str, Any] = {NOTES: note} if NOTES in named else {}
        if given.logging and compiled.linked:  # what is logged keeps what the records say then
            return content | {"fields": checked.stored}
        return content | ({"fields": own_values(compiled, checked, given.held)} if "fields" in given.names else {})

    async def correction(
        self, tx: Transaction, fields: Mapping[str, Any], kind: ActivityObject, held: contract.Activity
    ) -> dict[str, Any]:
        """Check the fields of a correction on top of what a logged activity says now; what it says by itself."""
        compiled = compiled_of(kind)
        checked = compiled.check(fields.items(), logging=True, held=latest_of(held))
        await self._find(tx, checked)
        self.problems += checked.problems + name_members(checked, self.known)
        self.linked, refused = put_on_records(compiled, checked, held.links, self.known.locked)
        self.problems += refused
        return corrected(compiled, checked, fields)

    async def _find(self, tx: Transaction, checked: Checked) -> None:
        """Look up the members and records that values refer to."""
        business_id = self.caller.business_id
        people = [each.id for each in checked.references if each.object is None]
        self.known.members.update(await find_members(tx, business_id, people) if people else {})
        wanted = [each for each in checked.references if each.object is not None]
        ids, roles = [each.id for each in wanted], roles_of(self.caller)
        found = await records.list_records(tx, business_id, ids, roles) if wanted else {}
        for each in wanted:
            if each.id not in found or found[each.id][0] != each.object or found[each.id][2]:
                self._add(f"fields.{each.field}", "does_not_exist", f"{each.id} is not a record of {each.object!r}")

    async def learn(self, tx: Transaction, *people: contract.Assignee | contract.Person | None) -> None:
        """Look up members and roles: days end in a member's zone, a role has its members, any of them may be gone."""
        known, business_id = self.known, self.caller.business_id
        members = {each.member_id for each in people if each is not None and each.member_id is not None}
        roles = {role_id for each in people if (role_id := getattr(each, "role_id", None)) is not None}
        if unknown := [each for each in members if str(each) not in known.members]:
            known.members.update(await find_members(tx, business_id, unknown))
        if missing := roles.difference(known.roles):
            known.roles.update(await find_roles(tx, business_id, missing))

    async def learn_of(self, tx: Transaction, activities: Iterable[contract.Activity]) -> None:
        """Look up everybody who is shown of activities."""
        await self.learn(tx, *(person for activity in activities for person in _people_of(activity)))

    def with_gone(self, shown: dict[str, Any]) -> dict[str, Any]:
        """Mark in what is shown of an activity who or what it refers to and is gone: `deleted: true`; name the records
        that the request was about.
        """
        for entity in shown.get("associated_entities", ()):
            if entity["entity_id"] in self._records:
                entity["name"] = self._records[entity["entity_id"]][1]
        for person in (shown.get(name) for name in _PEOPLE):
            self._mark_member(person)
        for person in shown.get("participants", ()):
            self._mark_member(person)
        role, kind = shown.get("role"), shown.get("activity_object")
        found = self.known.roles.get(role["id"]) if role is not None else None
        if role is not None and found is not None and not found.live:
            role["deleted"] = True
        known_kind = self.known.type_of(str(kind["id"])) if kind is not None else None
        if kind is not None and known_kind is not None and known_kind.deleted_at is not None:
            kind["deleted"] = True
        return shown

    def _mark_member(self, person: dict[str, Any] | None) -> None:
        member = self.known.members.get(str(person["id"])) if person is not None else None
        if person is not None and member is not None and not member.live:
            person["deleted"] = True

    def _member(self, field: str, member_id: UUID) -> str | None:
        member = self.known.members.get(str(member_id))
        if member is None or not member.live:
            self._add(field, "does_not_exist", f"{member_id} is not a member of this business")
            return None
        return member.name

    def _check_record(self, field: str, name: str, record_id: UUID) -> None:
        found = self._records.get(record_id)
        if found is None or found[0] != name or found[2]:
            self._add(field, "does_not_exist", f"{record_id} is not a record of {name[:100]!r}")

    def _add(self, field: str, code: str, message: str) -> None:
        self.problems.append(Problem(field, code, message))


async def look_up(
    tx: Transaction, caller: Caller, members: Iterable[UUID | None] = (), entities: Sequence[Entity] = ()
) -> References:
    """Look up what a request names; `members` are ids of members or roles. The caller is looked up too."""
    business_id = caller.business_id
    ids = {each for each in (*members, caller.principal.user_id) if each is not None}
    known = await looking.look_up_one(tx, business_id, ids, caller.now)
    record_ids = [entity.entity_id for entity in entities if entity.entity_id is not None]
    found = await records.list_records(tx, business_id, record_ids, roles_of(caller)) if record_ids else {}
    return References(caller, known, found)


def _people_of(activity: contract.Activity) -> tuple[contract.Assignee | contract.Person | None, ...]:
    done = activity.logged_by, activity.completed_by
    return activity.assignee, activity.created_by, *done, *activity.participants


def roles_of(caller: Caller) -> frozenset[UUID] | None:
    """Name the roles whose records the caller may read; None: all of them."""
    standing = caller.principal.standing
    return None if standing is None else standing.role_ids


def object_in_path(known: Known, text: str) -> ActivityObject:
    """Find the activity object that a path names by id or api_name. Raises NotFound."""
    kind = known.type_of(text)
    if kind is None:
        raise NotFound(f"there is no activity object {text[:100]!r}")
    return kind
