"""A business's own settings."""

from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Depends, Request, Response
from pydantic import AfterValidator, Field, field_validator

from libs.access import Principal, may
from libs.contracts.ids import instant_text
from libs.contracts.interaction import Channel
from libs.messaging.outbox import append
from libs.service.answers import if_match, versioned
from libs.service.body import Body, Line, Moment
from libs.service.clock import now
from libs.service.http import DatabaseDep, rewrites
from libs.service.idempotency import once
from services.directory.api.pages import must_exist, shown
from services.directory.domain import rules
from services.directory.domain.events import events_of
from services.directory.store import businesses

router = APIRouter(prefix="/api/directory/business")

Reader = Annotated[Principal, Depends(may("directory.read"))]
Writer = Annotated[Principal, Depends(may("directory.write"))]

FIELDS_MAX = 100
SOURCES_MAX = 200
TOLERANCE_MAX_S = 3_600

Agreement = Literal["records", "type", "time", "conversation"]


def _checked(agree: list[Agreement]) -> list[Agreement]:
    if "conversation" not in agree and not {"records", "time"} <= {*agree}:
        raise ValueError("must have `conversation`, or `records` and `time`: anything else is the same too easily")
    return agree


class SameEventBody(Body):
    """When two logged activities of different tellers (systems, or members by hand) are reports of the same event.

    `sources`: whose reports are compared, and in this order whose is shown where they differ; null: everybody's, the
    one that began first is shown. `types`: the api_names of activity objects; null: all. `agree`: what has to agree:
    `records` (at least one, and none of an object that both name differs), `type`, `time` (they overlap, or lie no more
    than `tolerance_s` apart), `conversation` (what `metadata` says under `conversation_key`). Different conversations
    never are the same event. `since` says in answers from when on it counts; what is sent there is passed over.
    """

    sources: Annotated[list[Annotated[str, Line(255)]], Field(min_length=1, max_length=SOURCES_MAX)] | None = None
    types: Annotated[list[Annotated[str, Line(255)]], Field(min_length=1, max_length=FIELDS_MAX)] | None = None
    tolerance_s: Annotated[int, Field(ge=0, le=TOLERANCE_MAX_S)] = 120
    agree: Annotated[list[Agreement], AfterValidator(_checked)] = Field(
        default_factory=lambda: list[Agreement](("records", "type", "time"))
    )
    conversation_key: Annotated[str, Line(100)] = "conversation_id"
    since: Moment | None = Field(default=None, exclude=True)

    @field_validator("sources")
    @classmethod
    def _each_once(cls, sources: list[str] | None) -> list[str] | None:
        for place, source in enumerate(sources or ()):
            if source in (sources or ())[:place]:
                raise ValueError(f"{source!r} stands twice; the order says whose report is shown")
        return sources


class SettingsBody(Body):
    """What is to change; what is not named stays, null brings the default back.

    `significant_contact_fields`: what of a contact makes an entry on its timeline when it changes: `name`, `status`,
    `owner`, `account`, or a field's name. By default these four with `email`, `phone` and `do_not_contact`.
    `activities_from_channels`: the channels whose closed conversations become activities. By default all of them.
    `same_event`: when reports of two sources are taken for reports of the same event. By default never. It counts for
    what is logged from `since` on; what was before is searched by `POST /api/activities/logged/same-event/search`.
    """

    significant_contact_fields: Annotated[list[Annotated[str, Line(255)]], Field(max_length=FIELDS_MAX)] | None = None
    activities_from_channels: Annotated[list[Channel], Field(max_length=FIELDS_MAX)] | None = None
    same_event: SameEventBody | None = None


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
@rewrites
async def change_business(body: BusinessPatch, principal: Writer, request: Request, database: DatabaseDep) -> Response:
    """Change settings of the caller's business."""
    async with database.transaction(principal) as tx:

        async def write() -> Response:
            found = await businesses.find_business(tx, principal.business_id, lock=True)
            before = must_exist(found, "business", principal.business_id)
            rules.check_version(before["version"], if_match(request))
            settings = orjson.loads(before["settings"])
            changes = body.settings.model_dump(exclude_unset=True)
            if body.settings.same_event is not None:
                since = (settings.get("same_event") or {}).get("since") or instant_text(now())
                changes["same_event"] = body.settings.same_event.model_dump(exclude_none=True) | {"since": since}
            after = rules.merge_fields(settings, changes)
            if after == settings:
                return versioned(shown(before), before["version"], wrote=before["id"])
            business = await businesses.save_settings(tx, principal.business_id, orjson.dumps(after))
            await append(tx, events_of("directory.business", [business]))
            return versioned(shown(business), business["version"], wrote=business["id"])

        return await once(tx, principal, request, write)
