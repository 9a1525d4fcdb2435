"""What S2's routes answer: the same activities in its words."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from libs.contracts import activity as contract
from libs.contracts.activity_object import ActivityObject
from libs.contracts.ids import preset_id_of, ulid_of, uuid5
from services.lifecycle.api.answers import shown_same
from services.lifecycle.api.pages import Turned
from services.lifecycle.domain.fields import NOTES
from services.lifecycle.domain.known import Known
from services.lifecycle.domain.plans import Count
from services.lifecycle.domain.values import latest_of
from services.lifecycle.store.accounts import ACCOUNT

PENDING, COMPLETED, CANCELLED = "PENDING", "COMPLETED", "CANCELLED"
STATUSES = {PENDING: ("Pending", "#ca8a04"), COMPLETED: ("Completed", "#16a34a"), CANCELLED: ("Cancelled", "#64748b")}
"""Each status with its label and colour."""

Records = dict[UUID, tuple[str, str, bool]]
"""Records by id: object, name, and whether it is deleted."""


def status_of(activity: contract.Activity) -> str:
    """Say an activity's state in S2's words."""
    if activity.logged_at is not None:
        return COMPLETED
    return PENDING if activity.cancelled_at is None else CANCELLED


def status_id_of(business_id: UUID, status: str) -> UUID:
    """Derive the id that a business's clients know a status by."""
    return preset_id_of(business_id, "activity_status", status)


def account_of(activity: contract.Activity) -> UUID | None:
    """Name the account that an activity is about: the first, if it is linked to several in S1."""
    return next((link.record_id for link in activity.links if link.object == ACCOUNT and not link.all), None)


def attachment_id_of(activity_id: UUID, url: str) -> UUID:
    """Derive an attachment's id: each URL is attached once."""
    return uuid5(activity_id, f"attachment:{url}")


def creator_of(activity: contract.Activity) -> contract.Person | None:
    """Name who made it: who planned it, else who logged it."""
    return activity.created_by or activity.logged_by


def shown(activity: contract.Activity, known: Known, records: Records) -> dict[str, Any]:
    """Show an activity as S2 does, values of own fields in its metadata; `known` holds its type and its creator."""
    account_id, creator, status = account_of(activity), creator_of(activity), status_of(activity)
    values = latest_of(activity)
    notes = values.pop(NOTES, None)
    account = records.get(account_id) if account_id is not None else None
    member = known.members.get(str(creator.member_id)) if creator is not None else None
    return {
        "id": ulid_of(activity.activity_id),
        "accountId": account_id,
        "account": account[1] if account is not None else None,
        "accountIsActive": not account[2] if account is not None else None,
        "activityTimestamp": activity.at,
        "duration": activity.duration_min,
        "location": activity.location,
        "type": activity.type.upper(),
        "typeId": activity.type_id,
        "typeConfiguration": _type(activity, known.type_of(str(activity.type_id))),
        "status": status,
        "statusId": status_id_of(activity.business_id, status),
        "statusConfiguration": _status(activity.business_id, status),
        "participants": [_participant(each) for each in activity.participants],
        "attachmentUrls": activity.attachments,
        "attachments": attachments_of(activity),
        "title": activity.subject,
        "description": notes if notes is not None else activity.summary,
        "metadata": activity.metadata | values,
        "privacy": activity.privacy.upper(),
        "isActive": activity.deleted_at is None,
        "creator": creator.name if creator is not None else None,
        "creatorId": creator.member_id if creator is not None else None,
        "creatorEmail": member.email if member is not None else None,
        "commentsCount": activity.comments_count,
        "createdAt": activity.created_at,
        "updatedAt": activity.recorded_at,
        "deletedAt": activity.deleted_at,
        "retractedAt": activity.retracted_at,
        "followsId": ulid_of(activity.follows_id) if activity.follows_id is not None else None,
        "sameAs": ulid_of(activity.same_as) if activity.same_as is not None else None,
        "same": same_of(shown_same(activity)),
    }


def same_of(told: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Show the other reports of an activity's event, which are activities of their own, in S2's words."""
    return [
        {"activityId": ulid_of(each["activity_id"])}
        | {camel(name): value for name, value in each.items() if name != "activity_id"}
        for each in told
    ]


def camel(name: str) -> str:
    """Write one of our names as S2 writes names."""
    first, *others = name.split("_")
    return first + "".join(word.title() for word in others)


def meta_of(turned: Turned, count: Count, page: tuple[int, int]) -> dict[str, Any]:
    """Say which page of how many this is: (number, limit), and where its neighbours are."""
    number, limit = page
    return {
        "page": number,
        "limit": limit,
        "total": turned.total,
        "totalIsEstimate": count.is_estimate,
        "totalPages": -(-turned.total // limit),
        "next": turned.next,
        "previous": turned.previous,
    }


def attachments_of(activity: contract.Activity) -> list[dict[str, Any]]:
    """List what is attached: what came with the activity, then what was added to it once it was logged."""
    own = [(attachment_id_of(activity.activity_id, url), url) for url in activity.attachments]
    added = [(each.id, each.url) for each in activity.appends if each.kind == "attachment" and each.url]
    return [
        {"id": ulid_of(identity), "url": url, "name": url.rpartition("/")[2].partition("?")[0] or url}
        for identity, url in (*own, *added)
    ]


def _type(activity: contract.Activity, kind: ActivityObject | None) -> dict[str, Any]:
    return {
        "id": activity.type_id,
        "value": activity.type.upper(),
        "label": kind.name if kind is not None else activity.type_name,
        "icon": kind.icon if kind is not None else None,
        "color": kind.colour if kind is not None else None,
        "order": kind.order if kind is not None else None,
        "isActive": kind is not None and kind.deleted_at is None,
    }


def _status(business_id: UUID, status: str) -> dict[str, Any]:
    label, colour = STATUSES[status]
    order = list(STATUSES).index(status)
    return {
        "id": status_id_of(business_id, status), "value": status, "label": label, "color": colour, "order": order,
        "isActive": True,
    }  # fmt: skip


def _participant(person: contract.Person) -> dict[str, Any]:
    return {"id": person.member_id, "name": person.name, "email": person.email}
