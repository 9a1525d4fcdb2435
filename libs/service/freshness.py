"""Waiting until a projection has heard of a write: `min_version=<id>:<version>` and `Prefer: wait=<seconds>`.

A write answers `X-Wrote: <id>:<version>`; whoever passes that on to a projection reads what was written, or 202 with
the versions that the projection holds so far.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from fastapi import Request, Response

from libs.database import Database, Transaction
from libs.database.pool import Tenant
from libs.errors import Problem, Rejected
from libs.service.answers import json_answer

WAIT_DEFAULT_S = 2.0
WAIT_MAX_S = 30.0
WANTED_MAX = 100
POLL_FIRST_S = 0.005
POLL_MAX_S = 0.04

FindVersions = Callable[[Transaction, UUID, Sequence[UUID]], Awaitable[dict[UUID, int]]]
"""Tells the versions that a store holds of those ids, within one business; ids it does not know are left out."""

_VERSION = re.compile(r"(?P<id>[0-9A-Fa-f-]{32,36}):(?P<version>[0-9]{1,9})")
_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(?P<seconds>[0-9]{1,6}(?:\.[0-9]{1,3})?)\"?\s*(?:$|[,;])", re.ASCII)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The versions that a caller wants to see at least, and how long it is willing to wait for them."""

    versions: Mapping[UUID, int]
    wait_s: float = WAIT_DEFAULT_S


async def read_wanted(request: Request) -> Wanted:
    """Read `min_version` (repeatable) and `Prefer: wait=`; a longer wait than 30 s is cut to 30 s. Raises Rejected."""
    texts = request.query_params.getlist("min_version")
    if len(texts) > WANTED_MAX:
        raise _refused(f"is given {len(texts)} times; at most {WANTED_MAX} are taken")
    versions: dict[UUID, int] = {}
    for text in texts:
        identity, version = _read_version(text)
        versions[identity] = max(version, versions.get(identity, 0))
    found = _WAIT.search(request.headers.get("prefer", ""))
    return Wanted(versions, min(float(found["seconds"]), WAIT_MAX_S) if found else WAIT_DEFAULT_S)


async def not_yet(database: Database, principal: Tenant, wanted: Wanted, find: FindVersions) -> Response | None:
    """Wait for the wanted versions: None once the store holds them all, else the answer 202 with those it holds.

    An id that is unknown, or another business's, is held at version 0. No transaction is open while waiting.
    """
    if not wanted.versions:
        return None
    clock = asyncio.get_running_loop().time
    deadline, pause_s = clock() + wanted.wait_s, POLL_FIRST_S
    while True:
        async with database.transaction(principal) as tx:
            found = await find(tx, principal.business_id, list(wanted.versions))
        held = {identity: found.get(identity, 0) for identity in wanted.versions}
        if all(held[identity] >= version for identity, version in wanted.versions.items()):
            return None
        left_s = deadline - clock()
        if left_s <= 0:
            content = {"versions": {str(identity): version for identity, version in held.items()}}
            return json_answer(content, 202, {"retry-after": "1"})
        await asyncio.sleep(min(pause_s, left_s))
        pause_s = min(pause_s * 2, POLL_MAX_S)


def _read_version(text: str) -> tuple[UUID, int]:
    found = _VERSION.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        return UUID(found["id"]), int(found["version"])
    except ValueError:
        raise _refused(f"{text[:100]!r} is not <id>:<version>, the value of X-Wrote") from None


def _refused(message: str) -> Rejected:
    return Rejected(f"min_version {message}", [Problem("min_version", "min_version_invalid", message)])
