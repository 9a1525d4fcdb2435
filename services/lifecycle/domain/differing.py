"""What two activities about the same event say differently. Pure."""

from typing import Any, NamedTuple

from libs.contracts import activity as contract

DIFFERS_MAX = 50
"""Names of what differs that an event carries."""
_COMPARED = (
    "type", "occurred_at", "duration_min", "direction", "subject", "summary", "notes", "location", "first_message",
    "attachments",
)  # fmt: skip


class Difference(NamedTuple):
    """A field, and what the two say in it. What the other does not say is none."""

    field: str
    here: Any
    there: Any


def differences(here: contract.Activity, there: contract.Activity) -> list[Difference]:
    """List what `there` says that `here` does not say so."""
    pairs: list[tuple[str, Any, Any]] = [(name, getattr(here, name), getattr(there, name)) for name in _COMPARED]
    pairs += [(f"fields.{name}", here.fields.get(name), value) for name, value in sorted(there.fields.items())]
    pairs += [("actor", _named(here.actor), _named(there.actor)), ("links", _linked(here), _linked(there))]
    pairs.append(("participants", _joining(here), _joining(there)))
    return [Difference(*each) for each in pairs if each[2] not in (None, [], "") and each[1] != each[2]]


def names_of_differing(here: contract.Activity, there: contract.Activity) -> list[str]:
    """Name what `there` says that `here` does not say so."""
    return [each.field for each in differences(here, there)][:DIFFERS_MAX]


def _named(person: contract.Person | None) -> str | None:
    if person is None:
        return None
    return str(person.member_id) if person.member_id is not None else person.name


def _joining(activity: contract.Activity) -> list[str]:
    return sorted(name for each in activity.participants if (name := _named(each)) is not None)


def _linked(activity: contract.Activity) -> list[str]:
    return sorted({f"{link.object}/{'all' if link.all else link.record_id}" for link in activity.links})
