"""Routes of activity objects."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from libs.contracts.activity_object import ActivityObject
from libs.errors import Problem
from libs.service.answers import json_answer, versioned
from libs.service.body import Line
from services.lifecycle import looking
from services.lifecycle.api.answers import paged, shown_object
from services.lifecycle.api.callers import Caller, Reader, refuse
from services.lifecycle.api.references import look_up, object_in_path
from services.lifecycle.domain.known import Known
from services.lifecycle.domain.reports import allows

router = APIRouter(prefix="/api/activities")

Page = Annotated[int, Query(ge=1, le=1_000_000)]
PageSize = Annotated[int, Query(ge=1, le=1_000)]


@router.get("")
async def list_objects(
    caller: Reader,
    search: Annotated[str, Line(200)] | None = None,
    custom_object_id: Annotated[str, Line(255)] | None = None,
    page: Page = 1,
    page_size: PageSize = 100,
) -> Response:
    """List activity objects, those alone that go with a record object if one is named."""
    found = [kind for kind in await _live(caller) if search is None or search.lower() in kind.name.lower()]
    if custom_object_id is not None:
        known = await _known(caller)
        name = known.record_object(custom_object_id)
        if name is None:
            names = ", ".join(known.record_object_names())
            message = f"{custom_object_id[:100]!r} is not a record object; there are {names}"
            refuse([Problem("custom_object_id", "does_not_exist", message)])
        found = [kind for kind in found if name is not None and allows(kind, name)]
    chosen = found[(page - 1) * page_size : page * page_size]
    return json_answer(paged(caller.request, [shown_object(kind) for kind in chosen], len(found), page, page_size))


@router.get("/loggable")
async def list_loggable(caller: Reader) -> Response:
    """List the activity objects that the caller may log."""
    found = [{"id": kind.id, "name": kind.name, "api_name": kind.api_name} for kind in await _live(caller)]
    return json_answer(paged(caller.request, found, len(found), 1, max(len(found), 1)))


detail = APIRouter(prefix="/api/activities")


@detail.get("/{object}")
async def get_object(object: str, caller: Reader) -> Response:  # noqa: A002 - the path's word
    """Show an activity object by id or api_name."""
    async with caller.database.transaction(caller.principal) as tx:
        references = await look_up(tx, caller)
    kind = object_in_path(references.known, object)
    return versioned(shown_object(kind), kind.version)


async def _known(caller: Caller) -> Known:
    async with caller.database.transaction(caller.principal) as tx:
        return (await look_up(tx, caller)).known


async def _live(caller: Caller) -> list[ActivityObject]:
    async with caller.database.transaction(caller.principal) as tx:
        found = await looking.find_types(tx, [caller.business_id], caller.now)
    return [kind for kind in found[caller.business_id] if kind.deleted_at is None]
