"""What a request says about its caller, read from its headers before anything is looked up."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from libs.errors import Malformed, Problem, Unauthenticated

HEADER_MAX = 256
_NAMES = {b"x-api-key": "X-API-KEY", b"authorization": "Authorization"} | {
    b"x-business-id": "X-BUSINESS-ID",
    b"x-user-id": "X-USER-ID",
    b"x-org-id": "x-org-id",
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """A key's text, and the business and member that the caller names."""

    key: str
    business_id: UUID | None
    user_id: UUID | None


@dataclass(frozen=True, slots=True)
class SessionCredentials:
    """What `/v1` asks for, all of it: an API key, a member's token, and the business they belong to."""

    key: str
    token: str
    business_id: UUID


def read_credentials(headers: Iterable[tuple[bytes, bytes]], *, named: bool = False) -> Credentials:
    """Read the headers; with `named`, business and member are required. Raises Malformed, Unauthenticated."""
    found = _find(headers)
    key = _key_of(found)
    if named:
        for name in ("X-BUSINESS-ID", "X-USER-ID"):
            if name not in found:
                raise _malformed(name, "required", f"header {name} is required here")
    return Credentials(key, _uuid_of(found, "X-BUSINESS-ID"), _uuid_of(found, "X-USER-ID"))


def read_session(headers: Iterable[tuple[bytes, bytes]]) -> SessionCredentials:
    """Read the headers of `/v1`: x-api-key, Authorization and x-org-id. Raises Malformed, Unauthenticated."""
    found = _find(headers)
    key, token = found.get("X-API-KEY"), _bearer_of(found)
    if not key or not token:
        missing = "x-api-key" if not key else "Authorization: Bearer"
        raise Unauthenticated(f"header {missing} is required: /v1 takes x-api-key, x-org-id and Authorization: Bearer")
    business_id = _uuid_of(found, "x-org-id")
    if business_id is None:
        raise _malformed("x-org-id", "required", "header x-org-id is required here")
    return SessionCredentials(key, token, business_id)


def _find(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for raw, value in headers:
        name = _NAMES.get(raw)  # ASGI servers send names in lower case
        if name is None:
            continue
        if name in found:
            raise _malformed(name, "duplicate", f"header {name} was sent more than once")
        if len(value) > HEADER_MAX:
            raise _malformed(name, "too_long", f"header {name} is longer than {HEADER_MAX} characters")
        found[name] = value.decode("latin-1").strip()
    return found


def _key_of(found: dict[str, str]) -> str:
    if "X-API-KEY" in found and "Authorization" in found:
        raise _malformed("Authorization", "ambiguous", "send exactly one of X-API-KEY and Authorization: Bearer")
    api_key = found.get("X-API-KEY") or _bearer_of(found)
    if not api_key:
        raise Unauthenticated("a key is required: send X-API-KEY or Authorization: Bearer")
    return api_key


def _bearer_of(found: dict[str, str]) -> str | None:
    bearer = found.get("Authorization")
    if bearer is None:
        return None
    scheme, _, token = bearer.partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated("header Authorization must be `Bearer <key>`")
    return token.strip()


def _uuid_of(found: dict[str, str], name: str) -> UUID | None:
    text = found.get(name)
    if text is None:
        return None
    try:
        if len(text) != 36:
            raise ValueError
        return UUID(text)
    except ValueError:
        raise _malformed(name, "not_a_uuid", f"header {name} is {text!r}; it must be a UUID") from None


def _malformed(name: str, code: str, message: str) -> Malformed:
    return Malformed(message, [Problem(name, code, message)])
