"""What a body says about an activity object, in the form of its definition; what it refers to is looked up."""

from collections.abc import Callable, Collection, Sequence
from typing import Any
from uuid import UUID

from libs.contracts.activity_object import ActivityObject, FieldRule
from libs.contracts.ids import uuid7
from libs.errors import Problem
from services.lifecycle.api.object_bodies import ObjectPatch, RuleBody
from services.lifecycle.api.references import References
from services.lifecycle.domain import objects as rules
from services.lifecycle.domain import rule_changes
from services.lifecycle.domain.field_changes import ORDER_MAX
from services.lifecycle.domain.fields import live_fields
from services.lifecycle.domain.fields.texts import sanitised
from services.lifecycle.domain.held import Assignee

_AS_IT_IS = (
    "description", "icon", "colour", "is_editable", "association_mode", "submission_action", "redirect_url",
    "webhook_url", "calendar_sync_enabled", "default_delay_min",
)  # fmt: skip


def people_in(body: ObjectPatch) -> list[UUID | None]:
    """Name the members and roles that a body refers to."""
    assignee, sharing = body.default_assignee, body.loggable_sharing_settings
    people = [assignee.employee_id, assignee.role_id] if assignee is not None else []
    return [*people, *(sharing.member_ids + sharing.role_ids if sharing is not None else [])]


class ObjectContent:
    """The parts of a body that are in `names`; what is wrong with them is put to the references' problems."""

    def __init__(self, body: ObjectPatch, names: Collection[str], references: References) -> None:
        self._body = body
        self._names = names
        self._references = references
        self._known = references.known

    def changes(self, before: ActivityObject) -> dict[str, Any]:
        """Give what changes on a definition."""
        body, names = self._body, self._names
        changes = {name: getattr(body, name) for name in _AS_IT_IS if name in names}
        if body.api_name is not None and before.api_name not in ("", body.api_name):
            self._add("api_name", "create_only", f"stays {before.api_name!r}")
        if "association_mode" in names and body.association_mode != "selected_objects_associated":
            changes["associated_objects"] = []
        readers: dict[str, Callable[[], Any]] = {
            "name": self._name,
            "order": self._order,
            "calendar_sync_duration": lambda: body.calendar_sync_duration,
            "default_note": lambda: sanitised(body.default_note) if body.default_note else None,
            "default_assignee": self._assignee,
            "loggable_sharing_settings": self._sharing,
            "associated_objects": self._associated,
        }
        read = {name: reader() for name, reader in readers.items() if name in names}
        if "calendar_sync_duration" in read:
            read["calendar_sync_duration_min"] = read.pop("calendar_sync_duration")
        return changes | read

    def _name(self) -> str:
        if self._body.name is None:
            self._add("name", "required", "is required")
        return self._body.name or ""

    def _order(self) -> int:
        """Put what says nothing of its order behind all others."""
        if self._body.order is not None:
            return self._body.order
        return min(max((kind.order for kind in self._known.types.values()), default=-1) + 1, ORDER_MAX)

    def _associated(self) -> list[str]:
        found = []
        for place, text in enumerate(self._body.associated_objects):
            name = self._known.record_object_of(text)
            if name is None:
                names = ", ".join(self._known.record_object_names())
                message = f"{text[:100]!r} is not a record object; there are {names}"
                self._add(f"associated_objects.{place}.custom_object", "does_not_exist", message)
            elif name not in found:
                found.append(name)
        return found

    def _assignee(self) -> Any:
        given = self._body.default_assignee
        if given is None:
            return None
        if (given.employee_id is None) == (given.role_id is None):
            self._add("default_assignee", "exactly_one", "give exactly one of employee_id and role_id")
        if given.employee_id is not None:
            member = self._member("default_assignee.employee_id", given.employee_id)
            return Assignee(member_id=given.employee_id, name=member)
        name = self._role("default_assignee.role_id", given.role_id) if given.role_id is not None else None
        return Assignee(role_id=given.role_id, name=name)

    def _sharing(self) -> Any:
        given = self._body.loggable_sharing_settings
        if given is None:
            return None
        for place, member_id in enumerate(given.member_ids):
            self._member(f"loggable_sharing_settings.member_ids.{place}", member_id)
        for place, role_id in enumerate(given.role_ids):
            self._role(f"loggable_sharing_settings.role_ids.{place}", role_id)
        return rules.Sharing(shared_with=given.shared_with, member_ids=given.member_ids, role_ids=given.role_ids)

    def _member(self, field: str, member_id: UUID) -> str | None:
        member = self._known.members.get(str(member_id))
        if member is not None and member.live:
            return member.name
        self._add(field, "does_not_exist", f"{member_id} is not a member of this business")
        return None

    def _role(self, field: str, role_id: UUID) -> str | None:
        role = self._known.roles.get(role_id)
        if role is not None and role.live:
            return role.name
        self._add(field, "does_not_exist", f"{role_id} is not a role of this business")
        return None

    def _add(self, field: str, code: str, message: str) -> None:
        self._references.problems.append(Problem(field, code, message))


def read_rules(given: Sequence[RuleBody], kind: ActivityObject) -> tuple[list[FieldRule], list[Problem]]:
    """Read rules, and say what is wrong with them. Fields may be named by id or name."""
    fields = {field.id: field for field in live_fields(kind)}
    ids = {field.name: field.id for field in fields.values()}
    read = [
        rules.FieldRule(
            id=rule.id or str(uuid7()),
            match=rule.match,
            conditions=[
                rules.RuleCondition(
                    field_id=ids.get(each.field_id, each.field_id), operator=each.operator, value=each.value
                )
                for each in rule.conditions
            ],
            target_field_ids=[ids.get(word, word) for word in rule.target_field_ids],
        )
        for rule in given
    ]
    return read, rule_changes.check_rules(read, fields)
