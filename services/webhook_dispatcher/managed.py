"""Webhooks of activity objects: `submission_action = trigger_webhook` has an endpoint of its own at `webhook_url`.

It is made, changed and retired with its object, and is told `activity.logged` of that object's activities.
"""

from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from libs.contracts.activity_object import ActivityObject
from libs.contracts.ids import uuid5, uuid7
from libs.database import Transaction
from libs.errors import Rejected
from services.webhook_dispatcher import changes, signing
from services.webhook_dispatcher.domain.addresses import AddressRules
from services.webhook_dispatcher.domain.urls import read_url
from services.webhook_dispatcher.sealing import Sealer
from services.webhook_dispatcher.store import endpoints, managed
from services.webhook_dispatcher.store.endpoints import EndpointState
from services.webhook_dispatcher.store.managed import Row

Handler = Callable[[Transaction, Sequence[ActivityObject]], Awaitable[None]]


def endpoint_id_of(object_id: UUID) -> UUID:
    """Derive the endpoint of an activity object."""
    return uuid5(object_id, "webhook")


def follow_objects(sealer: Sealer, rules: AddressRules) -> Handler:
    """Make the handler."""

    async def follow_objects(tx: Transaction, events: Sequence[ActivityObject]) -> None:
        """Let endpoints follow their activity objects."""
        ids = [endpoint_id_of(one.id) for one in events]
        held = await managed.lock_managed(tx, [one.business_id for one in events], ids)
        for id_, one in zip(ids, events, strict=True):
            row = held.get(id_)
            if row is None and _wants(one):
                await endpoints.insert_endpoint(tx, one.business_id, id_, _state(one, rules), ("object", one.id))
                await _begin(tx, one, sealer)
                await _keep_revision(tx, one, 1, rules)
            elif row is not None and row["activity_object_version"] < one.version:
                await _change(tx, one, row, (sealer, rules))
                await changes.spread(tx, id_)

    return follow_objects


async def _change(tx: Transaction, one: ActivityObject, row: Row, means: tuple[Sealer, AddressRules]) -> None:
    sealer, rules = means
    place, retired = (one.business_id, row["id"]), row["deleted_at"] is not None
    if not _wants(one):
        if not retired:
            await endpoints.delete_endpoint(tx, *place)
        await managed.note_object(tx, place, one.version, revived=False)
    elif retired or row["url"] != one.webhook_url:
        saved = await endpoints.update_endpoint(tx, *place, _state(one, rules))
        await _keep_revision(tx, one, saved["version"], rules)
        await endpoints.resume_parked(tx, *place)
        await (_begin(tx, one, sealer) if retired else managed.note_object(tx, place, one.version, revived=False))
    else:
        await managed.note_object(tx, place, one.version, revived=False)


async def _begin(tx: Transaction, one: ActivityObject, sealer: Sealer) -> None:
    """Give it a secret nobody has seen: its owner asks for one with `secret/rotate`."""
    id_ = endpoint_id_of(one.id)
    sealed = sealer.seal(signing.key_of(signing.generate_secret()), one.business_id, id_)
    await endpoints.insert_secret(tx, one.business_id, id_, (uuid7(), sealed))
    await managed.note_object(tx, (one.business_id, id_), one.version, revived=True)


async def _keep_revision(tx: Transaction, one: ActivityObject, version: int, rules: AddressRules) -> None:
    revision = (endpoint_id_of(one.id), version)
    await endpoints.insert_revision(tx, one.business_id, revision, None, _state(one, rules).document())


def _wants(one: ActivityObject) -> bool:
    return one.deleted_at is None and one.submission_action == "trigger_webhook" and bool(one.webhook_url)


def _state(one: ActivityObject, rules: AddressRules) -> EndpointState:
    """Say what its endpoint is; one with a URL that may not be sent to is there to be seen, and disabled."""
    url = one.webhook_url or ""
    try:
        read_url(url, rules)
        status, reason = "active", None
    except Rejected:
        status, reason = "disabled", "url_refused"
    return EndpointState(
        url, f"webhook of the activity object {one.api_name}", ("activity.logged",), (), (str(one.id),), status, reason
    )
