"""What roles can allow their members: the names of permissions, and what several roles give together.

A permission about activities is `my` (one's own), `all` or `none`; one about administration is `all` or `none`. Of
several roles the widest counts, so that `my` is never narrower than `all`. A member none of whose roles says anything
may do everything with activities and administers nothing (`DEFAULT`).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from libs.errors import Problem

Level = Literal["none", "my", "all"]
Life = Literal["scheduled", "logged"]
Act = Literal["view", "log", "create", "edit", "delete"]

ACTIVITY_PERMISSIONS = tuple(
    f"{life}.{act}" for life in ("scheduled", "logged") for act in ("view", "log", "create", "edit", "delete")
)
ADMIN_OBJECTS, ADMIN_DIRECTORY, ADMIN_WEBHOOKS = "admin.objects", "admin.directory", "admin.webhooks"
ADMIN_PERMISSIONS = (ADMIN_OBJECTS, ADMIN_DIRECTORY, ADMIN_WEBHOOKS)
"""Activity objects with their fields and rules; members, roles, keys and record objects; endpoints and deliveries."""

PERMISSIONS = (*ACTIVITY_PERMISSIONS, *ADMIN_PERMISSIONS)
_RISING: tuple[Level, ...] = ("none", "my", "all")

EVERYTHING: dict[str, Level] = dict.fromkeys(PERMISSIONS, "all")
DEFAULT: dict[str, Level] = {**dict.fromkeys(ACTIVITY_PERMISSIONS, "all"), **dict.fromkeys(ADMIN_PERMISSIONS, "none")}


def check_permissions(given: Mapping[str, str]) -> Iterator[Problem]:
    """Name what is wrong with a role's permissions."""
    for name, level in given.items():
        field = f"permissions.{name[:100]}"
        if name not in EVERYTHING:
            yield Problem(field, "unknown_permission", f"{name[:100]!r} is not one of {', '.join(PERMISSIONS)}")
        elif level not in levels_of(name):
            yield Problem(field, "unknown_level", f"is {level[:100]!r}; it must be {' or '.join(levels_of(name))}")


def levels_of(permission: str) -> tuple[Level, ...]:
    """List the levels that a permission can have, the narrowest first."""
    return ("none", "all") if permission in ADMIN_PERMISSIONS else _RISING


def complete(given: Mapping[str, Level]) -> dict[str, Level]:
    """Write all permissions of a role down: what is not given is `none`; a role without any says nothing."""
    return {name: given.get(name, "none") for name in PERMISSIONS} if given else {}


def join_levels(roles: Iterable[Mapping[str, str]]) -> dict[str, Level]:
    """Join the permissions of a member's roles: the widest of each; `DEFAULT` where no role says anything."""
    speaking = [_with_administration(role) for role in roles if role]
    if not speaking:
        return DEFAULT
    return {name: max((_level(role, name) for role in speaking), key=_RISING.index) for name in PERMISSIONS}


def _level(role: Mapping[str, str], name: str) -> Level:
    return next((level for level in _RISING if role.get(name) == level), "none")


def _with_administration(role: Mapping[str, str]) -> Mapping[str, str]:
    """Let a role of before there were permissions about administration administer, if it allows all that there was."""
    if any(name in role for name in ADMIN_PERMISSIONS) or any(role.get(name) != "all" for name in ACTIVITY_PERMISSIONS):
        return role
    return {**role, **dict.fromkeys(ADMIN_PERMISSIONS, "all")}
