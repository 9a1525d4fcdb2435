"""`Idempotency-Key`: a write that is sent again gets the first answer and happens once. `Prefer` is honoured here, too.

The key is claimed in the write's own transaction: a second request with it waits for the first to commit, then reads
its answer; one that failed leaves no trace, so that it may be tried again.
"""

import hashlib
from collections.abc import Awaitable, Callable

import orjson
from fastapi import Request, Response

from libs.database import Database, Transaction
from libs.database.pool import Tenant
from libs.errors import Conflict, Problem, Rejected
from libs.service.answers import preferred

KEY_LENGTH_MAX = 200
KEPT_DAYS = 7
KEPT_HEADERS = ("etag", "x-wrote", "location", "content-type")
SLICE_ROWS = 5_000


async def once(
    tx: Transaction,
    principal: Tenant,
    request: Request,
    write: Callable[[], Awaitable[Response]],
    *,
    whole: bool = False,
) -> Response:
    """Run `write` unless its Idempotency-Key has been answered; the answer is as short as `Prefer` asks for.

    `whole`: not so, because it shows a secret. What is kept for a repetition is the whole answer, in which the routes
    leave secrets out. Raises Conflict when the body was another then.
    """
    answer = await _once(tx, principal, request, write)
    return answer if whole else preferred(request, answer)


async def _once(
    tx: Transaction, principal: Tenant, request: Request, write: Callable[[], Awaitable[Response]]
) -> Response:
    key = request.headers.get("idempotency-key")
    if key is None:
        return await write()
    _check(key)
    route = f"{request.method} {request.url.path}"
    hash_now = hashlib.sha256(await request.body()).digest()
    claimed = await tx.execute(
        "insert into idempotency (business_id, key, route, hash) values ($1, $2, $3, $4) on conflict do nothing",
        principal.business_id, key, route, hash_now,
    )  # fmt: skip
    if not claimed:
        return await _repeat(tx, principal, (key, route), hash_now)
    answer = await write()
    headers = {name: answer.headers[name] for name in KEPT_HEADERS if name in answer.headers}
    await tx.execute(
        """
        update idempotency set status = $4, headers = $5, body = $6
         where business_id = $1 and key = $2 and route = $3
        """,
        principal.business_id, key, route, answer.status_code, orjson.dumps(headers), bytes(answer.body),
    )  # fmt: skip
    return answer


async def forget_old(database: Database) -> None:
    """Delete answers older than 7 days, a slice at a time."""
    while True:
        async with database.work() as tx:
            deleted = await tx.execute(
                """
                delete from idempotency where (business_id, key, route) in (
                    select business_id, key, route from idempotency
                     where created_at < now() - make_interval(days => $1) limit $2)
                """,
                KEPT_DAYS, SLICE_ROWS,
            )  # fmt: skip
        if deleted < SLICE_ROWS:
            return


def _check(key: str) -> None:
    if not 1 <= len(key) <= KEY_LENGTH_MAX or not key.isprintable():
        message = f"must be 1 to {KEY_LENGTH_MAX} printable characters"
        raise Rejected(f"Idempotency-Key {message}", [Problem("Idempotency-Key", "key_invalid", message)])


async def _repeat(tx: Transaction, principal: Tenant, name: tuple[str, str], hash_now: bytes) -> Response:
    row = await tx.find(
        "select hash, status, headers, body from idempotency where business_id = $1 and key = $2 and route = $3",
        principal.business_id, *name,
    )  # fmt: skip
    if row is None or row["status"] is None:
        raise Conflict("the first request with this Idempotency-Key is still under way; ask again", "key_in_use")
    if row["hash"] != hash_now:
        raise Conflict("this Idempotency-Key was used with another body; use a new key", "key_reused")
    headers = orjson.loads(row["headers"]) | {"idempotent-replayed": "true"}
    return Response(row["body"], row["status"], headers)
