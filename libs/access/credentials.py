"""What a request says about its caller, read from its headers before anything is looked up."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from libs.errors import Malformed, Problem, Unauthenticated

HEADER_MAX = 256
_NAMES = {b"x-api-key": "X-API-KEY", b"authorization": "Authorization"} | {
    b"x-business-id": "X-BUSINESS-ID",
    b"x-user-id": "X-USER-ID",
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """A key's text, and the business and member that the caller names."""

    key: str
    business_id: UUID | None
    user_id: UUID | None


def read_credentials(headers: Iterable[tuple[bytes, bytes]], *, named: bool = False) -> Credentials:
    """Read the headers; with `named`, business and member are required. Raises Malformed, Unauthenticated."""
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
    key = _key_of(found)
    if named:
        for name in ("X-BUSINESS-ID", "X-USER-ID"):
            if name not in found:
                raise _malformed(name, "required", f"header {name} is required here")
    return Credentials(key, _uuid_of(found, "X-BUSINESS-ID"), _uuid_of(found, "X-USER-ID"))


def _key_of(found: dict[str, str]) -> str:
    api_key, bearer = found.get("X-API-KEY"), found.get("Authorization")
    if api_key is not None and bearer is not None:
        raise _malformed("Authorization", "ambiguous", "send exactly one of X-API-KEY and Authorization: Bearer")
    if bearer is not None:
        scheme, _, token = bearer.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated("header Authorization must be `Bearer <key>`")
        api_key = token.strip()
    if not api_key:
        raise Unauthenticated("a key is required: send X-API-KEY or Authorization: Bearer")
    return api_key


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
