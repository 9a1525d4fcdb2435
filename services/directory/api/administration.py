"""That a business keeps a member who may administer it: the last one's right is not taken away."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import orjson

from libs.access.levels import ADMIN_DIRECTORY, join_levels
from libs.database import Transaction
from libs.errors import Conflict
from services.directory.store import members

MESSAGE = (
    "this would leave the business without a member who may administer it; "
    f"give another member a role that allows {ADMIN_DIRECTORY} for all first"
)


@asynccontextmanager
async def keep_administrator(tx: Transaction, business_id: UUID) -> AsyncIterator[None]:
    """Let one change at a time take rights away in a business, and none the last administrator's.

    Locks the business, so it comes before locks of members and roles. A business that has none may change.

    Raises Conflict.
    """
    await members.lock_rights(tx, business_id)
    had = await _has_administrator(tx, business_id)
    yield
    if had and not await _has_administrator(tx, business_id):
        raise Conflict(MESSAGE, "last_administrator")


async def _has_administrator(tx: Transaction, business_id: UUID) -> bool:
    allowed = await members.list_permissions(tx, business_id)
    roles = [role_id for role_id, found in allowed if join_levels([orjson.loads(found)])[ADMIN_DIRECTORY] == "all"]
    return await members.has_any(tx, business_id, roles)
