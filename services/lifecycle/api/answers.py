"""What routes answer: activities and objects in S1's shapes."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import msgspec
import orjson
from fastapi import Request

from libs.contracts import activity as contract
from libs.contracts.activity import state_of
from libs.contracts.activity_object import ActivityObject
from libs.contracts.ids import preset_id_of
from services.lifecycle.api.values import shown_fields
from services.lifecycle.domain.fields import NOTES
from services.lifecycle.domain.rights import Rights
from services.lifecycle.store.activities import decode

ASIDE = ("version", "recorded_at", "appends")


def shown_scheduled(
    activity: contract.Activity, kind: ActivityObject | None, now: datetime, rights: Rights
) -> dict[str, Any]:
    """Show an activity in its scheduled life to the holder of `rights`.

    `logged_activity_id` is its own id once it is logged.
    """
    assignee = activity.assignee
    employee = role = None
    if assignee is not None and assignee.role_id is not None:
        role = {"id": assignee.role_id, "name": assignee.name}
    elif assignee is not None:
        employee = {"id": assignee.member_id, "name": assignee.name}
    return {
        "id": activity.activity_id,
        "state": state_of(activity, now),
        "version": activity.version,
        "activity_object": _object_of(activity, kind),
        "due_datetime": activity.due_date or activity.due_at,
        "due_at": activity.due_at,
        "original_due_datetime": activity.original_due_at,
        "employee": employee,
        "role": role,
        "note": activity.notes,
        **_texts(activity),
        "mentions": activity.mentions,
        "notify_mentioned": activity.notify_mentioned,
        "notifications": activity.notifications,
        "associated_entities": _entities(activity),
        "fields": shown_fields(activity.fields, kind, renamed=activity.logged_at is None),
        "completed_at": activity.completed_at,
        "cancelled_at": activity.cancelled_at,
        "logged_activity_id": activity.activity_id if activity.logged_at is not None else None,
        "created": activity.created_at,
        "created_by": _plain(activity.created_by),
        "series_id": activity.series_id,
        "occurs_on": activity.occurs_on,
        "same_as": activity.same_as,
        "access": {
            "view": True,
            "edit": activity.logged_at is None and rights.may("edit", activity),
            "remove": activity.logged_at is None and rights.may("delete", activity),
        },
    }


def shown_logged(
    activity: contract.Activity, kind: ActivityObject | None, appends: Sequence[bytes], now: datetime
) -> dict[str, Any]:
    """Show a logged activity with all its additions; `fields` and `notes` are as the newest correction has them.

    `revisions` are all states of these, oldest first. Without `appends` those count that the activity carries.
    """
    additions = [orjson.loads(document) for document in appends]
    carried = () if appends else (msgspec.to_builtins(each) for each in activity.appends if each.fields)
    revisions = _revisions(activity, kind, (*additions, *carried))
    return {
        "id": activity.activity_id,
        "state": state_of(activity, now),
        "version": activity.version,
        "activity_object": _object_of(activity, kind),
        "notes": revisions[-1]["notes"],
        **_texts(activity),
        "associated_entities": _entities(activity),
        "occurred_at": activity.occurred_at,
        "logged_at": activity.logged_at,
        "logged_by": _plain(activity.logged_by),
        "completed_at": activity.completed_at,
        "completed_by": _plain(activity.completed_by),
        "scheduled_activity_id": activity.activity_id if activity.planned_at is not None else None,
        "retracted_at": activity.retracted_at,
        "mentions": activity.mentions,
        "participants": [_plain(each) for each in activity.participants],
        "fields": revisions[-1]["fields"],
        "revisions": revisions,
        "first_message": activity.first_message,
        "source": activity.source,
        "source_kind": activity.source_kind,
        "source_ref": activity.source_ref,
        "appends": additions,
        "appends_count": activity.appends_count,
        "same_as": activity.same_as,
        "same": shown_same(activity),
    }


def shown_same(activity: contract.Activity) -> list[dict[str, Any]]:
    """Show which other reports tell of the same event: who told it, when, why they are linked, what differs."""
    return [
        {
            "activity_id": each.activity_id,
            "source": each.source,
            "source_kind": each.source_kind,
            "logged_at": each.logged_at,
            "occurred_at": each.occurred_at,
            "member_ids": each.member_ids,
            "linked_at": each.linked_at,
            "linked_by": each.linked_by,
            "agreed": each.agreed,
            "gap_s": each.gap_s,
            "differs": each.differs,
        }
        for each in activity.same
    ]


def _revisions(
    activity: contract.Activity, kind: ActivityObject | None, additions: Iterable[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Show what was logged, and then as each correction had it."""
    held = {**activity.fields, NOTES: activity.notes}
    told: list[tuple[Any, Any, dict[str, Any]]] = [(activity.logged_at, _plain(activity.logged_by), {})]
    for each in additions:
        if each.get("fields"):
            by = each.get("by")
            told.append((each["at"], by and {"id": by.get("member_id"), "name": by.get("name")}, each["fields"]))
    shown = []
    for number, (at, by, changes) in enumerate(told):
        held = held | changes
        fields = {name: value for name, value in held.items() if value is not None and name != NOTES}
        own = shown_fields(fields, kind, renamed=False)
        shown.append({"revision": number, "at": at, "by": by, "notes": held[NOTES], "fields": own})
    return shown


def shown_history(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Show every version: what, who, when, why, from which request or receipt; of an erased one what is left of it.

    `changes` compares with the version before; where that or this one is erased there is nothing to compare.
    """
    shown = []
    before: dict[str, Any] | None = {}
    for row in rows:
        event = decode(row["document"]) if row["document"] is not None else None
        after = msgspec.to_builtins(event.activity, builtin_types=(datetime,)) if event is not None else None
        change = event.change if event is not None else None
        by = row["by_member"]
        shown.append(
            {
                "version": row["version"],
                "type": row["type"],
                "recorded_at": row["recorded_at"],
                "by": _plain(change.by) if change else (None if by is None else {"id": by, "name": None}),
                "why": change.why if change else None,
                "request_id": change.request_id if change else None,
                "receipt_id": change.receipt_id if change else None,
                "changes": _changes(before, after),
                "hash": row["hash"].hex(),
                "erased": event is None,
            }
        )
        before = after
    return shown


def _changes(before: dict[str, Any] | None, after: dict[str, Any] | None) -> dict[str, Any]:
    if before is None or after is None:
        return {}
    return {
        name: {"before": before.get(name), "after": after.get(name)}
        for name in sorted({*before, *after}.difference(ASIDE))
        if before.get(name) != after.get(name)
    }


def paged(request: Request, results: Sequence[Any], count: int, page: int, page_size: int) -> dict[str, Any]:
    """Put a page into S1's envelope."""

    def link(number: int) -> str:
        others = [(name, value) for name, value in request.query_params.multi_items() if name != "page"]
        return f"{request.url.path}?{urlencode([*others, ('page', str(number))])}"

    return {
        "count": count,
        "next": link(page + 1) if page * page_size < count else None,
        "previous": link(page - 1) if page > 1 else None,
        "results": results,
        "errors": [],
    }


def _object_of(activity: contract.Activity, kind: ActivityObject | None) -> dict[str, Any]:
    return {
        "id": activity.type_id,
        "name": kind.name if kind else activity.type_name,
        "api_name": activity.type,
        "icon": kind.icon if kind else None,
        "colour": kind.colour if kind else None,
        "association_mode": kind.association_mode if kind else None,
    }


def _entities(activity: contract.Activity) -> list[dict[str, Any]]:
    """Show what an activity is about; `name` is put in by `marks.marked` and `References.with_gone`."""
    return [
        {
            "custom_object": {
                "id": preset_id_of(activity.business_id, "record_object", link.object),
                "api_name": link.object,
            },
            "entity_id": link.record_id,
            "name": None,
            "external_ref": link.external_ref,
            "all": link.all,
        }
        for link in activity.links
    ]


def _texts(activity: contract.Activity) -> dict[str, Any]:
    names = (
        "subject", "summary", "location", "direction", "duration_min", "privacy", "comments_count", "follows_id",
        "interaction_id", "attachments", "metadata",
    )  # fmt: skip
    return {name: getattr(activity, name) for name in names}


def _plain(person: contract.Person | None) -> dict[str, Any] | None:
    return None if person is None else {"id": person.member_id, "name": person.name}
