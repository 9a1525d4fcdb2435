"""Which activities a caller may see, as a condition in SQL: the same in every service that lists or counts them.

A table of activities has these columns: `assignee_member_id`, `assignee_role_id`, `own` (the members who made, logged
or did it), `type_id`, `logged_at`, `linked` (the records it is about); beside it `record` has `visible_role_ids` and
`merged_into` (the one that stands for it).
For `admitted` it also has `readers` (the members who alone may see it; null: everybody) and `team_of` (a member whose
colleagues may besides).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from libs.access.levels import Level
from libs.access.principal import Principal
from libs.database import Transaction


@dataclass(frozen=True, slots=True)
class Sight:
    """What a member sees: what is assigned to the member or its roles, else as levels, sharing and records allow.

    `shut`: types that are not shared with the member. `guarded`: some records of the business are not for the member.
    `private`: neither are some activities.
    """

    user_id: UUID
    role_ids: tuple[UUID, ...]
    scheduled: Level
    logged: Level
    shut: tuple[UUID, ...] = ()
    guarded: bool = False
    private: bool = False

    @property
    def is_whole(self) -> bool:
        """Tell whether nothing is hidden."""
        return self.is_wide and not self.private

    @property
    def is_wide(self) -> bool:
        """Tell whether nothing is hidden but what is private."""
        return self.scheduled == self.logged == "all" and not self.shut and not self.guarded


async def sight_of(
    tx: Transaction, principal: Principal, shut: Iterable[UUID] = (), *, private: bool = False
) -> Sight | None:
    """Tell what a caller sees; None: everything (a key without a member, or nothing there is to hide).

    `private`: some activities there are not for everybody, and the caller's lists ask `admitted` about them.
    """
    standing, user_id = principal.standing, principal.user_id
    if standing is None or user_id is None:
        return None
    guarded = await tx.value(
        """
        select exists (select from record
                       where business_id = $1 and visible_role_ids <> '{}' and not visible_role_ids && $2)
        """,
        principal.business_id, list(standing.role_ids),
    )  # fmt: skip
    views = standing.level("scheduled.view"), standing.level("logged.view")
    sight = Sight(user_id, tuple(standing.role_ids), *views, tuple(shut), guarded, private)
    return None if sight.is_whole else sight


def seen(alias: str, first: int) -> str:
    """Write the condition that a row of activities named `alias` is seen; its arguments are from `$first` on."""
    user, roles, scheduled, logged, shut, guarded = (f"${first + place}" for place in range(SIGHT_ARGUMENTS))
    return f"""(
        {user}::uuid is null or {alias}.assignee_member_id = {user} or {alias}.assignee_role_id = any({roles}::uuid[])
        or (case case when {alias}.logged_at is null then {scheduled}::text else {logged}::text end
                when 'all' then true when 'my' then {alias}.own @> array[{user}::uuid] else false end
            and {alias}.type_id <> all({shut}::uuid[])
            and (not {guarded}::bool or {readable(f"{alias}.business_id", f"{alias}.linked", roles)})))"""


def admitted(alias: str, first: int) -> str:
    """Write the condition that a row is for everybody or for the caller; its arguments are those of `seen`."""
    user, roles = f"${first}", f"${first + 1}"
    return f"""(
        {user}::uuid is null or {alias}.readers is null or {user} = any({alias}.readers) or exists (
            select from member as maker where maker.business_id = {alias}.business_id and maker.id = {alias}.team_of
                and maker.role_ids && {roles}::uuid[] offset 0))"""


def readable(business: str, record_ids: str, roles: str) -> str:
    """Write the condition that none of some records, nor one that stands for one, is for other roles only.

    Each record is found by itself: joined, or by `any`, the planner reads a whole business that it has not counted.
    """
    return f"""not exists (
        select from unnest({record_ids}) as about (id)
        cross join lateral (
            select visible_role_ids, merged_into from record as one
            where one.business_id = {business} and one.id = about.id limit 1) as guarded
        left join lateral (
            select visible_role_ids from record as one
            where one.business_id = {business} and one.id = guarded.merged_into limit 1) as root on true
        where guarded.visible_role_ids <> '{{}}' and not guarded.visible_role_ids && {roles}::uuid[]
            or root.visible_role_ids <> '{{}}' and not root.visible_role_ids && {roles}::uuid[])"""  # noqa: S608


SIGHT_ARGUMENTS = 6


def arguments_of(sight: Sight | None) -> tuple[Any, ...]:
    """Give the arguments of `seen`."""
    if sight is None:
        return None, [], "all", "all", [], False
    return (
        sight.user_id, list(sight.role_ids), sight.scheduled, sight.logged, list(sight.shut), sight.guarded,
    )  # fmt: skip
