"""The body that receivers get: a public model of its own, apart from events and rows.

Fields are added, never renamed, retyped or removed. The same version of an activity always gives the same bytes.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from libs.contracts import activity as events
from libs.contracts.activity import ActivityEvent

BODY_MAX_BYTES = 256 << 10


class Link(msgspec.Struct, frozen=True):
    """A record that the activity is about, or all records of an object."""

    object: str
    record_id: UUID | None
    external_ref: str | None
    all: bool


class Person(msgspec.Struct, frozen=True):
    """Somebody who takes part."""

    member_id: UUID | None
    name: str | None


class Addition(msgspec.Struct, frozen=True):
    """What was appended by this version."""

    id: UUID
    kind: str
    at: datetime
    by: Person | None
    text: str | None
    fields: dict[str, Any] | None
    url: str | None


class SameReport(msgspec.Struct, frozen=True):
    """Another logged activity that tells of the same event."""

    activity_id: UUID
    source: str


class Data(msgspec.Struct, frozen=True, kw_only=True):
    """The logged activity. `url` answers the full record; `truncated` when the body would have passed 256 KiB.

    Of one that is not for everybody (`privacy`) it says that it is there, not what it says: as after an erasure.
    `same`: other activities that tell of the same event; `same_as`: which of them stands for it (null: this one does).
    """

    activity_id: UUID
    logged_activity_id: UUID
    scheduled_activity_id: UUID | None
    business_id: UUID
    version: int
    type: str
    type_id: UUID
    type_name: str
    occurred_at: datetime | None
    logged_at: datetime | None
    completed_at: datetime | None
    due_at: datetime | None
    retracted_at: datetime | None
    recorded_at: datetime
    subject: str | None
    summary: str | None
    direction: str | None
    duration_min: int | None
    location: str | None
    actor: Person | None
    logged_by: Person | None
    completed_by: Person | None
    source: str
    source_kind: str
    source_ref: str | None
    url: str
    links: list[Link]
    appends_count: int
    truncated: bool
    privacy: str = "public"
    participants: list[Person | None] | None = None
    notes: str | None = None
    fields: dict[str, Any] | None = None
    attachments: list[str] | None = None
    first_message: str | None = None
    metadata: dict[str, Any] | None = None
    append: Addition | None = None
    same_as: UUID | None = None
    same: list[SameReport] = msgspec.field(default_factory=list)


class ThinData(msgspec.Struct, frozen=True, kw_only=True):
    """What a thin body says: which activity, which version, where to read it. No text, no person."""

    activity_id: UUID
    logged_activity_id: UUID
    scheduled_activity_id: UUID | None
    business_id: UUID
    version: int
    type: str
    type_id: UUID
    occurred_at: datetime | None
    logged_at: datetime | None
    url: str


class WebhookBody(msgspec.Struct, frozen=True):
    """`{"type","timestamp","data"}` as Standard Webhooks has it; `timestamp` is when the version was recorded."""

    type: str
    timestamp: datetime
    data: Data


class ThinBody(msgspec.Struct, frozen=True):
    """As WebhookBody, for endpoints that ask for thin bodies."""

    type: str
    timestamp: datetime
    data: ThinData


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(WebhookBody).decode


def body_of(event: ActivityEvent, event_type: str) -> bytes:
    """Write the body of a webhook: the bytes that are stored, signed and sent."""
    body = _encode(_whole(event, event_type, truncated=False))
    return body if len(body) <= BODY_MAX_BYTES else _encode(_whole(event, event_type, truncated=True))


def thin_body_of(event: ActivityEvent, event_type: str) -> bytes:
    """Write the thin body of a webhook."""
    a = event.activity
    data = ThinData(
        activity_id=a.activity_id,
        logged_activity_id=a.activity_id,
        scheduled_activity_id=None if a.completed_at is None else a.activity_id,
        business_id=a.business_id,
        version=a.version,
        type=a.type,
        type_id=a.type_id,
        occurred_at=a.occurred_at,
        logged_at=a.logged_at,
        url=url_of(a.activity_id),
    )
    return _encode(ThinBody(event_type, a.recorded_at, data))


def thinned(body: bytes) -> bytes:
    """Make the thin body of a full one: the same bytes as of the same version told thin."""
    whole = _decode(body)
    named = {name: getattr(whole.data, name) for name in ThinData.__struct_fields__}
    return _encode(ThinBody(whole.type, whole.timestamp, ThinData(**named)))


def url_of(activity_id: UUID) -> str:
    """Name the route that answers the full record."""
    return f"/api/activities/logged/{activity_id}"


def without_texts(body: bytes, erased_at: datetime) -> bytes:
    """Take texts, values and names out of a body about a version before `erased_at`; a later one stays as it is."""
    try:
        whole = _decode(body)
    except msgspec.ValidationError:  # a thin body: it holds none of them
        return body
    if whole.timestamp >= erased_at:
        return body
    blank = msgspec.structs.replace(
        _blank(whole.data),
        source_ref=None,
        links=[msgspec.structs.replace(link, external_ref=None) for link in whole.data.links],
    )
    return _encode(msgspec.structs.replace(whole, data=blank))


def _blank(data: Data) -> Data:
    """Take texts, values and the names of those who are no members away."""
    return msgspec.structs.replace(
        data,
        subject=None,
        summary=None,
        location=None,
        notes=None,
        first_message=None,
        fields=None if data.fields is None else {},
        attachments=None if data.attachments is None else [],
        metadata=None if data.metadata is None else {},
        actor=_member(data.actor),
        logged_by=_member(data.logged_by),
        completed_by=_member(data.completed_by),
        participants=None if data.participants is None else [_member(each) for each in data.participants],
        append=None if data.append is None else _blank_addition(data.append),
    )


def _member(person: Person | None) -> Person | None:
    return person if person is None or person.member_id is not None else Person(None, None)


def _blank_addition(append: Addition) -> Addition:
    return msgspec.structs.replace(append, text=None, fields=None, url=None, by=_member(append.by))


def _whole(event: ActivityEvent, event_type: str, *, truncated: bool) -> WebhookBody:
    a = event.activity
    long: dict[str, Any] = {} if truncated else _long_fields(a, event_type)
    data = Data(
        activity_id=a.activity_id,
        logged_activity_id=a.activity_id,
        scheduled_activity_id=None if a.completed_at is None else a.activity_id,
        business_id=a.business_id,
        version=a.version,
        type=a.type,
        type_id=a.type_id,
        type_name=a.type_name,
        occurred_at=a.occurred_at,
        logged_at=a.logged_at,
        completed_at=a.completed_at,
        due_at=a.due_at,
        retracted_at=a.retracted_at,
        recorded_at=a.recorded_at,
        subject=_cut(a.subject),
        summary=_cut(a.summary),
        direction=a.direction,
        duration_min=a.duration_min,
        location=_cut(a.location),
        actor=_person(a.actor),
        logged_by=_person(a.logged_by),
        completed_by=_person(a.completed_by),
        source=a.source,
        source_kind=a.source_kind,
        source_ref=a.source_ref,
        url=url_of(a.activity_id),
        links=[Link(link.object, link.record_id, link.external_ref, link.all) for link in a.links[:100]],
        appends_count=a.appends_count,
        truncated=truncated,
        privacy=a.privacy,
        same_as=a.same_as,
        same=[SameReport(other.activity_id, other.source) for other in a.same],
        **long,
    )
    return WebhookBody(event_type, a.recorded_at, data if a.privacy == "public" else _blank(data))


def _long_fields(a: events.Activity, event_type: str) -> dict[str, Any]:
    newest = max(a.appends, key=lambda append: append.at) if event_type == "activity.appended" and a.appends else None
    return {
        "participants": [_person(person) for person in a.participants],
        "notes": a.notes,
        "fields": a.fields,
        "attachments": a.attachments,
        "first_message": a.first_message,
        "metadata": a.metadata,
        "append": None if newest is None else _addition(newest),
    }


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= 4_000 else text[:4_000]


def _person(person: events.Person | None) -> Person | None:
    return None if person is None else Person(person.member_id, person.name)


def _addition(append: events.Append) -> Addition:
    return Addition(append.id, append.kind, append.at, _person(append.by), append.text, append.fields, append.url)
