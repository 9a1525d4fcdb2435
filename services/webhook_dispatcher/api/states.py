"""Endpoints switched on and off."""

from dataclasses import replace
from uuid import UUID

from fastapi import APIRouter, Request, Response

from libs.service.http import DatabaseDep, rewrites
from services.webhook_dispatcher.api.endpoints import Writer, change_state
from services.webhook_dispatcher.store.endpoints import EndpointState

router = APIRouter(prefix="/api/webhooks/endpoints")


@router.post("/{id}/enable")
@rewrites
async def enable_endpoint(id: UUID, request: Request, principal: Writer, database: DatabaseDep) -> Response:  # noqa: A002
    """Send again, beginning with what was owed while it was disabled or paused."""

    def enabled(state: EndpointState) -> EndpointState:
        return replace(state, status="active", disabled_reason=None)

    return await change_state(request, principal, database, (id, enabled))


@router.post("/{id}/disable")
@rewrites
async def disable_endpoint(id: UUID, request: Request, principal: Writer, database: DatabaseDep) -> Response:  # noqa: A002
    """Send nothing more and owe nothing new."""

    def disabled(state: EndpointState) -> EndpointState:
        return replace(state, status="disabled", disabled_reason="by_owner")

    return await change_state(request, principal, database, (id, disabled))
