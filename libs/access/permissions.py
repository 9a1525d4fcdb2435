"""What a route demands of its caller. Every route declares it; the process does not start with one that does not."""

from collections.abc import Awaitable, Callable
from typing import cast

from fastapi import Request

from libs.access.access import Access
from libs.access.principal import Principal
from libs.access.scopes import SCOPES
from libs.errors import Forbidden, Problem


def may(scope: str, *, named: bool = False) -> Callable[[Request], Awaitable[Principal]]:
    """Make the dependency that lets callers with `scope` through; its attribute `scope` is the declaration.

    With `named`, X-BUSINESS-ID and X-USER-ID are required. Raises Malformed, Unauthenticated, Forbidden, Unavailable.
    """
    if scope not in SCOPES:
        raise ValueError(f"scope {scope!r} is not one of {', '.join(SCOPES)}")

    async def principal_with_scope(request: Request) -> Principal:
        access = cast(Access, request.app.state.access)
        principal = await access.authenticate(request.scope["headers"], named=named)
        request.state.business_id = principal.business_id
        require(principal, scope)
        return principal

    principal_with_scope.scope = scope  # type: ignore[attr-defined]
    return principal_with_scope


def require(principal: Principal, scope: str) -> None:
    """Refuse a caller without that right. Raises Forbidden."""
    if scope not in principal.scopes:
        message = f"this key does not have the scope {scope}"
        raise Forbidden(message, [Problem("scopes", "missing_scope", message)], code="missing_scope")
