"""What is allowed for businesses, members, keys and records."""

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any
from uuid import UUID
from zoneinfo import available_timezones

from libs.access import DEFAULT_SCOPES, SCOPES
from libs.errors import Forbidden, Problem, Rejected, Stale

TOKEN_DEFAULT_S = 30 * 24 * 3600
TOKEN_MIN_S = 60
TOKEN_MAX_S = 365 * 24 * 3600

ERASED = "was erased and takes nothing in any more"
"""Otherwise the next nightly import would bring the person back."""

OVERLAP_DEFAULT_S = 24 * 3600
OVERLAP_MAX_S = 7 * 24 * 3600
"""For how long a rotated key still opens what it did."""


@dataclass(frozen=True, slots=True)
class Preset:
    """A record object that every new business has."""

    api_name: str
    name: str
    statuses: tuple[str, ...]


PRESETS = (
    Preset("contact", "Contact", ("Active", "Inactive", "Do Not Contact")),
    Preset("account", "Account", ()),
    Preset("lead", "Lead", ("New", "Contacted", "Qualified", "Converted", "Lost")),
)


PRESET_NAMES = frozenset(preset.api_name for preset in PRESETS)
RESERVED = frozenset(
    ("activity", "all", "any", "badges", "bulk", "business", "by_ref", "interaction", "member", "none", "null",
     "object", "record", "role")
)  # fmt: skip
"""Words that mean something else where an object's api_name may stand."""
_API_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")


def api_name_of(name: str) -> str:
    """Make an api_name of a name: `Policy holder` becomes `policy_holder`. Empty where nothing of it can be used."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:100]


def check_api_name(api_name: str) -> Iterator[Problem]:
    """Name what is wrong with an api_name."""
    if _API_NAME.fullmatch(api_name) is None:
        message = f"is {api_name!r}; give small letters, digits and _, beginning with a letter, up to 100"
        yield Problem("api_name", "api_name_invalid", message)
    elif api_name in RESERVED:
        yield Problem("api_name", "reserved", f"{api_name!r} is reserved, as are {', '.join(sorted(RESERVED))}")


def check_statuses(statuses: Sequence[str]) -> Iterator[Problem]:
    """Name statuses that stand twice."""
    for index, status in enumerate(statuses):
        if status in statuses[:index]:
            yield Problem(f"statuses.{index}", "twice", f"{status!r} stands twice")


@cache
def zones() -> frozenset[str]:
    """List the IANA zones that are taken."""
    return frozenset(zone for zone in available_timezones() if zone not in ("Factory", "localtime"))


def check_zone(zone: str) -> str:
    """Return `zone` if it is an IANA name. Raises ValueError."""
    if zone not in zones():
        raise ValueError(f"{zone!r} is not an IANA time zone, such as Europe/Berlin")
    return zone


def grant_scopes(wanted: Collection[str] | None, own: frozenset[str]) -> list[str]:
    """Decide the scopes of a new key: those wanted, else all but `act_as`; never more than the giver has.

    Raises Rejected for a name that is no scope, Forbidden for one that the giver does not have.
    """
    if wanted is None:
        return [scope for scope in DEFAULT_SCOPES if scope in own]
    allowed = ", ".join(SCOPES)
    problems = [
        Problem(f"scopes.{index}", "unknown_scope", f"{scope!r} is not one of {allowed}")
        for index, scope in enumerate(wanted)
        if scope not in SCOPES
    ]
    if problems:
        raise Rejected("unknown scopes", problems)
    for index, scope in enumerate(wanted):
        if scope not in own:
            message = f"this key does not have {scope} and so cannot give it"
            raise Forbidden(message, [Problem(f"scopes.{index}", "missing_scope", message)], code="missing_scope")
    return [scope for scope in SCOPES if scope in wanted]


def token_life(expires_in_s: int | None) -> timedelta:
    """Decide how long a member token lives."""
    return timedelta(seconds=TOKEN_DEFAULT_S if expires_in_s is None else expires_in_s)


def unknown_references(field: str, wanted: Sequence[UUID], known: Collection[UUID]) -> list[Problem]:
    """Name the references that do not exist (or belong to somebody else, which is the same)."""
    return [
        Problem(f"{field}.{index}", "does_not_exist", f"{reference} does not exist")
        for index, reference in enumerate(wanted)
        if reference not in known
    ]


def check_record(
    status: str | None, owner_id: UUID | None, statuses: Collection[str], members: Collection[UUID]
) -> Iterator[Problem]:
    """Name what is wrong with a record's status and owner. An object without statuses takes any."""
    if status is not None and statuses and status not in statuses:
        yield Problem("status", "unknown_status", f"{status!r} is not one of {', '.join(statuses)}")
    if owner_id is not None and owner_id not in members:
        yield Problem("owner_id", "does_not_exist", f"{owner_id} is not a member of this business")


def merge_fields(stored: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Put changes over stored fields; null takes a field away."""
    return {name: value for name, value in {**stored, **changes}.items() if value is not None}


def check_version(current: int, seen: int | None) -> None:
    """Refuse a write that was made for another version. Raises Stale."""
    if seen is not None and seen != current:
        raise Stale(f"If-Match names version {seen}; the current one is {current}: read it again")
