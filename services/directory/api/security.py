"""The history of what concerns security: keys made and revoked, records erased."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from libs.access import Principal, may
from libs.service.http import DatabaseDep
from services.directory.api.pages import Page, answer_page
from services.directory.store import security
from services.directory.store.security import By

router = APIRouter(prefix="/api/directory/security-events")

Reader = Annotated[Principal, Depends(may("directory.read"))]


@router.get("")
async def list_events(page: Page, principal: Reader, database: DatabaseDep) -> Response:
    """List who made and revoked keys and tokens and who erased records, newest first."""
    async with database.transaction(principal) as tx:
        after = page.after(principal, "security")
        rows = await security.list_events(tx, principal.business_id, after, page.limit + 1)
    return answer_page(principal, "security", rows, page.limit)


def done_by(principal: Principal, request: Request) -> By:
    """Say who calls."""
    return By(principal.business_id, principal.key_id, principal.user_id, request.state.request_id)
