"""Keys: `prefix_place_secret`, with a checksum at the end, kept as a hash only.

The place is the key's business and its own id, 256 bits in base 62: a look-up then goes by the business like every
other query. The checksum (CRC-32 of all before it) lets a mistyped key be refused without asking the database.
"""

import hashlib
import hmac
import secrets
import zlib
from dataclasses import dataclass, field
from functools import lru_cache
from uuid import UUID

from libs.contracts.directory import KeyKind
from libs.contracts.ids import uuid7

PREFIXES: dict[KeyKind, str] = {"api": "ak", "member": "mt", "operator": "ok"}
NO_BUSINESS = UUID(int=0)

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VALUES = {digit: value for value, digit in enumerate(_DIGITS)}
_KINDS = {prefix: kind for kind, prefix in PREFIXES.items()}
_WIDE = 43  # digits that hold 256 bits
_CHECK = 6  # digits that hold 32 bits
IDS_REMEMBERED_MAX = 4_096
_NO_HASH = hashlib.sha256(secrets.token_bytes(32)).hexdigest()


@dataclass(frozen=True, slots=True)
class Key:
    """A new key. `text` is shown once and not kept; `hash` is."""

    id: UUID
    text: str = field(repr=False)
    hash: str


@dataclass(frozen=True, slots=True)
class Place:
    """What a key's text says about itself, before anybody has looked it up."""

    kind: KeyKind
    business_id: UUID
    id: UUID


def generate_key(kind: KeyKind, business_id: UUID = NO_BUSINESS) -> Key:
    """Make a key of a business (only an operator's has none) from 32 random bytes. Raises ValueError."""
    if (kind == "operator") != (business_id == NO_BUSINESS):
        raise ValueError(f"a key of kind {kind} and business {business_id} do not go together")
    key_id = uuid7()
    place = _write(business_id.int << 128 | key_id.int, _WIDE)
    secret = _write(int.from_bytes(secrets.token_bytes(32), "big"), _WIDE)
    text = f"{PREFIXES[kind]}_{place}_{secret}"
    text += _checksum(text)
    return Key(key_id, text, hash_of(text))


def parse_key(text: str) -> Place | None:
    """Read a key's place, or None where prefix, length, digits or checksum are wrong."""
    prefix, _, rest = text.partition("_")
    place, _, secret = rest.partition("_")
    if prefix not in _KINDS or len(place) != _WIDE or len(secret) != _WIDE + _CHECK or not text.isascii():
        return None
    if not hmac.compare_digest(_checksum(text[:-_CHECK]), text[-_CHECK:]):
        return None
    ids = _read_ids(place)
    return None if ids is None else Place(_KINDS[prefix], *ids)


@lru_cache(maxsize=IDS_REMEMBERED_MAX)
def _read_ids(place: str) -> tuple[UUID, UUID] | None:
    """Read business and key, which are no secret; a caller sends them with each request, and reading takes 5 µs."""
    number = 0
    for digit in place:
        if digit not in _VALUES:
            return None
        number = number * 62 + _VALUES[digit]
    return None if number >> 256 else (UUID(int=number >> 128), UUID(int=number & ((1 << 128) - 1)))


def hash_of(text: str) -> str:
    """SHA-256 of the whole key, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def matches(stored: str | None, presented: str) -> bool:
    """Compare two hashes in constant time; a key that is not there (None) costs the same."""
    return hmac.compare_digest(stored or _NO_HASH, presented) and stored is not None


def _checksum(text: str) -> str:
    return _write(zlib.crc32(text.encode()), _CHECK)


def _write(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, value = divmod(number, 62)
        digits.append(_DIGITS[value])
    return "".join(reversed(digits))
