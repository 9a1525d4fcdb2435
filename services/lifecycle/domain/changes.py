"""What is entered by itself when records change: leads that are converted, contacts that change significantly. Pure."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple
from uuid import UUID

from libs.contracts.ids import uuid5
from libs.contracts.record import RecordChanged
from services.lifecycle.domain.held import Link

SETTING = "significant_contact_fields"
SIGNIFICANT = ("name", "email", "phone", "account", "status", "owner", "do_not_contact")
"""What of a contact makes an entry where its business has set nothing else."""
_NAMES = {"name": "name", "status": "status", "owner": "owner_id", "account": "account_id"}
SOURCE = "directory"
SOURCE_KIND: Literal["workflow"] = "workflow"
SHOWN_MAX = 200
"""Characters of a value in the sentence about it; `metadata` has all of it."""


class Entry(NamedTuple):
    """An activity that is logged by itself: its id, its type's api_name, and what it says."""

    business_id: UUID
    activity_id: UUID
    type: str
    event: RecordChanged
    content: dict[str, Any]


def entry_of(event: RecordChanged, significant: Sequence[str] | None) -> Entry | None:
    """Make the entry about a change, if there is to be one; its id follows from the record and its version."""
    if event.object == "lead" and event.after.get("converted_to") is not None:
        return _conversion(event)
    if event.object == "contact":
        return _contact_change(event, SIGNIFICANT if significant is None else significant)
    return None


def names_of(significant: Collection[str]) -> set[str]:
    """Translate the words of the setting to names of `record.changed`."""
    return {_NAMES.get(word, f"fields.{word}") for word in significant}


def people_in(event: RecordChanged) -> set[str]:
    """Name the members whom a change is by or about: their ids."""
    owners = {str(values["owner_id"]) for values in (event.before, event.after) if values.get("owner_id") is not None}
    return owners if event.by is None else owners | {str(event.by.member_id)}


def accounts_in(event: RecordChanged) -> set[UUID]:
    """Name the accounts that a change is about."""
    given = (values.get("account_id") for values in (event.before, event.after))
    return {UUID(str(each)) for each in given if each is not None}


def named(content: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Say owners and accounts by their names in the sentence about a change; `metadata` keeps the ids."""
    lines = str(content["summary"]).split("\n") if "summary" in content else []
    said = [_named(line, names) if line.startswith(("owner: ", "account: ")) else line for line in lines]
    return {**content, "summary": "\n".join(said)} if said else dict(content)


def _named(line: str, names: Mapping[str, str]) -> str:
    for identity, name in names.items():
        line = line.replace(identity, name)
    return line


def _conversion(event: RecordChanged) -> Entry:
    contact_id = UUID(str(event.after["converted_to"]))
    links = [Link(object="lead", record_id=event.record_id), Link(object="contact", record_id=contact_id)]
    content = {"subject": "Lead converted", "links": links}
    return _entry(event, "lead_conversion", "lead_conversion", content)


def _contact_change(event: RecordChanged, significant: Collection[str]) -> Entry | None:
    names = sorted(names_of(significant).intersection(event.after))
    if not names:
        return None
    plain = {name: name.removeprefix("fields.").removesuffix("_id") for name in names}
    lines = [f"{plain[name]}: {_shown(event.before.get(name))} → {_shown(event.after.get(name))}" for name in names]
    content = {
        "subject": f"Contact changed: {', '.join(plain.values())}",
        "summary": "\n".join(lines),
        "links": [Link(object="contact", record_id=event.record_id)],
        "metadata": {
            "record_version": event.version,
            "before": {plain[name]: event.before.get(name) for name in names},
            "after": {plain[name]: event.after.get(name) for name in names},
        },
    }
    return _entry(event, "contact_change", "note", content)


def _entry(event: RecordChanged, kind: str, type_name: str, content: dict[str, Any]) -> Entry:
    activity_id = uuid5(event.record_id, f"{kind}:{event.version}")
    return Entry(event.business_id, activity_id, type_name, event, content | {"occurred_at": event.changed_at})


def _shown(value: Any) -> str:
    words = {None: "nothing", True: "yes", False: "no"}
    text = words[value] if value is None or isinstance(value, bool) else str(value)
    return text if len(text) <= SHOWN_MAX else f"{text[: SHOWN_MAX - 1]}…"
