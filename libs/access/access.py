"""Recognises callers in one service, from its own copy of keys and members."""

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from libs.access import copy, store
from libs.access.credentials import Credentials, read_credentials, read_session
from libs.access.keys import hash_of, matches, parse_key
from libs.access.lookup import Lookup, Place
from libs.access.principal import Principal, Standing
from libs.access.rates import Rates
from libs.access.scopes import ACT_AS
from libs.access.store import KeyRow
from libs.contracts.directory import ApiKey, Business, Member, Role
from libs.contracts.event import Event
from libs.database import Database, Transaction
from libs.errors import Forbidden, Problem, Unauthenticated, Unavailable

Handler = Callable[[Transaction, Sequence[Any]], Awaitable[None]]
Heard = tuple[type[Event], Handler, tuple[str, ...], bool]
"""A shape, who saves it, its topics, and whether only the newest version of each key is wanted."""

REFERENCE_WAIT_MAX_MS = 2_000
ACCESS_STALE_MAX_S = 900
AGE_SAID_S = 30.0
"""A copy is touched about every 15 s; from this age on its service's health says so."""


class Access:
    """Who may call this service. `stale_max_s` is None where the tables are the truth itself (directory)."""

    def __init__(
        self,
        database: Database,
        *,
        reference_wait_max_ms: int = REFERENCE_WAIT_MAX_MS,
        stale_max_s: float | None = ACCESS_STALE_MAX_S,
        rates: Rates | None = None,
    ) -> None:
        self.rates = rates or Rates()
        self._database = database
        self._stale_max_s = stale_max_s
        self._fresh_at = time.monotonic()
        self._keys: Lookup[KeyRow] = Lookup(self._load_keys, reference_wait_max_ms)
        self._members: Lookup[Standing] = Lookup(self._load_members, reference_wait_max_ms)

    async def authenticate(self, headers: Iterable[tuple[bytes, bytes]], *, named: bool = False) -> Principal:
        """Recognise the caller from a request's raw ASGI headers.

        Raises Malformed (400), Unauthenticated (401), Forbidden (403), Unavailable (503).
        """
        credentials = read_credentials(headers, named=named)
        self._refuse_when_stale()
        key = await self._known(credentials.key, "key")
        if credentials.business_id is not None and credentials.business_id != key.business_id:
            raise _forbidden("X-BUSINESS-ID", "this key belongs to another business")
        return await self._principal_of(key, credentials)

    async def authenticate_session(self, headers: Iterable[tuple[bytes, bytes]]) -> Principal:
        """Recognise a member by token, in an application by its key, as `/v1` has it: both rights are needed.

        Raises Malformed (400), Unauthenticated (401), Forbidden (403), Unavailable (503).
        """
        credentials = read_session(headers)
        self._refuse_when_stale()
        key, token = await self._known(credentials.key, "x-api-key"), await self._known(credentials.token, "token")
        if key.kind == "member" or token.kind != "member":
            raise Unauthenticated("send an API key in x-api-key and a member's token in Authorization: Bearer")
        if {key.business_id, token.business_id} != {credentials.business_id}:
            raise _forbidden("x-org-id", "key and token belong to another business")
        user_id = token.member_id
        standing = None if user_id is None else await self._members.find((token.business_id, user_id), _is_there)
        if standing is None:
            raise Unauthenticated("the member of this token is not known")
        scopes = key.scopes & token.scopes
        return Principal(token.business_id, token.id, token.kind, user_id, scopes, token.zone, standing)

    async def lookup(self, text: str) -> KeyRow | None:
        """Find a key by its whole text, waiting up to `reference_wait_max_ms` for one that is not known yet.

        A wrong secret is treated as an unknown key; a wrong checksum is None at once.
        """
        place = parse_key(text)
        if place is None:
            return None
        return await self._keys.find((place.business_id, place.id), partial(_is_key, hash_of(text)))

    async def _known(self, text: str, what: str) -> KeyRow:
        key = await self.lookup(text)
        if key is None:
            raise Unauthenticated(f"this {what} is not known")
        _refuse_ended(key)
        return key

    def subscriptions(self) -> list[Heard]:
        """Say what the copy hears, and who saves it; nothing where the tables are the truth themselves."""
        if self._stale_max_s is None:
            return []
        return [
            (Business, self._then_forget(copy.save_businesses), ("directory.business",), True),
            (Member, self._then_forget(copy.save_members), ("directory.member",), True),
            (Role, self._then_forget(copy.save_roles), ("directory.role",), True),
            (ApiKey, self._then_forget(copy.save_api_keys), ("directory.api_key",), True),
        ]

    def invalidate(self) -> None:
        """Forget what is remembered of keys and members: something about them has changed."""
        self._keys.forget()
        self._members.forget()

    async def load_age(self) -> None:
        """Read how old the copy was when it was last known: a restart does not make it fresh. Raises Unavailable."""
        if self._stale_max_s is None:
            return
        async with self._database.work() as tx:
            age_s = await store.find_copy_age(tx)
        self._fresh_at = time.monotonic() - max(0.0, age_s or 0.0)

    async def touch(self, lag_s: float = 0.0) -> None:
        """Note that the copy was up to date `lag_s` ago: what its consumer has not handled is not older."""
        self._fresh_at = max(self._fresh_at, time.monotonic() - lag_s)
        async with self._database.work() as tx:
            with tx.alone():
                await store.save_copy_age(tx, lag_s)

    def problems(self) -> list[str]:
        """Say when the copy is so old that something is wrong, and from when on routes refuse."""
        if self._stale_max_s is None or self.age_s() < min(AGE_SAID_S, self._stale_max_s / 2):
            return []
        bound_s = self._stale_max_s
        return [f"access: the copy of the keys is {self.age_s():.0f} s old; routes answer 503 from {bound_s:.0f} s on"]

    def age_s(self) -> float:
        """Tell how long ago the copy was last known to be up to date; 0 where the tables are the truth."""
        return 0.0 if self._stale_max_s is None else time.monotonic() - self._fresh_at

    def _then_forget(self, save: Handler) -> Handler:
        """Forget once what was saved is committed."""

        async def save_then_forget(tx: Transaction, events: Sequence[Any]) -> None:
            await save(tx, events)
            tx.on_commit(self.invalidate)

        return save_then_forget

    def _refuse_when_stale(self) -> None:
        if self._stale_max_s is not None and self.age_s() > self._stale_max_s:
            raise Unavailable(
                f"the copy of the keys is {self.age_s():.0f} s old; at most {self._stale_max_s:.0f} s are allowed",
                retry_after_s=5,
            )

    async def _principal_of(self, key: KeyRow, credentials: Credentials) -> Principal:
        user_id = credentials.user_id or key.member_id
        if user_id != key.member_id and ACT_AS not in key.scopes:
            raise _forbidden("X-USER-ID", "acting for another member needs the scope act_as")
        standing = None
        if user_id is not None:
            standing = await self._members.find((key.business_id, user_id), _is_there)
            if standing is None:
                raise _forbidden("X-USER-ID", f"{user_id} is not a member of this business")
        return Principal(key.business_id, key.id, key.kind, user_id, key.scopes, key.zone, standing)

    async def _load_keys(self, places: set[Place]) -> dict[Place, KeyRow]:
        async with self._database.key_lookup() as tx:
            with tx.alone():  # whoever calls waits for it once a second
                return await store.list_keys(tx, places)

    async def _load_members(self, places: set[Place]) -> dict[Place, Standing]:
        async with self._database.key_lookup() as tx:
            with tx.alone():
                return await store.list_standings(tx, places)


def _is_key(presented: str, key: KeyRow) -> bool:
    return matches(key.hash, presented)


def _is_there(_: Standing) -> bool:
    return True


def _refuse_ended(key: KeyRow) -> None:
    if key.revoked_at is not None or key.ended:
        raise Unauthenticated("this key was revoked", code="revoked")
    if key.expires_at is not None and key.expires_at <= datetime.now(UTC):
        raise Unauthenticated("this key has expired", code="expired")


def _forbidden(header: str, message: str) -> Forbidden:
    return Forbidden(message, [Problem(header, "forbidden", message)])
