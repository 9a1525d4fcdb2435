"""What is left of an activity, and of a report that comes late, when a linked record's person is erased. Pure.

What was told before a person was erased leaves no text, whenever it is applied: an activity that was linked to the
record is erased; a report that was received before and is admitted after is admitted without its texts, and refused
where nothing else is in it (an addition) or where it would have to wait. What is told later is new, and kept.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, cast
from uuid import UUID

import msgspec

from libs.contracts import activity as contract
from libs.contracts.ids import record_id_of
from libs.contracts.report import ReportReceived
from services.lifecycle.domain.held import Decision, Held, Link, Person, Reason, next_version
from services.lifecycle.domain.known import Known
from services.lifecycle.domain.presets import record_object_of

REFS_KEPT = 10_000
"""External refs whose record is kept: many reports are about the same one, and deriving it takes 2 us."""
WHY = "the person of a linked record was erased"
TYPE = "activity.erased"
REFUSED = Reason(field="links", code="erased", message="the person it is about was erased before it could be admitted")


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
        notifications=[],
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


def is_late(held: Held | None, report: ReportReceived, known: Known) -> bool:
    """Tell whether a report was received before the person of a record was erased that it or its activity speaks of."""
    erased_at = held.activity.erased_at if held is not None else None
    if erased_at is not None and report.received_at < erased_at:
        return True
    if not known.erased:
        return False
    linked = [link_of(report, link) for link in report.report.links] + (held.activity.links if held is not None else [])
    told = [known.erased[link.record_id] for link in linked if link.record_id in known.erased]
    return any(report.received_at < erased_at for erased_at in told)


def without_texts(report: ReportReceived, known: Known) -> ReportReceived:
    """Take from a report what an erasure takes from an activity; of the participants those go who are no members."""
    body = cast(Any, report.report)
    assignee = known.assignee(body.assignee) if body.assignee is not None else None
    blank = msgspec.structs.replace(
        body,
        source_ref="",
        activity_ref=None,
        subject=None,
        summary=None,
        notes=None,
        first_message=None,
        location=None,
        fields={},
        attachments=[],
        metadata={},
        text=None,
        url=None,
        assignee=body.assignee if assignee is not None and (assignee.member_id or assignee.role_id) else None,
        actor=body.actor if body.actor in known.members else None,
        participants=[each for each in body.participants if each in known.members],
        links=[_without_ref(link_of(report, link), known) for link in body.links],
    )
    return cast(ReportReceived, msgspec.structs.replace(cast(Any, report), report=blank))


def link_of(report: ReportReceived, link: contract.Link) -> contract.Link:
    """Resolve a report's link: the record's id follows from its external ref."""
    name, record_id = record_object_of(report.business_id, link.object) or link.object, link.record_id
    if record_id is None and link.external_ref is not None:
        record_id = _record_of(report.business_id, name, link.external_ref)
    return Link(object=name, record_id=record_id, external_ref=link.external_ref, all=link.all)


_record_of = lru_cache(REFS_KEPT)(record_id_of)


def _without_ref(link: contract.Link, known: Known) -> contract.Link:
    if link.record_id not in known.erased:
        return link
    return Link(object=link.object, record_id=link.record_id, all=link.all)


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
