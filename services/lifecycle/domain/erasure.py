"""What is left of an activity when the person of a record it was linked to is erased. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import msgspec

from libs.contracts import activity as contract
from services.lifecycle.domain.held import Decision, Held, Link, Person, next_version

WHY = "the person of a linked record was erased"
TYPE = "activity.erased"


def erase(held: Held, record_id: UUID, now: datetime) -> Decision:
    """Take texts, values and names away; times, type, links, members, state and counts stay.

    What is told of the activity afterwards is new, and kept.
    """
    activity = held.activity
    assignee = activity.assignee
    later = next_version(
        held,
        now,
        erased_at=now,
        subject=None,
        summary=None,
        notes=None,
        first_message=None,
        location=None,
        fields={},
        attachments=[],
        metadata={},
        source_ref=None,
        assignee=assignee if assignee is not None and (assignee.member_id or assignee.role_id) else None,
        actor=_member(activity.actor),
        created_by=_member(activity.created_by),
        logged_by=_member(activity.logged_by),
        completed_by=_member(activity.completed_by),
        participants=[_member(each) or Person() for each in activity.participants],
        links=_links(activity.links, record_id),
        appends=[_blank(each) for each in activity.appends],
    )
    return Decision("applied", held._replace(activity=later), (TYPE,), WHY)


def _member(person: contract.Person | None) -> contract.Person | None:
    return person if person is not None and person.member_id is not None else None


def _links(links: Sequence[contract.Link], record_id: UUID) -> list[contract.Link]:
    """Keep the links; the record's external ref may be a phone number."""
    return [
        Link(object=link.object, record_id=record_id, all=link.all) if link.record_id == record_id else link
        for link in links
    ]


def _blank(addition: contract.Append) -> contract.Append:
    given = cast(Any, addition)
    blank = msgspec.structs.replace(given, text=None, fields=None, url=None, source_ref=None, by=_member(addition.by))
    return cast(contract.Append, blank)
