"""What a caller may do with activities: permissions, sharing, assignment, and records that are not for everyone. Pure.

1. What is assigned to me or to my role I see and may log, whatever else is said.
2. What I see and may edit I may take over and log.
3. `my` is never narrower than `all`: of several roles the widest level counts (`libs.access.levels`).
4. The sharing of an activity object only narrows: with whom it is not shared sees, logs and schedules none of it.
5. Without any scheduling right there are no scheduling actions, claiming neither.

My own are those that I made, logged or did, and those that are assigned to me or to my role. Logging directly takes
`logged.log` or `logged.create`, adding to what is logged `logged.edit`, scheduling for oneself or one's roles
`scheduled.create` for `my`, for others for `all`; cancelling and restoring takes `scheduled.delete`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from libs.access import Principal, Standing
from libs.access.levels import Act, Level, Life
from libs.contracts.activity import Activity, Assignee, own_of
from libs.contracts.activity_object import ActivityObject


@dataclass(frozen=True, slots=True)
class Rights:
    """The rights of a caller. `standing` None: a key without a member, whose scopes have decided already.

    `shut`: the activity objects that are not shared with the caller.
    """

    user_id: UUID | None = None
    standing: Standing | None = None
    shut: frozenset[UUID] = frozenset()

    def may_view(self, activity: Activity, *, hidden: bool = False) -> bool:
        """Tell whether the caller sees it; `hidden`: it is about a record that is not for the caller's roles."""
        if self.standing is None or self.is_assigned(activity):
            return True
        return not hidden and activity.type_id not in self.shut and self._has("view", activity)

    def may(self, act: Act, activity: Activity) -> bool:
        """Tell whether the caller may do that with an activity that the caller sees."""
        if act == "log":
            return self.is_assigned(activity) or self._has("log", activity) or self._has("edit", activity)
        return self._has(act, activity)

    def may_claim(self, activity: Activity) -> bool:
        """Tell whether the caller may take what is assigned to one of the caller's roles."""
        return self.may_schedule() and self.is_assigned(activity)

    def may_schedule(self) -> bool:
        """Tell whether the caller has any scheduling right."""
        return any(self._level("scheduled", act) != "none" for act in _SCHEDULING)

    def may_assign(self, kind_id: UUID, assignee: Assignee | None) -> bool:
        """Tell whether the caller may schedule one of that kind for somebody."""
        if kind_id in self.shut:
            return False
        level = self._level("scheduled", "create")
        return level == "all" or (level == "my" and (assignee is None or self._is_me(assignee)))

    def may_log_directly(self, kind_id: UUID) -> bool:
        """Tell whether the caller may log what was not planned."""
        levels = self._level("logged", "log"), self._level("logged", "create")
        return kind_id not in self.shut and levels != ("none", "none")

    def is_assigned(self, activity: Activity) -> bool:
        """Tell whether it is assigned to the caller, or to one of the caller's roles."""
        return activity.assignee is not None and self._is_me(activity.assignee)

    def _has(self, act: Act, activity: Activity) -> bool:
        level = self._level("scheduled" if activity.logged_at is None else "logged", act)
        return level == "all" or (level == "my" and (self.is_assigned(activity) or self.user_id in own_of(activity)))

    def _level(self, life: Life, act: Act) -> Level:
        return "all" if self.standing is None else self.standing.level(f"{life}.{act}")

    def _is_me(self, assignee: Assignee) -> bool:
        if assignee.member_id is not None:
            return assignee.member_id == self.user_id
        return self.standing is not None and assignee.role_id in self.standing.role_ids


_SCHEDULING: tuple[Act, ...] = ("create", "edit", "delete")
EVERYTHING = Rights()


def rights_of(principal: Principal, kinds: Iterable[ActivityObject]) -> Rights:
    """Tell a caller's rights in a business with these activity objects."""
    standing, user_id = principal.standing, principal.user_id
    if standing is None or user_id is None:
        return EVERYTHING
    shut = frozenset(
        kind.id
        for kind in kinds
        if kind.loggable_sharing_settings is not None and not is_shared(kind, user_id, standing.role_ids)
    )
    return Rights(user_id, standing, shut)


def is_shared(kind: ActivityObject, user_id: UUID, role_ids: frozenset[UUID]) -> bool:
    """Tell whether an activity object is shared with a member."""
    sharing = kind.loggable_sharing_settings
    if sharing is None or sharing.shared_with == "everyone":
        return True
    return user_id in sharing.member_ids or not role_ids.isdisjoint(sharing.role_ids)
