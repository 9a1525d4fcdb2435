"""What a route demands of its caller. Every route declares it; the process does not start with one that does not."""

import hmac
import time
from collections.abc import Awaitable, Callable
from typing import cast

from fastapi import Request
from pydantic import SecretStr

from libs.access.access import Access
from libs.access.credentials import read_credentials
from libs.access.levels import ACTIVITY_PERMISSIONS, ADMIN_DIRECTORY, ADMIN_WEBHOOKS
from libs.access.principal import Principal
from libs.access.scopes import SCOPES
from libs.errors import Forbidden, Problem

OPERATOR = "operator"
"""The declaration of routes that no key of a business opens."""

DEMANDED: dict[str, tuple[str, ...]] = {
    "directory.write": (ADMIN_DIRECTORY,),
    "webhooks.read": (ADMIN_WEBHOOKS,),
    "webhooks.write": (ADMIN_WEBHOOKS,),
    "ingest.read": ("scheduled.view", "logged.view"),
    "ingest.write": tuple(name for name in ACTIVITY_PERMISSIONS if not name.endswith(".view")),
}
"""What a scope takes besides where a member calls: each of these permissions for `all`.

Reports of an upstream system may be about anybody's activities; receipts and deliveries tell of anybody's.
"""


def may(
    scope: str, *, named: bool = False, session: bool = False, permission: str | None = None
) -> Callable[[Request], Awaitable[Principal]]:
    """Make the dependency that lets callers with `scope` through; its attribute `scope` is the declaration.

    With `named`, X-BUSINESS-ID and X-USER-ID are required; with `session` an API key and a member's token (`/v1`).
    A member also needs `permission` for `all`, if it is given.

    Raises Malformed, Unauthenticated, Forbidden, TooMany, Unavailable.
    """
    if scope not in SCOPES:
        raise ValueError(f"scope {scope!r} is not one of {', '.join(SCOPES)}")
    demanded = DEMANDED.get(scope, ()) + ((permission,) if permission is not None else ())

    async def principal_with_scope(request: Request) -> Principal:
        access = cast(Access, request.app.state.access)
        headers = request.scope["headers"]
        principal = await (
            access.authenticate_session(headers) if session else access.authenticate(headers, named=named)
        )
        request.state.business_id = principal.business_id
        left = request.state.rate = access.rates.take(principal, time.monotonic())
        if left.wait_s:
            raise access.rates.refusal(left)
        require(principal, scope)
        for name in demanded:
            _require_permission(principal, name)
        return principal

    principal_with_scope.scope = scope  # type: ignore[attr-defined]
    return principal_with_scope


def operator_only(operator_key: SecretStr) -> Callable[[Request], Awaitable[None]]:
    """Make the dependency that lets the operator's key through and no other; an empty one opens nothing."""

    async def caller_is_operator(request: Request) -> None:
        presented = read_credentials(request.scope["headers"]).key
        expected = operator_key.get_secret_value()
        if expected and hmac.compare_digest(presented.encode(), expected.encode()):
            return
        await cast(Access, request.app.state.access).authenticate(request.scope["headers"])
        raise Forbidden("this takes the operator's key; keys of a business do not open it")

    caller_is_operator.scope = OPERATOR  # type: ignore[attr-defined]
    return caller_is_operator


def require(principal: Principal, scope: str) -> None:
    """Refuse a caller without that right. Raises Forbidden."""
    if scope not in principal.scopes:
        message = f"this key does not have the scope {scope}"
        raise Forbidden(message, [Problem("scopes", "missing_scope", message)], code="missing_scope")


def _require_permission(principal: Principal, permission: str) -> None:
    if principal.standing is not None and principal.standing.level(permission) != "all":
        message = f"member {principal.user_id} has no role that allows {permission} for all"
        raise Forbidden(message, [Problem("permissions", "not_permitted", message)], code="not_permitted")
