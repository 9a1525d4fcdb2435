"""A business's own settings."""

from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from libs.access import Principal, may
from libs.contracts.interaction import Channel
from libs.messaging.outbox import append
from libs.service.answers import if_match, versioned
from libs.service.body import Body, Line
from libs.service.http import DatabaseDep
from libs.service.idempotency import once
from services.directory.api.pages import must_exist, shown
from services.directory.domain import rules
from services.directory.domain.events import events_of
from services.directory.store import businesses

router = APIRouter(prefix="/api/directory/business")

Reader = Annotated[Principal, Depends(may("directory.read"))]
Writer = Annotated[Principal, Depends(may("directory.write"))]

FIELDS_MAX = 100


class SettingsBody(Body):
    """What is to change; what is not named stays, null brings the default back.

    `significant_contact_fields`: what of a contact makes an entry on its timeline when it changes: `name`, `status`,
    `owner`, `account`, or a field's name. By default these four with `email`, `phone` and `do_not_contact`.
    `activities_from_channels`: the channels whose closed conversations become activities. By default all of them.
    """

    significant_contact_fields: Annotated[list[Annotated[str, Line(255)]], Field(max_length=FIELDS_MAX)] | None = None
    activities_from_channels: Annotated[list[Channel], Field(max_length=FIELDS_MAX)] | None = None


class BusinessPatch(Body):
    """What is to change about the business."""

    settings: SettingsBody


@router.get("")
async def show_business(principal: Reader, database: DatabaseDep) -> Response:
    """Show the caller's business."""
    async with database.transaction(principal) as tx:
        found = await businesses.find_business(tx, principal.business_id)
    business = must_exist(found, "business", principal.business_id)
    return versioned(shown(business), business["version"])


@router.patch("")
async def change_business(body: BusinessPatch, principal: Writer, request: Request, database: DatabaseDep) -> Response:
    """Change settings of the caller's business."""
    async with database.transaction(principal) as tx:

        async def write() -> Response:
            found = await businesses.find_business(tx, principal.business_id, lock=True)
            before = must_exist(found, "business", principal.business_id)
            rules.check_version(before["version"], if_match(request))
            settings = orjson.loads(before["settings"])
            changes = body.settings.model_dump(exclude_unset=True)
            after = rules.merge_fields(settings, changes)
            if after == settings:
                return versioned(shown(before), before["version"], wrote=before["id"])
            business = await businesses.save_settings(tx, principal.business_id, orjson.dumps(after))
            await append(tx, events_of("directory.business", [business]))
            return versioned(shown(business), business["version"], wrote=business["id"])

        return await once(tx, principal, request, write)
